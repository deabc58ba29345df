"""A handheld in real time: the model joined to a connection that others may hurt.

`run` keeps it connected and says what is due until it is cancelled. Everything it makes and is told
goes into the history.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence

from firmware_sim.clocks import DeviceClock, Setting
from firmware_sim.fleet import new_boot
from firmware_sim.handheld import Fitting, Handheld, Phase
from firmware_sim.history import History
from firmware_sim.link import Link, LinkDownError
from firmware_sim.wire import (
    BadReceiptError,
    Kind,
    Publication,
    Record,
    down_filter,
    is_receipt,
    read_receipt,
)

RECONNECT_S = (0.05, 0.4)
"""Between two attempts to connect: a pause drawn from this span."""

NewLink = Callable[[str, Callable[[str, bytes], None], Callable[[], None]], Link]
"""From client id, what hears, and what is told of a lost connection."""

OVERLAP_S = 0.5
"""A connection under a new client id is there before the broker notices that the old one is not."""


def wall() -> int:
    """True time, in ms since the Unix epoch."""
    return time.time_ns() // 1_000_000


class Live:
    """One device. `deaf` loses its receipts, as a radio does."""

    def __init__(self, fitting: Fitting, new_link: NewLink, history: History, rng: random.Random):
        self.device = fitting.device
        self.in_network = True
        self.deaf = False
        self._new_link = new_link
        self._history = history
        self._rng = rng
        self._changed = asyncio.Event()
        self._links = 0
        self._link = self._linked(self.device)
        self.handheld = Handheld(
            fitting, epoch=rng.getrandbits(32), boot=new_boot(rng), now=wall(), rng=rng
        )

    # What happens to it

    def record(self, kind: Kind, **members: object) -> Record:
        """Something happened, and is kept."""
        now = wall()
        lost = len(self.handheld.lost)
        record = self.handheld.record(kind, now, site=None, copies=1, **members)
        for full in self.handheld.lost[lost:]:
            self._history.drop(self.device, full.epoch, full.seq)
        self._history.make(self.device, record, now, time.monotonic())
        self._changed.set()
        return record

    async def lose_network(self) -> None:
        """Out of reach, without a word; `find_network` ends it."""
        self.in_network = False
        await self._link.cut()
        self._offline()

    def find_network(self) -> None:
        """Back in reach."""
        self.in_network = True
        self._changed.set()

    async def lose_flash(self) -> None:
        """Everything kept is gone, and counting begins anew under another epoch."""
        await self._link.cut()
        self._history.forget(self.device, self.handheld.epoch)
        self.handheld.reset(wall(), new_boot(self._rng), self._rng.getrandbits(32))
        self._offline()

    def lose_clock(self, shows: int) -> None:
        """The battery was empty: the clock starts at `shows` (ms)."""
        self.handheld.clock = DeviceClock([Setting(since=wall(), shows=shows)])

    def find_clock(self) -> None:
        """Somebody set it right."""
        self.handheld.clock = DeviceClock()

    async def rename(self) -> None:
        """The next connection has another client id; the old one is left to die by itself."""
        old = self._link
        self._link = self._linked(f"{self.device}-{self._links}")
        self._offline()
        await asyncio.sleep(OVERLAP_S)
        await old.cut()

    # What it does by itself

    async def run(self) -> None:
        """Until cancelled; then it leaves without a word."""
        try:
            while True:
                self._changed.clear()
                try:
                    await self._go_on()
                except (LinkDownError, OSError):
                    self._offline()
                    await asyncio.sleep(self._rng.uniform(*RECONNECT_S))
        finally:
            await self._link.cut()

    async def _go_on(self) -> None:
        if self.in_network and (not self._link.up or self.handheld.phase is Phase.OFFLINE):
            await self._connect()
        said = self.handheld.due(wall()) if self.in_network else ()
        if said:
            await self._say(said)
            return
        wake = self.handheld.wake() if self.in_network else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if wake is None else max(wake - wall(), 1) / 1_000):
                await self._changed.wait()

    async def _connect(self) -> None:
        handheld = self.handheld
        await self._link.cut()
        await self._link.open(handheld.will(), down_filter(self.device))
        await self._say((handheld.connected(wall()),))

    async def _say(self, said: Sequence[Publication]) -> None:
        for one in said:
            self._history.say(self.device, self.handheld.epoch, one.seqs)
        await self._link.publish(said)

    def _heard(self, topic: str, body: bytes) -> None:
        if self.deaf or not is_receipt(topic, self.device):
            return
        with contextlib.suppress(BadReceiptError):
            receipt = read_receipt(body)
            self._history.tell(self.device, receipt, time.monotonic())
            self.handheld.receipted(receipt)
        self._changed.set()

    def _linked(self, client_id: str) -> Link:
        self._links += 1
        number = self._links

        def fallen() -> None:
            if number == self._links:  # else it is an old connection that dies at last
                self._offline()

        return self._new_link(client_id, self._heard, fallen)

    def _offline(self) -> None:
        self.handheld.disconnected(wall())
        self._changed.set()
