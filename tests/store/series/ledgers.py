"""A real ledger for tests of the series, filled with what a school's day leaves in it."""

import itertools
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlmodel import SQLModel

from store import tables
from store.database import open_engine, reading, writing
from store.entries import EntryKind, ViaCode
from tests.blank import blank

NOON = 1_788_235_200_000
"""2026-09-01T12:00:00+08:00, in ms: the first school day."""

MINUTE = 60_000
HOUR = 60 * MINUTE
SITES = ("school-01", "school-02")
ROUTE = ("gate-east", "lab")


class Ledger:
    """Two schools with two checkpoints, a handheld and a plan each, and one guard."""

    def __init__(self, path: Path) -> None:
        url = blank(path)
        self.engine: Engine = open_engine(url)
        self._counter = itertools.count(1)
        with writing(self.engine) as connection:
            self._registry(connection)

    def _registry(self, connection: Connection) -> None:
        _add(connection, tables.Person, slug="p-017", name="保安甲", roles=["guard"])
        for number, site in enumerate(SITES, 1):
            _add(
                connection,
                tables.Site,
                slug=site,
                name=f"第{number}中学",
                timezone="Asia/Shanghai",
                calendar={"base": "cn", "terms": None},
            )
            for slug in ROUTE:
                _add(connection, tables.Checkpoint, site_id=number, slug=slug, name=slug)
            _add(connection, tables.Device, slug=f"hh-010{number}", site_id=number)
            _add(connection, tables.Plan, site_id=number, slug="night")

    def count(self, table: type[SQLModel]) -> int:
        with reading(self.engine) as connection:
            rows = select(func.count()).select_from(tables.table_of(table))
            return connection.execute(rows).scalar_one()

    def add(self, table: type[SQLModel], **values: Any) -> None:
        with writing(self.engine) as connection:
            _add(connection, table, **values)

    def arrival(self, *, after: int, before: int | None, first_entry: int) -> None:
        """The span between two markers, its id counting up from 1."""
        self.add(tables.Arrival, after=after, before=before, first_entry=first_entry)

    def close_arrivals(self, before: int) -> None:
        arrival = tables.table_of(tables.Arrival)
        with writing(self.engine) as connection:
            connection.execute(
                update(arrival).where(arrival.c.before.is_(None)).values(before=before)
            )

    def checkins(self, count: int, *, site: int = 1, since: int = NOON, **values: Any) -> None:
        """So many check-ins at one site, a second apart."""
        rows: list[dict[str, Any]] = []
        for _ in range(count):
            seq = next(self._counter)
            row = {
                "kind": EntryKind.CHECKIN.value,
                "device_id": site,
                "epoch": 0,
                "seq": seq,
                "site_id": site,
                "checkpoint_id": 2 * site - seq % 2,
                "person_id": 1,
                "at": since + len(rows) * 1_000,
                "sent": since + len(rows) * 1_000 + 20,
                "received_at": since + len(rows) * 1_000 + 50,
                "tag": "04A2B3C4D5E680",
                "via": ViaCode.NFC.value,
                "digest": seq,
                "body": '{"bat":81,"rssi":-61}' if seq % 3 else None,
            }
            rows.append(row | values)
        with writing(self.engine) as connection:
            connection.execute(insert(tables.table_of(tables.Entry)), rows)

    def round(self, opens: int, *, site: int = 1, kind: str = "round", scored: bool = True) -> int:
        """A round of half an hour with 5 minutes' grace; returns its obligation's id."""
        number = next(self._counter)
        with writing(self.engine) as connection:
            return _add(
                connection,
                tables.Obligation,
                key=f"{SITES[site - 1]}/night/{opens}-{number}",
                kind=kind,
                site_id=site,
                plan_id=site,
                plan_version_id=1,
                opens=opens,
                closes=opens + 30 * MINUTE,
                due=opens + 35 * MINUTE,
                wake=opens + 35 * MINUTE,
                expected=len(ROUTE),
                scored=scored,
            )

    def verdict(self, obligation: int, standing: str, *, visited: int = 0, late: int = 0) -> None:
        """The next revision of an obligation's verdict."""
        table, owed = tables.table_of(tables.VerdictRow), tables.table_of(tables.Obligation)
        with writing(self.engine) as connection:
            row = connection.execute(select(owed).where(owed.c.id == obligation)).one()
            revision = row.revision + 1
            connection.execute(
                insert(table).values(
                    obligation_id=obligation,
                    revision=revision,
                    standing=standing,
                    at=row.due,
                    judged_at=row.due + 400,
                    reason="test",
                    missing=[],
                    late=list(ROUTE[:late]),
                    document={},
                )
            )
            connection.execute(
                update(owed)
                .where(owed.c.id == obligation)
                .values(standing=standing, revision=revision, visited=visited, wake=None)
            )

    def event(
        self, kind: str, subject: str, *, at: int, state: str = "open", site: int | None = 1
    ) -> None:
        """The next revision of an event, and whether it has ended."""
        table, still = tables.table_of(tables.EventRow), tables.table_of(tables.OpenEvent)
        with writing(self.engine) as connection:
            known = select(func.count()).where(table.c.kind == kind, table.c.subject == subject)
            revision = connection.execute(known).scalar_one() + 1
            _add(
                connection,
                tables.EventRow,
                event_id=f"{kind}|{subject}|{revision}",
                kind=kind,
                severity="high",
                site_id=site,
                subject=subject,
                at=at,
                raised_at=at + 300,
                revision=revision,
                state=state,
                message={"zh": "有事", "en": "something"},
                data={},
            )
            same = (still.c.kind == kind) & (still.c.subject == subject)
            connection.execute(delete(still).where(same))
            if state != "resolved":
                row = connection.execute(select(func.max(table.c.id))).scalar_one()
                _add(connection, tables.OpenEvent, kind=kind, subject=subject, event_row=row)

    def hazard(self, id_: str, *, reported_at: int, site: int = 1, **values: Any) -> None:
        """A hazard, or its next revision."""
        table = tables.table_of(tables.Hazard)
        with writing(self.engine) as connection:
            changed = connection.execute(select(func.max(table.c.changed))).scalar() or 0
            row = {
                "id": id_,
                "site_id": site,
                "reported_at": reported_at,
                "received_at": reported_at + 50,
                "state": "reported",
                "category": "fire",
                "reported_category": "fire",
                "grade": "general",
                "revision": 1,
                "changed": changed + 1,
            } | values
            if connection.execute(select(table.c.id).where(table.c.id == id_)).first():
                connection.execute(update(table).where(table.c.id == id_).values(row))
            else:
                connection.execute(insert(table).values(row))


