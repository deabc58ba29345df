"""Markers: what the service publishes to itself, to learn what had arrived by when.

One each second, and one at every instant at which something falls due, so that a verdict waits for
no more than its own way through the broker.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from devices import codec, topics
from devices.ids import Instant
from devices.messages import ClockTick
from ingest.clock import SystemClock
from ingest.source import Sending, Source

EVERY_MS = 1_000
TAKEN_WITHIN_S = 10.0
MOST_OUT = 3_600
"""Markers under way that are remembered: an hour's."""


class MarkersOut:
    """Markers on their way through the broker: which it has, and which came back."""

    def __init__(self) -> None:
        self._out: deque[Instant] = deque(maxlen=MOST_OUT)
        self._taken: set[Instant] = set()
        self._waiting: set[asyncio.Task[None]] = set()

    def sent(self, at: Instant, sending: Sending) -> None:
        """A marker leaves; it counts once the broker has acknowledged it."""
        self._out.append(at)
        waiting = asyncio.create_task(self._await(at, sending))
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)

    async def _await(self, at: Instant, sending: Sending) -> None:
        if await sending.done(TAKEN_WITHIN_S):
            self._taken.add(at)

    def forget(self) -> None:
        """What was on its way is known to be gone."""
        self._out.clear()
        self._taken.clear()

    def back(self, markers: Sequence[Instant]) -> int:
        """Markers have come back; returns how many before them the broker had, and swallowed."""
        swallowed = 0
        for marker in markers:
            while self._out and (marker in self._out or self._out[0] <= marker):
                at = self._out.popleft()
                swallowed += at != marker and at in self._taken
                self._taken.discard(at)
                if at == marker:  # those behind it came later, whatever the clock said then
                    break
        return swallowed


class Markers:
    """Publishes markers by the machine's clock. `plan` tells the next instant that is due.

    `out` knows which of them the broker has, and did not bring back.
    """

    def __init__(self, source: Source, clock: SystemClock, instance: str) -> None:
        self._source = source
        self._clock = clock
        self._topic = topics.marker(instance)
        self._due: Instant | None = None
        self.out = MarkersOut()
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
            payload = codec.encode_clock(ClockTick(now=now))
            self.out.sent(now, self._mark(payload))
            with suppress(TimeoutError):
                async with asyncio.timeout((EVERY_MS - now % EVERY_MS) / 1_000):
                    await self._falls_due(now)

    def _mark(self, payload: bytes) -> Sending:
        return self._source.publish(self._topic, payload, qos=1, overtaking=True)

    async def _falls_due(self, marked: Instant) -> None:
        """Until something is due that the marker of `marked` does not tell of.

        That other things have been planned is no reason for a marker: each is a transaction.
        """
        while True:
            self._replanned.clear()
            wait = None
            if self._due is not None and self._due > marked:
                wait = max(self._due - self._clock.now(), 0) / 1_000
            try:
                async with asyncio.timeout(wait):
                    await self._replanned.wait()
            except TimeoutError:
                return
