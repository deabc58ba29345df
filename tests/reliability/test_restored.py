"""A ledger that comes back from a copy: under a new name, so that handhelds send again."""

import shutil
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from tests.ingest.school import REGISTRY, birth, checkin, up
from tests.reliability.stage import a_stage
from tests.service import Service, now_ms, until
from tests.wire import Wire

pytestmark = pytest.mark.broker


@pytest.fixture
def stage(tmp_path) -> Iterator[tuple[Service, Wire]]:
    """A service with five check-ins, and a wire to it."""
    with a_stage(tmp_path, REGISTRY) as (service, wire):
        wire.say(up("status"), birth(1))
        say(wire, range(1, 6))
        yield service, wire


def say(wire: Wire, seqs: range) -> None:
    at = now_ms()
    for seq in seqs:
        wire.say(up("checkin"), checkin(seq, at))
    wire.receipt("hh-1", seqs[-1])


def end(service: Service) -> None:
    """Nobody has the ledger open."""
    assert service.stop() == 0
    service.engine.dispose()


def last(wire: Wire) -> dict[str, Any]:
    """The last receipt."""
    return wire.receipts("hh-1")[-1]


def said_again(service: Service, wire: Wire, seq: int) -> str:
    """The ledger that a device hears of that sends a record once more.

    What the receipt claims is there: what the copy held, and what the broker still had.
    """
    before = len(wire.receipts("hh-1"))
    wire.say(up("checkin"), checkin(seq, now_ms(), epoch=0))
    until(lambda: len(wire.receipts("hh-1")) > before, "a receipt")
    receipt = last(wire)
    missing = {seq for first, end in receipt["missing"] for seq in range(first, end + 1)}
    kept = {seq for (seq,) in service.rows("SELECT seq FROM entry")}
    assert {*range(1, 6)} <= {*range(1, receipt["upto"] + 1)} - missing <= kept
    return receipt["ledger"]


def test_each_restore_of_one_backup_is_another_ledger(stage, tmp_path):
    """`gridbeat db restore`: the receipts name a ledger never heard of, that holds what the copy
    holds and no more, the second time as well."""
    service, wire = stage
    copy = tmp_path / "copy.db"
    assert service.command("db", "backup", str(copy)).returncode == 0
    say(wire, range(6, 9))
    names = {last(wire)["ledger"]}
    for _ in range(2):
        end(service)
        done = service.command("db", "restore", str(copy))
        assert done.returncode == 0, done.stderr
        service.start()
        name = said_again(service, wire, 5)
        assert name not in names
        names.add(name)
        say(wire, range(6, 8))
    aside = sorted(tmp_path.glob("gridbeat.db.2*"))
    assert [_count(path) for path in aside[:1]] == [8]


def _count(path) -> int:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT count(*) FROM entry").fetchone()[0]
    finally:
        connection.close()


def test_a_ledger_copied_back_by_hand_is_noticed(stage, tmp_path):
    """Without any command: the broker knows how far it had come. It gets a new name, each time."""
    service, wire = stage
    ledger, copy = tmp_path / "gridbeat.db", tmp_path / "by-hand.db"
    end(service)
    shutil.copy(ledger, copy)
    service.start()
    say(wire, range(6, 9))
    names = {last(wire)["ledger"]}
    for _ in range(2):
        until(lambda: _witnessed(wire) >= 8, "the broker knows how far it has come")
        end(service)
        shutil.copy(copy, ledger)
        service.start()
        assert "lost.restored" in service.log
        until(lambda: last(wire)["ledger"] not in names, "a receipt, though the device is silent")
        name = said_again(service, wire, 5)
        assert wire.event("service.gap")["data"]["cause"] == "restored"
        assert name not in names
        names.add(name)


def _witnessed(wire: Wire) -> int:
    return max((int(h.payload) for h in wire.heard if "/service/ledgers/" in h.topic), default=0)


def test_a_restart_is_no_restore(stage):
    """Stopped or killed, the ledger keeps its name."""
    service, wire = stage
    name = last(wire)["ledger"]
    service.stop()
    service.start()
    say(wire, range(6, 8))
    service.kill()
    service.start()
    assert said_again(service, wire, 7) == name
    assert last(wire)["upto"] == 7


def test_what_cannot_be_restored_is_refused_and_nothing_is_touched(stage, tmp_path):
    """A running service, no ledger, no file: each in words that say what to do."""
    service, wire = stage
    copy, rubbish = tmp_path / "copy.db", tmp_path / "rubbish.db"
    assert service.command("db", "backup", str(copy)).returncode == 0
    rubbish.write_bytes(b"no database at all" * 1_000)
    for file, words in (
        (copy, "stop the service"),
        (rubbish, "is no ledger"),
        (tmp_path / "none.db", "there is no file"),
    ):
        done = service.command("db", "restore", str(file))
        assert done.returncode == 1
        assert words in done.stderr
    say(wire, range(6, 7))
    assert not list(tmp_path.glob(".*partial"))
    assert not list(tmp_path.glob("gridbeat.db.2*"))
