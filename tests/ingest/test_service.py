"""`gridbeat ingest` as its users meet it: a real broker, raw messages, the machine's clock."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator

import pytest

from store.database import upgrade
from tests.ingest.school import GATE, LAB, REGISTRY, SITE, checkin, owe, up
from tests.servers import Server, influxd, mosquitto
from tests.service import Service, a_service, now_ms, until
from tests.wire import Wire, a_wire

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Wire]]:
    """One service for the tests that do it no harm; each uses devices and numbers of its own."""
    folder = tmp_path_factory.mktemp("service")
    with (
        mosquitto(["set_tcp_nodelay true"]) as broker,
        a_service(folder, broker.port, REGISTRY) as s,
        a_wire(broker.port) as wire,
    ):
        yield s, wire


@pytest.fixture
def quiet_broker() -> Iterator[Server]:
    with mosquitto(["set_tcp_nodelay true"]) as server:
        yield server


BAD_INPUT = [
    ("garbage", up("checkin"), b"\xff\x00garbage", "not-json"),
    ("stranger", up("checkin", "nobody"), checkin(7, 1), "unknown-device"),
    ("foreign site", up("checkin", site="school-02"), checkin(8, 1), "foreign-site"),
    ("deep nest", up("checkin"), b"[" * 20_000 + b"]" * 20_000, "too-deep"),
    ("beyond 2**53", up("checkin"), b'{"seq":9007199254740993,"at":1,"tag":"04AA"}', "schema"),
    ("300 KiB", up("checkin"), b'{"x":"' + b"a" * 300 * 1024 + b'"}', "too-large"),
    ("unknown kind", up("rumour"), b"{}", "unknown-topic"),
    ("bad status", up("status"), b'{"online":"maybe"}', "schema"),
]


@pytest.mark.parametrize(("what", "topic", "said", "reason"), BAD_INPUT, ids=lambda v: str(v)[:14])
def test_bad_input_is_kept_with_its_reason(shared, what, topic, said, reason):
    """What cannot be read or placed is in quarantine byte for byte, and the next message is
    unharmed."""
    service, wire = shared
    wire.say(topic, said)
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    query = "SELECT reason FROM quarantine WHERE topic = :topic AND payload = :payload"
    kept = until(lambda: service.rows(query, topic=topic, payload=payload), what)
    assert kept == [(reason,)]
    seq = 1_000 + BAD_INPUT.index((what, topic, said, reason))
    wire.say(up("checkin", "hh-2"), checkin(seq, now_ms(), epoch=77))
    good = "SELECT checkpoint_id FROM entry WHERE epoch = 77 AND seq = :seq"
    assert until(lambda: service.rows(good, seq=seq), "the good message") != [(None,)]


def test_an_unknown_tag_is_a_checkin_and_an_event(shared):
    """A tag nobody registered is a check-in without a checkpoint, and an event tells of it."""
    service, wire = shared
    wire.say(up("checkin"), checkin(1, now_ms(), "04DEADBEEF", epoch=10))
    event = wire.event("checkin.unknown-tag", "hh-1/10/1")
    assert event["data"]["tag"] == "04DEADBEEF"
    query = "SELECT checkpoint_id FROM entry WHERE epoch = 10"
    assert service.rows(query) == [(None,)]
    listed = [row for row in service.listing("checkin", "list") if row["tag"] == "04DEADBEEF"]
    assert [row["checkpoint"] for row in listed] == [None]


def test_a_walked_round_is_completed_at_due(shared):
    """Whoever reads every tag of the route within the window sees the round completed, at due."""
    service, wire = shared
    opens = now_ms()
    key = owe(service.engine, opens, opens + 3_000)
    wire.say(up("checkin"), checkin(1, now_ms(), GATE, epoch=20))
    wire.say(up("checkin"), checkin(2, now_ms(), LAB, epoch=20))
    event = wire.event("round.completed", key)
    assert event["at"] == opens + 3_000
    assert event["raised_at"] >= event["at"]
    assert event["state"] == "resolved"


def test_staying_away_is_told_once_due(shared):
    """A round that nobody walks is `round.missed` on MQTT, and never before its due; how soon after
    it, `bench/deadline.py` shows."""
    service, wire = shared
    wire.say(up("status"), {"online": True})  # somebody could have come
    opens = now_ms()
    key = owe(service.engine, opens, opens + 3_000)
    event = wire.event("round.missed", key)
    assert event["heard_at"] >= event["at"] == opens + 3_000


def test_a_hazard_is_told_and_followed_to_its_end(shared):
    """A reported hazard opens an event; its steps, in any order, close it."""
    service, wire = shared
    at, said = now_ms(), {"epoch": 30, "tag": GATE, "category": "fire", "grade": "major"}
    wire.say(up("hazard"), {"seq": 1, "at": at, "sent": at, **said})
    opened = wire.event("hazard.opened", "hh-1/30/1", 1.0)
    assert (opened["severity"], opened["state"]) == ("critical", "open")
    for seq, action in ((3, "verified"), (2, "resolved")):
        step = {"seq": seq, "epoch": 30, "action": action, "ref": "hh-1/30/1"}
        wire.say(up("hazard"), {"at": at + seq, "sent": at + seq, **step})
    assert wire.event("hazard.closed", "hh-1/30/1")["data"]["state"] == "closed"
    assert [r["state"] for r in service.listing("hazard", "list") if "/30/" in r["id"]] == [
        "closed"
    ]


def test_a_call_for_help_is_told_at_once_and_acknowledged_by_command(shared):
    """sos is an event within a second; acknowledging it by command is its next revision on MQTT."""
    service, wire = shared
    at = now_ms()
    wire.say(up("sos"), {"seq": 1, "epoch": 40, "at": at, "sent": at, "person": "p-017"})
    raised = wire.event("sos.raised", "hh-1/40/1")
    assert raised["heard_at"] - at < 1_000
    done = service.command("event", "ack", raised["id"], "--author", "duty", "--note", "on my way")
    assert done.returncode == 0, done.stderr
    until(lambda: len(wire.events("sos.raised", "hh-1/40/1")) > 1, "the acknowledged revision")
    told = wire.events("sos.raised", "hh-1/40/1")[-1]
    assert (told["revision"], told["state"]) == (2, "acknowledged")
    assert told["data"]["acknowledged"]["note"] == "on my way"
    cancel = {"seq": 2, "epoch": 40, "cancel": 1, "at": at + 9, "sent": at + 9}
    wire.say(up("sos"), cancel)
    wire.event("sos.cleared", "hh-1/40/1")
    last = until(lambda: wire.events("sos.raised", "hh-1/40/1")[2:], "the end of it")[-1]
    assert last["state"] == "resolved"
    assert last["data"]["acknowledged"]["by"] == "duty"


def test_every_input_makes_a_receipt(shared):
    """New, told again, in quarantine, or a birth: the device hears what is kept, within a
    second."""
    _, wire = shared
    at = now_ms()
    said = checkin(5, at, epoch=50)
    wire.say(up("status", "hh-2"), {"online": True, "epoch": 50, "oldest": 4})
    assert wire.receipt("hh-2", 3, epoch=50)["missing"] == []
    for payload in (said, said, {**said, "tag": LAB}, b'{"seq":6,"epoch":50,"at":"noon"}'):
        before = len(wire.receipts("hh-2"))
        wire.say(up("checkin", "hh-2"), payload)
        until(lambda n=before: len(wire.receipts("hh-2")) > n, "a receipt", 1.0)
    last = wire.receipts("hh-2")[-1]
    assert (last["epoch"], last["upto"], last["missing"]) == (50, 6, [[4, 4]])
    assert wire.event("device.identity-conflict", "hh-2/50/5")["severity"] == "medium"


def test_absurd_times_break_nothing(shared):
    """A device whose clock says the year 287396, or 1970, is kept, listed and judged around."""
    service, wire = shared
    for seq, at in ((1, 2**53 - 1), (2, 0)):
        wire.say(up("checkin"), {"seq": seq, "epoch": 60, "at": at, "sent": at, "tag": GATE})
        wire.say(up("checkin"), {"seq": seq + 2, "epoch": 60, "at": at, "tag": "04FFFF"})
    call = {"seq": 5, "epoch": 60, "at": 2**53 - 1, "sent": 2**53 - 1}
    wire.say(up("sos"), call)
    wire.say(up("hazard"), {**call, "seq": 6, "text": "far ahead"})
    wire.receipt("hh-1", 6, epoch=60)
    for listing in (("checkin", "list"), ("event", "list"), ("hazard", "list")):
        assert service.listing(*listing)
        assert service.command(*listing).returncode == 0
    assert service.get("/readyz")[0] == 200


def test_it_tells_how_it_is(shared):
    """Alive, ready, and counted: what a supervisor and Prometheus ask."""
    service, _ = shared
    assert service.get("/livez") == (200, "alive\n")
    assert service.get("/readyz") == (200, "ready\n")
    status, body = service.get("/metrics")
    assert status == 200
    assert 'gridbeat_records_total{outcome="accepted"}' in body


def test_a_registry_applied_while_it_runs_counts_from_then_on(tmp_path, quiet_broker):
    """With an empty registry everything is a stranger's; what is applied later holds at once."""
    with a_service(tmp_path, quiet_broker.port, None) as service, a_wire(quiet_broker.port) as wire:
        wire.say(up("checkin"), checkin(1, now_ms()))
        strange = "SELECT reason FROM quarantine"
        assert until(lambda: service.rows(strange), "quarantine") == [("unknown-device",)]
        service.apply(REGISTRY)
        wire.say(up("checkin"), checkin(2, now_ms()))
        until(lambda: service.rows("SELECT id FROM entry"), "an entry")
        until(lambda: service.rows("SELECT id FROM obligation"), "rounds owed")
        assert service.stop() == 0


