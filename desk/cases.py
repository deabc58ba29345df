"""One hazard with its handling, one entry of the quarantine with its bytes."""

from dataclasses import dataclass

from sqlalchemy import Engine, select

from desk.errors import DeskError
from devices.ids import Instant
from rules.cases import Case
from store.database import reading
from store.hazards import case_of
from store.hazards import unreported as hazards_unreported
from store.listings import HAZARD, QUARANTINE, hazards, quarantine
from store.rows import HazardRow, QuarantineRow
from store.walking import Filter


@dataclass(frozen=True, slots=True, kw_only=True)
class HazardFile:
    """A hazard as listed, and the case with every step, taken or not."""

    row: HazardRow
    case: Case


def hazard(engine: Engine, id_: str) -> HazardFile:
    """A hazard by its id. Raises `DeskError` when there is none."""
    with reading(engine) as connection:
        case = case_of(connection, id_)
        at = connection.execute(select(HAZARD.c.reported_at).where(HAZARD.c.id == id_)).scalar()
    row = None if at is None else _listed(engine, id_, at)
    if case is None or row is None:
        raise DeskError(f"no hazard has the id {id_!r}", "gridbeat hazard list shows them")
    return HazardFile(row=row, case=case)


def unreported(engine: Engine) -> list[tuple[str, int]]:
    """Hazards of which steps are kept and no report is, with how many steps."""
    with reading(engine) as connection:
        return hazards_unreported(connection)


def _listed(engine: Engine, id_: str, at: Instant) -> HazardRow | None:
    rows = hazards(engine, Filter(since=at, until=at + 1))
    return next((row for row in rows if row.id == id_), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """An entry of the quarantine, and what came in: whole, or its first 256 bytes."""

    row: QuarantineRow
    payload: bytes


def quarantined(engine: Engine, id_: int) -> Quarantined:
    """An entry by its id. Raises `DeskError` when there is none."""
    query = select(QUARANTINE.c.received_at, QUARANTINE.c.payload).where(QUARANTINE.c.id == id_)
    with reading(engine) as connection:
        kept = connection.execute(query).first()
    if kept is None:
        raise DeskError(f"nothing in quarantine has the id {id_}", "gridbeat quarantine list")
    span = Filter(since=kept.received_at, until=kept.received_at + 1)
    row = next(row for row in quarantine(engine, span) if row.id == id_)
    return Quarantined(row=row, payload=kept.payload)
