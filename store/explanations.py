"""What the ledger holds about one obligation, for whoever asks why it was judged as it was."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import structs
from sqlalchemy import Connection, Row, select

from devices.adapters.heard import TimeSource
from devices.ids import Identity, Instant
from rules.calendar import Calendar
from rules.plans import Plan
from rules.promises import Obligation as Promise
from rules.promises import Read, Verdict
from store.calendars import calendar_of, version_of
from store.entries import ENTRY, time_source
from store.evidence import ARRIVAL, CORRECTION, DEVICE, PERSON, reads_for
from store.marks import marks_of
from store.obligations import OBLIGATION, SITE, VERSION, Plans, siblings
from store.spans import SpanRow, substitutions
from store.verdicts import VERDICT

AROUND_MS = 3_600_000
"""Reads this much before and after the window are told too: they are what people argue about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """How a read came in. `sent`: the device's clock then; it arrived in `[after, before]`.

    `time_source`: who tells when it happened.
    """

    sent: Instant | None
    time_source: TimeSource
    after: Instant
    before: Instant | None
    corrected_how: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A revision of the verdict, and when it was given."""

    revision: int
    judged_at: Instant
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """An obligation with everything that bears on it; `verdicts` by revision.

    `owner`: id and name of who answers for it, as it was when it opened. `substitutions`: who
    walked in whose place then; that never changes who answers.
    """

    promise: Promise
    plan: Plan
    version: int
    applied_at: Instant
    site_name: str
    calendar: Calendar
    siblings: tuple[Promise, ...]
    reads: tuple[Read, ...]
    arrived: dict[str, Arrived]
    marks: dict[str, tuple[tuple[str, Any], ...]]
    verdicts: tuple[Judgement, ...]
    people: dict[str, str]
    owner: tuple[str, str] | None = None
    substitutions: tuple[SpanRow, ...] = ()


def dossier(connection: Connection, key: str) -> Dossier | None:
    """Everything about the obligation `key`; None where there is none."""
    row = connection.execute(select(OBLIGATION).where(OBLIGATION.c.key == key)).first()
    if row is None:
        return None
    plans = Plans()
    promise = plans.promise(connection, row)
    reads = _reads(connection, row.site_id, promise)
    version = connection.execute(
        select(VERSION.c.version, VERSION.c.applied_at).where(VERSION.c.id == row.plan_version_id)
    ).one()
    site = connection.execute(
        select(SITE.c.name, SITE.c.calendar).where(SITE.c.id == row.site_id)
    ).one()
    return Dossier(
        promise=promise,
        plan=plans.of(connection, row.plan_version_id),
        version=version.version,
        applied_at=version.applied_at,
        site_name=site.name,
        calendar=_calendar(connection, row, site.calendar),
        siblings=siblings(connection, row, plans) if row.kind != "gap" else (),
        reads=reads,
        arrived={read.identity: _arrived(connection, read.identity) for read in reads},
        marks=_marks(connection, reads),
        verdicts=_verdicts(connection, row.id),
        people=_people(connection, reads),
        owner=_owner(connection, row.owner_id),
        substitutions=tuple(
            found
            for found in substitutions(connection, row.plan_id)
            if found.since_at < row.closes and found.until_at > row.opens
        ),
    )


def _owner(connection: Connection, person_id: int | None) -> tuple[str, str] | None:
    query = select(PERSON.c.slug, PERSON.c.name).where(PERSON.c.id == person_id)
    row = connection.execute(query).first()
    return None if row is None else (row.slug, row.name)


def _calendar(connection: Connection, row: Row[*tuple[Any, ...]], document: Any) -> Calendar:
    """The calendar by which it was made; of old ones, which kept none, that of now."""
    made_by = version_of(connection, row.calendar_id)
    return made_by or calendar_of(connection, row.site_id, document)


def near_keys(connection: Connection, key: str, limit: int = 3) -> list[str]:
    """Keys that begin as `key` does, the latest first, for whoever mistyped one."""
    start = "/".join(key.split("/")[:2])
    query = select(OBLIGATION.c.key).where(OBLIGATION.c.key.startswith(start, autoescape=True))
    found = connection.execute(query.order_by(OBLIGATION.c.opens.desc()).limit(limit))
    return list(found.scalars())


def _reads(connection: Connection, site_id: int, promise: Promise) -> tuple[Read, ...]:
    wide = structs.replace(promise, early=promise.early + AROUND_MS)
    found = reads_for(connection, site_id, wide, promise.due + AROUND_MS, who=True)
    here = [read for read in found if read.checkpoint in promise.places]
    return tuple(sorted(here, key=lambda read: (read.at, read.identity)))


def _verdicts(connection: Connection, obligation_id: int) -> tuple[Judgement, ...]:
    query = select(VERDICT.c.revision, VERDICT.c.judged_at, VERDICT.c.document)
    query = query.where(VERDICT.c.obligation_id == obligation_id).order_by(VERDICT.c.revision)
    return tuple(
        Judgement(
            revision=row.revision,
            judged_at=row.judged_at,
            verdict=Verdict.from_json(row.document),
        )
        for row in connection.execute(query)
    )


def _arrived(connection: Connection, identity: str) -> Arrived:
    device, epoch, seq = Identity.parse(identity)
    query = (
        select(ENTRY.c.sent, ENTRY.c.body, ARRIVAL.c.after, ARRIVAL.c.before, CORRECTION.c.how)
        .join(DEVICE, DEVICE.c.id == ENTRY.c.device_id)
        .join(ARRIVAL, ARRIVAL.c.id == ENTRY.c.arrival_id)
        .outerjoin(CORRECTION, CORRECTION.c.entry_id == ENTRY.c.id)
        .where(DEVICE.c.slug == device, ENTRY.c.epoch == epoch, ENTRY.c.seq == seq)
    )
    row = connection.execute(query).one()
    return Arrived(
        sent=row.sent,
        time_source=time_source(row.body),
        after=row.after,
        before=row.before,
        corrected_how=row.how,
    )


def _marks(connection: Connection, reads: Sequence[Read]) -> dict[str, tuple[tuple[str, Any], ...]]:
    entries = {_entry(connection, read.identity): read.identity for read in reads}
    found = marks_of(connection, entries)
    return {entries[entry]: tuple(marks) for entry, marks in found.items()}


def _entry(connection: Connection, identity: str) -> int:
    device, epoch, seq = Identity.parse(identity)
    query = (
        select(ENTRY.c.id)
        .join(DEVICE, DEVICE.c.id == ENTRY.c.device_id)
        .where(DEVICE.c.slug == device, ENTRY.c.epoch == epoch, ENTRY.c.seq == seq)
    )
    return int(connection.execute(query).scalar_one())


def _people(connection: Connection, reads: Sequence[Read]) -> dict[str, str]:
    slugs = {read.person for read in reads if read.person is not None}
    query = select(PERSON.c.slug, PERSON.c.name).where(PERSON.c.slug.in_(slugs))
    return {row.slug: row.name for row in connection.execute(query)}
