"""Where the microseconds of a check-in go: CPU of the service, by the part of it that spent them.

    python bench/costs.py [--messages N] [--devices N] [--influx]

One run of `bench/ingest.py`'s A, with the service under `bench/sampled.py`: what was booked between
the first byte published and the last commit, over the check-ins of the run. The sampler costs some
percent itself: shares are to be trusted more than sums. `parts` are microseconds for one check-in;
`dearest` are the functions with most of their own, over all lines. JSON goes to stdout.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from bench.influx import influxd
from bench.ingest import Bench
from bench.stand import Stand, fleet
from bench.told import add_out, conclude

DEAREST = 25


def measure(asked: argparse.Namespace) -> dict[str, object]:
    """One run."""
    with tempfile.TemporaryDirectory(prefix="gridbeat-bench-") as name, ExitStack() as running:
        folder = Path(name)
        stand = Stand(folder, fleet(asked.devices))
        running.enter_context(stand.broker())
        influx = running.enter_context(influxd(folder / "influx")) if asked.influx else None
        profile = folder / "profile.json"
        bench = Bench(stand=stand, checkins=asked.messages, profile=profile, influx=influx)
        per_s, cpu_us = bench.gridbeat(bench.hello(), bench.load(asked.messages))
        told = json.loads(profile.read_text())
    own: Counter[str] = Counter()
    for _, line, used in told["own"]:
        own[line.rpartition(":")[0]] += used

    def each(spent: Mapping[str, int]) -> dict[str, float]:
        return {name: round(used / asked.messages * 1_000, 2) for name, used in spent.items()}

    return {
        "parts": each(told["parts"]),
        "threads": each(told["threads"]),
        "dearest": each(dict(own.most_common(DEAREST))),
        "cpu_us": round(cpu_us, 1),
        "per_s": round(per_s, 1),
        "messages": asked.messages,
        "devices": asked.devices,
        "influx": asked.influx,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--influx", action="store_true", help="feed a real InfluxDB meanwhile")
    add_out(parser)
    asked = parser.parse_args()
    if not 1 <= asked.devices <= asked.messages:
        parser.error("1 <= devices <= messages")
    asked.messages += -asked.messages % asked.devices
    conclude(measure(asked), asked.out)


if __name__ == "__main__":
    main()
