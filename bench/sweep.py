"""Check-ins a second and their cost, over the number of devices, and over what a message holds.

    python bench/sweep.py [--messages N] [--devices N …] [--notes N …] [--batches N …]

Each point is a run of `bench/ingest.py`, on a stand of its own. `devices`: pairs of the service and
`mosquitto_sub` (`--pairs` of them, medians) for so many handhelds. `payload`: check-ins with a note
of so many letters, and `batch`: arrays of so many check-ins, of 200 handhelds, without the C
client: medians of as many runs. JSON goes to stdout, progress to stderr.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from bench.ingest import RATES, Bench
from bench.stand import Stand, fleet
from bench.told import add_out, conclude, tell

DEVICES = (10, 50, 200, 1_000, 5_000)
NOTES = (0, 200, 800, 3_200)
BATCHES = (1, 5, 20, 100)
FLEET = 200


def of_fleet(devices: int, messages: int, pairs: int) -> dict[str, object]:
    """Pairs on a fleet of so many devices."""
    with tempfile.TemporaryDirectory(prefix="gridbeat-bench-") as name:
        stand = Stand(Path(name), fleet(devices))
        with stand.broker():
            bench = Bench(stand=stand, checkins=max(messages - messages % devices, devices))
            found = [bench.pair() for _ in range(pairs)]
    told = {rate: [getattr(pair, rate) for pair in found] for rate in RATES}
    return {
        "devices": devices,
        **{rate: round(statistics.median(values), 3) for rate, values in told.items()},
        "ratios": told["ratio"],
    }


def of_shape(messages: int, runs: int, *, batch: int = 1, note: int = 0) -> dict[str, object]:
    """Check-ins that come in that shape."""
    with tempfile.TemporaryDirectory(prefix="gridbeat-bench-") as name:
        stand = Stand(Path(name), fleet(FLEET))
        with stand.broker():
            checkins = messages - messages % (batch * FLEET)
            bench = Bench(stand=stand, checkins=checkins, batch=batch, note=note)
            found = [bench.gridbeat(bench.hello(), bench.load(checkins)) for _ in range(runs)]
            size = bench.load(batch).payload_bytes
    return {
        "batch": batch,
        "payload_bytes": size,
        "per_s": round(statistics.median(per_s for per_s, _ in found), 1),
        "cpu_us": round(statistics.median(cpu for _, cpu in found), 2),
        "cpu_us_runs": [round(cpu, 2) for _, cpu in found],
    }


def measure(asked: argparse.Namespace) -> dict[str, object]:
    """Point by point."""
    found: dict[str, list[dict[str, object]]] = {"devices": [], "payload": [], "batch": []}

    def book(curve: str, point: dict[str, object]) -> None:
        found[curve].append(point)
        tell(f"{curve}: {point}")

    for devices in asked.devices:
        book("devices", of_fleet(devices, asked.messages, asked.pairs))
    for note in asked.notes:
        book("payload", of_shape(asked.messages, asked.pairs, note=note))
    for batch in asked.batches:
        book("batch", of_shape(asked.messages, asked.pairs, batch=batch))
    return {"messages": asked.messages, "pairs": asked.pairs, **found}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=50_000, help="check-ins of each run")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each point")
    parser.add_argument("--devices", type=int, nargs="*", default=DEVICES)
    parser.add_argument("--notes", type=int, nargs="*", default=NOTES, help="letters")
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES, help="in a message")
    add_out(parser)
    asked = parser.parse_args()
    most = max(asked.batches, default=1)
    if min(asked.pairs, *asked.devices, *asked.batches, asked.messages // (FLEET * most)) < 1:
        parser.error(f"at least one of each, and {FLEET} full messages a run")
    if most > 200:
        parser.error("a message holds at most 200 check-ins")
    conclude(measure(asked), asked.out)


if __name__ == "__main__":
    main()
