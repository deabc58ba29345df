"""The running service: who is away and who is back, rounds and words sent down."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients import Client
from tests.ingest.school import GATE, LAB, REGISTRY, checkin, owe, up
from tests.servers import mosquitto
from tests.service import a_service, now_ms, until
from tests.wire import Wire, a_wire

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


def handed(wire: Wire, device: str = "hh-1") -> list[Any]:
    """Every handout of a device so far, with when it was heard."""
    topic = f"patrol/v1/school-01/{device}/down/rounds"
    return [heard for heard in wire.heard if heard.topic == topic]


def done(wire: Wire) -> list[bool]:
    """What the last handout says of its first round."""
    (walk,) = handed(wire)[-1].said["rounds"]
    return [point["done"] for point in walk["checkpoints"]]


def test_rounds_and_words_reach_a_device(tmp_path: Path) -> None:
    """Told and retained; a visit is told at once; nothing is told again after a restart."""
    with (
        mosquitto(["set_tcp_nodelay true"]) as broker,
        a_service(tmp_path, broker.port, REGISTRY, start=False) as service,
        a_wire(broker.port) as wire,
    ):
        opens = now_ms()
        key = owe(service.engine, opens, opens + 600_000)
        service.start()
        until(lambda: handed(wire), "the round is told")
        assert handed(wire)[-1].said["rounds"][0]["id"] == key
        assert done(wire) == [False, False]
        wire.say(up("checkin"), checkin(1, now_ms(), GATE))
        until(lambda: done(wire) == [True, False], "the gate is done")
        assert len(handed(wire, "hh-2")) == 2

        message = service.command("device", "message", "hh-1", "请到东门", "--author", "guard-room")
        assert message.stdout.endswith("sent\n"), message.stderr
        (heard,) = [h for h in wire.heard if h.topic.endswith("/hh-1/down/message")]
        assert (heard.said["text"], heard.said["severity"]) == ("请到东门", "info")
        assert message.stdout.startswith(heard.said["id"])
        shown = json.loads(service.command("device", "show", "hh-1", "--json").stdout)
        assert [(m["author"], m["told_at"] is None) for m in shown["messages"]] == [
            ("guard-room", False)
        ]
        written = 'SELECT author FROM entry WHERE body LIKE \'%"do":"message"%\''
        assert service.rows(written) == [("guard-room",)]

        service.stop()
        told = len(handed(wire))
        wire.say(up("checkin"), checkin(2, now_ms(), LAB))
        service.start()
        until(lambda: done(wire) == [True, True], "the lab is done")
        assert len(handed(wire)) == told + 1
        late = Client(broker.port)
        late.subscribe("patrol/v1/school-01/hh-1/down/rounds")
        assert late.until(lambda: late.inbox), "nothing is retained"
        late.close()


def test_words_that_cannot_be_sent_are_refused(tmp_path: Path) -> None:
    """Each with what to do; and without a service they wait."""
    with a_service(tmp_path, 1, REGISTRY, start=False) as service:
        for words, remedy in (
            (("hh-11", "x"), "gridbeat device list"),
            (("hh-1", " "), "fewer words"),
            (("hh-1", "x" * 501), "fewer words"),
            (("hh-1", "x", "--severity", "loud"), "critical, high"),
        ):
            refused = service.command("device", "message", *words)
            assert refused.returncode != 0
            assert remedy in refused.stderr
        waits = service.command("device", "message", "insp-01", "x", "--wait", "0")
        assert "when the service runs" in waits.stdout
        assert "never heard" in waits.stderr
