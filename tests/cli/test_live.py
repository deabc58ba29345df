"""The commands beside a running broker: watching, enrolling, looking at every part."""

import json
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from desk import broker
from devices.ids import Instant
from rules.notices import sos_raised
from store.database import open_engine, writing
from store.events import raise_notices
from tests.cli.running import Gridbeat
from tests.clients import WAIT_S, Client
from tests.filled import fill
from tests.servers import Server, mosquitto

pytestmark = pytest.mark.broker

EVENT_AT = 1788276600000
EVENT = {
    "id": "0" * 32,
    "kind": "sos.raised",
    "severity": "critical",
    "site": "school-01",
    "subject": "hh-0101/0/7",
    "at": EVENT_AT,
    "raised_at": 1788276600050,
    "revision": 1,
    "state": "open",
    "message": {"zh": "hh-0101 紧急求助", "en": "hh-0101 calls for help"},
    "data": {},
}
LATE = sos_raised("school-01", "hh-0101/0/9", Instant(EVENT_AT), device="hh-0101", data={})
"""Made long before it was told."""


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[tuple[Gridbeat, Server]]:
    """A filled ledger and our own broker, as `broker init` makes it."""
    fill(tmp_path)
    broker.init(tmp_path / "broker", port=1)
    conf = (tmp_path / "broker" / "mosquitto.conf").read_text()
    with mosquitto(conf=conf.replace("listener 1 ", "listener {port} ")) as server:
        settings = {"GRIDBEAT_MQTT_URL": f"mqtt://127.0.0.1:{server.port}"}
        yield Gridbeat(folder=tmp_path, settings=settings), server


def test_an_enrolled_device_is_in_when_the_command_returns(
    ours: tuple[Gridbeat, Server],
) -> None:
    """`device enroll` ends only when the broker lets the device in: its very first login works."""
    gridbeat, server = ours
    made = json.loads(gridbeat("device", "enroll", "hh-0101", "--json").stdout)
    assert (made["live"], made["remark"]) == (True, None)
    assert Client(server.port, made["username"], made["password"]).code == 0


def test_a_renewed_password_ends_the_old_one(ours: tuple[Gridbeat, Server]) -> None:
    """After `--renew` the new password lets the device in, and the old one does not."""
    gridbeat, server = ours
    old = json.loads(gridbeat("device", "enroll", "hh-0101", "--json").stdout)["password"]
    new = json.loads(gridbeat("device", "enroll", "hh-0101", "--renew", "--json").stdout)
    assert Client(server.port, "hh-0101", new["password"]).code == 0
    assert Client(server.port, "hh-0101", old).code != 0


@pytest.mark.parametrize("as_json", [True, False])
def test_events_are_followed_until_ctrl_c(ours: tuple[Gridbeat, Server], as_json: bool) -> None:
    """`event watch` prints each event on a line of its own as it is told; Ctrl-C ends it with 0."""
    gridbeat, server = ours
    process = gridbeat.start("event", "watch", *(["--json"] if as_json else []))
    teller = Client(server.port)
    try:
        line = told_until_heard(process, teller)
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    if as_json:
        event = json.loads(line)
        assert event | {"at": 0, "raised_at": 0} == EVENT | {"at": 0, "raised_at": 0}
        assert event["at"] == "2026-09-01T15:30:00+00:00"
    else:
        assert "hh-0101 calls for help" in line
        assert "critical" in line
        assert "09-01 23:30:00  " + EVENT["id"][:8] in line  # the school's own time


def test_a_watch_outlives_the_broker(ours: tuple[Gridbeat, Server]) -> None:
    """It says that the broker went and came back, how to see what it missed, and goes on.

    Whatever was told meanwhile, though it became true long before.
    """
    gridbeat, server = ours
    process = gridbeat.start("event", "watch")
    assert process.stderr is not None
    try:
        told_until_heard(process, Client(server.port))
        server.stop()
        gone = process.stderr.readline()
        engine = open_engine(f"sqlite:///{gridbeat.folder / 'gridbeat.db'}")
        with writing(engine) as connection:
            raise_notices(connection, [LATE], time.time_ns() // 1_000_000)
        engine.dispose()
        server.start()
        back = process.stderr.readline()
        line = told_until_heard(process, Client(server.port))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert "the broker is gone" in gone
    missed = gridbeat(*shlex.split(back.partition(": gridbeat ")[2]), "--json")
    assert [event["subject"] for event in json.loads(missed.stdout)] == [LATE.subject]
    assert "hh-0101 calls for help" in line


def told_until_heard(process: subprocess.Popen[str], teller: Client) -> str:
    """Tell the event each quarter of a second until the watcher, once connected, prints it."""
    assert process.stdout is not None
    deadline = time.monotonic() + 4 * WAIT_S
    while time.monotonic() < deadline:
        teller.publish("patrol/v1/school-01/events/sos.raised", json.dumps(EVENT).encode())
        if select.select([process.stdout], [], [], 0.25)[0]:
            return process.stdout.readline()
    pytest.fail("nothing was printed")


def test_doctor_finds_the_broker_well(ours: tuple[Gridbeat, Server]) -> None:
    """With our broker running, its row is fine: let in, there and back, its version told."""
    gridbeat, _ = ours
    saved = gridbeat.folder / "broker" / "mosquitto.db"
    deadline = time.monotonic() + WAIT_S
    while not saved.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    checks = json.loads(gridbeat("doctor", "--json").stdout)
    rows = [check for check in checks if check["what"] == "broker"]
    assert [row["state"] for row in rows] == ["ok"]
    assert "mosquitto version" in rows[0]["detail"]


def test_doctor_sees_a_wrong_password(ours: tuple[Gridbeat, Server]) -> None:
    """A service the broker does not let in is told apart from one that reaches it."""
    gridbeat, server = ours
    settings = {"GRIDBEAT_MQTT_URL": f"mqtt://gridbeat:wrong@127.0.0.1:{server.port}"}
    done = Gridbeat(folder=gridbeat.folder, settings=settings)("doctor", "--json")
    row = next(c for c in json.loads(done.stdout) if c["what"] == "broker")
    assert (done.returncode, row["state"]) == (4, "unreachable")
    assert "wrong" not in row["detail"]
