"""The running service tells who is away and who is back (issue 5)."""

from pathlib import Path

import pytest

from tests.ingest.school import REGISTRY, up
from tests.servers import mosquitto
from tests.service import a_service, until
from tests.wire import a_wire

pytestmark = pytest.mark.broker


def test_a_device_that_stays_away_is_told_and_told_back(tmp_path: Path) -> None:
    """Judged by markers, dated when the will arrived; its battery beside it."""
    with (
        mosquitto(["set_tcp_nodelay true"]) as broker,
        a_service(tmp_path, broker.port, REGISTRY, offline_after_s="1") as service,
        a_wire(broker.port) as wire,
    ):
        wire.say(up("status"), {"online": True, "boot": "b1", "bat": 12, "fw": "1.0"}, retain=True)
        assert wire.event("device.battery-low", "hh-1/b1")["severity"] == "low"
        wire.say(up("status"), {"online": False, "boot": "b1"}, retain=True)
        away = wire.event("device.offline", "hh-1/b1")
        assert (away["state"], away["data"]["silent"]) == ("open", False)
        assert away["raised_at"] - away["at"] >= 1_000
        wire.say(up("status"), {"online": True, "boot": "b2", "bat": 95}, retain=True)
        until(lambda: len(wire.events("device.battery-low")) == 2, "the battery is right")
        told = [e["state"] for e in wire.events("device.offline")]
        assert told == ["open", "resolved"]
        assert service.value("SELECT count(*) FROM device_alarm") == 0
