"""Once a minute: how every site and the service itself stand, kept until the series takes them.

Kept for `KEPT_MS` at most: a district makes some hundred megabytes of them a week, and while the
series is away nothing else takes them. Those of before are lost then. They are the only points that
are: check-ins, rounds, events and hazards are written from the ledger, however late.
"""

import asyncio
from functools import partial

import structlog
from sqlalchemy import Connection

from devices.ids import Instant
from ingest.clock import SystemClock, TickClock
from ingest.health import Health
from ingest.ledger import Ledger
from store.series import lines
from store.series.site_state import site_states
from store.series.sources import add_samples, drop_samples

MINUTE_MS = 60_000
KEPT_MS = 7 * 86_400_000
DROPPED = 5_000
"""At once, so that the transaction stays short; a district of 1,000 sites makes fewer a minute."""

log = structlog.get_logger()


class Gauges:
    """Writes samples at each minute of the clock. A jump over many minutes makes one."""

    def __init__(
        self, ledger: Ledger, clock: SystemClock | TickClock, instance: str, health: Health
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._instance = instance
        self._health = health
        self._minute = 0
        self._dropping = False
        self._ticked = asyncio.Event()

    def ticked(self) -> None:
        """The clock may have reached another minute."""
        if self._clock.now() // MINUTE_MS != self._minute:
            self._ticked.set()

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            await self._ticked.wait()
            self._ticked.clear()
            self._minute = self._clock.now() // MINUTE_MS
            at = self._minute * MINUTE_MS
            if at > 0:
                await self._ledger.write(partial(self._sample, at=at))
                await self.drop(at - KEPT_MS)

    async def drop(self, before: Instant) -> None:
        """Let go of what the series has not taken for too long, and say so once."""
        dropped = await self._ledger.write(lambda c: drop_samples(c, before, DROPPED))
        if dropped and not self._dropping:
            log.error(
                "series.dropped",
                before=before,
                meaning="the series has taken nothing for a week: of sites, devices and service it "
                "will lack the minutes before this; all else is written when it is back",
            )
        self._dropping = dropped > 0

    def _sample(self, connection: Connection, at: Instant) -> None:
        totals = self._health.totals
        service = lines.ServiceGauge(
            instance=self._instance,
            at=at,
            received=totals.received,
            accepted=totals.accepted,
            duplicate=totals.duplicate,
            quarantined=totals.quarantined,
            lag_ms=self._health.lag_ms,
            outbox=self._health.outbox,
        )
        sites = [lines.site_state(state) for state in site_states(connection, at)]
        add_samples(connection, at, [*sites, lines.service(service)])
