"""Replays as the ledger keeps them: looked at again where a doubt says so, over all devices.

What a doubt may have changed are the reads of the same taps, and those of the tag within reach
after it; they are compared with all within reach before them, whatever their site.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from devices.ids import Identity, Instant
from devices.proofs import Proof
from rules.clusters import clusters
from rules.events import Notice
from rules.marks import Mark, MarkKind, Seen
from rules.oddities import marked, unmarked
from rules.promises import Trust
from rules.replays import REACH_MS, Tapped, replays
from store.enrolments import ENROLMENT
from store.evidence import ARRIVAL, CHECKPOINT, CORRECTION, DEVICE, ENTRY, PERSON, trust_of
from store.obligations import SITE
from store.prepared import Prepared
from store.tables import Mark as MarkTable
from store.tables import table_of
from store.taps import TAP

MARK = table_of(MarkTable)

_TAPS: Select[Any] = (
    select(
        ENTRY.c.id,
        SITE.c.id.label("site_id"),
        SITE.c.slug.label("site"),
        ENTRY.c.device_id,
        DEVICE.c.slug.label("device"),
        ENTRY.c.epoch,
        ENTRY.c.seq,
        ENTRY.c.tag,
        func.coalesce(CHECKPOINT.c.slug, ENTRY.c.tag).label("checkpoint"),
        PERSON.c.slug.label("person"),
        ENTRY.c.at.label("told_at"),
        ENTRY.c.sent,
        ARRIVAL.c.after,
        ARRIVAL.c.before,
        CORRECTION.c.at.label("corrected"),
        CORRECTION.c.how,
        TAP.c.enrolment_id,
        TAP.c.ctr,
        TAP.c.at,
    )
    .select_from(TAP)
    .join(ENTRY, ENTRY.c.id == TAP.c.entry_id)
    .join(SITE, SITE.c.id == ENTRY.c.site_id)
    .join(DEVICE, DEVICE.c.id == ENTRY.c.device_id)
    .join(ARRIVAL, ARRIVAL.c.id == ENTRY.c.arrival_id)
    .outerjoin(CHECKPOINT, CHECKPOINT.c.id == ENTRY.c.checkpoint_id)
    .outerjoin(PERSON, PERSON.c.id == ENTRY.c.person_id)
    .outerjoin(CORRECTION, CORRECTION.c.entry_id == ENTRY.c.id)
    .where(TAP.c.proof == Proof.PROVEN.value)
)


_ENROLLED = Prepared(select(ENROLMENT.c.id).limit(1))
_KIND = MarkKind.REPLAYED
_STOOD = Prepared(
    select(MARK.c.at, MARK.c.data).where(
        MARK.c.entry_id == bindparam("entry"), MARK.c.kind == _KIND.value
    )
)


def look(connection: Connection, site_id: int, since: Instant, until: Instant) -> list[Notice]:
    """Mark what replays the taps that were read at a site in [since, until] show, or refute."""
    if _ENROLLED.first(connection) is None:
        return []
    doubted: dict[int, list[Row[Any]]] = {}
    for row in _read_at(connection, site_id, since, until):
        doubted.setdefault(row.enrolment_id, []).append(row)
    notices: list[Notice] = []
    for enrolment in sorted(doubted):
        notices += _look(connection, enrolment, doubted[enrolment])
    return notices


def _read_at(
    connection: Connection, site_id: int, since: Instant, until: Instant
) -> Iterator[Row[Any]]:
    """The taps that were, as told or as corrected, in that span; each once."""
    told = (ENTRY.c.site_id == site_id) & ENTRY.c.at.between(since, until)
    corrected = (CORRECTION.c.site_id == site_id) & CORRECTION.c.at.between(since, until)
    rows = [row for here in (told, corrected) for row in connection.execute(_TAPS.where(here))]
    yield from {row.id: row for row in rows}.values()


def _look(connection: Connection, enrolment: int, doubted: Sequence[Row[Any]]) -> list[Notice]:
    """What these may have changed: reads of the same taps, and those within reach behind them."""
    of_it = _TAPS.where(TAP.c.enrolment_id == enrolment)
    same = [
        row
        for some in _batches({row.ctr for row in doubted})
        for row in connection.execute(of_it.where(TAP.c.ctr.in_(some)))
    ]
    times = sorted({at for row in same for at in (row.at, row.told_at, _at(row))})
    for row in same:  # a third time may have been found since it was written
        right = update(TAP).where(TAP.c.entry_id == row.id, TAP.c.at != _at(row))
        connection.execute(right.values(at=_at(row)))
    notices: list[Notice] = []
    for since, until in clusters(times, REACH_MS):
        last = until + REACH_MS
        here = TAP.c.at.between(since - REACH_MS, last)
        told = select(TAP.c.ctr).where(TAP.c.enrolment_id == enrolment, here)
        near = connection.execute(of_it.where(TAP.c.ctr.in_(told))).all()
        asked = {_identity(row): row for row in near if since <= _at(row) <= last}
        found = replays(map(_tapped, near))
        marks = {mark.read.identity: mark for mark in found if mark.read.identity in asked}
        notices += _changes(connection, asked, marks)
    return notices


def _batches(counters: Iterable[int], size: int = 500) -> Iterator[list[int]]:
    """So many at once as a statement may hold."""
    some = sorted(counters)
    yield from (some[start : start + size] for start in range(0, len(some), size))


def _changes(
    connection: Connection, asked: Mapping[str, Row[Any]], here: Mapping[str, Mark]
) -> list[Notice]:
    """Write what is marked now, take away what is refuted; what is to be told of both."""
    notices: list[Notice] = []
    for identity, row in sorted(asked.items()):
        stood = _STOOD.first(connection, entry=row.id)
        if identity in here:
            notice = marked(row.site, here[identity])
            values = {"site_id": row.site_id, "at": notice.at, "data": dict(notice.data)}
            new = upsert(MARK).values(entry_id=row.id, kind=_KIND.value, **values)
            keys = ["entry_id", "kind"]
            connection.execute(new.on_conflict_do_update(index_elements=keys, set_=values))
            notices.append(notice)
        elif stood is not None:
            same = (MARK.c.entry_id == row.id) & (MARK.c.kind == _KIND.value)
            connection.execute(delete(MARK).where(same))
            notices.append(unmarked(row.site, _KIND, identity, *stood))
    return notices


def _tapped(row: Row[Any]) -> Tapped:
    trust = trust_of(row.how, row.sent, row.after, row.before)
    return Tapped(
        read=Seen(
            identity=_identity(row),
            tag=row.tag,
            checkpoint=row.checkpoint,
            device=row.device,
            person=row.person,
            at=_at(row),
        ),
        ctr=row.ctr,
        came=(row.after, row.told_at, row.device_id, row.epoch, row.seq),
        sure=trust is not Trust.UNPROVEN,
    )


def _at(row: Row[Any]) -> Instant:
    return int(row.told_at if row.corrected is None else row.corrected)


def _identity(row: Row[Any]) -> str:
    return str(Identity(row.device, row.epoch, row.seq))