def _add(connection: Connection, table: type[SQLModel], **values: Any) -> int:
    inserted = connection.execute(insert(tables.table_of(table)).values(values))
    key = inserted.inserted_primary_key
    return int(key[0]) if key is not None and isinstance(key[0], int) else 0


def a_day(ledger: Ledger) -> int:
    """A morning at both schools with all that the board shows; returns the instant it ends."""
    ledger.arrival(after=NOON - 1_000, before=NOON + 2 * HOUR, first_entry=1)
    ledger.checkins(90, site=1, since=NOON, arrival_id=1)
    ledger.checkins(40, site=2, since=NOON + HOUR, arrival_id=1)
    verdicts = (("completed", 2), ("incomplete", 1), ("missed", 0), ("unknown", 0), ("excused", 0))
    for site in (1, 2):
        for number, (standing, visited) in enumerate(verdicts):
            owed = ledger.round(NOON + number * 10 * MINUTE, site=site)
            ledger.verdict(owed, standing, visited=visited)
    amended = ledger.round(NOON + HOUR, site=1)
    ledger.verdict(amended, "missed")
    ledger.verdict(amended, "completed", visited=2, late=1)
    ledger.event("round.missed", "school-01/night/x", at=NOON + HOUR)
    ledger.event("round.missed", "school-01/night/x", at=NOON + HOUR, state="acknowledged")
    ledger.event("sos.raised", "hh-0101/0/7", at=NOON + HOUR)
    ledger.event("service.gap", "gridbeat/1", at=NOON + HOUR, site=None)
    ledger.hazard("hh-0101/0/8", reported_at=NOON)
    ledger.hazard("hh-0102/0/9", reported_at=NOON, site=2, grade="major", category=None)
    for device in (1, 2):
        ledger.add(
            tables.DeviceState,
            device_id=device,
            online=device == 1,
            heard_at=NOON + 90 * MINUTE,
        )
    return NOON + 2 * HOUR
