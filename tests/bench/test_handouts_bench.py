"""The bench of handouts, run small: what it prints, not how fast it is."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_site_of_the_bench_is_told() -> None:
    """Stdout is one JSON object; a site that is not told would never let it end."""
    run = subprocess.run(
        [sys.executable, "-m", "bench.handouts", "--sites", "30"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["sites"] == 30
    assert min(told["all_s"], told["cpu_ms"], told["visit_ms"]) > 0
