"""Gauges wait for the series, and not for ever."""

from sqlalchemy import insert
from structlog.testing import capture_logs

from ingest.gauges import DROPPED, KEPT_MS, Gauges
from ingest.health import Health
from ingest.ledger import Ledger
from store.database import writing
from store.series.sources import SAMPLE
from tests.ingest.bench import Bench

MINUTE_MS = 60_000


class Still:
    """A clock that stands still."""

    def __init__(self, at: int) -> None:
        self.at = at

    def now(self) -> int:
        return self.at


async def test_gauges_are_kept_for_a_week_and_then_dropped_a_page_at_a_time(bench: Bench):
    """While no series takes them the oldest go, younger ones stay, and it is said once."""
    now = bench.at // MINUTE_MS * MINUTE_MS + 10 * KEPT_MS
    old, young = now - KEPT_MS - 1, now - KEPT_MS
    with writing(bench.ledger.engine) as connection:
        rows = [{"at": old, "line": "old"}] * (DROPPED + 10) + [{"at": young, "line": "young"}] * 3
        connection.execute(insert(SAMPLE), rows)
    ledger = Ledger(bench.ledger.engine)
    gauges = Gauges(ledger, Still(now), "test", Health())  # type: ignore[arg-type]
    left = []
    with capture_logs() as said:
        for _ in range(3):
            await gauges.drop(now - KEPT_MS)
            left.append(bench.rows("SELECT line, count(*) FROM sample GROUP BY line"))
    ledger.close()
    assert left == [[("old", 10), ("young", 3)], [("young", 3)], [("young", 3)]]
    assert [line["event"] for line in said] == ["series.dropped"]
