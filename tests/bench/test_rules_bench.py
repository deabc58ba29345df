"""The bench of the rules, run small: what it prints, not how fast it is."""

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "bench" / "rules.py"


def test_the_bench_of_the_rules_prints_its_budgets() -> None:
    """Stdout is one JSON object with the budgets' numbers; a wrong count would end the run."""
    small = ("--sites", "30", "--runs", "2", "--checkins", "100")
    run = subprocess.run(
        [sys.executable, str(BENCH), *small],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert set(told["checkin_us"]) == {"10", "30"}
    assert min(told["flat"], told["tomorrow_s"], told["longest_transaction_ms"]) > 0
    assert len(told["runs"]["tomorrow"]) == 2
    assert all(day["rows"] >= 300 for day in told["runs"]["tomorrow"])
