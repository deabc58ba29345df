"""From the start of the process to the first check-in kept, with many rounds open.

    python bench/restart.py [--open N] [--runs N] [--profile FILE]

A real Mosquitto on the project's configuration, a ledger with `--open` open rounds (ten plans a
site, ten checkpoints a round). A check-in waits with the broker; `restart_s` is from starting the
service's process until it is committed, `cpu_s` the CPU of the process until then: medians over
`--runs`. JSON goes to stdout, progress to stderr.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.deadline import Bench


def measure(asked: argparse.Namespace) -> dict[str, object]:
    """Fill the ledger, then start the service again and again."""
    with tempfile.TemporaryDirectory(prefix="gridbeat-bench-") as name:
        bench = Bench(Path(name), asked)
        with bench.stand.broker():
            opened, runs = bench.open(), []
            for _ in range(asked.runs):
                runs.append(bench.restart())
                sys.stderr.write(f"{opened} rounds are open: {runs[-1]}\n")
                sys.stderr.flush()
            if asked.profile is not None:
                bench.restart(asked.profile)
    return {
        "open": opened,
        "restart_s": round(statistics.median(run.seconds for run in runs), 2),
        "cpu_s": round(statistics.median(run.cpu_s for run in runs), 2),
        "runs": [asdict(run) for run in runs],
        "python": platform.python_version(),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--open", type=int, default=100_000, help="rounds")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--profile", type=Path, help="where one more restart's CPU goes, as JSON")
    parser.set_defaults(due=0, floods=0, flood=0, checkins=0)
    asked = parser.parse_args()
    if min(asked.open, asked.runs) < 1:
        parser.error("at least one of each")
    print(json.dumps(measure(asked), indent=2))


if __name__ == "__main__":
    main()