def test_an_outdated_schema_is_refused_by_name(tmp_path, quiet_broker):
    """On a ledger that needs upgrading the service does not start, and names the command."""
    with a_service(tmp_path, quiet_broker.port, None, start=False) as service:
        (tmp_path / "gridbeat.db").unlink()
        done = service.command("ingest")
        assert done.returncode == 1
        assert "gridbeat db upgrade" in done.stderr
        upgrade(service.environment["GRIDBEAT_DATABASE_URL"], now=now_ms())


def test_it_waits_for_a_broker_that_is_not_there(tmp_path):
    """Without a broker it is alive and not ready, says why, and ends when told to."""
    with mosquitto() as broker:
        broker.kill()
        with a_service(tmp_path, broker.port, REGISTRY, start=False) as service:
            service.launch()
            until(lambda: service.get("/livez")[0] == 200, "alive")
            status, why = service.get("/readyz")
            assert status == 503
            assert "broker" in why
            broker.start()
            until(lambda: service.get("/readyz")[0] == 200, "ready", 30)
            assert service.stop() == 0


def test_at_the_end_what_was_received_is_kept_or_left_with_the_broker(tmp_path, quiet_broker):
    """SIGTERM under load: after a restart every record is there, and each once."""
    records = 3_000
    with (
        a_service(tmp_path, quiet_broker.port, REGISTRY) as service,
        a_wire(quiet_broker.port) as wire,
    ):
        at = now_ms()
        wire.say_all(up("checkin"), [checkin(seq, at) for seq in range(records)])
        assert service.stop() == 0
        kept = service.value("SELECT count(*) FROM entry")
        assert kept <= records
        service.start()
        count = "SELECT count(*), count(DISTINCT seq) FROM entry"
        until(lambda: service.rows(count) == [(records, records)], "every record")
        wire.say(up("checkin"), checkin(records - 1, at))  # as a device does that was not told
        assert wire.receipt("hh-1", records - 1)["missing"] == []


