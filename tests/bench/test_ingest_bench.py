"""The bench of the first budget, run small: what it prints, not how fast it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import binary

BENCH = Path(__file__).resolve().parents[2] / "bench" / "ingest.py"
RATES = ("ratio", "gridbeat_per_s", "mosquitto_sub_per_s", "cpu_us")


@pytest.mark.broker
@pytest.mark.parametrize("mode", ["live", "drain"])
def test_every_message_of_the_bench_is_kept_receipted_and_counted(mode: str) -> None:
    """Stdout is one JSON object with the budget's numbers; a lost message would end the run."""
    binary("mosquitto", "mosquitto")
    binary("mosquitto_sub", "mosquitto-clients")
    small = ("--messages", "1195", "--pairs", "2", "--devices", "12", "--no-judging")
    run = subprocess.run(
        [sys.executable, str(BENCH), *small, "--mode", mode],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert {*RATES, "judging_us", "mode", "devices", "messages", "pairs"} <= told.keys()
    assert (told["mode"], told["devices"], told["messages"]) == (mode, 12, 1200)
    assert len(told["pairs"]) == 2
    assert all(told[name] > 0 for name in RATES[:3])
    assert all(set(RATES) <= pair.keys() for pair in told["pairs"])


@pytest.mark.broker
@pytest.mark.influx
def test_influxdb_holds_a_point_of_every_check_in_when_the_bench_feeds_it(tmp_path: Path) -> None:
    """A point too few ends the run; what the feeder had left and what it cost is told."""
    binary("mosquitto", "mosquitto")
    binary("mosquitto_sub", "mosquitto-clients")
    binary("influxd", "influxdb")
    small = ("--messages", "600", "--pairs", "1", "--devices", "12", "--no-judging")
    kept = tmp_path / "results" / "ingest.json"
    run = subprocess.run(
        [sys.executable, str(BENCH), *small, "--influx", "--out", str(kept)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told == json.loads(kept.read_text())
    assert set(told["influx"]) == {
        "waiting",
        "caught_up_s",
        "per_s",
        "cores",
        "influxd_us",
        "service_us",
    }
    assert 0 <= told["influx"]["waiting"] <= 600
    assert 0 < told["influx"]["per_s"] <= told["gridbeat_per_s"]
