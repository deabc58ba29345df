"""What is taken again beside the sessions."""

from typing import Any

from sqlalchemy.exc import OperationalError

from ingest.beside import Beside
from ingest.clock import SystemClock
from ingest.health import Health
from ingest.ledger import Ledger
from store.database import writing
from store.quarantine import State, settle
from tests.ingest.bench import Bench, delivery
from tests.ingest.school import checkin, up


class Busy(Ledger):
    """Whoever else writes holds it for too long."""

    async def in_writer(self, work: Any) -> Any:
        raise OperationalError("BEGIN", {}, Exception("database is locked"))


async def test_a_busy_ledger_leaves_asked_what_somebody_wants_taken_again(bench: Bench) -> None:
    """The operator's word stands until the ledger has time for it."""
    bench.take(delivery(up("checkin", "nobody"), checkin(1, bench.at)))
    engine = bench.ledger.engine
    ((entry,),) = bench.rows("SELECT id FROM quarantine")
    with writing(engine) as connection:
        settle(connection, entry, State.ASKED, None)
    parts = (SystemClock(), Health(), lambda _: None)
    for kind, taken, state in ((Busy, 0, State.ASKED), (Ledger, 1, State.KEPT)):
        ledger = kind(engine)
        beside = Beside(bench.reader, bench.writer, ledger, *parts)
        assert await beside.retake() == taken
        ledger.close()
        assert bench.rows("SELECT state FROM quarantine") == [(state.value,)]
