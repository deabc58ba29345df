"""Measure everything that docs/performance.md shows, one bench after the other.

    python -m bench.measure [NAME …] [--small] [--results FOLDER]

Each bench writes `bench/results/NAME.json`; `python -m bench.curves` draws from these. Without a
name all of them run, for some two hours, on a machine that has nothing else to do: the load average
is kept with the numbers. `--small` runs each in about a minute, to see that it works, and marks
what it finds.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.told import RESULTS, ROOT, as_text, tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A bench, what it is asked for, and about how many minutes that takes on two free cores."""

    bench: str
    minutes: int
    full: str = ""
    small: str = ""

    def command(self, *, small: bool) -> str:
        """As a person would type it."""
        return f"bench/{self.bench}.py {self.small if small else self.full}".rstrip()

    def argv(self, out: Path, *, small: bool) -> list[str]:
        """The command that writes `out`."""
        asked = self.small if small else self.full
        return [sys.executable, f"bench/{self.bench}.py", *asked.split(), "--out", str(out)]


MEASUREMENTS: Mapping[str, Measurement] = {
    "ingest": Measurement(
        bench="ingest",
        minutes=4,
        full="--messages 100000",
        small="--messages 20000 --pairs 3",
    ),
    "influx": Measurement(
        bench="ingest",
        minutes=8,  # long runs: feeding begins with the first marker, a second after the load
        full="--influx --no-judging --messages 400000",
        small="--influx --no-judging --messages 20000 --pairs 3",
    ),
    "sweep": Measurement(
        bench="sweep",
        minutes=12,
        small="--messages 20000 --pairs 1 --devices 10 50 200 1000",
    ),
    "costs": Measurement(bench="costs", minutes=1, small="--messages 20000"),
    "rules": Measurement(
        bench="rules",
        minutes=4,
        full="--runs 3",
        small="--runs 2 --sites 1000 --checkins 20000",
    ),
    "sos": Measurement(
        bench="sos",
        minutes=3,
        full="--seconds 60",
        small="--seconds 10 --backlog 20000",
    ),
    "deadline": Measurement(
        bench="deadline",
        minutes=8,
        small="--open 3000 --due 200 --runs 2 --flood 1000 --checkins 300",
    ),
    "restart": Measurement(bench="restart", minutes=6, small="--open 1000 3000 --runs 2"),
    "rows": Measurement(
        bench="rows",
        minutes=6,
        full="--runs 3",
        small="--rows 100000 300000 --messages 10000 --runs 1",
    ),
    "memory": Measurement(bench="memory", minutes=4, small="--messages 60000 --every 5000"),
    "flood": Measurement(bench="flood", minutes=1, small="--messages 2000"),
    "year": Measurement(bench="year", minutes=60, small="--days 2 --sites 40"),
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--small", action="store_true", help="only to see that it works")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    asked = parser.parse_args()
    if unknown := set(asked.names) - MEASUREMENTS.keys():
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    names = asked.names or list(MEASUREMENTS)
    for name in names:
        out = (asked.results / f"{name}.json").absolute()
        argv = MEASUREMENTS[name].argv(out, small=asked.small)
        tell(f"== {' '.join(argv[1:])}")
        subprocess.run(argv, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        if asked.small:
            told = json.loads(out.read_text())
            out.write_text(as_text({**told, "small": True}))


if __name__ == "__main__":
    main()
