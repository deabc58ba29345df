"""What the broker loses is noticed, asked for again, and said."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bench.load import connect, discard_session
from store.addresses import MqttAddress
from tests.ingest.school import REGISTRY, birth, checkin, up
from tests.servers import Server, mosquitto
from tests.service import Service, a_service, now_ms, until
from tests.wire import Wire, a_wire

pytestmark = pytest.mark.broker

SHORT, WINDOW = 100, 50
MUCH = 600
HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def broker() -> Iterator[Server]:
    """With a queue that is soon full, as Mosquitto's own default of 1,000 is."""
    with mosquitto(["set_tcp_nodelay true", f"max_queued_messages {SHORT}"]) as server:
        yield server


@pytest.fixture
def stage(tmp_path, broker) -> Iterator[tuple[Service, Wire]]:
    with (
        a_service(tmp_path, broker.port, REGISTRY, receive_maximum=str(WINDOW)) as service,
        a_wire(broker.port) as wire,
    ):
        for device in ("hh-1", "hh-2"):
            wire.say(up("status", device), birth(1))
            wire.say(up("checkin", device), checkin(1, now_ms()))
            wire.receipt(device, 1)
        yield service, wire


def metric(service: Service, what: str) -> float:
    line = f'gridbeat_losses_total{{what="{what}"}} '
    told = service.get("/metrics")[1].splitlines()
    return sum(float(found.removeprefix(line)) for found in told if found.startswith(line))


@contextmanager
def standing_still(service: Service) -> Iterator[None]:
    """Somebody holds the ledger, so that the service commits nothing and acknowledges nothing."""
    argv = [sys.executable, "-c", HOLD, str(service.folder / "gridbeat.db")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, **pipes) as holder:
        try:
            holder.stdout.readline()
            yield
        finally:
            holder.communicate(timeout=10)


def kept(service: Service) -> set[int]:
    query = "SELECT seq FROM entry e JOIN device d ON d.id = e.device_id WHERE d.slug = 'hh-1'"
    return {seq for (seq,) in service.rows(query)}


def test_a_queue_that_overflows_is_noticed_by_its_markers_and_asked_for_again(stage):
    """Mosquitto drops in silence beyond its limit, our markers too: the first that comes back
    shows it. Every device hears what is kept, one that said nothing as well; the device that sends
    what is missing loses nothing; an event and the log say what to do."""
    service, wire = stage
    at = now_ms()
    said = {seq: checkin(seq, at) for seq in range(2, MUCH)}
    with standing_still(service):
        for seq in range(2, MUCH, WINDOW):
            wire.say_all(up("checkin"), [said[s] for s in range(seq, min(seq + WINDOW, MUCH))])
        full = now_ms()
        until(lambda: markers(wire, full) > 2, "markers that the broker swallows")
        heard = len(wire.receipts("hh-2"))
    until(lambda: metric(service, "overflow") >= 1, "the overflow is counted")
    assert wire.event("service.gap")["data"]["cause"] == "overflow"
    assert "max_queued_messages" in service.log
    until(lambda: len(wire.receipts("hh-2")) > heard, "a receipt to the silent device")
    assert missing(service, said)
    while lost := missing(service, said)[:20]:  # as a device does, at most 20 unreceipted
        wire.say_all(up("checkin"), [said[seq] for seq in lost])
        until(lambda lost=lost: kept(service) >= {*lost}, "those are kept")
    assert wire.receipt("hh-1", MUCH - 1)["missing"] == []


def markers(wire: Wire, since: int) -> int:
    return sum(h.topic.endswith("/marker") and h.said["now"] > since for h in [*wire.heard])


def missing(service: Service, said: dict[int, Any]) -> list[int]:
    return sorted(said.keys() - kept(service))


@pytest.mark.parametrize("running", [True, False])
def test_a_session_the_broker_forgot_is_noticed_and_asked_for_again(stage, broker, running):
    """While the service is there, and while it is not: every device hears what is kept."""
    service, wire = stage
    heard = {device: len(wire.receipts(device)) for device in ("hh-1", "hh-2")}
    if not running:
        until(lambda: service.value("SELECT marker_at FROM worker"), "a marker")
        service.stop()
    discard_session(MqttAddress(host="127.0.0.1", port=broker.port), "gridbeat-main")
    if not running:
        service.start()
    for device, before in heard.items():
        until(lambda d=device, b=before: len(wire.receipts(d)) > b, f"a receipt to {device}")
    assert wire.event("service.gap")["data"]["cause"] == "session"
    assert metric(service, "session") == 1


def test_who_is_thrown_out_again_and_again_says_why_it_may_be(stage, broker):
    """Another client under one of our names: Mosquitto 2.0 hangs up without a word. The log names
    what to look for, and once it is gone nothing is missing."""
    service, wire = stage
    address = MqttAddress(host="127.0.0.1", port=broker.port)
    for times in range(1, 6):
        until(lambda n=times: service.log.count("mqtt.connected") >= n, "it is back")
        connect(address, "gridbeat-main").close()
        until(lambda n=times: service.log.count("mqtt.lost") >= n, "it is thrown out")
    assert "mqtt.thrown_out" in service.log
    assert "gridbeat-main" in service.log
    until(lambda: service.log.count("mqtt.connected") > times, "it is back for good")
    wire.say(up("checkin"), checkin(2, now_ms()))
    wire.receipt("hh-1", 2)
