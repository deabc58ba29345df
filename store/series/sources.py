"""What the series is fed from: each source a query by an ascending key, and the line of a row.

A source is read in pages from where its cursor stands; by CROSS JOIN SQLite goes from the page to
what it names, whatever its statistics say. Verdicts and events are written as their latest revision
says, whichever revision the page met: an old page written again can then never put an old verdict
over a new one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, Table, TextClause, delete, insert, select, text
from sqlalchemy.dialects.sqlite import insert as upsert

from devices.ids import Instant
from devices.messages import Via
from devices.proofs import Proof
from rules.clocks import timing
from rules.promises import Trust
from store.entries import EntryKind, ViaCode
from store.series import lines
from store.series.ports import Reject
from store.tables import Cursor, Sample, SeriesReject, table_of
from store.taps import REPLAYED_SQL, RETELLING, proof_of

CURSOR = table_of(Cursor)
SAMPLE = table_of(Sample)
REJECT = table_of(SeriesReject)

VIA = {code.value: Via[code.name].value for code in ViaCode}


class Page(NamedTuple):
    """What a source has in `(after, position]`; up to `top` there is more to be read."""

    source: "Source"
    after: int
    position: int
    top: int
    lines: Sequence[str] = ()
    rejected: Sequence[Reject] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One kind of point. `top`: the highest key that may be read now; `rows` gives `position`."""

    name: str
    top: TextClause
    rows: TextClause
    line: Callable[[Row[Any], Instant], str]

    def page(self, connection: Connection, limit: int, now: Instant) -> Page:
        """The next rows, about `limit` at most; an empty page when there is nothing new."""
        after = self.after(connection)
        top = max(connection.execute(self.top).scalar() or 0, after)
        if top == after or limit <= 0:
            return Page(self, after, after, top)
        span = {"after": after, "top": top, "limit": limit}
        rows = connection.execute(self.rows, span).all()
        position = rows[-1].position if len(rows) >= limit else top
        return Page(self, after, position, top, *_encode(rows, self.line, now))

    def after(self, connection: Connection) -> int:
        """The last key that is written."""
        query = select(CURSOR.c.position).where(CURSOR.c.name == self.name)
        return connection.execute(query).scalar() or 0

    def advance(self, connection: Connection, position: int) -> None:
        """Remember that all up to `position` is written."""
        row = upsert(CURSOR).values(name=self.name, position=position)
        there = {"position": position}
        connection.execute(row.on_conflict_do_update(index_elements=["name"], set_=there))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained(Source):
    """The rows of `table` are deleted once written; SQLite gives their keys anew then, so no cursor
    stands."""

    table: Table

    def after(self, connection: Connection) -> int:
        """Nothing that is written is still there."""
        return 0

    def advance(self, connection: Connection, position: int) -> None:
        """Delete what is written."""
        connection.execute(delete(self.table).where(self.table.c.id <= position))


def _encode(
    rows: Sequence[Row[Any]], line: Callable[[Row[Any], Instant], str], now: Instant
) -> tuple[list[str], list[Reject]]:
    """Each distinct line once, and what no series can hold."""
    made: dict[str, None] = {}
    rejected: list[Reject] = []
    for row in rows:
        try:
            made[line(row, now)] = None
        except lines.Unwritable as error:
            rejected.append(Reject(str(row), str(error)))
    return list(made), rejected


# Check-ins ---------------------------------------------------------------------------------------

# An entry is ripe when the span of its arrival is closed: only then is its time settled, and a
# point whose time were corrected later would stand twice. Open spans are always the latest.
_CHECKINS_TOP = text("""
    SELECT coalesce(
        (SELECT min(first_entry) - 1
           FROM (SELECT first_entry, before FROM arrival ORDER BY id DESC LIMIT 16) latest
          WHERE before IS NULL),
        (SELECT max(id) FROM entry))
""")
_CHECKINS_OF = f"""
    SELECT {{key}} AS position, site.slug AS site, checkpoint.slug AS checkpoint,
           device.slug AS device, person.slug AS person, entry.epoch, entry.seq, entry.via,
           coalesce(correction.at, entry.at) AS at, entry.sent, entry.received_at, entry.body,
           checkpoint.proof AS asked, tap.proof, {REPLAYED_SQL} AS replayed,
           arrival.after AS arrived_after, correction.how
      FROM {{rows}}
     CROSS JOIN site ON site.id = entry.site_id
     CROSS JOIN device ON device.id = entry.device_id
      LEFT JOIN checkpoint ON checkpoint.id = entry.checkpoint_id
      LEFT JOIN person ON person.id = entry.person_id
      LEFT JOIN arrival ON arrival.id = entry.arrival_id
      LEFT JOIN correction ON correction.entry_id = entry.id
      LEFT JOIN tap ON tap.entry_id = entry.id
     WHERE {{key}} > :after AND {{key}} <= :top AND entry.kind = {EntryKind.CHECKIN.value}
     ORDER BY {{key}} LIMIT :limit
"""  # noqa: S608 - the words are ours
_CHECKINS = text(_CHECKINS_OF.format(key="entry.id", rows="entry"))

