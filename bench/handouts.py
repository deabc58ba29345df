"""What `down/rounds` costs when the rounds of many sites open together, and a visit among them.

    python -m bench.handouts [--sites N]

A real ledger, the loop of the service, a broker in memory. `first_s`: the first look at sites where
nothing is open. `all_s`: from the instant at which every site's round is to be told until the last
of its two devices was. `cpu_ms`: of that, a site. `visit_ms`: from a check-in handed to the writer
until its site is told. JSON goes to stdout.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import text

from ingest.clock import TickClock
from ingest.handouts import Handouts
from ingest.ledger import Ledger
from rules.handouts import AHEAD_MS
from store import obligations
from store.database import reading, writing
from tests.ingest.bench import Bench, a_bench, delivery, up
from tests.ingest.memory_source import MemoryBroker, MemorySource

POINTS, DEVICES = 10, 2
DAY_MS = 86_400_000


def registry(sites: int) -> dict[str, Any]:
    """Sites alike: ten checkpoints, two handhelds, one round a night."""
    return {
        "calendar": "every-day",
        "sites": [
            {
                "id": f"s-{n}",
                "name": f"S{n}",
                "timezone": "Etc/UTC",
                "checkpoints": [
                    {"id": f"c{i}", "name": f"C{i}", "tags": [f"04{n:06X}{i:02X}"]}
                    for i in range(POINTS)
                ],
                "devices": [{"id": f"d-{n}-{i}"} for i in range(DEVICES)],
                "plans": [
                    {
                        "id": "night",
                        "name": "Night",
                        "route": [f"c{i}" for i in range(POINTS)],
                        "windows": ["22:00-23:00"],
                    }
                ],
            }
            for n in range(sites)
        ],
    }


def owe(bench: Bench) -> int:
    """Make the night's rounds; returns when they open."""
    with writing(bench.ledger.engine) as connection:
        obligations.take_up(connection, None)
    with writing(bench.ledger.engine) as connection:
        for version in obligations.in_force(connection, bench.at):
            owed = version.owed(bench.at, bench.at + DAY_MS)
            obligations.write(connection, version, owed)
    with reading(bench.ledger.engine) as connection:
        return int(connection.execute(text("SELECT min(opens) FROM obligation")).scalar_one())


async def until(true: Callable[[], bool]) -> None:
    """Look every few ms."""
    while not true():
        await asyncio.sleep(0.005)


async def measure(bench: Bench, sites: int) -> dict[str, float]:
    """The three times, and the CPU of the second."""
    opens = owe(bench)
    broker, clock = MemoryBroker(), TickClock(bench.at)
    source = MemorySource(broker, "bench", (), on_change=lambda _: None, on_fresh=lambda _: None)
    source.connect()
    ledger = Ledger(bench.ledger.engine)
    loop = Handouts(source, ledger, clock)
    task = asyncio.create_task(loop.run())

    def at(now: int) -> float:
        bench.at = now
        clock.advance(now)
        loop.advance(now)
        return time.monotonic()

    began = at(bench.at)
    await until(lambda: loop.looked_at >= sites)
    first_s = time.monotonic() - began
    began, cpu = at(opens - AHEAD_MS), time.process_time()
    await until(lambda: len(broker.published) >= sites * DEVICES)
    all_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
    at(opens + 1)
    told, began = len(broker.published), time.monotonic()
    read = {"seq": 1, "at": opens, "sent": opens, "tag": "0400000000"}
    loop.visited(bench.take(delivery(up("checkin", "d-0-0", "s-0"), read)).visits)
    await until(lambda: len(broker.published) >= told + DEVICES)
    visit_s = time.monotonic() - began
    task.cancel()
    await asyncio.wait([task])
    ledger.close()
    return {
        "sites": sites,
        "first_s": round(first_s, 2),
        "all_s": round(all_s, 2),
        "cpu_ms": round(cpu_s / sites * 1_000, 2),
        "visit_ms": round(visit_s * 1_000, 1),
    }


def main() -> None:
    """Run it once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=1_000)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="gridbeat-bench-") as folder,
        a_bench(Path(folder), registry(asked.sites)) as bench,
    ):
        print(json.dumps(asyncio.run(measure(bench, asked.sites))))


if __name__ == "__main__":
    main()
