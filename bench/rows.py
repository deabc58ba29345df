"""What a check-in costs when the ledger holds much, beside what it costs when it holds little.

    python bench/rows.py [--rows N …] [--messages N] [--runs N]

A real Mosquitto on the project's configuration, and the service as a user starts it. The ledger is
filled to the first of `--rows` entries and `--runs` loads of `--messages` check-ins are taken, then
it is filled to the next number, and so on. `ratio` is of the medians of the service's CPU for one
check-in (all threads), most rows over fewest, which other work on the machine disturbs less than
time; `rate_ratio` is of check-ins a second, fewest over most. JSON goes to stdout, progress to
stderr.

Filled in are check-ins of the fleet's own devices, of an earlier epoch, over the year before, as
the service writes and folds them (`store/folding.py`); straight by SQL, since the service would
take an hour. Before, the service runs until it has folded what the run before left.
"""

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from bench.ingest import Bench
from bench.stand import POINTS, Stand, fleet, wait_for, wall
from bench.told import add_out, conclude, tell
from store.entries import EntryKind, ViaCode

YEAR_MS = 365 * 86_400_000
ROWS = (100_000, 1_000_000, 10_000_000)
PAGE = 500_000
FOLDED_WITHIN_S = 30.0
EPOCH = 99
TURNS = """
CREATE TEMP TABLE turn AS
SELECT d.turn + :devices * c.place AS n, d.id AS device, d.site_id AS site, c.id AS checkpoint,
       t.uid AS tag
  FROM (SELECT id, site_id, row_number() OVER (ORDER BY id) - 1 AS turn FROM device) d
  JOIN (SELECT id, site_id, row_number() OVER (PARTITION BY site_id ORDER BY id) - 1 AS place
          FROM checkpoint) c ON c.site_id = d.site_id
  JOIN tag t ON t.checkpoint_id = c.id
"""
"""Who reads which tag at row `n`, until it begins again: the devices in turn, each on its way."""
FILL = """
WITH RECURSIVE number(n) AS (SELECT :from UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :to)
INSERT INTO entry (kind, device_id, epoch, seq, site_id, checkpoint_id, person_id, at, sent,
                   received_at, arrival_id, tag, via, digest, body)
SELECT :kind, turn.device, :epoch, number.n / :devices, turn.site, turn.checkpoint, 1,
       :since + number.n * :step, :since + number.n * :step, :since + number.n * :step + 40, NULL,
       turn.tag, :via, number.n * 2654435761 % 9007199254740992, '{"bat":87,"rssi":-71}'
  FROM number JOIN turn ON turn.n = number.n % :turns
"""

UNFOLDED = """
SELECT (SELECT coalesce(max(id), 0) FROM entry)
     - coalesce((SELECT max(folded_entry) FROM worker), -1)
"""
FOLD = "UPDATE worker SET folded_entry = (SELECT max(id) FROM entry)"


class Cost(NamedTuple):
    """Of one load."""

    per_s: float
    cpu_us: float


def fill(stand: Stand, rows: int) -> float:
    """Add check-ins until there are `rows`; returns the seconds it took."""
    with stand.service():
        wait_for("what was left is folded", lambda: stand.value(UNFOLDED) == 0, FOLDED_WITHIN_S)
    devices, began = len(stand.fleet), time.monotonic()
    with closing(sqlite3.connect(stand.database, timeout=30, isolation_level=None)) as ledger:
        ledger.execute("PRAGMA synchronous=OFF")
        ledger.execute("PRAGMA cache_size=-200000")
        there = ledger.execute("SELECT count(*) FROM entry").fetchone()[0]
        made = ledger.execute(
            "SELECT coalesce(max(seq) + 1, 0) * ? FROM entry WHERE epoch = ?", (devices, EPOCH)
        ).fetchone()[0]
        ledger.execute(TURNS, {"devices": devices})
        ledger.execute("CREATE UNIQUE INDEX temp.turn_n ON turn (n)")
        since = wall() - YEAR_MS
        step = max(YEAR_MS // (made + rows), 1)
        values = {"since": since, "step": step, "devices": devices, "epoch": EPOCH}
        values |= {
            "turns": devices * POINTS,
            "kind": EntryKind.CHECKIN.value,
            "via": ViaCode.NFC.value,
        }
        for start in range(made, made + max(rows - there, 0), PAGE):
            page = {"from": start, "to": min(start + PAGE, made + rows - there)}
            ledger.execute(FILL, values | page)
        ledger.execute(FOLD)
        ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ledger.execute("ANALYZE")
    return time.monotonic() - began


def measure(asked: argparse.Namespace) -> dict[str, object]:
    """Few, then more."""
    with tempfile.TemporaryDirectory(prefix="gridbeat-bench-", dir=asked.dir) as name:
        stand = Stand(Path(name), fleet(asked.devices))
        found: dict[int, list[Cost]] = {}
        filled: list[float] = []
        with stand.broker():
            bench = Bench(stand=stand, checkins=asked.messages)
            for wanted in sorted(asked.rows):
                filled.append(fill(stand, wanted))
                rows = stand.value("SELECT count(*) FROM entry")
                tell(f"{rows} rows, filled in {filled[-1]:.0f} s")
                found[rows] = []
                for _ in range(asked.runs):
                    hello, load = bench.hello(), bench.load(asked.messages)
                    found[rows].append(Cost(*bench.gridbeat(hello, load)))
                    tell(f"  {found[rows][-1]}")
        size = stand.database.stat().st_size
    medians = {rows: _median(costs) for rows, costs in found.items()}
    few, many = medians[min(medians)], medians[max(medians)]
    return {
        "ratio": round(many.cpu_us / few.cpu_us, 3),
        "rate_ratio": round(few.per_s / many.per_s, 3),
        "sizes": [
            {
                "rows": rows,
                "cpu_us": round(medians[rows].cpu_us, 1),
                "per_s": round(medians[rows].per_s),
                "filled_s": round(took),
                "runs": [cost._asdict() for cost in costs],
            }
            for (rows, costs), took in zip(found.items(), filled, strict=True)
        ],
        "messages": asked.messages,
        "ledger_mb": round(size / 2**20),
    }


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.per_s for cost in costs),
        statistics.median(cost.cpu_us for cost in costs),
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--messages", type=int, default=50_000, help="of each run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--dir", type=Path, help="where the ledger lies: 2.5 GB with the default")
    add_out(parser)
    asked = parser.parse_args()
    if not asked.devices <= asked.messages or min(asked.devices, asked.runs) < 1:
        parser.error("at least one run and device, devices <= messages")
    asked.messages += -asked.messages % asked.devices
    conclude(measure(asked), asked.out)


if __name__ == "__main__":
    main()
