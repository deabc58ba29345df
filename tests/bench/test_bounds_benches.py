"""The benches of the service's bounds, run small: what they print, not how fast it is."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers import binary

BENCH = Path(__file__).resolve().parents[2] / "bench"

pytestmark = pytest.mark.broker


def told(name: str, *options: str) -> dict[str, Any]:
    """What a bench says of a small run; it ends itself where something is lost."""
    binary("mosquitto", "mosquitto")
    run = subprocess.run(
        [sys.executable, str(BENCH / f"{name}.py"), *options],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_every_call_of_the_bench_is_told_once_and_ahead_of_the_backlog() -> None:
    """sos beside check-ins, and behind a backlog that is not through when the last is told."""
    small = ("--seconds", "2", "--checkins", "200", "--backlog", "10000", "--calls", "3")
    found = told("sos", *small, "--devices", "40")
    assert 0 < found["beside"]["p50_ms"] <= found["beside"]["p99_ms"] <= found["beside"]["max_ms"]
    assert found["beside"]["calls"] >= 3
    assert found["ahead"]["calls"] == 3
    assert found["ahead"]["kept_when_told"] < 10_000 / 2


def test_the_bench_of_memory_looks_as_often_as_it_says() -> None:
    """A reading for each part, and the growth over them."""
    found = told("memory", "--messages", "3000", "--every", "500", "--devices", "20")
    assert len(found["rss_mb"]) == 6
    assert min(found["rss_mb"]) > 10
    assert isinstance(found["growth_mb"], float)


def test_the_bench_of_the_restart_has_its_rounds_open() -> None:
    """A start for each run, each until a check-in that waited is kept."""
    found = told("restart", "--open", "300", "--runs", "2")
    assert found["open"] >= 300
    assert len(found["runs"]) == 2
    assert found["restart_s"] > 0


def test_the_bench_of_rows_fills_the_ledger_as_it_says() -> None:
    """Two sizes, as many runs at each, and the ratio of their costs."""
    small = ("--few", "2000", "--many", "20000", "--messages", "400", "--runs", "1")
    found = told("rows", *small, "--devices", "20")
    assert (found["rows"]["few"], found["rows"]["many"]) == (2_000, 20_000)
    assert found["ratio"] > 0
    assert found["rate_ratio"] > 0


def test_the_bench_of_a_flood_has_a_cost_for_each_kind() -> None:
    """Of what a device can send that no check-in is, beside a check-in."""
    found = told("flood", "--messages", "300", "--batch", "100")
    assert found["us"].keys() == {"checkin", "garbage", "schema", "unknown-tag", "conflict"}
    assert found["ratio"]["checkin"] == 1
