"""A full disk, and a reader that stands still: said, bounded, and over by themselves."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ingest.school import REGISTRY, birth, checkin, up
from tests.servers import Server, mosquitto
from tests.service import Service, a_service, now_ms, until
from tests.wire import Wire, a_wire

pytestmark = pytest.mark.broker

MIB = 2**20
READ = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM entry").fetchall()
print("reading", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def broker() -> Iterator[Server]:
    with mosquitto(["set_tcp_nodelay true"]) as server:
        yield server


@pytest.fixture
def small(tmp_path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("a small disk needs root, and leave to mount; the other test does without")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def held_up(service: Service, wire: Wire, seq: int, words: str) -> None:
    """A record is said; it is neither kept nor receipted, and `/readyz` says why."""
    wire.say(up("checkin"), checkin(seq, now_ms()))
    until(lambda: words in service.get("/readyz")[1], words, 30)
    assert service.get("/readyz")[0] == 503
    assert service.get("/livez")[0] == 200
    time.sleep(1.5)  # a batch takes milliseconds, and a receipt a second at most
    assert wire.receipts("hh-1")[-1]["upto"] == seq - 1
    assert service.value("SELECT count(*) FROM entry WHERE seq = :seq", seq=seq) == 0


def goes_on(service: Service, wire: Wire, seq: int) -> None:
    """Without a restart, what was said meanwhile is kept and receipted."""
    pid = service.process.pid
    assert wire.receipt("hh-1", seq)["missing"] == []
    until(lambda: service.get("/readyz")[0] == 200, "ready", 30)
    assert service.process.pid == pid


@pytest.mark.parametrize(
    ("floor", "words"), [("0", "database or disk is full"), ("4", "must stay: make room")]
)
def test_a_full_disk_is_said_and_nothing_is_lost(small, broker, floor, words):
    """Full to the last byte under SQLite, or below the floor: no receipt, not ready, a clear word;
    once there is room it goes on by itself."""
    with (
        a_service(small, broker.port, REGISTRY, disk_floor_mb=floor) as service,
        a_wire(broker.port) as wire,
    ):
        wire.say(up("status"), birth(1))
        wire.say(up("checkin"), checkin(1, now_ms()))
        wire.receipt("hh-1", 1)
        ballast = small / "ballast"
        _fill(ballast)
        held_up(service, wire, 2, words)
        ballast.unlink()
        goes_on(service, wire, 2)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        for size in (MIB, 4_096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


BROKER_IS_GONE = "SELECT count(*) FROM outage WHERE what = 'broker' AND until IS NULL"


@pytest.mark.parametrize("first", ["the disk", "the broker"])
def test_a_broker_that_goes_while_the_disk_is_full_is_found_gone(small, broker, first):
    """Once there is room, it says that the broker is not there, and the outage is in the ledger;
    with the broker back it goes on."""
    with a_service(small, broker.port, REGISTRY, disk_floor_mb="4") as service:
        ballast = small / "ballast"
        worst = [lambda: _fill(ballast), broker.kill]
        words = ["must stay: make room", "not connected to the broker"]
        for step in (0, 1) if first == "the disk" else (1, 0):
            worst[step]()
            if (step, first) != (1, "the disk"):  # nobody can tell while we have hung up
                until(lambda: words[step] in service.get("/readyz")[1], words[step], 30)  # noqa: B023
        ballast.unlink()
        until(lambda: words[0] not in service.get("/readyz")[1], "room", 30)
        until(lambda: words[1] in service.get("/readyz")[1], words[1], 30)
        until(lambda: service.value(BROKER_IS_GONE) == 1, "the outage", 30)
        broker.start()
        until(lambda: service.get("/readyz")[0] == 200, "ready", 30)
        until(lambda: service.value(BROKER_IS_GONE) == 0, "the outage's end", 30)


def test_a_ledger_that_may_grow_no_more_is_said_and_nothing_is_lost(tmp_path, broker):
    """The same where the system limits the size of files, as a quota does."""
    with (
        a_service(tmp_path, broker.port, REGISTRY) as service,
        a_wire(broker.port) as wire,
    ):
        wire.say(up("status"), birth(1))
        wire.say(up("checkin"), checkin(1, now_ms()))
        wire.receipt("hh-1", 1)
        pid, before = service.process.pid, resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4_096, before[1]))
        held_up(service, wire, 2, "the ledger cannot be written")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        goes_on(service, wire, 2)


@contextmanager
def a_reader_that_stands_still(service: Service) -> Iterator[int]:
    """An operator's `sqlite3` with an open transaction, gone to lunch. Yields its process id."""
    argv = [sys.executable, "-c", READ, str(service.folder / "gridbeat.db")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        try:
            reader.stdout.readline()
            yield reader.pid
        finally:
            reader.communicate(timeout=10)


def test_a_reader_that_stands_still_does_not_let_the_log_grow_without_bound(tmp_path, broker):
    """At the bound nothing more is read, and who is in the way is named; when it has gone, the log
    begins anew and all goes on."""
    settings = {"wal_limit_mb": "4", "batch_size": "5"}
    with (
        a_service(tmp_path, broker.port, REGISTRY, **settings) as service,
        a_wire(broker.port) as wire,
    ):
        log = tmp_path / "gridbeat.db-wal"
        at, seq = now_ms(), 0
        with a_reader_that_stands_still(service) as pid:
            while log.stat().st_size <= 4 * MIB:
                wire.say_all(up("checkin"), [checkin(seq + n, at) for n in range(50)])
                seq += 50
                assert seq < 20_000
            words = f"process {pid} "
            until(lambda: words in service.get("/readyz")[1], "who is in the way", 30)
            assert service.get("/readyz")[0] == 503
            size, kept = log.stat().st_size, service.value("SELECT count(*) FROM entry")
            wire.say_all(up("checkin"), [checkin(seq + n, at) for n in range(50)])
            time.sleep(3)
            assert log.stat().st_size < size + MIB
            assert service.value("SELECT count(*) FROM entry") == kept
        goes_on(service, wire, seq + 49)
        until(lambda: log.stat().st_size <= 4 * MIB, "a log that began anew")
