"""The ledger's file is moved away, or replaced, under a running service."""

import json
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.ingest.school import REGISTRY, birth, checkin, up
from tests.reliability.stage import a_stage
from tests.service import Service, now_ms, until
from tests.wire import Wire

pytestmark = pytest.mark.broker


@pytest.fixture
def stage(tmp_path) -> Iterator[tuple[Service, Wire]]:
    """A service that has receipted three check-ins, alone on its ledger, and a wire to it."""
    with a_stage(tmp_path, REGISTRY) as (service, wire):
        service.engine.dispose()
        wire.say(up("status"), birth(1))
        for seq in (1, 2, 3):
            wire.say(up("checkin"), checkin(seq, now_ms()))
        wire.receipt("hh-1", 3)
        yield service, wire


def unready(service: Service, words: str) -> None:
    """It says so by itself, soon, and stays alive."""
    until(lambda: words in service.get("/readyz")[1], f"not ready: {words}")
    assert service.get("/readyz")[0] == 503
    assert service.get("/livez")[0] == 200


def kept(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as ledger:
        return [row[0] for row in ledger.execute("SELECT seq FROM entry ORDER BY seq")]


def told(wire: Wire) -> int:
    return max(receipt["upto"] for receipt in wire.receipts("hh-1"))


def test_what_is_said_after_a_move_is_receipted_once_the_file_is_back(stage, tmp_path):
    """Until then nothing is: the broker keeps it. Then the service goes on by itself."""
    service, wire = stage
    path, moved = tmp_path / "gridbeat.db", tmp_path / "moved.db"
    path.rename(moved)
    wire.say(up("checkin"), checkin(4, now_ms()))
    unready(service, "gridbeat.db is gone")
    assert told(wire) == 3
    moved.rename(path)
    wire.receipt("hh-1", 4)
    until(lambda: service.get("/readyz")[0] == 200, "ready again")
    service.kill()
    assert kept(path) == [1, 2, 3, 4]


def test_no_record_is_receipted_into_a_ledger_that_nobody_finds(stage, tmp_path):
    """Moved, and another made in its place; the service is killed, and started on the file that
    was moved back: what was receipted is there, and what was not comes from the broker again."""
    service, wire = stage
    path, moved = tmp_path / "gridbeat.db", tmp_path / "moved.db"
    path.rename(moved)
    unready(service, "gridbeat.db is gone")
    shutil.copy(moved, path)
    wire.say(up("checkin"), checkin(4, now_ms()))
    unready(service, "another file")
    assert told(wire) == 3
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(20) == 0
    assert kept(moved) == [1, 2, 3]
    for name in (path, *tmp_path.glob("gridbeat.db-*")):
        name.unlink()
    moved.rename(path)
    service.start()
    wire.receipt("hh-1", 4)
    service.kill()
    assert kept(path) == [1, 2, 3, 4]


def test_no_ledger_is_made_in_the_place_of_one_that_a_service_runs_on(stage, tmp_path):
    """`db upgrade` and `db restore` refuse, `doctor` finds the service; all say what to do."""
    service, _ = stage
    path, moved = tmp_path / "gridbeat.db", tmp_path / "moved.db"
    copy = tmp_path / "copy.db"
    assert service.command("db", "backup", str(copy)).returncode == 0
    assert "is up to date" in service.command("db", "upgrade").stdout
    path.rename(moved)
    unready(service, "gridbeat.db is gone")
    assert service.get("/readyz")[1].count("is gone") == 1
    for command in (("db", "upgrade"), ("db", "restore", str(copy)), ("checkin", "list")):
        done = service.command(*command)
        assert done.returncode != 0
        assert "put that file back at its place" in done.stderr
        assert f"process {service.process.pid}" in done.stderr
    checks = json.loads(service.command("doctor", "--json").stdout)
    said = {check["what"]: check for check in checks}
    assert "was moved away or replaced" in said["database"]["detail"]
    assert "mv the file back" in said["database"]["remedy"]
    assert "gridbeat.db is gone" in said["service"]["detail"]
    assert not path.exists()
    moved.rename(path)
    until(lambda: service.get("/readyz")[0] == 200, "ready again")
