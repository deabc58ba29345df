"""Persons' tags that devices have read, and whose the reads after them are (`rules.holders`).

A holding is a person's tag read by a device: by the time that counts, which a correction may move.
It is kept beside the entry so that the one before a read is found at once; whose a read is, is
asked whenever somebody wants to know, and never written down: a tag that comes in late changes it.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    FromClause,
    and_,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    tuple_,
)

from devices.ids import Instant
from rules.holders import DAY, LONGEST, Hold, round_end
from store.entries import EntryKind, EntryRow
from store.obligations import LONGEST_MS, OBLIGATION
from store.prepared import Prepared
from store.reach import sites_below
from store.tables import (
    Arrival,
    Correction,
    DevicePlace,
    Entry,
    Person,
    table_of,
)
from store.tables import Holding as HoldingTable

HOLDING = table_of(HoldingTable)
PERSON = table_of(Person)
ENTRY = table_of(Entry)
ARRIVAL = table_of(Arrival)
CORRECTION = table_of(Correction)
PLACE = table_of(DevicePlace)

TOLD = '"person":'
"""What a body holds where its device said who held it, and the registry knew nobody so called."""


# As the stream brings them ------------------------------------------------------------------------


class Followed(NamedTuple):
    """A read after a person's tag: whose it is may be another's now."""

    site_id: int
    checkpoint_id: int | None
    at: Instant


def hold(
    connection: Connection, entry_id: int, row: EntryRow, person_id: int, hold: Hold
) -> list[Followed]:
    """Keep a person's tag that a device read; returns the reads that are this person's now."""
    values = {
        "entry_id": entry_id,
        "device_id": row.device_id,
        "epoch": row.epoch,
        "seq": row.seq,
        "site_id": row.site_id,
        "person_id": person_id,
        "at": row.at,
        "lasts": hold.lasts,
        "by_round": hold.by_round,
    }
    connection.execute(insert(HOLDING).values(values))
    return _after(connection, row.device_id or 0, row.at)


def followed(connection: Connection, entry_id: int, *times: Instant) -> list[Followed]:
    """The reads that may be another's since a person's tag was moved between these times.

    None where the entry is no person's tag.
    """
    device_id = _DEVICE_OF.first(connection, it=entry_id)
    if device_id is None:
        return []
    return [read for at in times for read in _after(connection, device_id[0], at)]


def sites_followed(connection: Connection, entry_id: int) -> set[int]:
    """The sites at which reads may follow a person's tag; none where the entry is no such tag."""
    device_id = _DEVICE_OF.first(connection, it=entry_id)
    return set() if device_id is None else _sites(connection, device_id[0])


def _after(connection: Connection, device_id: int, at: Instant) -> list[Followed]:
    """The device's reads from `at` to its next person's tag, as far as any tag may hold."""
    ends = _NEXT.first(connection, device=device_id, at=at)
    until = min(at + LONGEST, at + LONGEST if ends is None else ends[0])
    span = {"device": device_id, "since": at, "until": until}
    return [
        Followed(*row)
        for site_id in _sites(connection, device_id)
        for query in (_FOLLOWED, _FOLLOWED_CORRECTED)
        for row in query.all(connection, site=site_id, **span)
    ]


def _sites(connection: Connection, device_id: int) -> set[int]:
    """Every site that the device belongs to, or did."""
    places = _PLACES.all(connection, device=device_id)
    sites = {site_id for site_id, _ in places if site_id is not None}
    if any(node_id is not None for _, node_id in places):
        below = sites_below(connection)
        sites.update(*(below.get(node_id, ()) for _, node_id in places if node_id is not None))
    return sites


