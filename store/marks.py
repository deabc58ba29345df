"""Marks as the ledger keeps them, and the reads that make it look again.

The hot path only notes a doubt: a few comparisons in memory. Once the doubt's span has closed, so
that times no longer move, the site is looked at around it, and what changed is told.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from devices.ids import Identity, Instant
from devices.proofs import Proved
from rules.clusters import clusters
from rules.events import Notice
from rules.marks import (
    BURST,
    BURST_MS,
    CARRIED_MS,
    REACH_MS,
    Ground,
    Mark,
    MarkKind,
    Place,
    Seen,
    marks,
    too_far,
)
from rules.oddities import marked, unmarked
from rules.promises import Obligation as Promise
from rules.promises import Round
from store import replays
from store.entries import EntryKind, EntryRow, ViaCode
from store.evidence import CHECKPOINT, CORRECTION, DEVICE, ENTRY, PERSON
from store.holdings import HELD, Rounds, with_holder
from store.obligations import LONGEST_EARLY_MS, LONGEST_MS, OBLIGATION, SITE, Plans
from store.picture import Picture
from store.prepared import Prepared
from store.tables import Doubt, table_of
from store.tables import Mark as MarkTable
from store.taps import furthest

DOUBT = table_of(Doubt)
MARK = table_of(MarkTable)

REMEMBERED = 100_000
"""Devices, people and tags remembered; beyond it all are forgotten, which costs a look each."""


# On the hot path: which reads are worth a look ----------------------------------------------------


@dataclass(slots=True)
class _Paces:
    """What a picture says of how fast reads may follow each other. `ordered`: sites by id."""

    version: int
    least: Mapping[int, int]
    ordered: frozenset[int]
    places: Mapping[int, Place]


@dataclass(slots=True)
class MarkBook:
    """Remembers each device's, person's and tag's last read. For the ledger's writer only."""

    picture: Picture | None = None
    _paces: _Paces | None = None
    _blind: Instant | None = None
    _last: dict[int, tuple[Instant, int]] = field(default_factory=dict)  # when, which checkpoint
    _times: dict[int, deque[Instant]] = field(default_factory=dict)
    _bursting: set[int] = field(default_factory=set)
    _tags: dict[str, tuple[Instant, int]] = field(default_factory=dict)  # when, by which device
    _counters: dict[int, tuple[int, Instant]] = field(default_factory=dict)
    _doubts: set[tuple[int, Instant]] = field(default_factory=set)  # which site, when

    def forget(self) -> None:
        """The transaction did not commit: the next reads are looked at, whatever they are."""
        self._doubts.clear()
        self._empty()

    def _empty(self) -> None:
        """Nothing is remembered: for a while every read that might follow another is looked at."""
        self._blind = None
        remembered = (self._last, self._times, self._bursting, self._tags, self._counters)
        for each in remembered:
            each.clear()

    def read(self, row: EntryRow, person_id: int | None = None) -> None:
        """A new read of a checkpoint; `person_id`: whose it is by what is remembered."""
        paces, site, at, device = self._current(), row.site_id, row.at, row.device_id
        if paces is None or site is None or row.checkpoint_id is None or device is None:
            return
        if self._blind is None:
            self._blind = row.received_at + REACH_MS
        odd = site in paces.ordered
        odd |= self._follows(paces, site, device, row.checkpoint_id, at)
        if person_id is not None:
            odd |= self._follows(paces, site, -person_id, row.checkpoint_id, at)
        odd |= self._bursts(device, at)
        odd |= self._carried(row.tag or "", device, at)
        if odd:
            self._doubts.add((site, at))

    def tapped(self, connection: Connection, row: EntryRow, proved: Proved) -> None:
        """A new read that carries a proof: worth a look but where it is plainly the next one.

        What an earlier run has read is asked of the ledger: behind a replay, the next ones too are
        no higher than what was read before it.
        """
        enrolment, ctr = proved.enrolment_id or 0, proved.ctr or 0
        last = self._counters.get(enrolment) or furthest(connection, enrolment)
        if last is not None and ctr > last[0] and row.at >= last[1]:
            self._counters[enrolment] = (ctr, row.at)
            return
        highest, latest = last or (ctr, row.at)
        self._counters[enrolment] = (max(ctr, highest), max(row.at, latest))
        if row.site_id is not None:
            self.doubt(row.site_id, row.at)

    def doubt(self, site: int, at: Instant) -> None:
        """Marks around `at` may be other ones now."""
        self._doubts.add((site, at))

    def flush(self, connection: Connection) -> bool:
        """Write the doubts down; whether there were any."""
        if not self._doubts:
            return False
        _DOUBT.each(connection, [{"site_id": site, "at": at} for site, at in sorted(self._doubts)])
        self._doubts.clear()
        if len(self._last) + len(self._tags) + len(self._counters) > REMEMBERED:
            self._empty()
        return True

    def _follows(self, paces: _Paces, site: int, who: int, checkpoint: int, at: Instant) -> bool:
        """Whether it came out of time's order, or too soon after the read before.

        `who`: a device, or a person, less than 0.
        """
        last = self._last.get(who)
        if last is None:
            self._last[who] = (at, checkpoint)
            return self._is_blind(at)
        before, elsewhere = last
        if at < before:
            return True  # what is remembered stays the latest
        self._last[who] = (at, checkpoint)
        if elsewhere == checkpoint:
            return False
        took = at - before
        if took < paces.least.get(site, 0):
            return True
        if not paces.places:
            return False
        one, other = paces.places.get(elsewhere), paces.places.get(checkpoint)
        return one is not None and other is not None and too_far(one, other, took) is not None

    def _bursts(self, device: int, at: Instant) -> bool:
        """Whether the device passes what is usual with this read: the ones after it say no more."""
        times = self._times.get(device)
        if times is None:
            times = self._times[device] = deque(maxlen=BURST)
        few, since = len(times) < BURST, times[0] if times else at
        times.append(at)
        if few:
            return self._is_blind(at)
        if at - since >= BURST_MS:
            self._bursting.discard(device)
            return False
        if device in self._bursting:
            return False
        self._bursting.add(device)
        return True

    def _carried(self, tag: str, device: int, at: Instant) -> bool:
        """Whether nobody can have carried the tag here from the device that read it before."""
        before = self._tags.get(tag)
        if before is None or before[0] <= at:
            self._tags[tag] = (at, device)
        return before is not None and before[1] != device and at - before[0] < CARRIED_MS

    def _is_blind(self, at: Instant) -> bool:
        """Whether what came before `at` may have been forgotten, or heard by an earlier run."""
        return self._blind is None or at < self._blind

    def _current(self) -> _Paces | None:
        picture, paces = self.picture, self._paces
        if picture is None:
            return None
        if paces is None or paces.version != picture.version:
            paces = self._paces = _paces(picture)
        return paces


def _paces(picture: Picture) -> _Paces:
    least: dict[int, int] = {}
    ordered: set[int] = set()
    for plan in picture.plans():
        least[plan.site_id] = max(least.get(plan.site_id, 0), plan.min_gap)
        if plan.ordered:
            ordered.add(plan.site_id)
    places = {
        point.id: Place(point.lat, point.lon)
        for point in picture.checkpoints.values()
        if point.lat is not None and point.lon is not None
    }
    return _Paces(picture.version, least, frozenset(ordered), places)


_DOUBT = Prepared(insert(DOUBT), columns=("site_id", "at"))


# Looking again ------------------------------------------------------------------------------------


def look_again(connection: Connection, plans: Plans, limit: int) -> tuple[bool, list[Notice]]:
    """Resolve all doubts about the sites of the `limit` oldest, and say whether there may be more.

    And what is to be told. Where they come faster than they are resolved, a look answers many.
    """
    oldest = select(DOUBT.c.site_id).order_by(DOUBT.c.id).limit(limit)
    rows = connection.execute(select(DOUBT).where(DOUBT.c.site_id.in_(oldest))).all()
    notices: list[Notice] = []
    for site_id in sorted({row.site_id for row in rows}):
        times = sorted({row.at for row in rows if row.site_id == site_id})
        for since, until in clusters(times, REACH_MS):
            notices += _look(connection, plans, site_id, since, until)
            notices += replays.look(connection, site_id, since, until)
    if rows:
        connection.execute(delete(DOUBT).where(DOUBT.c.id.in_([row.id for row in rows])))
    return len(rows) >= limit, notices


def _look(
    connection: Connection, plans: Plans, site_id: int, since: Instant, until: Instant
) -> list[Notice]:
    """Marks of the reads in [since, until + REACH_MS], and of ordered rounds that overlap it."""
    near = _rounds(connection, plans, site_id, since, until)
    ordered = [owed for owed in near if isinstance(owed.terms, Round) and owed.terms.ordered]
    first = min([since, *(owed.opens - owed.early for owed in ordered)])
    last = max([until + REACH_MS, *(owed.due for owed in ordered)])
    rounds = _rounds(connection, plans, site_id, first - REACH_MS, last)
    whole = [owed for owed in rounds if isinstance(owed.terms, Round) and owed.terms.ordered]
    fetch_from = min([first - REACH_MS, *(owed.opens - owed.early for owed in whole)])
    fetch_to = max([last + REACH_MS, *(owed.due for owed in whole)])
    seen = _seen(connection, site_id, fetch_from, fetch_to)
    places = _places(connection, site_id)
    found = marks((read for read, _ in seen), Ground(rounds=rounds, places=places))
    entries = {read.identity: entry for read, entry in seen}
    here = {
        (entries[mark.read.identity], mark.kind): mark
        for mark in found
        if _asked(mark.kind, mark.read.at, since, until, ordered)
    }
    site = connection.execute(select(SITE.c.slug).where(SITE.c.id == site_id)).scalar_one()
    return _changes(connection, site_id, str(site), here, (first, last, since, until, ordered))


def _asked(
    kind: MarkKind, at: Instant, since: Instant, until: Instant, ordered: Sequence[Promise]
) -> bool:
    if kind is MarkKind.OUT_OF_ORDER:
        return any(owed.opens - owed.early <= at < owed.due for owed in ordered)
    return since <= at <= until + REACH_MS


def _changes(
    connection: Connection,
    site_id: int,
    site: str,
    here: Mapping[tuple[int, MarkKind], Mark],
    asked: tuple[Instant, Instant, Instant, Instant, Sequence[Promise]],
) -> list[Notice]:
    """Write what is marked now, take away what is refuted; what is to be told of both."""
    first, last, since, until, ordered = asked
    query = select(MARK).where(MARK.c.site_id == site_id, MARK.c.at >= first, MARK.c.at <= last)
    stood = {
        (row.entry_id, MarkKind(row.kind)): row
        for row in connection.execute(query)
        if row.kind != MarkKind.REPLAYED
        and _asked(MarkKind(row.kind), row.at, since, until, ordered)
    }
    notices = []
    for key, row in stood.items():
        if key in here:
            continue
        same = (MARK.c.entry_id == row.entry_id) & (MARK.c.kind == row.kind)
        connection.execute(delete(MARK).where(same))
        identity, imported = _identity(connection, row.entry_id)
        over = unmarked(site, key[1], identity, row.at, row.data)
        notices.append(replace(over, quiet=imported))
    for (entry, kind), mark in here.items():
        data = dict(marked(site, mark).data)
        values = {"site_id": site_id, "at": mark.read.at, "data": data}
        new = upsert(MARK).values(entry_id=entry, kind=kind.value, **values)
        written = new.on_conflict_do_update(index_elements=["entry_id", "kind"], set_=values)
        connection.execute(written)
        notices.append(replace(marked(site, mark), quiet=mark.read.imported))
    return notices


def _identity(connection: Connection, entry_id: int) -> tuple[str, bool]:
    """What an entry is called, and whether it was imported."""
    query = (
        select(DEVICE.c.slug, ENTRY.c.epoch, ENTRY.c.seq, ENTRY.c.via)
        .join(DEVICE, DEVICE.c.id == ENTRY.c.device_id)
        .where(ENTRY.c.id == entry_id)
    )
    *identity, via = connection.execute(query).one()
    return str(Identity(*identity)), via == ViaCode.IMPORT


def _rounds(
    connection: Connection, plans: Plans, site_id: int, since: Instant, until: Instant
) -> list[Promise]:
    """The site's rounds whose [opens - early, due) touches [since, until]."""
    query = select(OBLIGATION).where(
        OBLIGATION.c.site_id == site_id,
        OBLIGATION.c.opens > since - LONGEST_MS,
        OBLIGATION.c.opens <= until + LONGEST_EARLY_MS,
        OBLIGATION.c.due > since,
        OBLIGATION.c.kind == "round",
    )
    found = (plans.promise(connection, row) for row in connection.execute(query).all())
    return [owed for owed in found if owed.opens - owed.early <= until]


