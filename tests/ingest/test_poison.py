"""A message at which we fail ourselves: it is kept, and the others hardly notice it."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from devices.ids import Instant
from ingest.clock import SystemClock
from ingest.committed import Committed
from ingest.health import Health
from ingest.ledger import Ledger
from ingest.pipeline import Pipeline
from ingest.reader import Item, Reader, Taken
from ingest.source import Delivery, sessions
from ingest.writer import Writer
from tests.ingest.bench import Bench, up
from tests.ingest.memory_source import MemoryBroker, MemorySource
from tests.ingest.school import checkin

BATCH = 256
POISON = 666


class Faulty(Writer):
    """A writer with a fault of ours: one message makes every transaction fail that holds it."""

    commits = 0

    def commit(self, items: Sequence[Item], now: Instant) -> Committed:
        self.commits += 1
        if any(isinstance(item, Taken) and item.row.seq == POISON for item in items):
            raise RuntimeError("nobody thought of that")
        return super().commit(items, now)


class Reading(Reader):
    """A reader with the same fault, one step earlier."""

    def read(self, delivery: Delivery, now: Instant) -> Iterator[Item]:
        for item in super().read(delivery, now):
            if isinstance(item, Taken) and item.row.seq == POISON:
                raise RuntimeError("nobody thought of that")
            yield item


def faulty(bench: Bench, kind: type[Writer]) -> Any:
    whole = bench.writer
    return kind(
        whole.engine, "test", whole.judged, whole.books.arrivals, whole.first_tick, sampling=False
    )


async def through(bench: Bench, writer: Writer, reader: Reader) -> list[Committed]:
    """A batch with the poison in its middle, through the pipeline; what each commit came to."""
    broker, ledger, done = MemoryBroker(), Ledger(bench.ledger.engine), []
    deaf: Any = lambda _: None  # noqa: E731  (who hears nothing)
    source = MemorySource(
        broker, "test", sessions("test", window=BATCH), on_change=deaf, on_fresh=deaf
    )
    await source.start()
    for seq in range(POISON - BATCH // 2, POISON + BATCH // 2):
        broker.publish(up("checkin"), _bytes(seq, bench.at))
    clock, health = SystemClock(), Health()
    kept = asyncio.Event()

    def on_committed(committed: Committed) -> None:
        done.append(committed)
        if sum(each.accepted + each.quarantined for each in done) == BATCH:
            kept.set()

    pipeline = Pipeline(source, reader, writer, ledger, clock, health, on_committed, batch=BATCH)

    async def refresh() -> None: ...

    running = asyncio.create_task(pipeline.run(refresh))
    async with asyncio.timeout(20):
        await kept.wait()
    pipeline.stop()
    await running
    ledger.close()
    assert not broker.kept["test-main"].flying
    return done


def _bytes(seq: int, at: Instant) -> bytes:
    return json.dumps(checkin(seq, at)).encode()


@pytest.fixture
def kept(bench: Bench) -> Any:
    return lambda: bench.rows("SELECT count(*), (SELECT reason FROM quarantine) FROM entry")


async def test_a_message_that_breaks_the_commit_costs_the_others_a_few_commits(bench, kept):
    """The batch is halved until the poison is alone in quarantine: at most two commits for each
    halving, not one for each message."""
    writer = faulty(bench, Faulty)
    await through(bench, writer, bench.reader)
    assert kept() == [(BATCH - 1, "unhandled")]
    assert writer.commits <= 2 * BATCH.bit_length() + 2


async def test_a_message_that_breaks_the_reader_costs_the_others_nothing(bench, kept):
    """It goes into quarantine within the batch that it came in."""
    reader = Reading(bench.reader.picture, bench.reader.marker)
    done = await through(bench, bench.writer, reader)
    assert kept() == [(BATCH - 1, "unhandled")]
    assert [(each.accepted, each.quarantined) for each in done] == [(BATCH - 1, 1)]