_DEVICE_OF = Prepared(select(HOLDING.c.device_id).where(HOLDING.c.entry_id == bindparam("it")))
_PLACES = Prepared(
    select(PLACE.c.site_id, PLACE.c.node_id).where(PLACE.c.device_id == bindparam("device"))
)
_NEXT = Prepared(
    select(func.min(HOLDING.c.at))
    .where(HOLDING.c.device_id == bindparam("device"), HOLDING.c.at > bindparam("at"))
    .having(func.min(HOLDING.c.at).is_not(None))
)
_FOLLOWED = Prepared(
    select(ENTRY.c.site_id, ENTRY.c.checkpoint_id, ENTRY.c.at).where(
        ENTRY.c.site_id == bindparam("site"),
        ENTRY.c.at >= bindparam("since"),
        ENTRY.c.at < bindparam("until"),
        ENTRY.c.device_id == bindparam("device"),
        ENTRY.c.kind == EntryKind.CHECKIN.value,
        ENTRY.c.checkpoint_id.is_not(None),
    )
)
_FOLLOWED_CORRECTED = Prepared(
    select(ENTRY.c.site_id, ENTRY.c.checkpoint_id, CORRECTION.c.at)
    .join(ENTRY, ENTRY.c.id == CORRECTION.c.entry_id)
    .where(
        CORRECTION.c.site_id == bindparam("site"),
        CORRECTION.c.at >= bindparam("since"),
        CORRECTION.c.at < bindparam("until"),
        ENTRY.c.device_id == bindparam("device"),
        ENTRY.c.kind == EntryKind.CHECKIN.value,
        ENTRY.c.checkpoint_id.is_not(None),
    )
)


class HolderBook:
    """Each device's last person's tag, for the writer's guess whether a read is worth a look."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[Instant, Instant, int] | None] = {}

    def forget(self) -> None:
        """The transaction did not commit."""
        self._last.clear()

    def held(self, row: EntryRow, person_id: int, hold: Hold) -> None:
        """A person's tag was read."""
        last = self._last.get(row.device_id or 0)
        if last is None or last[0] <= row.at:
            self._last[row.device_id or 0] = row.at, row.at + hold.lasts, person_id

    def of(self, connection: Connection, row: EntryRow) -> tuple[int | None, bool]:
        """Whose a read is that says nothing itself, and whether that is sure."""
        device_id = row.device_id or 0
        if device_id not in self._last:
            self._last[device_id] = _LAST.first(connection, device=device_id)
        last = self._last[device_id]
        if last is None:
            return None, True
        at, until, person_id = last
        return (person_id if at <= row.at < until else None), row.at >= at


_LAST = Prepared(
    select(HOLDING.c.at, HOLDING.c.at + HOLDING.c.lasts, HOLDING.c.person_id)
    .where(HOLDING.c.device_id == bindparam("device"))
    .order_by(HOLDING.c.at.desc(), HOLDING.c.epoch.desc(), HOLDING.c.seq.desc())
    .limit(1)
)


# Whose a read is, by all that is known ------------------------------------------------------------

HOLDER = PERSON.alias("holder")
AT = func.coalesce(CORRECTION.c.at, ENTRY.c.at)
_OTHER = HOLDING.alias("other_holding")
_LATEST = (
    select(_OTHER.c.entry_id)
    .where(_OTHER.c.device_id == ENTRY.c.device_id, _OTHER.c.at <= AT)
    .order_by(_OTHER.c.at.desc(), _OTHER.c.epoch.desc(), _OTHER.c.seq.desc())
    .limit(1)
    .correlate(ENTRY, CORRECTION)
    .scalar_subquery()
)
_UNTOLD = and_(
    ENTRY.c.person_id.is_(None), or_(ENTRY.c.body.is_(None), ~ENTRY.c.body.contains(TOLD))
)
HELD = (
    HOLDER.c.slug.label("holder"),
    case((HOLDING.c.by_round, HOLDING.c.at)).label("held_since"),
    HOLDING.c.site_id.label("held_at"),
)
"""The columns that `with_holder` adds; `Rounds.whose` reads them."""


def with_holder(reads: FromClause) -> FromClause:
    """Entries (joined with their corrections), each with the person's tag that was read before."""
    holds = and_(_UNTOLD, HOLDING.c.entry_id == _LATEST, HOLDING.c.at + HOLDING.c.lasts > AT)
    return reads.outerjoin(HOLDING, holds).outerjoin(HOLDER, HOLDER.c.id == HOLDING.c.person_id)


