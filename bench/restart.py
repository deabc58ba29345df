"""From the start of the process to the first check-in kept, with many rounds open.

    python bench/restart.py [--open N …] [--runs N] [--profile FILE]

A real Mosquitto on the project's configuration, a ledger with `--open` open rounds (ten plans a
site, ten checkpoints a round), for each of these numbers one. A check-in waits with the broker;
`restart_s` is from starting the service's process until it is committed, `cpu_s` the CPU of the
process until then: medians over `--runs`. What stands on top is of the most rounds. JSON goes to
stdout, progress to stderr.
"""

import argparse
import statistics
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.deadline import Bench
from bench.told import add_out, conclude, tell

SIZES = (1_000, 10_000, 30_000, 100_000)


def restarts(asked: argparse.Namespace, profile: Path | None) -> dict[str, object]:
    """Fill a ledger with `asked.open` rounds, then start the service again and again."""
    with tempfile.TemporaryDirectory(prefix="gridbeat-bench-") as name:
        bench = Bench(Path(name), asked)
        with bench.stand.broker():
            opened, runs = bench.open(), []
            for _ in range(asked.runs):
                runs.append(bench.restart())
                tell(f"{opened} rounds are open: {runs[-1]}")
            if profile is not None:
                bench.restart(profile)
    return {
        "open": opened,
        "restart_s": round(statistics.median(run.seconds for run in runs), 2),
        "cpu_s": round(statistics.median(run.cpu_s for run in runs), 2),
        "runs": [asdict(run) for run in runs],
    }


def measure(asked: argparse.Namespace) -> dict[str, object]:
    """One number of open rounds after the other."""
    none = {"due": 0, "floods": 0, "flood": 0, "checkins": 0, "runs": asked.runs}
    sizes = sorted(asked.open)
    found = [
        restarts(
            argparse.Namespace(open=size, **none), asked.profile if size == sizes[-1] else None
        )
        for size in sizes
    ]
    return {**found[-1], "sizes": found}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--open", type=int, nargs="+", default=SIZES, help="rounds")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--profile", type=Path, help="where one more restart's CPU goes, as JSON")
    add_out(parser)
    asked = parser.parse_args()
    if min(*asked.open, asked.runs) < 1:
        parser.error("at least one of each")
    conclude(measure(asked), asked.out)


if __name__ == "__main__":
    main()