_SEEN = (
    select(
        ENTRY.c.id,
        DEVICE.c.slug.label("device"),
        ENTRY.c.epoch,
        ENTRY.c.seq,
        ENTRY.c.tag,
        ENTRY.c.via,
        CHECKPOINT.c.slug.label("checkpoint"),
        PERSON.c.slug.label("person"),
        ENTRY.c.at,
        CORRECTION.c.at.label("corrected"),
        *HELD,
    )
    .select_from(
        with_holder(
            ENTRY.join(CHECKPOINT, CHECKPOINT.c.id == ENTRY.c.checkpoint_id)
            .join(DEVICE, DEVICE.c.id == ENTRY.c.device_id)
            .outerjoin(PERSON, PERSON.c.id == ENTRY.c.person_id)
            .outerjoin(CORRECTION, CORRECTION.c.entry_id == ENTRY.c.id)
        )
    )
    .where(ENTRY.c.kind == EntryKind.CHECKIN.value)
)
_AS_TOLD = _SEEN.where(
    ENTRY.c.site_id == bindparam("site"),
    ENTRY.c.at >= bindparam("since"),
    ENTRY.c.at <= bindparam("until"),
    CORRECTION.c.entry_id.is_(None),
)
_CORRECTED = _SEEN.where(
    CORRECTION.c.site_id == bindparam("site"),
    CORRECTION.c.at >= bindparam("since"),
    CORRECTION.c.at <= bindparam("until"),
)


