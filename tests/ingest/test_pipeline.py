"""Whose turn it is once a batch is committed."""

import asyncio
import json
from typing import Any

from ingest.clock import SystemClock
from ingest.health import Health
from ingest.ledger import Ledger
from ingest.pipeline import GIVE_WAY_S, Pipeline
from ingest.source import sessions
from tests.ingest.bench import Bench, up
from tests.ingest.memory_source import MemoryBroker, MemorySource
from tests.ingest.school import checkin

BATCH = 4


class Telling(Ledger):
    """The ledger, and how long each time it was left to verdicts at most."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self.given: list[float] = []

    async def give_way(self, most_s: float) -> None:
        self.given.append(most_s)
        await super().give_way(most_s)


async def committed(bench: Bench, ledger: Ledger, *batches: int) -> None:
    """So many check-ins each time through the pipeline, with verdicts that wait for ever."""
    broker, kept, seqs = MemoryBroker(), asyncio.Event(), iter(range(1_000))
    deaf: Any = lambda _: None  # noqa: E731  (who hears nothing)
    source = MemorySource(
        broker, "test", sessions("test", window=BATCH), on_change=deaf, on_fresh=deaf
    )
    await source.start()
    ledger.verdicts_wait(True)
    pipeline = Pipeline(
        source,
        bench.reader,
        bench.writer,
        ledger,
        SystemClock(),
        Health(),
        lambda _: kept.set(),
        batch=BATCH,
    )

    async def refresh() -> None: ...

    running = None
    for messages in batches:
        for _ in range(messages):
            broker.publish(up("checkin"), json.dumps(checkin(next(seqs), bench.at)).encode())
        running = running or asyncio.create_task(pipeline.run(refresh))
        async with asyncio.timeout(20):
            await kept.wait()
        kept.clear()
    pipeline.stop()
    if running is not None:
        await running
    ledger.close()


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
