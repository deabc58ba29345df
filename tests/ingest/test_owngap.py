"""After the service was down: backlog, judgement, one digest (docs/decisions/0012)."""

from pathlib import Path

import pytest
from sqlalchemy import text

from store.database import writing
from tests.ingest.school import GATE, LAB, REGISTRY, checkin, owe, up
from tests.servers import mosquitto
from tests.service import a_service, now_ms, until
from tests.wire import a_wire

pytestmark = pytest.mark.broker

HOUR = 3_600_000


def test_a_hundred_rounds_overdue_at_start_are_one_digest(tmp_path: Path) -> None:
    """What waited with the broker counts; what was missed is told once, and is in the ledger."""
    with (
        mosquitto(["set_tcp_nodelay true"]) as broker,
        a_service(tmp_path, broker.port, REGISTRY) as service,
        a_wire(broker.port) as wire,
    ):
        wire.say(up("checkin"), checkin(0, now_ms()))
        wire.receipt("hh-1", 0)
        service.stop()
        down = now_ms() - HOUR
        with writing(service.engine) as connection:
            connection.execute(text("UPDATE worker SET marker_at = :at"), {"at": down})
            connection.execute(text("UPDATE presence SET at = :at"), {"at": down - 1})
        keys = [
            owe(service.engine, down + n * 1_000, down + n * 1_000 + 500) for n in range(1, 101)
        ]
        walked = down + 50_000 + 100
        for seq, tag in ((1, GATE), (2, LAB)):
            wire.say(up("checkin"), checkin(seq, walked + seq, tag) | {"sent": now_ms()})
        service.start()
        digest = wire.event("service.gap")
        assert digest["data"]["cause"] == "down"
        assert digest["data"]["verdicts"] == {"completed": 1, "missed": 99}
        assert (digest["data"]["singly"], digest["data"]["rounds"]) == (False, 100)
        assert wire.events("round.missed") == []
        stands = "SELECT count(*) FROM event WHERE kind = 'round.missed' AND state = 'open'"
        assert service.value(stands) == 99
        assert (
            service.value("SELECT count(*) FROM outage WHERE what = 'service' AND until IS NULL")
            == 0
        )
        soon = now_ms()
        late = owe(service.engine, soon, soon + 1_500)
        assert wire.event("round.missed", late)["state"] == "open"
        first = (
            "SELECT document FROM verdict JOIN obligation o ON o.id = obligation_id"
            " WHERE o.key = :k"
        )
        until(lambda: service.rows(first, k=keys[49]), "the walked round")
