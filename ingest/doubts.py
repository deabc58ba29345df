"""Marks, beside the stream: reads that looked odd are looked at once their span has closed."""

import asyncio
from collections.abc import Callable
from time import monotonic

from sqlalchemy import Connection

from ingest.clock import Clock
from ingest.ledger import Ledger
from store.events import raise_notices
from store.marks import look_again
from store.obligations import Plans

PAGE = 5
"""Sites whose doubts are resolved in one transaction, so that it stays under 50 ms."""
RESTS = 3
"""How much longer than a page took it rests: marks can wait, check-ins and verdicts cannot."""


class Doubts:
    """Resolves the doubts that the writer noted. `poke` when a marker was committed after some."""

    def __init__(self, ledger: Ledger, clock: Clock, on_told: Callable[[], None]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._on_told = on_told
        self._plans = Plans()
        self._some = asyncio.Event()

    def poke(self) -> None:
        """There may be doubts whose reads move no more."""
        self._some.set()

    async def run(self) -> None:
        """Resolve doubts until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            more = True
            while more:
                await self._ledger.turn()
                begun = monotonic()
                more, told = await self._ledger.write(self._page)
                if told:
                    self._on_told()
                await asyncio.sleep(RESTS * (monotonic() - begun))

    def _page(self, connection: Connection) -> tuple[bool, int]:
        more, notices = look_again(connection, self._plans, PAGE)
        return more, raise_notices(connection, notices, self._clock.now())
