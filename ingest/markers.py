"""Markers: what the service publishes to itself, to learn what had arrived by when.

One each second, and one at every instant at which something falls due, so that a verdict waits for
no more than its own way through the broker.
"""

import asyncio

from devices import codec, topics
from devices.ids import Instant
from devices.messages import ClockTick
from ingest.clock import SystemClock
from ingest.source import Source

EVERY_MS = 1_000


class Markers:
    """Publishes markers by the machine's clock. `plan` tells the next instant that is due."""

    def __init__(self, source: Source, clock: SystemClock, instance: str) -> None:
        self._source = source
        self._clock = clock
        self._topic = topics.marker(instance)
        self._due: Instant | None = None
        self._replanned = asyncio.Event()

    def plan(self, due: Instant | None) -> None:
        """Something falls due at `due`: the marker after it must not be a second late."""
        if due != self._due:
            self._due = due
            self._replanned.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            now = self._clock.now()
            self._source.publish(self._topic, codec.encode_clock(ClockTick(now=now)), qos=1)
            wait = EVERY_MS - now % EVERY_MS
            if self._due is not None and now < self._due:
                wait = min(wait, self._due - now)
            await self._pause(wait)

    async def _pause(self, wait_ms: int) -> None:
        self._replanned.clear()
        try:
            async with asyncio.timeout(wait_ms / 1_000):
                await self._replanned.wait()
        except TimeoutError:
            return