class Rounds:
    """When the rounds end that persons' tags hold for; each is looked up once."""

    def __init__(self) -> None:
        self._ends: dict[tuple[int, Instant], Instant | None] = {}

    def whose(
        self,
        connection: Connection,
        holder: str | None,
        held_since: Instant | None,
        held_at: int | None,
        at: Instant,
    ) -> str | None:
        """The holder of a read at `at`, if the tag held until then: the columns of `HELD`."""
        if held_since is None or held_at is None:
            return holder
        return holder if self._holds(connection, held_at, held_since, at) else None

    def _holds(self, connection: Connection, site_id: int, since: Instant, at: Instant) -> bool:
        key = site_id, since
        if key not in self._ends:
            span = {"begins": since - LONGEST_MS, "at": since, "ends": since + DAY}
            around = _ROUNDS.all(connection, site=site_id, **span)
            self._ends[key] = round_end(since, ((opens, due) for opens, due in around))
        ends = self._ends[key]
        return ends is not None and at < ends


_ROUNDS = Prepared(
    select(OBLIGATION.c.opens, OBLIGATION.c.due).where(
        OBLIGATION.c.site_id == bindparam("site"),
        OBLIGATION.c.opens > bindparam("begins"),
        OBLIGATION.c.opens <= bindparam("ends"),
        OBLIGATION.c.due > bindparam("at"),
        OBLIGATION.c.kind == "round",
    )
)


# Whose a read is, by what counts for a verdict ----------------------------------------------------


class Tag(NamedTuple):
    """A person's tag that was read, as evidence. It holds in `[at, until)` at most."""

    epoch: int
    seq: int
    entry_id: int
    person: str
    at: Instant
    until: Instant
    by_round: bool
    site_id: int
    told_at: Instant
    sent: Instant | None
    after: Instant
    before: Instant | None
    how: str | None
    via: int | None


def tags_before(connection: Connection, device_id: int, at: Instant) -> Iterator[Tag]:
    """The persons' tags that the device read at or before `at`, the latest first."""
    last: dict[str, Any] = {"last_at": at, "epoch": 2**53, "seq": 2**53}
    while True:
        rows = _TAGS.all(connection, device=device_id, since=at - LONGEST, **last)
        tags = [Tag(*row) for row in rows]
        yield from tags
        if len(rows) < PAGE:
            return
        last = {"last_at": tags[-1].at, "epoch": tags[-1].epoch, "seq": tags[-1].seq}


PAGE = 4
_TAGS = Prepared(
    select(
        HOLDING.c.epoch,
        HOLDING.c.seq,
        HOLDING.c.entry_id,
        PERSON.c.slug,
        HOLDING.c.at,
        HOLDING.c.at + HOLDING.c.lasts,
        HOLDING.c.by_round,
        HOLDING.c.site_id,
        ENTRY.c.at.label("told_at"),
        ENTRY.c.sent,
        ARRIVAL.c.after,
        ARRIVAL.c.before,
        CORRECTION.c.how,
        ENTRY.c.via,
    )
    .join(ENTRY, ENTRY.c.id == HOLDING.c.entry_id)
    .join(ARRIVAL, ARRIVAL.c.id == ENTRY.c.arrival_id)
    .join(PERSON, PERSON.c.id == HOLDING.c.person_id)
    .outerjoin(CORRECTION, CORRECTION.c.entry_id == HOLDING.c.entry_id)
    .where(
        HOLDING.c.device_id == bindparam("device"),
        HOLDING.c.at > bindparam("since"),
        tuple_(HOLDING.c.at, HOLDING.c.epoch, HOLDING.c.seq)
        < tuple_(bindparam("last_at"), bindparam("epoch"), bindparam("seq")),
    )
    .order_by(HOLDING.c.at.desc(), HOLDING.c.epoch.desc(), HOLDING.c.seq.desc())
    .limit(PAGE)
)
