"""Whose time is now: the machine's, or the ticks a simulator publishes. The only room that reads
one.

With the machine's clock the service publishes a marker to itself each second, and at every instant
at which something falls due. With clock `mqtt` the ticks are the markers, and now stands still
between them; a tick takes effect in its place in the stream, after everything published before it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from devices.ids import Instant

STEADY_MS = 30_000
"""How far wall and monotonic time may part before judging pauses (law 4)."""
SETTLE_MS = 60_000
"""How long they must agree again before it goes on, and before a step is followed."""


class Clock(Protocol):
    """Now, in ms since the Unix epoch."""

    def now(self) -> Instant: ...


def machine() -> Instant:
    """The machine's wall clock."""
    return time.time_ns() // 1_000_000


class SystemClock:
    """The machine's clock, but for its steps.

    A step against monotonic time is not followed at once: now goes on by monotonic time, nobody
    judges, and only when the two have agreed again for a while is the machine's time taken up,
    whichever it is by then. So a step that is taken back leaves no trace in any time we write.
    """

    def __init__(
        self, read: Callable[[], Instant] = machine, *, settle_ms: int = SETTLE_MS
    ) -> None:
        self._read = read
        self._settle_ms = settle_ms
        self._offset = self._lately = read() - _monotonic()
        self._steady_from = 0

    def now(self) -> Instant:
        told, monotonic = self._read(), _monotonic()
        parted = abs(told - monotonic - self._offset) > STEADY_MS
        return monotonic + self._offset if parted else told

    def steady(self) -> bool:
        """Whether now may be judged by. One asks, each second: a step is taken up by asking."""
        monotonic = _monotonic()
        offset = self._read() - monotonic
        if abs(offset - self._lately) > STEADY_MS:
            self._steady_from = monotonic + self._settle_ms
        self._lately = offset
        steady = monotonic >= self._steady_from
        if steady:
            self._offset = offset
        return steady


def _monotonic() -> int:
    return time.monotonic_ns() // 1_000_000


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
