"""One handheld in real time on a real broker, right or broken: what a conformance check looks at.

It reads a tag now and then, calls for help, sends a picture, loses its network and its power, and
is at last reset: in one `Course`, everything the check asks a maker to do, but for what happens on
the service's side.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from firmware_sim.fleet import new_boot
from firmware_sim.handheld import Handheld
from firmware_sim.link import Broker, Link, LinkDownError, Login
from firmware_sim.wire import BadReceiptError, Kind, down_filter, is_receipt, read_receipt

RECONNECT_AFTER = 0.2


class Deed(StrEnum):
    """What is done with the handheld."""

    READ = "read"
    SOS = "sos"
    PHOTO = "photo"
    CUT = "cut"
    MEND = "mend"
    REBOOT = "reboot"
    RESET = "reset"


Course = Sequence[tuple[float, Deed]]
"""Seconds after the start, ascending, and what is done then."""

COURSE: Course = (
    (1, Deed.READ),
    (2, Deed.READ),
    (3, Deed.PHOTO),
    (4, Deed.SOS),
    (20, Deed.CUT),
    (21, Deed.REBOOT),
    (30, Deed.MEND),
    (35, Deed.READ),
    (90, Deed.CUT),
    *((91 + n / 2, Deed.READ) for n in range(30)),
    (110, Deed.MEND),
    (200, Deed.RESET),
    (205, Deed.READ),
    (206, Deed.READ),
)
"""At the contract's own times; `at_scale` shortens it with them."""


def at_scale(course: Course, scale: float) -> Course:
    """The same course in less time."""
    return tuple((seconds * scale, deed) for seconds, deed in course)


@dataclass(frozen=True, kw_only=True)
class Outing:
    """What a solo run needs beside the handheld: where, as whom, with which tag, how long."""

    broker: Broker
    login: Login
    tag: str
    seconds: float
    course: Course


class Solo:
    """Runs one handheld by the machine's clock."""

    def __init__(self, handheld: Handheld, outing: Outing, rng: random.Random):
        self._handheld = handheld
        self._outing = outing
        self._rng = rng
        self._in_network = True
        self._some = asyncio.Event()
        self._link = Link(outing.broker, outing.login, self._heard, self._fallen)

    async def run(self) -> None:
        """From the first connection to a farewell."""
        started = time.monotonic()
        ahead = list(self._outing.course)
        try:
            while (passed := time.monotonic() - started) < self._outing.seconds:
                while ahead and ahead[0][0] <= passed:
                    await self._do(ahead.pop(0)[1])
                with suppress(LinkDownError):
                    await self._speak()
                until = min(ahead[0][0] if ahead else 1e9, self._outing.seconds)
                await self._rest(until - (time.monotonic() - started))
            await self._leave()
        finally:
            await self._link.close()

    async def _speak(self) -> None:
        if not self._in_network:
            return
        handheld = self._handheld
        if not self._link.up:
            await self._link.open(handheld.will(), down_filter(handheld.fitting.device))
            await self._link.publish([handheld.connected(_now())])
        while said := handheld.due(_now()):
            await self._link.publish(said)

    async def _rest(self, seconds: float) -> None:
        """Until something is heard, is due, or is to be done."""
        wake = self._handheld.wake()
        if self._in_network and not self._link.up:
            seconds = min(seconds, RECONNECT_AFTER)
        if wake is not None:
            seconds = min(seconds, (wake - _now()) / 1_000)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.001)):
                await self._some.wait()
        self._some.clear()

    async def _do(self, deed: Deed) -> None:
        handheld, now = self._handheld, _now()
        match deed:
            case Deed.READ:
                handheld.record(Kind.CHECKIN, now, tag=self._outing.tag)
            case Deed.SOS:
                handheld.record(Kind.SOS, now)
            case Deed.PHOTO:
                with suppress(LinkDownError):
                    await self._link.publish([handheld.photo()])
            case Deed.CUT:
                await self._cut()
            case Deed.MEND:
                self._in_network = True
            case Deed.REBOOT:
                await self._link.cut()
                handheld.reboot(now, new_boot(self._rng))
            case Deed.RESET:
                await self._link.cut()
                handheld.reset(now, new_boot(self._rng), self._rng.getrandbits(32))

    async def _cut(self) -> None:
        self._in_network = False
        await self._link.cut()
        self._handheld.disconnected(_now())

    async def _leave(self) -> None:
        if self._link.up:
            with suppress(LinkDownError):
                await self._link.publish([self._handheld.farewell(_now())])

    def _heard(self, topic: str, body: bytes) -> None:
        if not is_receipt(topic, self._handheld.fitting.device):
            return
        with suppress(BadReceiptError):
            self._handheld.receipted(read_receipt(body))
        self._some.set()

    def _fallen(self) -> None:
        self._handheld.disconnected(_now())
        self._some.set()


def _now() -> int:
    return time.time_ns() // 1_000_000
