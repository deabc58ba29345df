"""`gridbeat device list|show`, `doctor`: who is there, who is away, and how old that news is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from rules.presence import Limits
from store.alarms import look_around
from store.database import writing
from tests.cli.running import Gridbeat
from tests.ingest.bench import Bench, a_bench, delivery, up
from tests.ingest.school import DOCUMENT, GATE, checkin

MINUTE, HOUR = 60_000, 3_600_000


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """hh-1 away, its battery low; hh-2 there by its heartbeat; hh-3 silent; hh-4 days ago."""
    site = DOCUMENT["sites"][0]
    devices = [
        {"id": "hh-1"},
        {"id": "hh-2", "heartbeat": "5m"},
        {"id": "hh-3", "heartbeat": "5m"},
        {"id": "hh-4"},
    ]
    document = {**DOCUMENT, "sites": [{**site, "devices": devices}, *DOCUMENT["sites"][1:]]}
    with a_bench(tmp_path_factory.mktemp("devices"), document) as made:
        said = {"online": True, "boot": "b1", "bat": 12, "queue": 3, "fw": "1.0"}
        made.take(delivery(up("checkin", "hh-4"), checkin(1, made.at, GATE)))
        made.at += 72 * HOUR
        for device in ("hh-1", "hh-3"):
            made.take(delivery(up("status", device), said))
        made.take(delivery(up("status"), {**said, "fw": "1.1"}))
        made.at += MINUTE
        made.take(delivery(up("status"), {"online": False, "boot": "b1"}))
        made.at += 2 * HOUR
        made.take(delivery(up("status", "hh-2"), {**said, "sent": made.at + 600_000}))
        made.at += 2 * MINUTE
        with writing(made.ledger.engine) as connection:
            look_around(connection, Limits(), made.at, made.at, 100)
            at = {"at": made.at}
            connection.execute(text("UPDATE worker SET clock = 'mqtt', marker_at = :at"), at)
        yield made


@pytest.fixture
def gridbeat(bench: Bench) -> Gridbeat:
    return Gridbeat(folder=Path(str(bench.ledger.engine.url.database)).parent)


def rows(gridbeat: Gridbeat) -> dict[str, dict[str, Any]]:
    done = gridbeat("device", "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return {row["id"]: row for row in json.loads(done.stdout)}


def test_the_state_is_told_in_one_word(gridbeat: Gridbeat) -> None:
    """By the last word, by silence where a heartbeat is agreed, and whether that is old news."""
    found = rows(gridbeat)
    assert {id_: row["state"] for id_, row in found.items()} == {
        "hh-1": "offline",
        "hh-2": "online",
        "hh-3": "silent",
        "hh-4": "online",
        "hh-9": "never",
        "insp-01": "never",
    }
    assert [found[id_]["stale"] for id_ in ("hh-1", "hh-2", "hh-3")] == [True, False, True]
    assert found["hh-3"]["state_since_at"].startswith("2026-09-04T04:13:30")


def test_what_is_old_says_so(gridbeat: Gridbeat) -> None:
    """Ages stand beside what is away, and beside what an old status said."""
    lines = {line.split()[0]: line for line in gridbeat("device", "list").stdout.splitlines()}
    assert "✗ offline 2h" in lines["hh-1"]
    assert "12% (2h ago)" in lines["hh-1"]
    assert "2m ago" in lines["hh-2"]
    assert "12% " in lines["hh-2"]
    assert "ago)" not in lines["hh-2"]
    assert "? online 3d ago" in lines["hh-4"]
    zh = gridbeat("device", "list", "--lang", "zh").stdout
    assert "失联" in zh
    assert "2 分钟前" in zh


def test_one_device_is_shown_whole(gridbeat: Gridbeat) -> None:
    """Firmware with its changes, what is wrong and since when, when it came and went."""
    text_ = gridbeat("device", "show", "hh-1").stdout
    for said in ("✗ offline 2h", "1.1  ", "1.0  ", "hh-1 is offline", "battery is low"):
        assert said in text_
    assert "connection    went away  2h ago" in text_
    assert "connection    came back  2h ago" in text_
    assert "10m ahead" in gridbeat("device", "show", "hh-2").stdout
    assert "快 10 分钟" in gridbeat("device", "show", "hh-2", "--lang", "zh").stdout
    shown = json.loads(gridbeat("device", "show", "hh-1", "--json").stdout)
    wrong = {alarm["kind"]: alarm["state"] for alarm in shown["alarms"]}
    assert wrong == {"device.offline": "open", "device.battery-low": "open"}
    assert [version["firmware"] for version in shown["firmwares"]] == ["1.1", "1.0"]
    assert [turn["online"] for turn in shown["turns"]] == [False, True]


def test_a_device_nobody_knows_is_said_with_near_ones(gridbeat: Gridbeat) -> None:
    """Exit 1, and what to do."""
    done = gridbeat("device", "show", "hh-11")
    assert done.returncode == 1
    assert "near: hh-1" in done.stderr


def test_the_doctor_names_who_is_away(gridbeat: Gridbeat) -> None:
    """The longest away first."""
    told = json.loads(gridbeat("doctor", "--json").stdout)
    checks = told["checks"] if isinstance(told, dict) else told
    (check,) = [check for check in checks if check["what"] == "devices"]
    assert check["state"] == "warn"
    assert "2 cannot be reached: hh-1 (offline 2h), hh-3 (silent 1h)" in check["detail"]


def test_nobody_listening_is_said(bench: Bench, gridbeat: Gridbeat) -> None:
    """Where no service runs, the list is of then; away is nobody's fault but ours."""
    with writing(bench.ledger.engine) as connection:
        connection.execute(text("UPDATE worker SET clock = 'system'"))
    try:
        done = gridbeat("device", "list")
        assert "the service has not run for" in done.stderr
        assert "cannot be reached: hh" not in gridbeat("doctor").stdout
        assert rows(gridbeat)["hh-2"]["state"] == "online"
    finally:
        with writing(bench.ledger.engine) as connection:
            connection.execute(text("UPDATE worker SET clock = 'mqtt'"))
