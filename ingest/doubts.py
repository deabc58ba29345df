"""Marks, beside the stream: reads that looked odd are looked at once their span has closed."""

import asyncio
from collections.abc import Callable
from time import monotonic

from sqlalchemy import Connection

from ingest.clock import Clock
from ingest.ledger import Ledger
from store.events import raise_notices
from store.marks import Looked, look, resolve
from store.obligations import Plans

PAGE = 5
"""Sites whose doubts are looked at together, and resolved in one transaction."""
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
                more = await self.page()
                await asyncio.sleep(RESTS * (monotonic() - begun))

    async def page(self) -> bool:
        """Resolve the doubts about some sites; whether there may be more.

        They are looked at beside the writer: of a device that floods there is much to look at.
        """
        looked = await self._ledger.read(lambda ledger: look(ledger, self._plans, PAGE))
        if await self._ledger.write(lambda ledger: self._resolve(ledger, looked)):
            self._on_told()
        return looked.more

    def _resolve(self, connection: Connection, looked: Looked) -> int:
        return raise_notices(connection, resolve(connection, looked), self._clock.now())
