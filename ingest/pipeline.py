"""From the source to the ledger and back: take, decode, place, commit, acknowledge, receipt.

While one batch is committed in the ledger's thread the next one is read, and grows until its turn.
While one waits to be committed nothing is taken: what comes one by one is taken together, after it.
Where batches are full and verdicts wait, these have the ledger for as long as a batch took.
Nothing is acknowledged before the commit that holds it. A commit that fails (a full disk, a locked
file) is tried again with the same batch until it succeeds or the service is told to stop; meanwhile
nothing more is taken, and the broker keeps the rest.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from time import monotonic

import structlog
from sqlalchemy.exc import OperationalError

from devices.ids import Instant
from ingest.clock import SystemClock, TickClock
from ingest.committed import Committed
from ingest.foreign import Passed
from ingest.health import Health
from ingest.ledger import Ledger
from ingest.reader import Item, Marked, Reader
from ingest.source import Delivery, Source
from ingest.writer import Writer
from store.place import LedgerAway

log = structlog.get_logger()

RETRY_S = 1.0
GROUP_S = 0.005
"""Between two commits that are not full, so that their fsync is shared where messages are many; one
that comes after a silence is committed at once."""
CROWDED_S = 0.05
"""The same while verdicts wait. A device hears of it that much later at most."""
GIVE_WAY_S = 0.25
"""To verdicts at most, after a batch that had to wait for a disk or a lock."""

_Read = tuple[Delivery, Sequence[Item]]
"""A delivery and what was read in it."""


class Pipeline:
    """One instance's way in. `on_committed` hears what each batch came to, after its acks."""

    def __init__(  # noqa: PLR0913, PLR0917  (the parts a batch goes through, in their order)
        self,
        source: Source,
        reader: Reader,
        writer: Writer,
        ledger: Ledger,
        clock: SystemClock | TickClock,
        health: Health,
        on_committed: Callable[[Committed], None],
        *,
        batch: int,
    ) -> None:
        self._source = source
        self._reader = reader
        self._writer = writer
        self._ledger = ledger
        self._clock = clock
        self._health = health
        self._on_committed = on_committed
        self._batch = batch
        self._stopping = asyncio.Event()
        self._refreshing: asyncio.Timeout | None = None
        self._next = 0.0  # when the next commit may begin

    def stop(self) -> None:
        """Take nothing more; what was taken is committed and acknowledged."""
        self._stopping.set()
        if self._refreshing is not None:  # a ledger that cannot be read would be waited for
            self._refreshing.reschedule(asyncio.get_running_loop().time() + RETRY_S)

    async def run(self, refresh: Callable[[], Awaitable[None]]) -> None:
        """Handle batches until stopped. `refresh` brings the reader's picture up to date."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        taking: asyncio.Future[Sequence[Delivery]] | None = None
        committing: asyncio.Future[None] | None = None
        read: list[_Read] = []
        while not self._stopping.is_set():
            rest = None
            if read and committing is None:
                rest = 0.0 if len(read) >= self._batch else self._next - monotonic()
                if rest <= 0:
                    self._next = monotonic() + (CROWDED_S if self._ledger.crowded else GROUP_S)
                    batch = self._handle(read, self._clock.now())
                    committing, read, rest = asyncio.ensure_future(batch), [], None
            if taking is None and rest is None and len(read) < self._batch:
                taking = asyncio.ensure_future(self._source.take(self._batch - len(read)))
            under_way = [each for each in (stopping, taking, committing) if each is not None]
            await asyncio.wait(under_way, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            if committing is not None and committing.done():
                committing = committing.result()
            if taking is not None and taking.done():
                deliveries, taking = taking.result(), None
                if await self._refreshed(refresh):
                    read += self._read(deliveries)
        if taking is not None:
            taking.cancel()
        if committing is not None:
            await committing
        if read:
            await self._handle(read, self._clock.now())

    async def _refreshed(self, refresh: Callable[[], Awaitable[None]]) -> bool:
        """False where we were told to stop before the ledger could be read."""
        try:
            async with asyncio.timeout(None) as self._refreshing:
                await refresh()
        except TimeoutError:
            return False
        finally:
            self._refreshing = None
        return True

    async def _handle(self, read: Sequence[_Read], now: Instant) -> None:
        begun = monotonic()
        try:
            committed = await self._take(read, now)
        except Exception as error:  # a fault of ours must not come back with every restart
            if len(read) > 1:  # halved, so that the others pay for a few commits, not for all
                middle = len(read) // 2
                await self._handle(read[:middle], now)
                await self._handle(read[middle:], now)
                return
            ((delivery, _),) = read
            log.exception("message.unhandled", topic=delivery.topic)
            committed = await self._commit([self._reader.unhandled(delivery, now, error)], now)
        if committed is None:
            return
        self._source.acknowledge([delivery for delivery, _ in read])
        self._health.batches += 1
        self._health.counted(len(read), committed)
        self._on_committed(committed)
        if len(read) >= self._batch:
            await self._ledger.give_way(min(monotonic() - begun, GIVE_WAY_S))

    async def _take(self, read: Sequence[_Read], now: Instant) -> Committed | None:
        items = [item for _, found in read for item in found]
        passed = [item for item in items if type(item) is Passed]
        if passed:
            items = [item for item in items if type(item) is not Passed]
        committed = await self._commit(items, now) if items else Committed()
        if committed is not None and passed:
            committed.ignored = dict(Counter(passed))
        return committed

    def _read(self, deliveries: Sequence[Delivery]) -> Iterator[_Read]:
        """The items of each delivery, in its place in the stream: a tick is now for what follows
        it."""
        reader, clock, now = self._reader, self._clock, self._clock.now()
        for delivery in deliveries:
            try:
                items = list(reader.read(delivery, now))
            except Exception as error:  # what cannot even be read must not cost its batch a commit
                log.exception("message.unhandled", topic=delivery.topic)
                items = [reader.unhandled(delivery, now, error)]
            yield delivery, items
            if isinstance(clock, TickClock):
                for item in items:
                    if isinstance(item, Marked):
                        clock.advance(item.at)
                        now = clock.now()

    async def _commit(self, items: Sequence[Item], now: Instant) -> Committed | None:
        """Commit until it succeeds; None when told to stop before it did: then nothing is kept."""
        while True:
            try:
                done = await self._ledger.in_writer(lambda: self._writer.commit(items, now))
            except OperationalError as error:
                why = str(error.orig)
                if not isinstance(error.orig, LedgerAway):
                    why = f"the ledger cannot be written: {why}"
                self._health.because("ledger", why)
                log.error("ledger.refused", error=str(error.orig), next="tried again each second")
                if self._stopping.is_set():
                    return None
                await self._rest()
            else:
                self._health.because("ledger", None)
                return done

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await self._stopping.wait()
