"""Day tables in the ledger, and what follows a change of them."""

import asyncio
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from ingest.ledger import Ledger
from ingest.owing import Owing
from rules.daytables import DayClass, DayRow, DayTable
from store import registry
from store.calendars import CALENDAR, Import, Scope, Tables, retire, take
from store.database import open_engine, reading, writing
from store.events import EVENT
from store.obligations import OBLIGATION
from store.picture import Picture, load_picture
from tests.blank import blank
from tests.filled import at

REGISTRY = """\
calendar: cn
grids:
  - {id: bureau, name: 局, tree: sector, level: 1}
sites:
  - id: school-01
    name: 第三中学
    timezone: Asia/Shanghai
    belongs_to: [bureau]
    checkpoints: [{id: gate, name: 东门, tags: ["04A2B3C4D5E680"]}]
    plans:
      - {id: day, name: 日巡, route: [gate], windows: ["10:00-11:00"], days: [school-day]}
  - id: school-02
    name: 第四中学
    timezone: Asia/Shanghai
    belongs_to: []
    checkpoints: [{id: gate, name: 东门, tags: ["04A2B3C4D5E681"]}]
    plans:
      - {id: day, name: 日巡, route: [gate], windows: ["10:00-11:00"], days: [school-day]}
"""
APPLIED = at("2026-12-31T12:00:00+08:00")  # a Thursday; 2027 is not known
FRIDAY = date(2027, 1, 1)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    url = blank(tmp_path / "gridbeat.db")
    made = open_engine(url)
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY, encoding="utf-8")
    document = registry.read_registry(path)
    registry.apply(made, document, now=APPLIED, author="tests", source="registry.yaml")
    yield made
    made.dispose()


def told(*rows: DayRow, scope: Scope, covers: tuple[int, ...] = ()) -> Import:
    table = DayTable(name="bureau", version=0, rows=rows, covers=covers)
    return Import(
        table=table, scope=scope, author="a", source="f", digest=str((rows, covers)), at=APPLIED
    )


def picture(engine: Engine) -> Picture:
    with reading(engine) as connection:
        return load_picture(connection)


def test_a_table_holds_for_whom_it_was_imported(engine: Engine) -> None:
    """For a grid: for the sites that hang below it; the picture of the registry tells so."""
    before = picture(engine)
    with reading(engine) as connection:
        node = connection.exec_driver_sql("SELECT id FROM grid_node").scalar_one()
    off = DayRow(since=FRIDAY, until=FRIDAY, kind=DayClass.HOLIDAY)
    with writing(engine) as connection:
        assert take(connection, told(off, scope=Scope(node_id=node))) is not None
        assert take(connection, told(off, scope=Scope(node_id=node))) is None
    after = picture(engine)
    assert after.version > before.version
    assert [len(after.sites[slug].decided) for slug in ("school-01", "school-02")] == [1, 0]
    with writing(engine) as connection:
        retire(connection, "bureau", author="a", reason="r", now=APPLIED)
        assert Tables(connection).ids(1) == ()


def test_a_changed_calendar_remakes_what_has_not_opened(engine: Engine) -> None:
    """Rounds of an unknown day are owed, unscored, and told of; once it is told, all is mended."""
    asyncio.run(_changed(engine))


async def _changed(engine: Engine) -> None:
    ledger = Ledger(engine)
    owing = Owing(ledger=ledger, instance="one", by_ticks=False)
    now = at("2026-12-31T12:00:01+08:00")
    before = picture(engine)
    await owing.follow(None, before, now)
    await owing.make(now)
    assert found(engine) == [("school-01", False), ("school-02", False)]
    assert unknown(engine) == ["open", "open"]
    off = DayRow(since=FRIDAY, until=FRIDAY, kind=DayClass.HOLIDAY)
    with writing(engine) as connection:
        site = Scope(site_id=1)
        take(connection, told(off, scope=site, covers=(2027,)))
    await owing.follow(before, picture(engine), now)
    assert found(engine) == [("school-02", False)]
    assert unknown(engine) == ["open", "open", "resolved"]
    ledger.close()


def found(engine: Engine) -> list[tuple[str, bool]]:
    """The rounds of the Friday: site, and whether they are scored."""
    query = (
        select(OBLIGATION.c.key, OBLIGATION.c.scored, CALENDAR.c.document)
        .join(CALENDAR, CALENDAR.c.id == OBLIGATION.c.calendar_id)
        .where(OBLIGATION.c.opens > APPLIED)
        .order_by(OBLIGATION.c.key)
    )
    with reading(engine) as connection:
        rows = connection.execute(query).all()
    return [(row.key.split("/")[0], row.scored) for row in rows if "2027-01-01" in row.key]


def unknown(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        states = select(EVENT.c.state).where(EVENT.c.kind == "calendar.unknown")
        return list(connection.execute(states.order_by(EVENT.c.id)).scalars())