# What was proved, or found to be a replay, once its point was written. What was not written yet is
# left to the cursor: its time may not be settled.
_RETOLD_TOP = text("SELECT max(id) FROM retelling")
_RETOLD = text(
    _CHECKINS_OF.format(
        key="retelling.id",
        rows="""retelling
     CROSS JOIN entry ON entry.id = retelling.entry_id
           AND entry.id <= (SELECT position FROM cursor WHERE name = 'series.checkin')""",
    )
)


class _Carried(msgspec.Struct):
    """The gauges among what a check-in's body holds."""

    bat: int | None = None
    rssi: int | None = None


_carried = msgspec.json.Decoder(_Carried).decode
_NOTHING = _Carried()


def _checkin(row: Any, now: Instant) -> str:
    """Time is the event's own: the corrected one where there is one, else the device's."""
    # Taken apart at once: of all a row's attributes by name costs as much as the line.
    (
        *_,
        site,
        checkpoint,
        device,
        person,
        epoch,
        seq,
        via,
        at,
        sent,
        received_at,
        body,
        asked,
        proof,
        replayed,
        after,
        how,
    ) = row
    carried = _carried(body) if body else _NOTHING
    return lines.checkin(
        lines.CheckinPoint(
            site=site,
            device=device,
            epoch=epoch,
            seq=seq,
            checkpoint=checkpoint,
            via=VIA.get(via),
            person=person,
            at=at,
            sent=sent,
            received_at=received_at,
            battery=carried.bat,
            rssi=carried.rssi,
            proven=_is_dated(at, sent, after, how) and _is_there(asked, proof, replayed),
        )
    )


def _is_there(asked: str | None, proof: str | None, replayed: int) -> bool:
    """Whether it proves as much as is asked there, and nothing that its tag says is wrong."""
    if asked is None and proof is None:
        return True
    return proof_of(proof, replayed) is Proof.PROVEN


def _is_dated(at: Instant, sent: Instant | None, after: Instant | None, how: str | None) -> bool:
    """Whether the time stands on something: a correction, or `sent` within the arrival's span."""
    if how is not None:
        return how != Trust.UNPROVEN
    if after is None:
        return False
    return timing(at=at, sent=sent, after=after, before=None).trust is Trust.TRUSTED


# Rounds, events, hazards -------------------------------------------------------------------------

_ROUNDS_TOP = text("SELECT max(id) FROM verdict")
_ROUNDS = text("""
    SELECT met.id AS position, site.slug AS site, plan.slug AS plan, obligation.key, obligation.due,
           obligation.expected, obligation.visited, latest.standing, latest.revision,
           obligation.scored, json_array_length(latest.late) AS late
      FROM verdict met
     CROSS JOIN obligation ON obligation.id = met.obligation_id
     CROSS JOIN verdict latest ON latest.obligation_id = obligation.id
           AND latest.revision = (SELECT max(revision) FROM verdict every
                                   WHERE every.obligation_id = obligation.id)
      JOIN site ON site.id = obligation.site_id
      JOIN plan ON plan.id = obligation.plan_id
     WHERE met.id > :after AND met.id <= :top
       AND obligation.kind = 'round' AND latest.standing <> 'pending'
     ORDER BY met.id LIMIT :limit
""")


def _round(row: Row[Any], now: Instant) -> str:
    return lines.round_(
        lines.RoundPoint(
            site=row.site,
            plan=row.plan,
            key=row.key,
            due=row.due,
            verdict=row.standing,
            expected=row.expected,
            visited=row.visited,
            late=row.late,
            revision=row.revision,
            scored=bool(row.scored),
        )
    )


# A point keeps the time of its event's first revision, so that a later one is never a second point.
_EVENTS_TOP = text("SELECT max(id) FROM event")
_EVENTS = text("""
    SELECT met.id AS position, site.slug AS site, met.kind, met.subject, earliest.at,
           latest.event_id, latest.severity, latest.state, latest.revision
      FROM event met
     CROSS JOIN event latest ON latest.kind = met.kind AND latest.subject = met.subject
           AND latest.revision = (SELECT max(revision) FROM event every
                                   WHERE every.kind = met.kind AND every.subject = met.subject)
     CROSS JOIN event earliest ON earliest.kind = met.kind AND earliest.subject = met.subject
           AND earliest.revision = (SELECT min(revision) FROM event every
                                     WHERE every.kind = met.kind AND every.subject = met.subject)
      LEFT JOIN site ON site.id = earliest.site_id
     WHERE met.id > :after AND met.id <= :top
     ORDER BY met.id LIMIT :limit
""")


