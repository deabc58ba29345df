"""Whose turn it is once a batch is committed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest

from ingest import pipeline
from ingest.clock import SystemClock
from ingest.committed import Committed
from ingest.health import Health
from ingest.ledger import Ledger
from ingest.pipeline import GIVE_WAY_S, Pipeline
from ingest.source import sessions
from tests.ingest.bench import Bench, up
from tests.ingest.memory_source import MemoryBroker, MemorySource
from tests.ingest.school import checkin
from tests.ingest.waiting import until

BATCH = 4


class Telling(Ledger):
    """The ledger, and how long each time it was left to verdicts at most."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self.given: list[float] = []

    async def give_way(self, most_s: float) -> None:
        self.given.append(most_s)
        await super().give_way(most_s)


class Way:
    """A pipeline at work on a ledger: what is said to it, how often it took some, what it kept."""

    def __init__(self, bench: Bench, ledger: Ledger) -> None:
        deaf: Any = lambda _: None  # noqa: E731  (who hears nothing)
        self._bench, self._ledger, self._seqs = bench, ledger, count()
        self._broker, self.taken, self.committed = MemoryBroker(), 0, 0
        window = sessions("test", window=BATCH)
        self._source = MemorySource(self._broker, "test", window, on_change=deaf, on_fresh=deaf)
        self._pipeline = Pipeline(
            self._source,
            bench.reader,
            bench.writer,
            ledger,
            SystemClock(),
            Health(),
            self._kept,
            batch=BATCH,
        )

    def _kept(self, _committed: Committed) -> None:
        self.committed += 1

    async def _took(self) -> None:
        self.taken += 1

    def say(self) -> None:
        """One more check-in."""
        said = json.dumps(checkin(next(self._seqs), self._bench.at))
        self._broker.publish(up("checkin"), said.encode())

    @asynccontextmanager
    async def run(self, said: int = 0) -> AsyncIterator[None]:
        """For as long as the block lasts; so many check-ins are there when it begins. In the end
        what was taken is committed."""
        await self._source.start()
        for _ in range(said):
            self.say()
        running = asyncio.create_task(self._pipeline.run(self._took))
        yield
        self._pipeline.stop()
        await running
        self._ledger.close()


async def committed(bench: Bench, ledger: Ledger, *batches: int) -> None:
    """So many check-ins each time through the pipeline, with verdicts that wait for ever."""
    ledger.verdicts_wait(True)
    way = Way(bench, ledger)
    async with way.run(batches[0]):
        await until(lambda: way.committed == 1)
        for number, messages in enumerate(batches[1:], 2):
            for _ in range(messages):
                way.say()
            await until(lambda number=number: way.committed == number)


async def test_a_full_batch_leaves_the_ledger_to_verdicts_for_as_long_as_it_took(
    bench: Bench,
) -> None:
    """Check-ins that come as fast as they can are kept, and those that are due judged meanwhile."""
    ledger = Telling(bench.ledger.engine)
    await committed(bench, ledger, BATCH, BATCH)
    assert bench.rows("SELECT count(*) FROM entry") == [(2 * BATCH,)]
    assert len(ledger.given) == 2
    assert all(0 < most <= GIVE_WAY_S for most in ledger.given)


async def test_what_does_not_fill_a_batch_waits_for_no_verdict(bench: Bench) -> None:
    """A call for help on a quiet evening is committed at once, however much is due."""
    ledger = Telling(bench.ledger.engine)
    await committed(bench, ledger, BATCH - 1, 1)
    assert bench.rows("SELECT count(*) FROM entry") == [(BATCH,)]
    assert ledger.given == []


async def test_what_comes_one_by_one_is_taken_together_after_the_next_commit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To take a few costs a question to the ledger: while a commit waits nobody asks for them."""
    monkeypatch.setattr(pipeline, "GROUP_S", 1.0)
    way = Way(bench, Ledger(bench.ledger.engine))
    async with way.run():
        way.say()
        await until(lambda: way.committed == 1)
        way.say()
        await until(lambda: way.taken == 2)
        for _ in range(BATCH - 1):  # the window has room for
            way.say()
            for _ in range(5):
                await asyncio.sleep(0)
        assert way.taken == 2
        await until(lambda: way.committed == 3)
    assert way.taken == 3
    assert bench.rows("SELECT count(*) FROM entry") == [(1 + BATCH,)]


async def test_while_verdicts_wait_a_commit_waits_longer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every one takes the ledger from them; what was taken is kept all the same at a stop."""
    monkeypatch.setattr(pipeline, "GROUP_S", 0.0)
    monkeypatch.setattr(pipeline, "CROWDED_S", 3_600.0)
    ledger = Ledger(bench.ledger.engine)
    ledger.verdicts_wait(True)
    way = Way(bench, ledger)
    async with way.run():
        way.say()
        await until(lambda: way.committed == 1)
        way.say()
        await until(lambda: way.taken == 2)
        await asyncio.sleep(0.1)
        assert way.committed == 1
    assert bench.rows("SELECT count(*) FROM entry") == [(2,)]
