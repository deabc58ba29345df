"""Cases over the real writer and ledger: what clocks and order of arrival may not change."""

import asyncio
from itertools import permutations

import pytest

from ingest.beginning import begin
from ingest.clock import SystemClock
from ingest.ledger import Ledger
from store.database import writing
from store.series.feeder import Feeder
from store.settings import Settings
from tests.ingest.bench import NOW, delivery, marker, up
from tests.store.series.memory import MemoryWriter
from tests.store.upgrades import run_again

REPORT = "hh-1/0/1"
DAY = 86_400_000


def says(seq: int, at: int, action: str, device: str = "hh-1", **more: object):
    """A step of the case, or its report."""
    ref = {} if action == "report" else {"ref": REPORT}
    return delivery(up("hazard", device), {"seq": seq, "at": at, "action": action, **ref, **more})


@pytest.fixture
def told(bench):
    """How often something was told of a kind of event."""
    return lambda kind: bench.rows("SELECT count(*) FROM event WHERE kind = :kind", kind=kind)[0][0]


def test_a_closing_is_withdrawn_once(bench, told):
    """A step that comes late reopens a case; what is done in it then withdraws nothing again."""
    bench.take(says(1, NOW, "report"), says(2, NOW + 20, "resolved"), says(3, NOW + 30, "verified"))
    assert told("hazard.closed") == 1
    bench.take(says(1, NOW + 25, "rejected", "hh-2"))
    assert (told("hazard.closed"), bench.latest().keys()) == (2, {("hazard.opened", REPORT)})
    bench.take(says(4, NOW + 40, "progress", category="fire"))
    bench.take(says(5, NOW + 50, "resolved"))
    assert told("hazard.closed") == 2
    bench.take(says(6, NOW + 60, "verified"))
    assert told("hazard.closed") == 3
    assert bench.latest()["hazard.closed", REPORT][:2] == ("resolved", NOW + 60)


def a_day_ahead(bench, report_comes: int) -> None:
    """A report, which comes with the first, second or last of three markers; a repair by a handheld
    whose clock is a day ahead; three seconds after it, its inspection."""
    began = bench.at
    report = says(1, began + 1, "report")
    resolved = says(1, began + DAY + 100, "resolved", "hh-2", sent=began + DAY + 150)
    verified = says(2, began + 3_001, "verified", sent=began + 3_001)
    spans = [[resolved], [verified], []]
    spans[report_comes].append(report)
    for number, steps in enumerate(spans):
        bench.at = began + 3_000 * number
        bench.take(marker(bench.at), *steps)
        bench.take(marker(bench.at + 1_000))


@pytest.mark.parametrize("report_comes", range(3))
def test_a_clock_that_is_ahead_keeps_no_case_open(bench, report_comes):
    """What was put right by a wrong clock and then verified by a right one is closed, whenever the
    report comes in."""
    began = bench.at
    a_day_ahead(bench, report_comes)
    found = bench.rows("SELECT state, reported_at, closed_at FROM hazard")
    assert found == [("closed", began + 1, began + 3_001)]
    assert bench.latest()["hazard.closed", REPORT][:2] == ("resolved", began + 3_001)
    assert bench.latest()["hazard.opened", REPORT][0] == "resolved"


def test_a_report_by_a_clock_that_is_ahead_is_dated_when_it_came(bench, told):
    """The event of a hazard is dated anew with its case, and told so; an unchanged one is not."""
    began = bench.at
    bench.take(marker(began), says(1, began + DAY, "report", sent=began + DAY))
    assert bench.latest()["hazard.opened", REPORT][:2] == ("open", began + DAY)
    bench.take(marker(began + 1_000))
    assert bench.rows("SELECT reported_at FROM hazard") == [(began + 1_000,)]
    assert bench.latest()["hazard.opened", REPORT][:2] == ("open", began + 1_000)
    bench.take(marker(began + 2_000))
    assert told("hazard.opened") == 2


def test_a_span_that_a_crash_left_open_corrects_its_cases(bench):
    """At the next start a case is folded by the corrected time, and what that changes is told."""
    began = bench.at
    bench.at = began + 500
    bench.take(
        marker(began),
        says(1, began + 1, "report", sent=began + 1),
        says(1, began + DAY - 400, "resolved", "hh-2", sent=began + DAY),
        says(2, began + 400, "verified", sent=began + 400),
    )
    assert bench.rows("SELECT state FROM hazard") == [("resolved",)]
    ledger = Ledger(bench.ledger.engine)
    settings = Settings(database_url=str(bench.ledger.engine.url), instance="test")
    asyncio.run(begin(settings, ledger, lambda: SystemClock(lambda: began + 9_000)))
    ledger.close()
    assert bench.rows("SELECT state, closed_at FROM hazard") == [("closed", began + 400)]
    assert bench.latest()["hazard.closed", REPORT][:2] == ("resolved", began + 400)


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_a_hazard_is_one_point_whatever_its_steps_say(bench, order):
    """A step may file it under another category, and a clock that is ahead be set right: the series
    has one point, at the report's time and under the report's category, however they come in."""
    began, series = bench.at, MemoryWriter()
    feeder = Feeder(bench.ledger.engine, series, now=lambda: began + DAY)
    told = [
        says(1, began + DAY - 500, "report", sent=began + DAY, category="fire"),
        says(1, began + 600, "accept", "hh-2", category="exit"),
        says(2, began + 700, "rejected", "hh-2", category="water"),
    ]
    bench.take(marker(began))
    for number in order:
        bench.take(told[number])
        await feeder.step()
    bench.take(marker(began + 1_000))
    await feeder.step()
    (point,) = [point for point in series.points.values() if point.measurement == "hazard"]
    assert point.tags == {"site": "school-01", "category": "fire"}
    assert point.time // 1_000_000 == began + 500
    assert (point.fields["category_now"], point.fields["open"]) == ("water", 0)


def test_an_upgraded_ledger_knows_what_its_reports_said(bench):
    """A ledger of before has the category of each report from the report itself (0020); a hazard
    that was filed anew since goes to the series once more."""
    bench.take(says(1, NOW, "report", category="fire"), says(2, NOW + 1, "accept", category="exit"))
    other = {"seq": 3, "at": NOW, "category": "lift"}
    bench.take(delivery(up("hazard"), other), delivery(up("hazard", "hh-2"), {"seq": 1, "at": NOW}))
    query = "SELECT id, reported_category, category, changed FROM hazard ORDER BY id"
    known = bench.rows(query)
    with writing(bench.ledger.engine) as connection:
        connection.exec_driver_sql("ALTER TABLE hazard DROP COLUMN reported_category")
        run_again(connection, "0020")
    filed, *others = known
    last = max(row[3] for row in known)
    assert bench.rows(query) == [(*filed[:3], last + 1), *others]
    assert [row[1:3] for row in known] == [("fire", "exit"), ("lift", "lift"), (None, None)]