def test_killed_again_and_again_it_loses_nothing_it_receipted(tmp_path, quiet_broker):
    """SIGKILL at any instant: what a receipt covered is in the ledger, and nothing is there
    twice."""
    records = 4_000
    with (
        a_service(tmp_path, quiet_broker.port, REGISTRY) as service,
        a_wire(quiet_broker.port) as wire,
    ):
        at = now_ms()
        for part in range(4):
            span = range(part * 1_000, (part + 1) * 1_000)
            wire.say_all(up("checkin"), [checkin(seq, at) for seq in span])
            service.kill()
            claimed = max((r["upto"] for r in wire.receipts("hh-1")), default=-1)
            kept = {seq for (seq,) in service.rows("SELECT seq FROM entry")}
            assert set(range(claimed + 1)) <= kept
            service.start()
        count = "SELECT count(*), count(DISTINCT seq) FROM entry"
        until(lambda: service.rows(count) == [(records, records)], "every record")
        wire.say(up("checkin"), checkin(records - 1, at))  # as a device does that was not told
        assert wire.receipt("hh-1", records - 1)["missing"] == []


def test_what_waits_with_the_broker_is_not_missed(tmp_path, quiet_broker):
    """A round that came due while the service was down is judged by what waited, never as
    missed."""
    with (
        a_service(tmp_path, quiet_broker.port, REGISTRY) as service,
        a_wire(quiet_broker.port) as wire,
    ):
        wire.say(up("status"), {"online": True})
        opens = now_ms()
        key = owe(service.engine, opens, opens + 1_500)
        until(lambda: (service.value("SELECT marker_at FROM worker") or 0) > opens, "a marker")
        service.kill()
        for seq, tag in enumerate((GATE, LAB)):
            wire.say(up("checkin"), checkin(seq, opens + 100 + seq, tag))
        until(lambda: now_ms() > opens + 2_500, "due")
        service.start()
        assert wire.event("round.completed", key)["revision"] == 1
        assert wire.events("round.missed") == []
        assert service.value("SELECT count(*) FROM verdict") == 1


