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
    assert found["machine"]["cores"] >= 1
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
    found = told("restart", "--open", "100", "300", "--runs", "2")
    assert [size["open"] >= least for size, least in zip(found["sizes"], (100, 300), strict=True)]
    assert found["open"] == found["sizes"][-1]["open"] > found["sizes"][0]["open"]
    assert len(found["runs"]) == 2
    assert found["restart_s"] > 0


def test_the_bench_of_rows_fills_the_ledger_as_it_says() -> None:
    """Each size as asked, as many runs at each, and the ratio of the last and the first."""
    small = ("--rows", "2000", "20000", "--messages", "400", "--runs", "1", "--devices", "20")
    found = told("rows", *small)
    assert [size["rows"] for size in found["sizes"]] == [2_000, 20_000]
    assert all(len(size["runs"]) == 1 for size in found["sizes"])
    assert found["ratio"] > 0
    assert found["rate_ratio"] > 0


def test_the_sweep_has_a_point_for_each_number_and_shape() -> None:
    """Fleets beside the C client; longer messages and fuller ones, every check-in of them kept."""
    shapes = ("--devices", "5", "--notes", "300", "--batches", "3")
    found = told("sweep", "--messages", "600", "--pairs", "1", *shapes)
    (fleet,), (payload,), (batch,) = found["devices"], found["payload"], found["batch"]
    assert (fleet["devices"], len(fleet["ratios"])) == (5, 1)
    assert payload["payload_bytes"] > 450
    assert 3 * 150 < batch["payload_bytes"] < 3 * 200


def test_the_costs_of_a_check_in_are_booked_to_parts_of_the_service() -> None:
    """Its parts are of the run alone, and together about what the service took."""
    found = told("costs", "--messages", "4000", "--devices", "20")
    assert {"decoding", "placing", "rows of check-ins"} <= found["parts"].keys()
    assert 0 < sum(found["parts"].values()) < 3 * found["cpu_us"]


def test_the_bench_of_a_flood_has_a_cost_for_each_kind() -> None:
    """Of what a device can send that no check-in is, beside a check-in."""
    found = told("flood", "--messages", "300", "--batch", "100")
    assert found["us"].keys() == {"checkin", "garbage", "schema", "unknown-tag", "conflict"}
    assert found["ratio"]["checkin"] == 1
