"""A recorded fleet, played through a real broker and the service as a process: the same ledger."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.test_scenarios import (
    SIMULATOR,
    a_registry,
    assert_amended_as_truth,
    assert_equals_truth,
    playing,
    summary_of,
)
from tests.servers import mosquitto
from tests.service import Service, a_service

pytestmark = [pytest.mark.broker, pytest.mark.fleet]

KEPT = """
SELECT device.slug, epoch, seq, kind, entry.site_id, entry.checkpoint_id, entry.at, sent, tag, body
FROM entry JOIN device ON device.id = entry.device_id ORDER BY 1, 2, 3
"""
JUDGED = """
SELECT o.key, v.standing, v.reason, v.at, v.missing, v.late FROM verdict v
JOIN obligation o ON o.id = v.obligation_id AND o.revision = v.revision ORDER BY 1
"""


def simulator(*arguments: str) -> dict[str, Any]:
    """A command of the simulator; what its last line on stdout says."""
    done = subprocess.run(
        [str(SIMULATOR), *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def at(port: int) -> str:
    """The address of a broker on loopback."""
    return f"mqtt://127.0.0.1:{port}"


@contextmanager
def a_stand(folder: Path, scenario: str) -> Iterator[tuple[Service, int]]:
    """A broker, and the service on it by the simulator's clock; and the broker's port."""
    folder.mkdir(exist_ok=True)
    with mosquitto(["set_tcp_nodelay true"]) as broker:
        document = a_registry(scenario)
        with a_service(folder, broker.port, document, start=False, clock="mqtt") as service:
            service.start()
            yield service, broker.port


def lived(folder: Path, scenario: str, seed: int, service: Service, port: int) -> dict[str, Any]:
    """Run the live fleet, and have it judged as the truth says; returns its summary."""
    with playing(folder, port, scenario, seed) as running:
        summary = summary_of(running, folder)
    assert_equals_truth(service, folder, summary)
    return summary


@contextmanager
def capturing(url: str, file: Path) -> Iterator[None]:
    """`firmware-sim record --broker` for as long as the block runs; SIGTERM ends it well."""
    argv = [str(SIMULATOR), "record", str(file), "--broker", url]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert "listening" in process.stderr.readline()
            yield
        finally:
            process.terminate()
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert "messages recorded" in said


@pytest.mark.parametrize(("scenario", "seed"), [("bad-night", 5), ("offline-burst", 6)])
def test_a_recorded_day_gives_what_the_living_one_gave(
    tmp_path: Path, scenario: str, seed: int
) -> None:
    """Rows and verdicts are those of the live scenario, and the truth's."""
    with a_stand(tmp_path / "live", scenario) as (service, port):
        lived(tmp_path / "live", scenario, seed, service, port)
        entries, verdicts = service.rows(KEPT), service.rows(JUDGED)
    folder, file = tmp_path / "played", str(tmp_path / "day.rec.gz")
    options = ("--scenario", scenario, "--seed", str(seed), "--out", str(folder / "truth"))
    summary = simulator("record", file, *options)
    with a_stand(folder, scenario) as (service, port):
        told = simulator("play", file, "--mqtt-url", at(port))
        assert told["ticks"] == summary["ticks"]
        assert_equals_truth(service, folder, summary)
        assert_amended_as_truth(service, folder)
        assert service.rows(KEPT) == entries
        assert service.rows(JUDGED) == verdicts


def test_what_a_broker_passed_on_can_be_played_again(tmp_path: Path) -> None:
    """Captured beside the live service, ticks and all, it makes a second ledger like the first."""
    folder, file = tmp_path / "stand", tmp_path / "captured.rec"
    with a_stand(folder, "bad-night") as (service, port):
        with capturing(at(port), file):
            summary = lived(folder, "bad-night", 3, service, port)
        entries, verdicts = service.rows(KEPT), service.rows(JUDGED)
    (folder / "gridbeat.db").rename(tmp_path / "first.db")
    with a_stand(folder, "bad-night") as (service, port):
        simulator("play", str(file), "--mqtt-url", at(port))
        assert_equals_truth(service, folder, summary)
        assert service.rows(KEPT) == entries
        assert service.rows(JUDGED) == verdicts
