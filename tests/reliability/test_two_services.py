"""Two services on one broker: one serves, the other says so and stops, or waits in silence."""

import json
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.ingest.school import REGISTRY, checkin, up
from tests.servers import Server, free_port, mosquitto
from tests.service import Service, a_service, now_ms, until
from tests.wire import Wire, a_wire

pytestmark = pytest.mark.broker

STEPS_IN_S = 30.0
KEEPALIVE_S = 10
"""The broker tells it to its clients: a frozen one is noticed after 15 s. It takes no less."""


@pytest.fixture
def broker() -> Iterator[Server]:
    with mosquitto(["set_tcp_nodelay true", f"max_keepalive {KEEPALIVE_S}"]) as server:
        yield server


@pytest.fixture
def wire(broker: Server) -> Iterator[Wire]:
    with a_wire(broker.port) as wire:
        yield wire


@pytest.fixture
def first(tmp_path, broker) -> Iterator[Service]:
    (tmp_path / "first").mkdir()
    with a_service(tmp_path / "first", broker.port, REGISTRY) as service:
        yield service


@pytest.fixture
def second(tmp_path, broker) -> Iterator[Service]:
    """On a ledger of its own, under a name of its own; not started."""
    (tmp_path / "second").mkdir()
    with a_service(
        tmp_path / "second", broker.port, REGISTRY, start=False, instance="second"
    ) as service:
        yield service


def ledgers(wire: Wire) -> set[str]:
    return {receipt["ledger"] for receipt in wire.receipts("hh-1")}


@pytest.mark.parametrize("name", ["gridbeat", "second"])
def test_the_second_says_who_is_there_and_what_to_do_and_stops(first, second, wire, name):
    """Of the same name or another: it receipts nothing, and the first goes on unharmed."""
    second.environment["GRIDBEAT_INSTANCE"] = name
    done = second.command("ingest")
    assert done.returncode == 1
    words = done.stderr.strip().splitlines()[-1]
    assert f"instance gridbeat on {socket.gethostname()}" in words
    assert str(first.process.pid) in words
    assert "GRIDBEAT_WHEN_TAKEN=silent" in words
    wire.say(up("checkin"), checkin(1, now_ms()))
    wire.receipt("hh-1", 1)
    assert ledgers(wire) == {first.value("SELECT uuid FROM ledger")}
    assert second.value("SELECT count(*) FROM entry") == 0
    assert "mqtt.lost" not in first.log
    assert first.get("/readyz")[0] == 200


def silent(second: Service) -> None:
    second.environment["GRIDBEAT_WHEN_TAKEN"] = "silent"
    second.launch()
    until(lambda: "silent: another Gridbeat serves" in second.get("/readyz")[1], "the silent word")
    assert second.get("/livez")[0] == 200


def test_one_that_waits_is_silent_and_steps_in_when_the_first_is_killed(first, second, wire):
    """By setting it stays alive, not ready, and does nothing; after a SIGKILL of the first it
    serves."""
    silent(second)
    wire.say(up("checkin"), checkin(1, now_ms()))
    wire.receipt("hh-1", 1)
    assert len(ledgers(wire)) == 1
    first.kill()
    until(lambda: second.get("/readyz")[0] == 200, "the second serves", STEPS_IN_S)
    wire.say(up("checkin"), checkin(2, now_ms()))
    kept = "SELECT count(*) FROM entry WHERE seq = 2"
    until(lambda: second.value(kept) == 1, "the second keeps what is said")
    mine = second.value("SELECT uuid FROM ledger")
    until(lambda: mine in ledgers(wire), "a receipt of the second")
    done = first.command("ingest")
    assert done.returncode == 1
    assert str(second.process.pid) in done.stderr


def test_one_that_waits_ends_when_told_to(first, second):
    """SIGTERM in silence is a clean end; until then `doctor` finds it as it should be."""
    silent(second)
    doctor = second.command("doctor", "--json")
    said = {check["what"]: check for check in json.loads(doctor.stdout)}
    assert said["service"]["state"] == "ok"
    assert "silent: another Gridbeat serves" in said["service"]["detail"]
    assert second.stop() == 0


