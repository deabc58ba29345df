"""Cases over the real writer and ledger: what clocks and order of arrival may not change."""

import asyncio

import pytest

from ingest.beginning import begin
from ingest.clock import SystemClock
from ingest.ledger import Ledger
from store.settings import Settings
from tests.ingest.bench import NOW, delivery, marker, up

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
