"""Whose time is now: the machine's, or the ticks a simulator publishes. The only room that reads
one.

With the machine's clock the service publishes a marker to itself each second, and at every instant
at which something falls due. With clock `mqtt` the ticks are the markers, and now stands still
between them; a tick takes effect in its place in the stream, after everything published before it.
"""

import time
from dataclasses import dataclass
from typing import Protocol

from devices.ids import Instant

STEADY_MS = 30_000
"""How far wall and monotonic time may part before judging pauses (design, law 4)."""
SETTLE_MS = 60_000
"""How long they must agree again before it goes on."""


class Clock(Protocol):
    """Now, in ms since the Unix epoch."""

    def now(self) -> Instant: ...


class SystemClock:
    """The machine's clock, watched: a step against monotonic time makes it unsteady for a while."""

    def __init__(self) -> None:
        self._offset = self._difference()
        self._steady_from = 0

    def now(self) -> Instant:
        return time.time_ns() // 1_000_000

    def steady(self) -> bool:
        """Whether now may be judged by. Asked at least each second."""
        offset, monotonic = self._difference(), time.monotonic_ns() // 1_000_000
        if abs(offset - self._offset) > STEADY_MS:
            self._steady_from = monotonic + SETTLE_MS
        self._offset = offset
        return monotonic >= self._steady_from

    @staticmethod
    def _difference() -> int:
        return (time.time_ns() - time.monotonic_ns()) // 1_000_000


@dataclass(slots=True)
class TickClock:
    """The simulator's clock. Before the first tick there is no now to judge by."""

    tick: Instant | None

    def now(self) -> Instant:
        return 0 if self.tick is None else self.tick

    def steady(self) -> bool:
        return True

    def advance(self, tick: Instant) -> None:
        """Take a tick; one that goes back is not followed."""
        self.tick = tick if self.tick is None else max(tick, self.tick)
