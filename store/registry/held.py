"""What the ledger holds of the registry, by the names people use, as one value.

Rows point at each other by integer keys; here they point by `Key`, so that a file and the ledger
can be compared without either knowing the other's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, select

from store import tables
from store.picture import registry_version


class Kind(StrEnum):
    """The kinds of things a registry holds, in the order in which they can be written."""

    GRID = "grid"
    PERSON = "person"
    SITE = "site"
    AREA = "area"
    CHECKPOINT = "checkpoint"
    DEVICE = "device"
    PLAN = "plan"


class Key(NamedTuple):
    """What a thing is called: its id, and its site where ids are unique only within one."""

    site: str | None
    slug: str

    def __str__(self) -> str:
        return f"{self.site}/{self.slug}" if self.site else self.slug


class Holder(NamedTuple):
    """The checkpoint or person a tag stands for."""

    kind: Kind
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Where a kind is kept: its table, plain columns, and columns that point at another kind.

    `within_site`: the id is unique within a site only.
    """

    table: Table
    columns: tuple[str, ...]
    points: Mapping[str, Kind] = field(default_factory=dict)
    within_site: bool = False


SHAPES: Mapping[Kind, Shape] = {
    Kind.GRID: Shape(
        table=tables.table_of(tables.GridNode),
        columns=("name", "tree", "level"),
        points={"parent_id": Kind.GRID},
    ),
    Kind.PERSON: Shape(table=tables.table_of(tables.Person), columns=("name", "roles")),
    Kind.SITE: Shape(
        table=tables.table_of(tables.Site),
        columns=("name", "timezone", "calendar", "person_tag_holds"),
    ),
    Kind.AREA: Shape(
        table=tables.table_of(tables.Area),
        columns=("name",),
        points={"leader_id": Kind.PERSON, "parent_id": Kind.AREA},
        within_site=True,
    ),
    Kind.CHECKPOINT: Shape(
        table=tables.table_of(tables.Checkpoint),
        columns=("name", "risk", "proof", "lat", "lon"),
        points={"area_id": Kind.AREA},
        within_site=True,
    ),
    Kind.DEVICE: Shape(
        table=tables.table_of(tables.Device),
        columns=("protocol", "address", "heartbeat_ms"),
        points={
            "site_id": Kind.SITE,
            "node_id": Kind.GRID,
            "checkpoint_id": Kind.CHECKPOINT,
        },
    ),
    Kind.PLAN: Shape(table=tables.table_of(tables.Plan), columns=(), within_site=True),
}

SITE_GRID = tables.table_of(tables.SiteGrid)
PLACE = tables.table_of(tables.DevicePlace)
TAG = tables.table_of(tables.Tag)
VERSION = tables.table_of(tables.PlanVersion)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One thing in the ledger. `values` by column; pointers and the rest of it as `Key`s."""

    id: int
    values: Mapping[str, Any]
    retired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """The registry as the ledger has it at `version`.

    `bound`: what each tag stands for now. `seen`: tags that ever stood for anything.
    `versions`: the highest version number of each plan.
    """

    version: int
    things: Mapping[Kind, Mapping[Key, Held]]
    bound: Mapping[str, Holder]
    seen: frozenset[str]
    versions: Mapping[Key, int]

    def ids(self) -> dict[Kind, dict[Key, int]]:
        """The integer key of everything, retired things included."""
        return {
            kind: {key: held.id for key, held in found.items()}
            for kind, found in self.things.items()
        }


def load_holding(connection: Connection) -> Holding:
    """Read the registry's tables. Call it within `reading`, so that it is of one instant."""
    return _Loader(connection).load()


class _Loader:
    """Reads kind after kind, so that pointers find the keys of what was read before."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._keys: dict[Kind, dict[int, Key]] = {kind: {} for kind in Kind}

    def load(self) -> Holding:
        rows = {kind: self._rows(kind) for kind in Kind}
        bound, seen = self._tags()
        terms, versions = self._plans()
        extra = {
            Kind.SITE: ("belongs_to", self._grids(), ()),
            Kind.PERSON: ("tags", _tags_of(bound, Kind.PERSON), ()),
            Kind.CHECKPOINT: ("tags", _tags_of(bound, Kind.CHECKPOINT), ()),
            Kind.PLAN: ("terms", terms, None),
        }
        things = {
            kind: {self._keys[kind][row.id]: self._held(kind, row, extra) for row in found}
            for kind, found in rows.items()
        }
        return Holding(
            version=registry_version(self._connection),
            things=things,
            bound=bound,
            seen=seen,
            versions=versions,
        )

    def _rows(self, kind: Kind) -> list[Any]:
        shape = SHAPES[kind]
        rows = list(self._connection.execute(select(shape.table).order_by(shape.table.c.id)))
        sites = self._keys[Kind.SITE]
        self._keys[kind] = {
            row.id: Key(sites[row.site_id].slug if shape.within_site else None, row.slug)
            for row in rows
        }
        return rows

    def _held(self, kind: Kind, row: Any, extra: Mapping[Kind, tuple[str, Any, Any]]) -> Held:
        shape = SHAPES[kind]
        values = {column: getattr(row, column) for column in shape.columns}
        for column, other in shape.points.items():
            values[column] = self._keys[other].get(getattr(row, column))
        if kind in extra:
            name, found, empty = extra[kind]
            values[name] = found.get(self._keys[kind][row.id], empty)
        return Held(id=row.id, values=values, retired=row.retired_at is not None)

    def _grids(self) -> dict[Key, tuple[Key, ...]]:
        found: dict[Key, tuple[Key, ...]] = {}
        for link in self._connection.execute(select(SITE_GRID)):
            site, node = self._keys[Kind.SITE][link.site_id], self._keys[Kind.GRID][link.node_id]
            found[site] = tuple(sorted((*found.get(site, ()), node)))
        return found

    def _tags(self) -> tuple[dict[str, Holder], frozenset[str]]:
        bound: dict[str, Holder] = {}
        seen = set()
        for row in self._connection.execute(select(TAG).order_by(TAG.c.id)):
            seen.add(row.uid)
            if row.until is None and row.checkpoint_id is not None:
                key = self._keys[Kind.CHECKPOINT][row.checkpoint_id]
                bound[row.uid] = Holder(Kind.CHECKPOINT, key)
            elif row.until is None:
                bound[row.uid] = Holder(Kind.PERSON, self._keys[Kind.PERSON][row.person_id])
        return bound, frozenset(seen)

    def _plans(self) -> tuple[dict[Key, Any], dict[Key, int]]:
        terms: dict[Key, Any] = {}
        versions: dict[Key, int] = {}
        for row in self._connection.execute(select(VERSION).order_by(VERSION.c.id)):
            key = self._keys[Kind.PLAN][row.plan_id]
            versions[key] = max(row.version, versions.get(key, 0))
            if row.superseded_at is None:
                terms[key] = row.terms
        return terms, versions


def _tags_of(bound: Mapping[str, Holder], kind: Kind) -> dict[Key, tuple[str, ...]]:
    found: dict[Key, tuple[str, ...]] = {}
    for uid in sorted(bound):
        holder = bound[uid]
        if holder.kind is kind:
            found[holder.key] = (*found.get(holder.key, ()), uid)
    return found
