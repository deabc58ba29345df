"""The broker is gone for a while: what is told of it, and how those stand who walked meanwhile."""

from pathlib import Path

import pytest

from store.owngaps import FEW, SHORTEST_MS
from tests.ingest.school import GATE, LAB, REGISTRY, checkin, owe, up
from tests.servers import mosquitto
from tests.service import a_service, now_ms, until
from tests.wire import a_wire

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def test_a_broker_that_was_gone_is_one_digest(tmp_path: Path) -> None:
    """Killed for longer than a restart takes: what came due meanwhile is told once, nobody is said
    to have missed what nobody could tell, and a round that was walked meanwhile is kept."""
    with (
        mosquitto(["set_tcp_nodelay true"]) as broker,
        a_service(tmp_path, broker.port, REGISTRY) as service,
    ):
        with a_wire(broker.port) as wire:
            wire.say(up("status"), {"online": True, "boot": "b1"})
            wire.say(up("checkin"), checkin(0, now_ms()))
            wire.receipt("hh-1", 0)
        until(lambda: service.rows("SELECT 1 FROM worker WHERE marker_at > 0"), "a marker")
        broker.kill()
        gone = "SELECT since FROM outage WHERE what = 'broker' AND until IS NULL"
        until(lambda: service.rows(gone), "the outage")
        down = now_ms()
        opens = [down + n * 1_500 for n in range(FEW + 5)]
        keys = [owe(service.engine, at, at + 1_000) for at in opens]
        assert opens[-1] + 1_000 < down + SHORTEST_MS
        until(lambda: now_ms() > down + SHORTEST_MS + 2_000, "an outage worth telling", 60)
        broker.start()
        with a_wire(broker.port) as wire:

            def hands_in() -> bool:
                """What the broker lost with our session, a device publishes until receipted."""
                for seq, tag in ((1, GATE), (2, LAB)):
                    wire.say(up("checkin"), checkin(seq, opens[3] + seq, tag) | {"sent": now_ms()})
                return bool(wire.receipts("hh-1"))

            until(hands_in, "the receipt")
            stands = "SELECT standing FROM obligation WHERE key = :key"
            until(lambda: service.value(stands, key=keys[3]) == "completed", "the walked round")
            wire.event("service.gap")
            digest = "SELECT data ->> 'cause', data ->> 'singly', data ->> 'rounds' FROM event"
            (told,) = service.rows(f"{digest} WHERE kind = 'service.gap'")
            assert told[0] in ("broker", "session")  # as it had time to keep our session, or not
            assert told[1:] == (0, len(keys))
            alarms = ("round.missed", "round.unknown", "round.incomplete")
            assert [wire.events(kind) for kind in alarms] == [[], [], []]
            others = {service.value(stands, key=key) for key in keys if key != keys[3]}
            assert others == {"unknown"}
            soon = now_ms()
            late = owe(service.engine, soon, soon + 1_500)
            assert wire.event("round.missed", late)["state"] == "open"
