"""Replays as the ledger keeps them: looked at again where a doubt says so, over all devices.

What a doubt may have changed are the reads of the same tag from then on, and those of the same tap;
all of them are compared, whatever their site. What was before is one row: the highest counter.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from devices.ids import Identity, Instant
from devices.proofs import Proof
from rules.events import Notice
from rules.marks import Mark, MarkKind, Seen
from rules.oddities import marked, unmarked
from rules.promises import Trust
from rules.replays import SLACK_MS, Tapped, highest, replays
from store.enrolments import ENROLMENT
from store.evidence import ARRIVAL, CHECKPOINT, CORRECTION, DEVICE, ENTRY, PERSON, trust_of
from store.obligations import SITE
from store.tables import Mark as MarkTable
from store.taps import TAP

MARK = MarkTable.__table__  # type: ignore[attr-defined]

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


def look(connection: Connection, site_id: int, since: Instant, until: Instant) -> list[Notice]:
    """Mark what replays the taps that were read at a site in [since, until] show, or refute."""
    if connection.execute(select(ENROLMENT.c.id).limit(1)).first() is None:
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
    of_it = _TAPS.where(TAP.c.enrolment_id == enrolment)
    counters = {row.ctr for row in doubted}
    same = connection.execute(of_it.where(TAP.c.ctr.in_(counters))).all()
    since = min(min(row.at, row.told_at, _at(row)) for row in same)
    for row in same:  # a third time may have been found since it was written
        right = update(TAP).where(TAP.c.entry_id == row.id, TAP.c.at != _at(row))
        connection.execute(right.values(at=_at(row)))
    near = connection.execute(of_it.where(TAP.c.at >= since - 2 * SLACK_MS)).all()
    lowest = min(row.ctr for row in near)
    earlier = of_it.where(TAP.c.at < since - 2 * SLACK_MS, TAP.c.ctr > lowest)
    before = _highest(connection.execute(earlier.order_by(TAP.c.ctr.desc())))
    asked = {row.id: row for row in near if _at(row) >= since}
    ids = {_identity(row): row.id for row in asked.values()}
    found = replays(map(_tapped, near), before)
    here = {ids[mark.read.identity]: mark for mark in found if mark.read.identity in ids}
    return _changes(connection, asked, here)


def _highest(rows: Iterable[Row[Any]]) -> Tapped | None:
    """Of rows by falling counter: no further than is needed."""
    walk = map(_tapped, rows)
    first = next((tap for tap in walk if tap.sure), None)
    if first is None:
        return None
    return highest([first, *takewhile(lambda tap: tap.ctr == first.ctr, walk)])


def _changes(
    connection: Connection, asked: dict[int, Row[Any]], here: dict[int, Mark]
) -> list[Notice]:
    """Write what is marked now, take away what is refuted; what is to be told of both."""
    kind = MarkKind.REPLAYED
    of_kind = (MARK.c.kind == kind.value) & MARK.c.entry_id.in_(asked)
    stood = {row.entry_id: row for row in connection.execute(select(MARK).where(of_kind))}
    notices = []
    for entry in sorted(stood.keys() - here.keys()):
        row = stood[entry]
        same = (MARK.c.entry_id == entry) & (MARK.c.kind == kind.value)
        connection.execute(delete(MARK).where(same))
        told = asked[entry]
        notices.append(unmarked(told.site, kind, _identity(told), row.at, row.data))
    for entry in sorted(here):
        notice = marked(asked[entry].site, here[entry])
        values = {"site_id": asked[entry].site_id, "at": notice.at, "data": dict(notice.data)}
        new = upsert(MARK).values(entry_id=entry, kind=kind.value, **values)
        connection.execute(
            new.on_conflict_do_update(index_elements=["entry_id", "kind"], set_=values)
        )
        notices.append(notice)
    return notices


def _tapped(row: Row[Any]) -> Tapped:
    trust = trust_of(row.how, row.told_at, row.sent, row.after, row.before)
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
