"""Marks as the ledger keeps them: a site is looked at around a doubt (`store.doubts`), once its
times no longer move, and what changed is told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec import structs
from sqlalchemy import Connection, Integer, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert as upsert

from devices.ids import Identity, Instant, identity_of
from rules.clusters import clusters
from rules.events import Notice
from rules.marks import REACH_MS, Ground, Mark, MarkKind, Place, Seen, marks
from rules.oddities import marked, unmarked
from rules.promises import Obligation as Promise
from rules.promises import Round
from store import replays
from store.doubts import DOUBT
from store.entries import EntryKind, ViaCode
from store.evidence import CHECKPOINT, CORRECTION, DEVICE, ENTRY, PERSON
from store.holdings import HELD, Rounds, with_holder
from store.obligations import LONGEST_EARLY_MS, LONGEST_MS, OBLIGATION, SITE, Owed, Plans
from store.prepared import Prepared
from store.tables import Mark as MarkTable
from store.tables import table_of

MARK = table_of(MarkTable)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """Where doubts in [since, until] about a site may have changed marks: its reads there and up
    to `REACH_MS` later, and `ordered` rounds that overlap it; all of that lies in [first, last]."""

    site_id: int
    since: Instant
    until: Instant
    first: Instant
    last: Instant
    ordered: tuple[Promise, ...]

    def holds(self, kind: MarkKind, at: Instant) -> bool:
        """Whether such a mark of a read at that instant may have changed."""
        if kind is MarkKind.OUT_OF_ORDER:
            return any(owed.opens - owed.early <= at < owed.due for owed in self.ordered)
        return self.since <= at <= self.until + REACH_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """Which doubts were looked at, and the marks that hold in each span, by entry.

    `more`: whether there may be other doubts.
    """

    doubts: tuple[int, ...]
    found: tuple[tuple[_Span, Mapping[tuple[int, MarkKind], Mark]], ...]
    more: bool


def look(connection: Connection, plans: Plans, limit: int) -> Looked:
    """Look at all doubts about the sites of the `limit` oldest; it writes nothing.

    It takes as long as there are reads around them, and so is not for the ledger's one writer: what
    comes in behind it has doubts of its own. Where they come faster than they are resolved, a look
    answers many.
    """
    rows = _DOUBTED.all(connection, most=limit)
    times: dict[int, set[Instant]] = {}
    for _, site_id, at in rows:
        times.setdefault(site_id, set()).add(at)
    found = tuple(
        _look(connection, plans, site_id, since, until)
        for site_id in sorted(times)
        for since, until in clusters(sorted(times[site_id]), REACH_MS)
    )
    return Looked(doubts=tuple(row[0] for row in rows), found=found, more=len(rows) >= limit)


def resolve(connection: Connection, looked: Looked) -> list[Notice]:
    """Write down what a look found, and say what is to be told of it; its doubts are no more."""
    notices: list[Notice] = []
    for span, here in looked.found:
        notices += _changes(connection, span, here)
        notices += replays.look(connection, span.site_id, span.since, span.until)
    if looked.doubts:
        _RESOLVED.each(connection, [{"it": doubt} for doubt in looked.doubts])
    return notices


_OLDEST = select(DOUBT.c.site_id).order_by(DOUBT.c.id).limit(bindparam("most", type_=Integer))
_DOUBTED = Prepared(
    select(DOUBT.c.id, DOUBT.c.site_id, DOUBT.c.at).where(DOUBT.c.site_id.in_(_OLDEST))
)
_RESOLVED = Prepared(delete(DOUBT).where(DOUBT.c.id == bindparam("it")))


def _look(
    connection: Connection, plans: Plans, site_id: int, since: Instant, until: Instant
) -> tuple[_Span, Mapping[tuple[int, MarkKind], Mark]]:
    rounds = _rounds(connection, plans, site_id, since - REACH_MS, until + REACH_MS)
    near = (owed for owed in rounds if since < owed.due and owed.opens - owed.early <= until)
    ordered = tuple(owed for owed in near if isinstance(owed.terms, Round) and owed.terms.ordered)
    first = min([since, *(owed.opens - owed.early for owed in ordered)])
    last = max([until + REACH_MS, *(owed.due for owed in ordered)])
    if ordered:
        rounds = _rounds(connection, plans, site_id, first - REACH_MS, last)
    span = _Span(site_id=site_id, since=since, until=until, first=first, last=last, ordered=ordered)
    whole = [owed for owed in rounds if isinstance(owed.terms, Round) and owed.terms.ordered]
    fetch_from = min([first - REACH_MS, *(owed.opens - owed.early for owed in whole)])
    fetch_to = max([last + REACH_MS, *(owed.due for owed in whole)])
    seen = _seen(connection, site_id, fetch_from, fetch_to)
    places = _places(connection, site_id)
    found = marks((read for read, _ in seen), Ground(rounds=rounds, places=places))
    entries = {read.identity: entry for read, entry in seen}
    return span, {
        (entries[mark.read.identity], mark.kind): mark
        for mark in found
        if span.holds(mark.kind, mark.read.at)
    }


def _changes(
    connection: Connection, span: _Span, here: Mapping[tuple[int, MarkKind], Mark]
) -> list[Notice]:
    """Write what is marked now, take away what is refuted; what is to be told of both."""
    rows = _STOOD.all(connection, site=span.site_id, since=span.first, until=span.last)
    stood = {
        (row.entry_id, MarkKind(row.kind)): row
        for row in map(_Stood._make, rows)
        if row.kind != MarkKind.REPLAYED and span.holds(MarkKind(row.kind), row.at)
    }
    if not stood and not here:
        return []
    site = _slug(connection, span.site_id)
    notices = []
    for key, row in stood.items():
        if key in here:
            continue
        _REFUTED.run(connection, entry=row.entry_id, what=row.kind)
        identity, imported = _identity(connection, row.entry_id)
        over = unmarked(site, key[1], identity, row.at, row.data)
        notices.append(structs.replace(over, quiet=imported))
    for (entry, kind), mark in here.items():
        notice = marked(site, mark)
        data = dict(notice.data)
        if (known := stood.get((entry, kind))) is not None and known.data == data:
            continue  # told already: of a device that floods there are many
        place = {"site_id": span.site_id, "at": mark.read.at}
        _MARKED.run(connection, entry_id=entry, kind=kind.value, **place, data=data)
        notices.append(structs.replace(notice, quiet=mark.read.imported))
    return notices


class _Stood(NamedTuple):
    """A mark as the ledger holds it."""

    entry_id: int
    kind: str
    at: Instant
    data: Any


_STOOD = Prepared(
    select(*(MARK.c[name] for name in _Stood._fields)).where(
        MARK.c.site_id == bindparam("site"),
        MARK.c.at >= bindparam("since"),
        MARK.c.at <= bindparam("until"),
    )
)
_REFUTED = Prepared(
    delete(MARK).where(MARK.c.entry_id == bindparam("entry"), MARK.c.kind == bindparam("what"))
)
_NEW = upsert(MARK)
_MARKED = Prepared(
    _NEW.on_conflict_do_update(
        index_elements=["entry_id", "kind"],
        set_={name: _NEW.excluded[name] for name in ("site_id", "at", "data")},
    ),
    columns=("entry_id", "kind", "site_id", "at", "data"),
)
_SLUG = Prepared(select(SITE.c.slug).where(SITE.c.id == bindparam("site")))


def _slug(connection: Connection, site_id: int) -> str:
    found = _SLUG.first(connection, site=site_id)
    if found is None:
        raise LookupError(f"the ledger has no site {site_id}")
    return str(found[0])


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
    span = {"begins": since - LONGEST_MS, "ends": until + LONGEST_EARLY_MS, "since": since}
    rows = _ROUNDS.all(connection, site=site_id, **span)
    found = (plans.promise(connection, Owed._make(row)) for row in rows)
    return [owed for owed in found if owed.opens - owed.early <= until]


_ROUNDS = Prepared(
    select(*(OBLIGATION.c[name] for name in Owed._fields)).where(
        OBLIGATION.c.site_id == bindparam("site"),
        OBLIGATION.c.opens > bindparam("begins"),
        OBLIGATION.c.opens <= bindparam("ends"),
        OBLIGATION.c.due > bindparam("since"),
        OBLIGATION.c.kind == "round",
    )
)


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
_AS_TOLD = Prepared(
    _SEEN.where(
        ENTRY.c.site_id == bindparam("site"),
        ENTRY.c.at >= bindparam("since"),
        ENTRY.c.at <= bindparam("until"),
        CORRECTION.c.entry_id.is_(None),
    )
)
_CORRECTED = Prepared(
    _SEEN.where(
        CORRECTION.c.site_id == bindparam("site"),
        CORRECTION.c.at >= bindparam("since"),
        CORRECTION.c.at <= bindparam("until"),
    )
)


class _Row(NamedTuple):
    """A read as `_SEEN` has it: `corrected` where its clock was wrong, and whose tag was before."""

    id: int
    device: str
    epoch: int
    seq: int
    tag: str
    via: int | None
    checkpoint: str
    person: str | None
    at: Instant
    corrected: Instant | None
    holder: str | None
    held_since: Instant | None
    held_at: int | None


def _seen(
    connection: Connection, site_id: int, since: Instant, until: Instant
) -> list[tuple[Seen, int]]:
    span = {"site": site_id, "since": since, "until": until}
    found = (row for query in (_AS_TOLD, _CORRECTED) for row in query.all(connection, **span))
    rounds, seen = Rounds(), []
    for row in map(_Row._make, found):
        at = row.at if row.corrected is None else row.corrected
        held = (row.holder, row.held_since, row.held_at)
        read = Seen(
            identity=identity_of(row.device, row.epoch, row.seq),
            tag=row.tag,
            checkpoint=row.checkpoint,
            device=row.device,
            person=row.person or rounds.whose(connection, *held, at),
            at=at,
            imported=row.via == ViaCode.IMPORT,
            touched=row.via not in (ViaCode.GPS, ViaCode.BLE),
        )
        seen.append((read, row.id))
    return seen


def _places(connection: Connection, site_id: int) -> dict[str, Place]:
    rows = _PLACED.all(connection, site=site_id)
    return {slug: Place(lat, lon) for slug, lat, lon in rows}


_PLACED = Prepared(
    select(CHECKPOINT.c.slug, CHECKPOINT.c.lat, CHECKPOINT.c.lon).where(
        CHECKPOINT.c.site_id == bindparam("site"), CHECKPOINT.c.lat.is_not(None)
    )
)


def marks_of(connection: Connection, entry_ids: Iterable[int]) -> dict[int, list[tuple[str, Any]]]:
    """The marks of some entries, by entry: kind and data."""
    found: dict[int, list[tuple[str, Any]]] = {}
    query = select(MARK).where(MARK.c.entry_id.in_(list(entry_ids))).order_by(MARK.c.kind)
    for row in connection.execute(query):
        found.setdefault(row.entry_id, []).append((row.kind, row.data))
    return found
