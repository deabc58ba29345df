"""Our own outages, as the ledger keeps them: when the broker was gone, and when our clock stepped.

What is said of a device's absence and of a round's verdict allows for them.
"""

import asyncio
import logging
from functools import partial

import structlog

from devices.ids import Instant
from ingest.clock import SystemClock, TickClock
from ingest.ledger import Ledger
from ingest.watch import Watch
from store import workers

log = structlog.get_logger()


class BrokerOutages:
    """Writes when the broker was gone and when it was back, in the order in which it was.

    From `now` on it is gone, until it has answered.
    """

    def __init__(self, ledger: Ledger, now: Instant) -> None:
        self._ledger = ledger
        self._turns: asyncio.Queue[tuple[bool, Instant]] = asyncio.Queue()
        self.turned(now, there=False)

    def turned(self, at: Instant, *, there: bool) -> None:
        """The broker is there, or gone, from `at` on."""
        self._turns.put_nowait((there, at))

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            there, at = await self._turns.get()
            if there:
                await self._ledger.write(partial(workers.end_outage, what="broker", until=at))
            else:
                await self._ledger.write(partial(workers.begin_outage, what="broker", since=at))


class ClockSteps:
    """A step of our own clock pauses judging until it is steady again, and is a gap of ours."""

    def __init__(self, ledger: Ledger, clock: SystemClock | TickClock, watch: Watch) -> None:
        self._ledger = ledger
        self._clock = clock
        self._watch = watch
        self._steady = True
        self._sure = self._looked = clock.now()  # when it was last steady, and last looked at

    async def look(self) -> None:
        """Ask the clock, each second."""
        steady, now = self._clock.steady(), self._clock.now()
        before, self._looked = self._looked, now
        if steady is self._steady:
            self._sure = now if steady else self._sure
            return
        self._steady = steady
        log.log(
            logging.INFO if steady else logging.ERROR,
            "clock.steady" if steady else "clock.stepped",
            sure=self._sure,
            now=now,
        )
        sure = self._sure
        if steady:
            await self._ledger.write(partial(workers.end_outage, what="clock", until=now))
            self._watch.resume(sure, before)
            return
        self._watch.pause()
        await self._ledger.write(partial(workers.begin_outage, what="clock", since=sure))