def test_a_killed_service_is_back_at_once(first, wire):
    """Its own claim, left behind, does not keep it from its place: nobody waits for a dead one."""
    for seq in (1, 2):
        first.kill()
        first.start()
        wire.say(up("checkin"), checkin(seq, now_ms()))
        wire.receipt("hh-1", seq)


def test_a_claim_that_outlived_its_service_and_its_broker_is_struck_out(first, wire, broker):
    """Both are killed together, as by a power cut: the claim is kept by the broker, and nobody
    answers for it."""
    saved = broker.folder / "mosquitto.db"
    until(lambda: saved.exists() and b"claims" in saved.read_bytes(), "the claim is saved")
    broker.kill()
    first.kill()
    broker.start()
    first.start()
    assert first.get("/readyz")[0] == 200


def test_the_brokers_restart_changes_nobodys_place(first, second, broker):
    """With what it kept or without, the first serves again and the second waits again."""
    silent(second)
    for forget in (False, True):
        broker.stop()
        if forget:
            (broker.folder / "mosquitto.db").unlink()
        broker.start()
        until(lambda: first.get("/readyz")[0] == 200, "the first is back", STEPS_IN_S)
        assert "silent" in second.get("/readyz")[1]


def test_one_that_was_frozen_gives_way_to_who_stepped_in(first, second, broker):
    """Stopped for longer than its keep-alive it is gone for the broker; when it goes on, it finds
    the second there and stops."""
    silent(second)
    first.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: second.get("/readyz")[0] == 200, "the second serves", 60)
    finally:
        first.process.send_signal(signal.SIGCONT)
    assert first.process.wait(STEPS_IN_S) == 1
    assert "another Gridbeat serves this broker" in first.log
    assert second.get("/readyz")[0] == 200


@pytest.fixture
def beside(first) -> Iterator[Service]:
    """Another process on the ledger of the first, with an HTTP address of its own; not started."""
    http = free_port()
    environment = {**first.environment, "GRIDBEAT_HTTP_ADDRESS": f"127.0.0.1:{http}"}
    service = replace(first, environment=environment, http=http, process=None)
    yield service
    service.kill()


def gaps(service: Service) -> int:
    return service.value("SELECT count(*) FROM outage")


def test_two_brokers_do_not_let_two_services_onto_one_ledger(first, beside, wire):
    """The second says who works on it and what to do, and writes nothing: no outage that was
    none."""
    before = gaps(first)
    with mosquitto() as other:
        beside.environment["GRIDBEAT_MQTT_URL"] = f"mqtt://127.0.0.1:{other.port}"
        done = beside.command("ingest")
    assert done.returncode == 1
    words = done.stderr.strip().splitlines()[-1]
    assert f"process {first.process.pid} on {socket.gethostname()}" in words
    assert "GRIDBEAT_WHEN_TAKEN=silent" in words
    assert gaps(first) == before
    assert first.get("/readyz")[0] == 200


def test_one_that_waits_on_the_same_ledger_steps_in_after_a_kill(first, beside, wire):
    """The lock goes with its process: nobody waits for a dead one."""
    beside.environment["GRIDBEAT_WHEN_TAKEN"] = "silent"
    beside.launch()
    until(lambda: "silent: " in beside.get("/readyz")[1], "the silent word")
    assert str(first.process.pid) in beside.get("/readyz")[1]
    wire.say(up("checkin"), checkin(1, now_ms()))
    wire.receipt("hh-1", 1)
    first.kill()
    until(lambda: beside.get("/readyz")[0] == 200, "the second serves", STEPS_IN_S)
    wire.say(up("checkin"), checkin(2, now_ms()))
    wire.receipt("hh-1", 2)
    assert len(ledgers(wire)) == 1
    assert beside.stop() == 0


def test_one_that_waits_for_a_ledger_ends_when_told_to(first, beside):
    """SIGTERM is a clean end before it ever worked."""
    beside.environment["GRIDBEAT_WHEN_TAKEN"] = "silent"
    beside.launch()
    until(lambda: "silent: " in beside.get("/readyz")[1], "the silent word")
    assert beside.stop() == 0
