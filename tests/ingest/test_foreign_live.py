"""Readers that one can buy, beside a real broker: what their makers' firmware would send."""

import base64
import copy
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from desk import broker
from tests.clients import Client
from tests.ingest.school import DOCUMENT, GATE, LAB, SITE, owe
from tests.servers import mosquitto
from tests.service import Service, a_service, now_ms, until
from tests.wire import Wire, a_wire

pytestmark = pytest.mark.broker

READERS = [
    {"id": "gate-reader", "protocol": "tasmota", "address": "tasmota_4A21B7"},
    {"id": "phone-17", "protocol": "owntracks", "address": "guard17/phone"},
    {"id": "sos-gate", "protocol": "zigbee2mqtt", "address": "hall/sos button"},
]


def registry(*more: dict[str, str]) -> bytes:
    found = copy.deepcopy(DOCUMENT)
    found["sites"][0]["devices"] += [*READERS, *more]
    return json.dumps(found).encode()


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Wire]]:
    """The service on our own broker's files, as `broker init` makes them."""
    folder = tmp_path_factory.mktemp("readers")
    broker.init(folder / "broker", port=1)
    conf = (folder / "broker" / "mosquitto.conf").read_text()
    with (
        mosquitto(conf=conf.replace("listener 1 ", "listener {port} ")) as server,
        a_service(folder, server.port, registry(), broker_dir=str(folder / "broker")) as service,
        a_wire(server.port) as wire,
    ):
        yield service, wire


def of(service: Service, device: str) -> list[dict[str, Any]]:
    return [row for row in service.listing("checkin", "list") if row["device"] == device]


def test_a_tasmota_reader_checks_in(living):
    """Its telemetry, with QoS 0 and a clock of another zone, is a check-in of now at its place."""
    service, wire = living
    said = {"Time": "2019-01-10T18:23:24", "PN532": {"UID": GATE, "DATA": ""}}
    began = now_ms()
    wire.say("tele/tasmota_4A21B7/LWT", b"Online", qos=1, retain=True)
    wire.say("tele/tasmota_4A21B7/SENSOR", said, qos=0)
    row = until(lambda: of(service, "gate-reader"), "the check-in")[0]
    assert (row["site"], row["checkpoint"], row["tag"], row["via"]) == (SITE, "gate", GATE, "nfc")
    assert row["time_source"] == "receipt"
    query = "SELECT at, sent FROM entry e JOIN device d ON d.id = e.device_id AND d.slug = :slug"
    at, sent = service.rows(f"{query} ORDER BY e.id", slug="gate-reader")[0]
    assert began - 2_000 <= at <= now_ms()
    assert sent <= at
    online = "SELECT s.online FROM device_state s JOIN device d ON d.id = s.device_id"
    assert service.value(f"{online} WHERE d.slug = 'gate-reader'") == 1


def test_readers_complete_a_round(living):
    """A round walked past a Tasmota reader, with no clock worth the name, is completed at due."""
    service, wire = living
    opens = now_ms() - 2_000
    key = owe(service.engine, opens, opens + 6_000)
    for uid in (GATE, LAB):
        said = {"Time": "1970-01-01T00:00:12", "RC522": {"UID": uid, "Type": "MIFARE 1KB"}}
        wire.say("tele/tasmota_4A21B7/SENSOR", said, qos=0)
    event = wire.event("round.completed", key)
    assert event["at"] == opens + 6_000
    (found,) = [row for row in service.listing("round", "list") if row["id"] == key]
    assert (found["verdict"], found["visited"]) == ("completed", 2)
    done = service.command("round", "explain", key, "--lang", "en")
    assert "no time told; by its arrival" in done.stdout


def test_a_zigbee_button_calls_for_help(living):
    """`emergency` becomes sos.raised, which everybody hears."""
    _, wire = living
    wire.say("zigbee2mqtt/hall/sos button", {"action": "emergency", "battery": 97}, qos=0)
    event = wire.event("sos.raised")
    assert (event["site"], event["severity"]) == (SITE, "critical")
    assert event["data"]["device"] == "sos-gate"


