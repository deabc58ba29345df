"""The bench of due instants, run small: what it prints, not how fast it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import binary

BENCH = Path(__file__).resolve().parents[2] / "bench" / "deadline.py"


@pytest.mark.broker
def test_every_round_that_falls_due_in_the_bench_is_told_once() -> None:
    """Stdout is one JSON object; an event too few or too many would end the run."""
    binary("mosquitto", "mosquitto")
    small = ("--open", "300", "--due", "20", "--runs", "1", "--flood", "40", "--checkins", "50")
    run = subprocess.run(
        [sys.executable, str(BENCH), *small],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["open"] >= 300
    assert (told["due"]["rounds"], told["flood"]["rounds"]) == (20, 40)
    assert told["flood"]["percentiles_ms"][-1] == [100, told["flood"]["max_ms"]]
    assert 0 < told["due"]["p50_ms"] <= told["due"]["p99_ms"] <= told["due"]["max_ms"]
    assert min(told["all_s"], told["restart_s"], told["memory_mb"]) > 0
