"""A registry file as values: what it says, each thing with its line. Not yet checked as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from devices import topics, wands
from devices.adapters.table import ADAPTERS
from rules.calendar import Calendar, DayClass
from rules.holders import Hold
from rules.periods import Times
from rules.plans import Plan, PlanCheckpoint, Window
from store.registry.nodes import Problem


class Tree(StrEnum):
    """The two grids: 条 by sector, 块 by territory."""

    SECTOR = "sector"
    TERRITORY = "territory"


class Risk(StrEnum):
    """A risk point's grade, highest first (I to IV)."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    BLUE = "blue"


class Proof(StrEnum):
    """What a read must prove: `sun`, an NTAG 424 DNA's message."""

    SUN = "sun"


"""The protocol of a device that speaks our contract; every other names an adapter."""

PROTOCOLS = (topics.PROTOCOL, wands.PROTOCOL, *ADAPTERS)


class Named(NamedTuple):
    """An id or tag that the file names, and where."""

    text: str
    line: int


class RouteItem(NamedTuple):
    """A checkpoint on a route. `visits` None: once, or as often as the quota says."""

    text: str
    line: int
    visits: int | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A grid node. `level` counts from 1, the top."""

    line: int
    slug: str
    name: str
    tree: Tree
    level: int
    parent: Named | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonSpec:
    """A person, and the tags that say who makes the following reads."""

    line: int
    slug: str
    name: str
    roles: tuple[str, ...]
    tags: tuple[Named, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """A device: of the site it stands in, or of the grid node it names. `heartbeat` in ms.

    `address`: what it is called in the topics of its `protocol`; None where that is our contract.
    `checkpoint`: where it hangs; a person's tag read there is that person's visit.
    """

    line: int
    slug: str
    site: str | None
    grid: Named | None
    protocol: str
    address: Named | None
    checkpoint: Named | None
    heartbeat: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaSpec:
    """A part of a site's own tree."""

    line: int
    slug: str
    name: str
    leader: Named | None
    parent: Named | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSpec:
    """A place to be visited; `lat` and `lon` in degrees, both or neither."""

    line: int
    slug: str
    name: str
    area: Named | None
    tags: tuple[Named, ...]
    risk: Risk | None
    proof: Proof | None
    lat: float | None
    lon: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSpec:
    """A plan; spans of time in ms."""

    line: int
    slug: str
    name: str
    route: tuple[RouteItem, ...]
    ordered: bool
    days: frozenset[DayClass] | None
    windows: tuple[Window, ...]
    grace: int
    early: int
    min_gap: int
    every: int | None
    people: int
    max_gap: int
    apart: int
    quota: Times | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSpec:
    """A site with all it owns: what is missing here is retired."""

    line: int
    slug: str
    name: str
    timezone: str
    person_tag_holds: Hold
    belongs_to: tuple[Named, ...]
    areas: tuple[AreaSpec, ...]
    checkpoints: tuple[CheckpointSpec, ...]
    devices: tuple[DeviceSpec, ...]
    plans: tuple[PlanSpec, ...]

    def plan(self, spec: PlanSpec) -> Plan:
        """The plan as the rules know it. Raises ValueError where it contradicts itself.

        A checkpoint that the site does not have is passed over; `checks` tells of it.
        """
        points = {point.slug: point for point in self.checkpoints}
        areas = {area.slug: area for area in self.areas}
        route = (
            _planned(points[item.text], areas, item) for item in spec.route if item.text in points
        )
        return Plan(
            site=self.slug,
            slug=spec.slug,
            name=spec.name,
            timezone=self.timezone,
            route=tuple(route),
            ordered=spec.ordered,
            days=spec.days,
            windows=spec.windows,
            grace=spec.grace,
            early=spec.early,
            min_gap=spec.min_gap,
            every=spec.every,
            people=spec.people,
            max_gap=spec.max_gap,
            apart=spec.apart,
            quota=spec.quota,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A whole file. `digest` is the SHA-256 of its bytes; `problems` what reading found wrong."""

    calendar: Calendar
    nodes: tuple[NodeSpec, ...]
    people: tuple[PersonSpec, ...]
    grid_devices: tuple[DeviceSpec, ...]
    sites: tuple[SiteSpec, ...]
    digest: str
    problems: tuple[Problem, ...]

    def devices(self) -> Iterator[DeviceSpec]:
        """Every device of the file, those of grid nodes first."""
        yield from self.grid_devices
        for site in self.sites:
            yield from site.devices


def _planned(point: CheckpointSpec, areas: dict[str, AreaSpec], item: RouteItem) -> PlanCheckpoint:
    area = areas.get(point.area.text) if point.area else None
    return PlanCheckpoint(
        slug=point.slug,
        name=point.name,
        area=area.slug if area else None,
        leader=_leader(area, areas),
        risk=point.risk,
        proof=point.proof,
        visits=item.visits,
        optional=item.optional,
    )


def _leader(area: AreaSpec | None, areas: dict[str, AreaSpec]) -> str | None:
    """Who answers for an area: its leader, else that of the nearest area above it."""
    seen: set[str] = set()
    while area is not None and area.slug not in seen:
        if area.leader is not None:
            return area.leader.text
        seen.add(area.slug)
        area = areas.get(area.parent.text) if area.parent else None
    return None
