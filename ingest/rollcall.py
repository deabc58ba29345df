"""Roll call: looks at each device when it may have something to be told of.

It judges by the marker that came back, as the watch does: a heartbeat that waits in a queue is no
silence.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

from sqlalchemy import Connection

from devices.ids import Instant
from ingest.clock import SystemClock, TickClock
from ingest.ledger import Ledger
from rules.presence import Limits
from store.alarms import Page, look_around, look_at_all, next_look
from store.series import lines
from store.series.sources import add_samples

PAGE = 100
"""Devices looked at in one transaction, so that it stays under 50 ms."""
RESTS = 3
"""How much longer than a page took it rests: absences can wait, check-ins and verdicts cannot."""


class RollCall:
    """Looks for one instance. `on_told`: events wait. `sampling`: a series follows the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        clock: SystemClock | TickClock,
        limits: Limits,
        *,
        sampling: bool,
        on_told: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._limits = limits
        self._sampling = sampling
        self._on_told = on_told
        self._known: Instant | None = None
        self._everybody = True  # after a start: limits may be others
        self._some = asyncio.Event()

    def advance(self, known: Instant) -> None:
        """Everything that had arrived by `known` is committed."""
        self._known = known
        self._some.set()

    def everybody(self) -> None:
        """The registry has moved: heartbeats may be others, devices retired."""
        self._everybody = True
        self._some.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            known = self._known
            if known is None or not self._clock.steady():
                continue
            if self._everybody:
                self._everybody = False
                await self._ledger.write(look_at_all)
            await self._look(known)

    async def _look(self, known: Instant) -> None:
        wake = await self._ledger.read(next_look)
        while wake is not None and wake <= known:
            await self._ledger.turn()
            begun = monotonic()
            page = await self._ledger.write(lambda c: self._page(c, known))
            if page.told:
                self._on_told()
            await asyncio.sleep(RESTS * (monotonic() - begun))
            if not page.more:
                return

    def _page(self, connection: Connection, known: Instant) -> Page:
        page = look_around(connection, self._limits, known, self._clock.now(), PAGE)
        if self._sampling:
            for point in page.turned:
                add_samples(connection, point.at, [lines.device(point)])
        return page