def _seen(
    connection: Connection, site_id: int, since: Instant, until: Instant
) -> list[tuple[Seen, int]]:
    span = {"site": site_id, "since": since, "until": until}
    rows = [*connection.execute(_AS_TOLD, span), *connection.execute(_CORRECTED, span)]
    rounds = Rounds()

    def person(row: Row[*tuple[Any, ...]]) -> str | None:
        at = row.at if row.corrected is None else row.corrected
        held = (row.holder, row.held_since, row.held_at)
        return row.person or rounds.whose(connection, *held, at)

    return [
        (
            Seen(
                identity=str(Identity(row.device, row.epoch, row.seq)),
                tag=row.tag,
                checkpoint=row.checkpoint,
                device=row.device,
                person=person(row),
                at=row.at if row.corrected is None else row.corrected,
                imported=row.via == ViaCode.IMPORT,
                touched=row.via not in (ViaCode.GPS, ViaCode.BLE),
            ),
            row.id,
        )
        for row in rows
    ]


def _places(connection: Connection, site_id: int) -> dict[str, Place]:
    query = select(CHECKPOINT.c.slug, CHECKPOINT.c.lat, CHECKPOINT.c.lon).where(
        CHECKPOINT.c.site_id == site_id, CHECKPOINT.c.lat.is_not(None)
    )
    return {row.slug: Place(row.lat, row.lon) for row in connection.execute(query)}


def marks_of(connection: Connection, entry_ids: Iterable[int]) -> dict[int, list[tuple[str, Any]]]:
    """The marks of some entries, by entry: kind and data."""
    found: dict[int, list[tuple[str, Any]]] = {}
    query = select(MARK).where(MARK.c.entry_id.in_(list(entry_ids))).order_by(MARK.c.kind)
    for row in connection.execute(query):
        found.setdefault(row.entry_id, []).append((row.kind, row.data))
    return found
