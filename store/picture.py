"""The registry as the hot path sees it: in memory, immutable, replaced whole when it changes.

`load_picture` makes it from the ledger in a handful of queries; placing a read is then two dict
lookups. `registry_version` is cheap enough to ask before each batch.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Table, false, func, select

from devices import topics
from devices.adapters.table import ADAPTERS
from devices.ids import Instant
from devices.proofs import Enrolment
from rules.holders import USUAL, Hold
from store.calendars import Tables
from store.enrolments import enrolments
from store.prepared import Prepared
from store.profiles import Profiles
from store.reach import sites_below
from store.tables import (
    Area,
    Checkpoint,
    Device,
    DevicePlace,
    Person,
    Plan,
    PlanVersion,
    RegistryRevision,
    Site,
    Tag,
    table_of,
)


class Stay(NamedTuple):
    """Where a device belonged in [since, until): the sites it might report from."""

    since: Instant
    until: Instant
    site_ids: frozenset[int]


class DeviceInfo(NamedTuple):
    """A device and the sites it may report from. `heartbeat_ms` None: silence means nothing.

    `before`: where it belonged before it was moved, newest first; empty where it never was.
    `protocol`, `address`: how it speaks, and what it is called there, where not by our contract.
    `checkpoint_id`: where it hangs, so that a person's tag read there is a visit.
    """

    id: int
    slug: str
    site_ids: frozenset[int]
    retired: bool
    heartbeat_ms: int | None
    before: tuple[Stay, ...] = ()
    protocol: str = topics.PROTOCOL
    address: str | None = None
    checkpoint_id: int | None = None

    @property
    def keeps(self) -> bool:
        """Whether it keeps its records until a receipt covers them: it speaks our contract."""
        return self.address is None

    def ever(self, site_id: int) -> bool:
        """Whether it may report from the site, or might have, some time."""
        return site_id in self.site_ids or any(site_id in stay.site_ids for stay in self.before)

    def was_at(self, site_id: int, at: Instant) -> int | None:
        """The site of what happened to it at `at` and was told under `site_id`.

        A device that was moved hands in under its new site what it read at the old one. None: at
        that time it might not report from there.
        """
        then = self.sites_at(at)
        if site_id in then:
            return site_id
        if site_id in self.site_ids and len(then) == 1:
            (only,) = then
            return only
        return None

    def sites_at(self, at: Instant) -> frozenset[int]:
        """The sites it might report from then; where its topic says none, one of them it is."""
        return next((s.site_ids for s in self.before if s.since <= at < s.until), self.site_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteInfo:
    """A site. `calendar` is the JSON that `rules.calendar.Calendar.from_json` reads.

    `decided`: which day tables and special periods hold for it; another tuple, other rounds.
    """

    id: int
    slug: str
    name: str
    timezone: str
    calendar: Mapping[str, Any]
    decided: tuple[str, ...] = ()
    person_tag_holds: Hold = USUAL


class PersonInfo(NamedTuple):
    """A person, by pseudonym."""

    id: int
    slug: str
    name: str


class CheckpointInfo(NamedTuple):
    """A checkpoint of a site. `proof` is `sun` where a bare UID does not suffice."""

    id: int
    slug: str
    name: str
    site_id: int
    area: str | None
    risk: str | None
    proof: str | None
    lat: float | None
    lon: float | None
    retired: bool


class PlanInfo(NamedTuple):
    """A plan that is in force or waits to be, and what a check-in asks of it: `min_gap` in ms.

    The plan itself stays in the ledger until a round of it is looked at (`obligations.Plans`): at
    each start, reading a hundred thousand of them took as long as everything else.
    """

    plan_id: int
    site_id: int
    slug: str
    min_gap: int
    ordered: bool


class Place(NamedTuple):
    """What a tag stands for at a site and an instant: a checkpoint, a person, or nothing.

    `proof`: the checkpoint is one where a bare UID does not suffice.
    """

    checkpoint_id: int | None = None
    person_id: int | None = None
    slug: str | None = None
    name: str | None = None
    proof: bool = False


NOWHERE = Place()
"""The place of a tag that nobody registered, or that belongs to another site."""

_EVER = 2**63 - 1


class _Binding(NamedTuple):
    """A tag stands for `place` in [since, until); at one site, or at any (a person's tag)."""

    since: Instant
    until: Instant
    site_id: int | None
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The registry at one version. Ids are the ledger's integer keys, slugs what people write.

    `enrolments`: by UID, how its tag was given keys, the newest first.
    """

    version: int
    devices: Mapping[str, DeviceInfo]
    sites: Mapping[str, SiteInfo]
    sites_by_id: Mapping[int, SiteInfo]
    people: Mapping[str, PersonInfo]
    checkpoints: Mapping[int, CheckpointInfo]
    checkpoints_by_slug: Mapping[tuple[int, str], CheckpointInfo]
    bindings: Mapping[str, tuple[_Binding, ...]]
    plan_versions: tuple[PlanInfo, ...]
    readers: Mapping[tuple[str, str], DeviceInfo] = field(default_factory=dict)
    enrolments: Mapping[str, tuple[Enrolment, ...]] = field(default_factory=dict)
    protocols: tuple[str, ...] = ()  # those in use that speak over MQTT

    def reader(self, protocol: str, address: str) -> DeviceInfo | None:
        """The foreign reader of that address; a retired one only where no other has it now."""
        return self.readers.get((protocol, address))

    def device(self, slug: str) -> DeviceInfo | None:
        """The device of that id, retired ones included."""
        return self.devices.get(slug)

    def site(self, slug: str) -> SiteInfo | None:
        """The site of that id."""
        return self.sites.get(slug)

    def site_by_id(self, key: int) -> SiteInfo | None:
        """The site of that integer key."""
        return self.sites_by_id.get(key)

    def person(self, slug: str) -> PersonInfo | None:
        """The person of that pseudonym."""
        return self.people.get(slug)

    def checkpoint(self, key: int) -> CheckpointInfo | None:
        """The checkpoint of that integer key, retired ones included."""
        return self.checkpoints.get(key)

    def checkpoint_of(self, site_id: int, slug: str) -> CheckpointInfo | None:
        """The checkpoint of that id at a site, retired ones included."""
        return self.checkpoints_by_slug.get((site_id, slug))

    def read_at(self, device: DeviceInfo, place: Place) -> Place:
        """What was read stands for `place`, and where the device hangs a person's tag for that
        too."""
        if place.person_id is None or device.checkpoint_id is None:
            return place
        here = self.checkpoints[device.checkpoint_id]
        if here.retired:
            return place
        asks = here.proof is not None
        return place._replace(checkpoint_id=here.id, slug=here.slug, name=here.name, proof=asks)

    def plans(self) -> tuple[PlanInfo, ...]:
        """Plan versions that have not ended, oldest first."""
        return self.plan_versions

    def place(self, site_id: int, tag: str, at: Instant) -> Place:
        """What `tag` (normalized) stood for at `at`, read at that site; NOWHERE if nothing."""
        for since, until, bound_to, place in self.bindings.get(tag, ()):
            if since <= at < until and (bound_to is None or bound_to == site_id):
                return place
        return NOWHERE


def registry_version(connection: Connection) -> int:
    """The version of the registry: 0 before the first file, then one up at each change."""
    ((found,),) = _VERSION.all(connection)
    return found or 0


_VERSION = Prepared(select(func.max(table_of(RegistryRevision).c.id)))


def registry_applied_at(connection: Connection) -> Instant:
    """When the latest file that changed something was applied; 0 before the first."""
    found: int | None = connection.scalar(select(func.max(table_of(RegistryRevision).c.applied_at)))
    return found or 0


def load_picture(connection: Connection) -> Picture:
    """Read the whole registry. Call it within `reading`, so that it is of one instant."""
    sites = _sites(connection)
    checkpoints = _checkpoints(connection)
    devices = _devices(connection)
    readers = _readers(devices.values())
    people = _people(connection)
    by_id = {found.id: found for found in checkpoints}
    return Picture(
        version=registry_version(connection),
        devices=devices,
        readers=readers,
        protocols=tuple(p for p in ADAPTERS if any(p == protocol for protocol, _ in readers)),
        sites={site.slug: site for site in sites},
        sites_by_id={site.id: site for site in sites},
        people=people,
        checkpoints=by_id,
        checkpoints_by_slug={(found.site_id, found.slug): found for found in checkpoints},
        bindings=_bindings(connection, by_id, {person.id: person for person in people.values()}),
        plan_versions=_plans(connection),
        enrolments=enrolments(connection),
    )


def _all(connection: Connection, table: Table) -> Iterable[Row[*tuple[Any, ...]]]:
    return connection.execute(select(table).order_by(*table.primary_key.columns))


def _sites(connection: Connection) -> tuple[SiteInfo, ...]:
    tables, profiles = Tables(connection), Profiles(connection)
    return tuple(
        SiteInfo(
            id=row.id,
            slug=row.slug,
            name=row.name,
            timezone=row.timezone,
            calendar=row.calendar,
            person_tag_holds=Hold.parse(row.person_tag_holds),
            decided=(*(f"table {n}" for n in tables.ids(row.id)), *profiles.marks(row.id)),
        )
        for row in _all(connection, table_of(Site))
    )


def _people(connection: Connection) -> dict[str, PersonInfo]:
    person = table_of(Person)
    rows = connection.execute(select(person.c.id, person.c.slug, person.c.name))
    return {slug: PersonInfo(key, slug, name) for key, slug, name in rows}


def _checkpoints(connection: Connection) -> tuple[CheckpointInfo, ...]:
    point, area = table_of(Checkpoint), table_of(Area)
    told = {"area": area.c.slug, "retired": point.c.retired_at.is_not(None)}
    columns = [told[name] if name in told else point.c[name] for name in CheckpointInfo._fields]
    query = select(*columns).outerjoin_from(point, area, area.c.id == point.c.area_id)
    return tuple(CheckpointInfo._make(row) for row in connection.execute(query))


def _devices(connection: Connection) -> dict[str, DeviceInfo]:
    below = sites_below(connection)
    of_site: dict[int, frozenset[int]] = {}
    nowhere: frozenset[int] = frozenset()

    def sites(site_id: int | None, node_id: int | None) -> frozenset[int]:
        if site_id is None:
            return nowhere if node_id is None else below.get(node_id, nowhere)
        return of_site.setdefault(site_id, frozenset((site_id,)))

    before: dict[int, list[Stay]] = defaultdict(list)
    place = table_of(DevicePlace)
    left = select(place).where(place.c.until.is_not(None)).order_by(place.c.id.desc())
    for row in connection.execute(left):
        stay = Stay(row.since, row.until, sites(row.site_id, row.node_id))
        before[row.device_id].append(stay)
    device = table_of(Device)
    query = select(
        device.c.id,
        device.c.slug,
        device.c.site_id,
        device.c.node_id,
        device.c.retired_at.is_not(None),
        device.c.heartbeat_ms,
        device.c.protocol,
        device.c.address,
        device.c.checkpoint_id,
    ).order_by(device.c.id)
    found: dict[str, DeviceInfo] = {}
    for key, slug, site_id, node_id, retired, heartbeat_ms, *speaks in connection.execute(query):
        there, stays = sites(site_id, node_id), tuple(before.get(key, ()))
        found[slug] = DeviceInfo(key, slug, there, retired, heartbeat_ms, stays, *speaks)
    return found


def _readers(devices: Iterable[DeviceInfo]) -> dict[tuple[str, str], DeviceInfo]:
    found = sorted(devices, key=lambda device: not device.retired)
    return {(each.protocol, each.address): each for each in found if each.address is not None}


def _bindings(
    connection: Connection,
    checkpoints: Mapping[int, CheckpointInfo],
    people: Mapping[int, PersonInfo],
) -> dict[str, tuple[_Binding, ...]]:
    tag = table_of(Tag)
    until = func.coalesce(tag.c.until, _EVER)
    query = select(tag.c.uid, tag.c.since, until, tag.c.checkpoint_id, tag.c.person_id)
    found: dict[str, tuple[_Binding, ...]] = {}
    for uid, since, over, checkpoint_id, person_id in connection.execute(query.order_by(tag.c.id)):
        if checkpoint_id is not None:
            point = checkpoints[checkpoint_id]
            asks = point.proof is not None
            place = Place(point.id, None, point.slug, point.name, asks)
            bound = _Binding(since, over, point.site_id, place)
        else:
            person = people[person_id]
            bound = _Binding(since, over, None, Place(None, person.id, person.slug, person.name))
        # Newest first: a tag that has moved is mostly read where it is now.
        found[uid] = (bound, *found.get(uid, ()))
    return found


def _plans(connection: Connection) -> tuple[PlanInfo, ...]:
    plan, version = table_of(Plan), table_of(PlanVersion)
    terms = version.c.terms
    query = (
        select(
            version.c.plan_id,
            plan.c.site_id,
            plan.c.slug,
            func.coalesce(terms["min_gap"].as_integer(), 0),
            func.coalesce(terms["ordered"].as_boolean(), false()),
        )
        .join(plan, plan.c.id == version.c.plan_id)
        .where(version.c.ended_at.is_(None))
        .order_by(version.c.id)
    )
    return tuple(PlanInfo._make(row) for row in connection.execute(query))