def test_a_broker_killed_is_said_and_come_back_to(tmp_path, quiet_broker):
    """While the broker is gone the service is not ready; then it goes on, with every event told."""
    with (
        a_service(tmp_path, quiet_broker.port, REGISTRY) as service,
        a_wire(quiet_broker.port) as wire,
    ):
        wire.say(up("status"), {"online": True})
        opens = now_ms()
        key = owe(service.engine, opens, opens + 2_000)
        until(lambda: (service.value("SELECT marker_at FROM worker") or 0) > opens, "a marker")
        quiet_broker.kill()
        until(lambda: service.get("/readyz")[0] == 503, "not ready")
        quiet_broker.start()
        until(lambda: service.get("/readyz")[0] == 200, "ready", 30)
        assert wire.event("round.missed", key, 30)["revision"] == 1
        outages = service.rows("SELECT what FROM outage WHERE until IS NULL")
        assert outages == []
        assert service.stop() == 0
        assert service.rows("SELECT what FROM outage WHERE until IS NULL") == []


def test_a_full_or_locked_ledger_is_waited_for(tmp_path, quiet_broker):
    """While the ledger cannot be written nothing is acknowledged; afterwards everything is
    there."""
    with (
        a_service(tmp_path, quiet_broker.port, REGISTRY) as service,
        a_wire(quiet_broker.port) as wire,
    ):
        wire.say(up("checkin"), checkin(1, now_ms()))
        wire.receipt("hh-1", 1)
        lock = "import sqlite3,sys,time; c=sqlite3.connect(sys.argv[1]);"
        lock += "c.execute('BEGIN IMMEDIATE'); print(1, flush=True); sys.stdin.read()"
        holder = subprocess.Popen(
            ["python3", "-c", lock, str(tmp_path / "gridbeat.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            wire.say(up("checkin"), checkin(2, now_ms()))
            until(lambda: service.get("/readyz")[0] == 503, "not ready", 30)
            assert wire.receipts("hh-1")[-1]["upto"] == 1
        finally:
            holder.communicate(timeout=10)
        assert wire.receipt("hh-1", 2)
        until(lambda: service.get("/readyz")[0] == 200, "ready", 30)
        assert service.stop() == 0


def test_the_simulators_clock_means_nothing_to_a_service_on_the_machines(tmp_path, quiet_broker):
    """A tick of `sim/clock` is no marker where the machine's clock rules."""
    with (
        a_service(tmp_path, quiet_broker.port, REGISTRY) as service,
        a_wire(quiet_broker.port) as wire,
    ):
        wire.say("patrol/v1/sim/clock", {"now": now_ms() + 86_400_000})
        wire.say(up("checkin"), checkin(1, now_ms()))
        wire.receipt("hh-1", 1)
        until(lambda: service.value("SELECT marker_at FROM worker"), "a marker")
        assert service.value("SELECT marker_at FROM worker") < now_ms() + 1_000
        assert SITE in service.value("SELECT slug FROM site ORDER BY id LIMIT 1")


@pytest.mark.influx
def test_the_series_catches_up_with_the_ledger(tmp_path, quiet_broker):
    """InfluxDB down for the whole run and started afterwards: its counts become the ledger's."""
    with influxd() as influx:
        influx.kill()
        series = {"influx_url": influx.url, "influx_api": "v1", "influx_database": "late"}
        with (
            a_service(tmp_path, quiet_broker.port, REGISTRY, **series) as service,
            a_wire(quiet_broker.port) as wire,
        ):
            opens = now_ms()
            key = owe(service.engine, opens, opens + 1_500)
            said = [checkin(seq, opens + seq, "04FFFF") for seq in range(300)]
            wire.say_all(up("checkin"), [*said, *said])
            wire.say_all(up("checkin", "hh-2"), [checkin(1, opens, GATE), checkin(2, opens, LAB)])
            wire.event("round.completed", key)
            influx.start()
            counts = {"checkin": 302, "round": 1, "event": 301}
            until(lambda: points(influx, counts) == counts, "the counts of the ledger", 60)
            until(lambda: "gridbeat_series_behind 0.0" in service.get("/metrics")[1], "all fed", 30)
            assert points(influx, counts) == counts


def points(influx: Server, measurements: Iterable[str]) -> dict[str, int]:
    """How many points InfluxDB holds, by measurement."""
    found = {}
    for name in measurements:
        asked = {"db": "late", "q": f'SELECT count(event_id), count(round_id) FROM "{name}"'}  # noqa: S608
        with urllib.request.urlopen(f"{influx.url}/query?{urllib.parse.urlencode(asked)}") as said:  # noqa: S310
            rows = json.load(said)["results"][0].get("series", [])
        found[name] = max(filter(None, rows[0]["values"][0][1:])) if rows else 0
    return found


def test_below_the_disks_floor_nothing_is_read_and_nothing_is_lost(tmp_path, quiet_broker):
    """Not ready, in words; no record taken, no outage of the broker told; it goes on by itself."""
    floor = "GRIDBEAT_DISK_FLOOR_MB"
    with (
        a_service(tmp_path, quiet_broker.port, REGISTRY) as service,
        a_wire(quiet_broker.port) as wire,
    ):
        service.stop()
        before = service.environment.pop(floor, None)
        service.environment[floor] = str(2**40)
        service.launch()
        until(lambda: "disk" in service.get("/readyz")[1], "the word of the disk")
        wire.say(up("checkin"), checkin(1, now_ms()))
        time.sleep(1.5)  # a batch takes milliseconds
        assert service.value("SELECT count(*) FROM entry") == 0
        assert service.rows("SELECT what FROM outage WHERE until IS NULL") == []
        service.stop()
        service.environment.pop(floor)
        if before is not None:
            service.environment[floor] = before
        service.start()
        wire.receipt("hh-1", 1)
