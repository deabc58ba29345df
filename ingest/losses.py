"""What the broker has lost: noticed, asked for again, and said.

    session   it has no session of ours where one was: what it held for us is gone
    overflow  a marker that it had acknowledged did not come back though a later one did: our queue
              was full, and whatever came meanwhile was dropped, without a word to anybody
    restored  the ledger is a copy: what was receipted since it was made is not in it

Devices keep what no receipt covers and send it again. So every device is told what is kept: it
need not wait for its next record to learn that some are missing.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

import structlog

from ingest.committed import Covered
from ingest.ledger import Ledger
from ingest.receipts import APART_S, Receipts
from ingest.source import BULK, MAIN, SOS
from store.coverages import Key, of_devices
from store.owngaps import Cause
from store.picture import Picture

log = structlog.get_logger()

TIMES, WITHIN_S = 5, 60.0
"""So many connections lost within so long are no chance."""

PAGE = 200
"""Devices told in one round of receipts."""


MEANING = {
    Cause.SESSION: "the broker forgot us, and what it held for us: see its persistence",
    Cause.OVERFLOW: "the broker's queue for us was full and it dropped what came: raise its "
    "max_queued_messages and max_queued_bytes",
    Cause.RESTORED: "this ledger had come further when it was last here, so it is a copy: it has a "
    "new name now",
}


class Losses:
    """Notices for one instance. `on_lost(loss)` hears of each; `picture()` is the registry's."""

    def __init__(
        self,
        ledger: Ledger,
        receipts: Receipts,
        picture: Callable[[], Picture],
        on_lost: Callable[[Cause], None],
    ) -> None:
        self._ledger = ledger
        self._receipts = receipts
        self._picture = picture
        self._on_lost = on_lost
        self._wanted = False
        self._asking = asyncio.Event()

    def noticed(self, loss: Cause, **details: object) -> None:
        """Something is gone: say so, and have every device told what is kept."""
        log.error(
            f"lost.{loss}",
            **details,
            meaning=f"{MEANING[loss]}; devices send again what they still hold",
        )
        self._on_lost(loss)
        self._wanted = True

    def marked(self) -> None:
        """A marker has come back: the session is read again, and what is kept stands on disk."""
        if self._wanted:
            self._wanted = False
            self._asking.set()

    async def run(self) -> None:
        """Tell all devices what is kept, whenever something was lost, until cancelled."""
        while True:
            await self._asking.wait()
            self._asking.clear()
            after: int | None = 0
            while after is not None:
                after = await self._page(after)
                await asyncio.sleep(APART_S)

    async def _page(self, after: int) -> int | None:
        """The devices after that id; returns the last one's, or None where there are no more."""
        rows = await self._ledger.read(partial(of_devices, after=after, limit=PAGE))
        picture = self._picture()
        told: dict[Key, Covered] = {}
        for row in rows:
            device = picture.device(row.slug)
            if device is None or not device.keeps or not device.site_ids:
                continue
            site = picture.sites_by_id[min(device.site_ids)]
            upto, missing = row.covered.receipt_view()
            told[row.slug, row.epoch] = Covered(site=site.slug, upto=upto, missing=missing)
        self._receipts.tell(told, {})
        return rows[-1].device_id if rows else None


class Rivals:
    """A connection lost again and again, each time soon after it was made: Mosquitto says no more
    than that of a client that comes in under our name and throws us out."""

    def __init__(self, instance: str) -> None:
        self._names = ", ".join(f"{instance}-{part}" for part in (MAIN, SOS, BULK, "out"))
        self._lost: deque[float] = deque(maxlen=TIMES)

    def lost(self, at: float) -> None:
        """The connection is lost, by monotonic time; say so where that was too often for chance."""
        self._lost.append(at)
        if len(self._lost) == TIMES and at - self._lost[0] < WITHIN_S:
            log.error(
                "mqtt.thrown_out",
                meaning="the connection is lost again and again, as where another client comes in "
                f"as one of {self._names}: see the broker's log, and stop it",
            )
