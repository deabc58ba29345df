"""What the rules cost: for one check-in, for tomorrow's rounds, for a round that is open.

    python bench/rules.py [--sites N] [--rounds N] [--runs N] [--checkins N]

`checkin_us`: what CPU a live check-in costs because there are rules, in one process with
nothing else, by the number of sites from 10 to `--sites`; `flat` is the ratio of the last median
and the first. Sites come in no order. The devices' clocks are looked at (`rules.clocks`), and
whether the check-in bears on what was judged already (`ingest.judged`). Judging itself is at due:
`bench/deadline.py` measures it.

`tomorrow_s`: what all sites owe for a day, made by `ingest.owing` into a new ledger on disk, with
the longest of its write transactions; `…_cpu_…` is CPU time, where other work shares the machine.
`row_bytes`: what a row of it takes on the disk, all indexes
included. In memory an open round takes nothing: no list of them is kept (docs/decisions/0002).

JSON goes to stdout, progress to stderr.
"""

import argparse
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine

from bench.district import District, owe
from bench.stand import wall
from bench.told import add_out, conclude, tell
from devices.ids import Instant
from ingest.judged import Judged
from rules.clocks import odd, timing
from rules.plans import Window
from rules.promises import Trust
from store.database import open_engine, upgrade

SIZES = (10, 100, 1_000, 10_000)
"""Sites, below the most."""
ROUTE = 20
"""Checkpoints of a round, as the budget has it."""
HOUR_MS = 3_600_000
NO_LEDGER = cast("Connection", None)
"""A live check-in asks the ledger nothing; one that did would stop the bench here."""


def checkin_us(sites: int, checkins: int) -> float:
    """Microseconds for one live check-in with `sites` sites, all of which were judged before."""
    now = wall()
    judged = Judged()
    judged.until = dict.fromkeys(range(1, sites + 1), now - HOUR_MS)
    chance = random.Random(sites)
    asked = [
        (chance.randrange(1, sites + 1), chance.randrange(20 * sites)) for _ in range(checkins)
    ]
    begun = time.process_time()
    for site, checkpoint in asked:
        _one(judged, site, checkpoint, now)
    return (time.process_time() - begun) / checkins * 1e6


def _one(judged: Judged, site: int, checkpoint: int, at: Instant) -> None:
    """What the writer asks the rules about one check-in, and the closing of its span."""
    found = timing(at, at + 200, at - 500, at + 500)
    if odd(at, at + 200, 200) or found.trust is not Trust.TRUSTED:
        raise RuntimeError("the clocks of the bench are right")
    judged.touch(NO_LEDGER, site, checkpoint, (at,))


def tomorrow(folder: Path, sites: int, rounds: int) -> dict[str, Any]:
    """Make a day of `rounds` rounds for each of `sites` sites, in a new ledger."""
    path = folder / f"{time.monotonic_ns()}.db"
    url = f"sqlite:///{path}"
    upgrade(url, now=wall())
    engine = open_engine(url)
    windows = tuple(Window.parse(f"{hour:02}:00-{hour:02}:45") for hour in range(rounds))
    District(sites=sites, plans=1, points=ROUTE, windows=windows).fill(engine, wall(), since=wall())
    before = _used(engine, path)
    made = owe(engine, wall())
    after = _used(engine, path)
    rows = _rows(path)
    engine.dispose()
    for left in folder.glob(f"{path.name}*"):
        left.unlink()
    ordered, cpu = sorted(made.transactions), sorted(made.cpu_transactions)
    return {
        "rows": rows,
        "seconds": made.seconds * sites * rounds / rows,  # the horizon is longer than a day
        "cpu_seconds": made.cpu_seconds * sites * rounds / rows,
        "transactions": len(ordered),
        "longest_ms": ordered[-1],
        "p99_ms": ordered[int(len(ordered) * 0.99)],
        "longest_cpu_ms": cpu[-1],
        "row_bytes": (after - before) / rows,
    }


def _used(engine: Engine, path: Path) -> int:
    """Bytes of the ledger's file once its log is in it."""
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def _rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM obligation").fetchone()[0])


def measure(asked: argparse.Namespace) -> dict[str, object]:
    """Everything, in turns."""
    sizes = sorted({*(size for size in SIZES if size < asked.sites), asked.sites})
    costs: dict[int, list[float]] = {size: [] for size in sizes}
    days = []
    for run in range(1, asked.runs + 1):
        for size, found in costs.items():
            found.append(checkin_us(size, asked.checkins))
            tell(f"{run}/{asked.runs}: {found[-1]:.2f} us at {size} sites")
    with tempfile.TemporaryDirectory(prefix="gridbeat-bench-") as name:
        for run in range(1, asked.runs + 1):
            days.append(tomorrow(Path(name), asked.sites, asked.rounds))
            tell(f"{run}/{asked.runs}: {days[-1]}")
    return {
        "checkin_us": {str(size): _median(found) for size, found in costs.items()},
        "flat": round(_median(costs[sizes[-1]]) / _median(costs[sizes[0]]), 3),
        "tomorrow_s": _median([day["seconds"] for day in days]),
        "tomorrow_cpu_s": _median([day["cpu_seconds"] for day in days]),
        "longest_transaction_ms": _median([day["longest_ms"] for day in days]),
        "longest_cpu_transaction_ms": _median([day["longest_cpu_ms"] for day in days]),
        "p99_transaction_ms": _median([day["p99_ms"] for day in days]),
        "row_bytes": _median([day["row_bytes"] for day in days]),
        "memory_bytes": 0,
        "sites": asked.sites,
        "rounds": asked.rounds,
        "runs": {"checkin_us": list(costs.values()), "tomorrow": days},
    }


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sites", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=10, help="of a site and day, at most 24")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--checkins", type=int, default=200_000, help="of each run")
    add_out(parser)
    asked = parser.parse_args()
    if min(asked.sites, asked.runs, asked.checkins, asked.rounds) < 1 or asked.rounds > 24:
        parser.error("at least one of each, and at most 24 rounds")
    conclude(measure(asked), asked.out)


if __name__ == "__main__":
    main()
