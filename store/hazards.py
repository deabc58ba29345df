"""Hazards as the ledger keeps them: each folded anew from its report and every step told of it.

A step may arrive before the report it belongs to; it waits in `hazard_step` until that is there.
"""

import json
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from devices.ids import Identity, Instant
from devices.messages import Grade, HazardAction
from rules.cases import Case, Step, fold
from rules.events import EventKind, Notice, hazard_closed, hazard_opened, hazard_reopened
from store.tables import (
    Checkpoint,
    Correction,
    Device,
    Entry,
    EventRow,
    Hazard,
    HazardStep,
    Person,
    Site,
    table_of,
)

EVENT = table_of(EventRow)
ENTRY = table_of(Entry)
HAZARD = table_of(Hazard)
STEP = table_of(HazardStep)
DEVICE = table_of(Device)
PERSON = table_of(Person)
CHECKPOINT = table_of(Checkpoint)
SITE = table_of(Site)
CORRECTION = table_of(Correction)

_TOLD = (
    select(
        ENTRY,
        DEVICE.c.slug.label("device"),
        PERSON.c.slug.label("person"),
        CHECKPOINT.c.slug.label("checkpoint"),
        CHECKPOINT.c.name.label("place"),
        SITE.c.slug.label("site"),
        CORRECTION.c.at.label("corrected"),
    )
    .join(STEP, STEP.c.entry_id == ENTRY.c.id)
    .join(DEVICE, DEVICE.c.id == ENTRY.c.device_id)
    .join(SITE, SITE.c.id == ENTRY.c.site_id)
    .outerjoin(PERSON, PERSON.c.id == ENTRY.c.person_id)
    .outerjoin(CHECKPOINT, CHECKPOINT.c.id == ENTRY.c.checkpoint_id)
    .outerjoin(CORRECTION, CORRECTION.c.entry_id == ENTRY.c.id)
)


def unreported(connection: Connection) -> list[tuple[str, int]]:
    """Hazards of which steps were told and no report has come, with how many steps."""
    query = (
        select(STEP.c.hazard, func.count())
        .where(~select(HAZARD.c.id).where(HAZARD.c.id == STEP.c.hazard).exists())
        .group_by(STEP.c.hazard)
        .order_by(STEP.c.hazard)
    )
    return [(row[0], row[1]) for row in connection.execute(query)]


def take_step(connection: Connection, hazard: str, entry_id: int) -> tuple[Notice, ...]:
    """Take a new hazard entry into its case: `hazard` is the identity of the report.

    Returns what is to be told. While the report has not come, nothing is.
    """
    connection.execute(insert(STEP).values(hazard=hazard, entry_id=entry_id))
    return _fold(connection, hazard)


def take_again(connection: Connection, entry_id: int) -> tuple[Notice, ...]:
    """Fold the case of a hazard entry again, since its time was corrected; as `take_step`."""
    query = select(STEP.c.hazard).where(STEP.c.entry_id == entry_id)
    hazard = connection.execute(query).scalar()
    return () if hazard is None else _fold(connection, hazard)


def _fold(connection: Connection, hazard: str) -> tuple[Notice, ...]:
    found = _folded(connection, hazard)
    if found is None:
        return ()
    case, report = found
    _write(connection, case, report)
    if case.closed_at is not None:
        return hazard_closed(report.site, case, place=report.place)
    opened = hazard_opened(report.site, case, place=report.place)
    if not _was_closed(connection, hazard):
        return (opened,)
    return opened, hazard_reopened(report.site, case, place=report.place)


def _was_closed(connection: Connection, hazard: str) -> bool:
    """Whether a step that came too late to be known had it told as closed."""
    told = select(EVENT.c.id).where(EVENT.c.kind == EventKind.HAZARD_CLOSED.value)
    return connection.execute(told.where(EVENT.c.subject == hazard).limit(1)).first() is not None


def case_of(connection: Connection, hazard: str) -> Case | None:
    """The case as everything told of it makes it, or None where there is no such report."""
    found = _folded(connection, hazard)
    return None if found is None else found[0]


def _folded(connection: Connection, hazard: str) -> tuple[Case, Row[*tuple[Any, ...]]] | None:
    told = {
        str(Identity(row.device, row.epoch, row.seq)): row
        for row in connection.execute(_TOLD.where(STEP.c.hazard == hazard))
    }
    report = told.get(hazard)
    if report is None or _step(hazard, report).action is not HazardAction.REPORT:
        return None
    steps = [_step(identity, row) for identity, row in told.items()]
    return fold(_step(hazard, report), steps), report


def _step(identity: str, row: Row[*tuple[Any, ...]]) -> Step:
    body: dict[str, Any] = json.loads(row.body) if row.body else {}
    grade = body.get("grade")
    return Step(
        identity=identity,
        at=row.at if row.corrected is None else row.corrected,
        action=HazardAction(body.get("action", HazardAction.REPORT)),
        device=row.device,
        person=row.person,
        grade=None if grade is None else Grade(grade),
        category=body.get("category"),
        text=body.get("text"),
        checkpoint=row.checkpoint,
    )


def _write(connection: Connection, case: Case, report: Row[*tuple[Any, ...]]) -> None:
    latest: Instant = connection.execute(select(func.max(HAZARD.c.changed))).scalar() or 0
    values = {
        "state": case.state.value,
        "category": case.category,
        "grade": case.grade.value,
        "reported_at": case.reported_at,  # corrected once the span of its arrival is closed
        "closed_at": case.closed_at,
        "changed": latest + 1,
    }
    row = upsert(HAZARD).values(
        id=case.id,
        site_id=report.site_id,
        received_at=report.received_at,
        text=case.report.text,
        reported_category=case.report.category,
        checkpoint_id=report.checkpoint_id,
        person_id=report.person_id,
        **values,
    )
    again = values | {"revision": HAZARD.c.revision + 1}
    connection.execute(row.on_conflict_do_update(index_elements=["id"], set_=again))