def _event(row: Row[Any], now: Instant) -> str:
    return lines.event(
        lines.EventPoint(
            site=row.site,
            kind=row.kind,
            event_id=row.event_id,
            severity=row.severity,
            subject=row.subject,
            at=row.at,
            revision=row.revision,
            state=row.state,
        )
    )


# Hazards that changed together may share a counter: whole counters only, or some would be skipped.
# One that is told of in a span that is still open waits: as for check-ins, its time is not settled.
_HAZARDS_TOP = text("""
    SELECT coalesce(
        (SELECT min(hazard.changed) - 1
           FROM hazard_step
          CROSS JOIN hazard ON hazard.id = hazard_step.hazard
          WHERE hazard_step.entry_id >= (SELECT min(first_entry) FROM arrival
                                          WHERE before IS NULL)),
        (SELECT max(changed) FROM hazard))
""")
_HAZARDS = text("""
    SELECT hazard.changed AS position, hazard.id, site.slug AS site,
           hazard.reported_category, hazard.category, hazard.state, hazard.grade,
           hazard.reported_at, hazard.closed_at,
           EXISTS (SELECT 1 FROM event latest
                    WHERE latest.kind = 'hazard.overdue' AND latest.subject = hazard.id
                      AND latest.state <> 'resolved'
                      AND latest.revision = (SELECT max(revision) FROM event every
                                              WHERE every.kind = 'hazard.overdue'
                                                AND every.subject = hazard.id)) AS overdue
      FROM hazard
      JOIN site ON site.id = hazard.site_id
     WHERE hazard.changed > :after AND hazard.changed <= coalesce(
           (SELECT changed FROM hazard WHERE changed > :after AND changed <= :top
             ORDER BY changed LIMIT 1 OFFSET :limit - 1), :top)
     ORDER BY hazard.changed
""")


def _hazard(row: Row[Any], now: Instant) -> str:
    ended = now if row.closed_at is None else row.closed_at
    return lines.hazard(
        lines.HazardPoint(
            site=row.site,
            reported_category=row.reported_category,
            category=row.category,
            hazard_id=row.id,
            reported_at=row.reported_at,
            state=row.state,
            grade=row.grade,
            is_open=row.closed_at is None,
            is_overdue=bool(row.overdue),
            age_ms=max(ended - row.reported_at, 0),
        )
    )


_SAMPLES_TOP = text("SELECT max(id) FROM sample")
_SAMPLES = text("""
    SELECT id AS position, line FROM sample
     WHERE id > :after AND id <= :top ORDER BY id LIMIT :limit
""")

SOURCES: tuple[Source, ...] = (
    Source(name="series.event", top=_EVENTS_TOP, rows=_EVENTS, line=_event),
    Source(name="series.round", top=_ROUNDS_TOP, rows=_ROUNDS, line=_round),
    Source(name="series.hazard", top=_HAZARDS_TOP, rows=_HAZARDS, line=_hazard),
    Drained(
        name="series.sample",
        top=_SAMPLES_TOP,
        rows=_SAMPLES,
        line=lambda row, now: str(row.line),
        table=SAMPLE,
    ),
    Drained(name="series.retold", top=_RETOLD_TOP, rows=_RETOLD, line=_checkin, table=RETELLING),
    Source(name="series.checkin", top=_CHECKINS_TOP, rows=_CHECKINS, line=_checkin),
)
"""The gravest first: behind a backlog of check-ins, verdicts and events are not late."""


def add_samples(connection: Connection, at: Instant, sampled: Sequence[str]) -> None:
    """Keep gauges (lines of `lines.site_state`, `device`, `service`) until the series has them."""
    if sampled:
        connection.execute(insert(SAMPLE), [{"at": at, "line": line} for line in sampled])


def drop_samples(connection: Connection, before: Instant, limit: int) -> int:
    """Drop at most `limit` of the oldest gauges, those of before `before`; returns how many."""
    oldest = select(SAMPLE.c.id).order_by(SAMPLE.c.id).limit(limit).scalar_subquery()
    too_old = delete(SAMPLE).where(SAMPLE.c.id.in_(oldest), SAMPLE.c.at < before)
    return connection.execute(too_old).rowcount


def add_rejects(connection: Connection, at: Instant, rejected: Sequence[Reject]) -> None:
    """Keep what the series refuses for good, with its words."""
    if rejected:
        rows = [{"at": at, "line": line, "error": error} for line, error in rejected]
        connection.execute(insert(REJECT), rows)


def rewind(connection: Connection) -> None:
    """Set every cursor of the series to the beginning of the ledger."""
    names = [source.name for source in SOURCES]
    connection.execute(CURSOR.update().where(CURSOR.c.name.in_(names)).values(position=0))