def enroll(service: Service, device: str) -> dict[str, Any]:
    done = service.command("device", "enroll", device, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_phone_posts(living):
    """OwnTracks' HTTP mode: `[]` once the transition is in the ledger; nobody else may post it."""
    service, _ = living
    made = enroll(service, "phone-17")
    at = now_ms() // 1_000
    said = {"_type": "transition", "event": "enter", "desc": "gate", "t": "c", "wtst": 1}
    body = json.dumps([said | {"tst": at - 5}, said | {"desc": "lab", "tst": at}]).encode()

    def post(password: str) -> tuple[int, str]:
        login = base64.b64encode(f"phone-17:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "X-Limit-U": "guard17", "X-Limit-D": "phone"}
        url = f"http://127.0.0.1:{service.http}/owntracks"
        request = urllib.request.Request(url, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""

    assert post("wrong")[0] == 401
    assert of(service, "phone-17") == []
    assert post(made["password"]) == (200, "[]")
    rows = of(service, "phone-17")
    assert [(r["checkpoint"], r["via"], r["time_source"]) for r in rows] == [
        ("gate", "gps", "device"),
        ("lab", "gps", "device"),
    ]
    assert post(made["password"]) == (200, "[]")  # as a phone does that lost the answer
    assert len(of(service, "phone-17")) == 2


def test_a_reader_added_while_it_runs_is_heard(living):
    """The service asks the broker for its topics as soon as a registry names it."""
    service, wire = living
    service.apply(registry({"id": "door", "protocol": "esphome", "address": "readers/door"}))

    def checks_in() -> bool:
        wire.say("readers/door/tag", b"04-A2-B3-C4-D5-E6-80", qos=0)
        return bool(of(service, "door"))

    until(checks_in, "the new reader's check-in")


def test_a_reader_speaks_in_its_own_topics_only(living):
    """Its login may write what its firmware does, under its own address and no other's."""
    service, _ = living
    made = enroll(service, "gate-reader")
    port = int(service.environment["GRIDBEAT_MQTT_URL"].rpartition(":")[2])
    watcher = Client(port)
    watcher.subscribe("tele/#")
    watcher.subscribe("zigbee2mqtt/#")
    reader = Client(port, made["username"], made["password"])
    assert reader.code == 0
    reader.publish("tele/tasmota_FFFFFF/SENSOR", b"forged")
    reader.publish("zigbee2mqtt/hall/sos button", b'{"action":"emergency"}')
    reader.publish("tele/tasmota_4A21B7/STATE", b'{"Wifi":{"Signal":-60}}')
    assert watcher.until(lambda: ("tele/tasmota_4A21B7/STATE",) in [m[:1] for m in watcher.inbox])
    watcher.close()
    reader.close()
    said = {topic for topic, _ in watcher.inbox if not topic.endswith("/LWT")}
    assert said == {"tele/tasmota_4A21B7/STATE"}


def test_what_a_reader_read_while_the_service_was_away_is_kept(living):
    """Our broker keeps QoS 0 for us too; its own time then says when, as well as it can."""
    service, wire = living
    service.stop()
    read_at = now_ms() // 1_000 * 1_000
    local = datetime.fromtimestamp(read_at / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    said = {"Time": local, "PN532": {"UID": LAB, "DATA": ""}}
    wire.say("tele/tasmota_4A21B7/SENSOR", said, qos=0)
    service.start()
    query = "SELECT at FROM entry WHERE tag = :tag AND at >= :since"
    ((at,),) = until(lambda: service.rows(query, tag=LAB, since=read_at), "the read")
    assert at <= now_ms()


def test_what_is_of_no_interest_is_counted(living):
    """A lamp's state is neither kept nor quarantined; what a stranger read says what to do."""
    service, wire = living
    wire.say("zigbee2mqtt/kitchen/lamp", {"state": "ON", "brightness": 120}, qos=0)
    wire.say("tele/tasmota_NEW/SENSOR", {"RC522": {"UID": GATE}}, qos=0)
    rows = until(lambda: service.listing("quarantine", "list"), "the stranger")
    assert [(row["topic"], row["reason"]) for row in rows] == [
        ("tele/tasmota_NEW/SENSOR", "unknown-device")
    ]
    counted = 'gridbeat_ignored_total{protocol="zigbee2mqtt",why="telemetry without a call"} 1.0'
    until(lambda: counted in service.get("/metrics")[1], "the count")
