"""The loop that tells devices what to walk: when it looks, whom it tells first, what it repeats."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, text

from ingest.clock import TickClock
from ingest.handouts import PUSH_BACK_MS, Handouts
from ingest.ledger import Ledger
from rules.handouts import AHEAD_MS
from store.database import writing
from tests.ingest.bench import Bench, a_bench, delivery, up
from tests.ingest.memory_source import MemoryBroker, MemorySource
from tests.ingest.school import GATE, checkin, owe
from tests.ingest.waiting import until

T = TypeVar("T")

HOUR = 3_600_000


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with a_bench(tmp_path) as made:
        yield made


class Told:
    """What devices were told, and the loop that does."""

    def __init__(self, bench: Bench, ledger: Ledger | None = None) -> None:
        self.broker = MemoryBroker()
        self.clock = TickClock(bench.at)
        source = MemorySource(
            self.broker, "test", (), on_change=lambda _: None, on_fresh=lambda _: None
        )
        source.connect()
        self.ledger = ledger or Ledger(bench.ledger.engine)
        self.loop = Handouts(source, self.ledger, self.clock)

    def of(self, device: str) -> list[Any]:
        """The rounds of each handout of a device, the oldest first; None: taken away."""
        return [
            json.loads(payload)["rounds"] if payload else None
            for topic, payload in self.broker.published
            if topic.endswith(f"/{device}/down/rounds")
        ]

    def at(self, now: int) -> None:
        """It is `now`."""
        self.clock.advance(now)
        self.loop.advance(now)


@asynccontextmanager
async def telling(bench: Bench, ledger: Ledger | None = None) -> Any:
    told = Told(bench, ledger)
    task = asyncio.create_task(told.loop.run())
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.wait([task])
        told.ledger.close()


async def test_time_alone_opens_and_closes(bench: Bench) -> None:
    """No visit and no change of plan is needed: the next instant is known beforehand."""
    opens = bench.at + AHEAD_MS + 60_000
    owe(bench.ledger.engine, opens, opens + HOUR)
    async with telling(bench) as told:
        told.at(bench.at)
        await until(lambda: told.loop._wakes)
        assert told.of("hh-1") == []
        told.at(opens - AHEAD_MS)
        await until(lambda: len(told.of("hh-1")) == 1)
        told.at(opens + HOUR)
        await until(lambda: len(told.of("hh-1")) == 2)
        assert told.of("hh-1")[-1] == []


async def test_only_a_visit_that_changes_something_is_looked_at(bench: Bench) -> None:
    """A guard who reads one tag a hundred times costs one look."""
    owe(bench.ledger.engine, bench.at, bench.at + HOUR)
    async with telling(bench) as told:
        told.at(bench.at)
        await until(lambda: told.of("hh-1"))
        for seq in range(1, 100):
            done = bench.take(delivery(up("checkin"), checkin(seq, bench.at + seq, GATE)))
            told.loop.visited(done.visits)
            await until(lambda: not told.loop._visited)
        await until(lambda: len(told.of("hh-1")) == 2)
        assert [p["done"] for p in told.of("hh-1")[-1][0]["checkpoints"]] == [True, False]
        assert len(told.of("hh-1")) == 2


async def test_visits_without_end_hold_up_nobody(bench: Bench) -> None:
    """A site whose tags are read all the time takes its turns, and time goes on for the others."""
    owe(bench.ledger.engine, bench.at, bench.at + HOUR)
    async with telling(bench) as told:
        told.at(bench.at)
        await until(lambda: told.of("hh-1"))

        async def walk() -> None:
            while True:
                told.loop.visited([(2, None)])
                await asyncio.sleep(0)

        walking = asyncio.create_task(walk())
        told.at(bench.at + HOUR)
        await until(lambda: told.of("hh-1")[-1] == [])
        walking.cancel()


class Overtaken(Ledger):
    """One that is written to right after it has been read."""

    after: Callable[[], None] | None = None

    async def read(self, work: Callable[[Connection], T]) -> T:
        found = await super().read(work)
        after, self.after = self.after, None
        if after is not None:
            after()
        return found


async def test_a_visit_during_a_look_is_not_missed(bench: Bench) -> None:
    """The look may have been too early to see it: the site is looked at again."""
    opens = bench.at + AHEAD_MS + 60_000
    owe(bench.ledger.engine, opens, opens + HOUR)
    ledger = Overtaken(bench.ledger.engine)

    async with telling(bench, ledger) as told:
        told.at(bench.at)
        await until(lambda: told.loop._wakes)

        def visit() -> None:
            told.loop.visited(bench.take(delivery(up("checkin"), checkin(1, opens, GATE))).visits)

        bench.at = opens
        ledger.after = visit
        told.at(opens)
        await until(lambda: len(told.of("hh-1")) == 2)
        assert [p["done"] for p in told.of("hh-1")[-1][0]["checkpoints"]] == [True, False]


async def test_what_the_broker_refused_is_told_when_it_takes_it(bench: Bench) -> None:
    """And nothing is told twice where it took it."""
    owe(bench.ledger.engine, bench.at, bench.at + HOUR)
    async with telling(bench) as told:
        told.broker.refusing = True
        told.at(bench.at)
        await until(lambda: told.loop._left)
        told.broker.refusing = False
        await until(lambda: told.of("hh-1") and told.of("hh-2"))
        told.loop.everybody()
        told.at(bench.at + 1)
        await until(lambda: not told.loop._everybody and not told.loop._others)
        assert len(told.broker.published) == 2


async def test_a_site_that_cannot_be_told_holds_up_no_other(bench: Bench) -> None:
    """It is reported, pushed back, and the others go on."""
    owe(bench.ledger.engine, bench.at, bench.at + HOUR)
    with writing(bench.ledger.engine) as connection:
        row = connection.execute(text("SELECT * FROM obligation")).mappings().one()
        lost = {**row, "id": row["id"] + 1, "key": "lost", "site_id": 2, "plan_version_id": 99}
        names = ", ".join(lost)
        values = ", ".join(f":{name}" for name in lost)
        insert = f"INSERT INTO obligation ({names}) VALUES ({values})"  # noqa: S608 - its columns
        connection.execute(text(insert), lost)
    async with telling(bench) as told:
        told.at(bench.at)
        await until(lambda: told.of("hh-1") and told.loop._wake_of.get(2))
        assert told.loop._wake_of[2] == bench.at + PUSH_BACK_MS
