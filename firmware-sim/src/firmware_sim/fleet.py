"""Handhelds in people's hands: each model joined to its connection and to the chronicle.

Simulated time stands still while a unit settles. Real time does not: where no receipt comes
within two real seconds the unit says everything again, until the service is back or patience ends.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable

from firmware_sim.chronicle import Chronicle
from firmware_sim.garbage import payload
from firmware_sim.guards import Act, Do
from firmware_sim.handheld import Handheld, Phase
from firmware_sim.link import Dial, Line, LinkDownError, Login
from firmware_sim.tally import Tally
from firmware_sim.wire import (
    BadReceiptError,
    Kind,
    Publication,
    down_filter,
    is_receipt,
    is_rounds,
    read_receipt,
    read_rounds,
    up_topic,
)

RECEIPT_WITHIN = 2.0
RECONNECT_AFTER = 0.2


class NoReceiptsError(TimeoutError):
    """The service did not receipt what was published: is it running, on this broker and registry?

    `gridbeat doctor` says more; `--patience` sets how long to wait.
    """


def new_boot(rng: random.Random) -> str:
    """A random id for one boot of a device."""
    return f"{rng.getrandbits(32):08x}"


class Patience:
    """How long, in real seconds, nothing may get better."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._since = time.monotonic()

    def renew(self) -> None:
        """Something got better."""
        self._since = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether it is time to give up."""
        return time.monotonic() - self._since > self._seconds


class Unit:
    """One handheld with its connection; `now` is always simulated ms."""

    def __init__(
        self,
        handheld: Handheld,
        link: Callable[[Callable[[str, bytes], None], Callable[[], None]], Line],
        chronicle: Chronicle,
        tally: Tally,
        rng: random.Random,
    ):
        self.handheld = handheld
        self.device = handheld.fitting.device
        self.in_network = True
        self.receipts = 0
        self._link = link(self._heard, self._fallen)
        self._chronicle = chronicle
        self._tally = tally
        self._rng = rng
        self._changed = asyncio.Event()

    # What is done to it

    def act(self, act: Act, now: int, ref: str | None) -> str | None:
        """Record what the holder did; returns the identity of the record."""
        kind = {Do.READ: Kind.CHECKIN, Do.HAZARD: Kind.HAZARD, Do.SOS: Kind.SOS}[act.do]
        members = dict(act.members)
        if ref is not None:
            members |= {"cancel": int(ref.rsplit("/", 1)[1])} if act.do is Do.SOS else {"ref": ref}
        record = self.handheld.record(kind, now, site=act.site, copies=act.copies, **members)
        self._tally.recorded(record)
        return self._chronicle.made(self.device, record, act, now).id

    async def cut(self, now: int) -> None:
        """The network is gone."""
        self.in_network = False
        await self._link.cut()
        self.handheld.disconnected(now)
        self._chronicle.left(self.device, now)
        self._chronicle.note("cut", now, device=self.device)

    def mend(self, now: int) -> None:
        """The network is back; settling connects."""
        self.in_network = True
        self._chronicle.note("mend", now, device=self.device)

    async def upset(self, now: int, *, reset: bool) -> None:
        """The device restarts, and with `reset` has forgotten everything."""
        await self._link.cut()
        self._chronicle.left(self.device, now)
        boot = new_boot(self._rng)
        if reset:
            self.handheld.reset(now, boot, self._rng.getrandbits(32))
        else:
            self.handheld.reboot(now, boot)
        self._chronicle.note("reset" if reset else "reboot", now, device=self.device)

    async def garble(self, act: Act, now: int) -> None:
        """Broken firmware: something unreadable goes out on the device's own connection."""
        if not self.in_network:
            return
        topic = up_topic(act.site or self.handheld.fitting.site, self.device, Kind.CHECKIN)
        await self._until_said(Publication(topic=topic, payload=payload(str(act.what), now)), now)
        self._chronicle.quarantined += 1
        self._chronicle.note("garbage", now, device=self.device, what=act.what, delivered=now)

    # What it does by itself

    @property
    def fallen(self) -> bool:
        """Whether the connection broke though the network is there: the broker went away."""
        return self.in_network and not self._link.up

    def wake(self) -> int | None:
        """When the model wants to be looked at again."""
        return self.handheld.wake() if self.in_network else None

    async def settle(self, now: int, patience: float) -> None:
        """Go on until everything is said and receipted, or the device is cut off.

        Raises `NoReceiptsError` when nothing gets better for `patience` seconds.
        """
        left = Patience(patience)
        while self.in_network:
            self._changed.clear()
            try:
                if not self._link.up:
                    await self._connect(now)
                if await self._speak(now):
                    continue
            except LinkDownError as error:
                await self._pause(left, f"{self.device}: broker unreachable: {error}")
                continue
            if self.handheld.phase is Phase.ONLINE and not self.handheld.unreceipted:
                return
            before = self.handheld.unreceipted
            if not await self._something():
                await self._again(now)
            if self.handheld.unreceipted < before:
                left.renew()
            self._give_up_if(left, f"{self.device}: {before} records without receipt")

    async def roll_call(self, now: int, patience: float) -> None:
        """Say something after the last tick and have it receipted: then the tick was taken too."""
        left = Patience(patience)
        heard = self.receipts
        while self.in_network and self.receipts == heard:
            self._changed.clear()
            await self._until_said(self.handheld.status(now), now)
            await self._something()
            self._give_up_if(left, f"{self.device}: the last word was not receipted")

    async def leave(self, now: int) -> None:
        """Switch off in good order, wherever we are."""
        try:
            if self._link.up:
                await self._link.publish([self.handheld.farewell(now)])
        except LinkDownError:
            return
        finally:
            await self._link.close()

    # Inside

    async def _again(self, now: int) -> None:
        """No receipt came in real time; simulated time has not gone on at all."""
        if self.handheld.wants_now:
            await self._until_said(self.handheld.status(now), now)
            return
        self._tally.resent += self.handheld.unreceipted
        self.handheld.hurry(now)

    async def _connect(self, now: int) -> None:
        handheld = self.handheld
        await self._link.open(handheld.will(), down_filter(self.device))
        birth = handheld.connected(now)
        await self._link.publish([birth])
        self._chronicle.joined(self.device, now)
        self._said([birth], now)

    async def _speak(self, now: int) -> bool:
        said = self.handheld.due(now)
        if said:
            await self._link.publish(said)
            self._said(said, now)
        return bool(said)

    async def _until_said(self, publication: Publication, now: int) -> None:
        while True:
            try:
                if not self._link.up:
                    await self._connect(now)
                await self._link.publish([publication])
            except LinkDownError:
                await asyncio.sleep(RECONNECT_AFTER)
            else:
                self._said([publication], now)
                return

    def _said(self, said: Iterable[Publication], now: int) -> None:
        for publication in said:
            self._tally.published += 1
            self._chronicle.arrived(self.device, now, publication, self.handheld.epoch)

    def _heard(self, topic: str, body: bytes) -> None:
        if is_rounds(topic, self.device):
            self._handed(topic, body)
        if not is_receipt(topic, self.device):
            return
        try:
            receipt = read_receipt(body)
        except BadReceiptError:
            self._tally.bad_receipts += 1
            return
        self.receipts += 1
        self._tally.receipted += self.handheld.receipted(receipt)
        self._changed.set()

    def _handed(self, topic: str, body: bytes) -> None:
        try:
            self.handheld.handed(topic.split("/")[2], read_rounds(body))
        except BadReceiptError:
            self._tally.bad_receipts += 1
        else:
            self._tally.handed += 1

    def _fallen(self) -> None:
        self.handheld.disconnected(0)
        self._changed.set()

    async def _something(self) -> bool:
        try:
            async with asyncio.timeout(RECEIPT_WITHIN):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _pause(self, left: Patience, why: str) -> None:
        self._give_up_if(left, why)
        await asyncio.sleep(RECONNECT_AFTER)

    def _give_up_if(self, left: Patience, why: str) -> None:
        if left.over:
            raise NoReceiptsError(f"{why}; is the service running on this broker and registry?")


class Stranger:
    """Somebody who was never enrolled: comes, says something, goes."""

    def __init__(self, dial: Dial, login: Login, chronicle: Chronicle):
        self._link = dial(login, lambda _topic, _body: None, lambda: None)
        self._login = login
        self._chronicle = chronicle

    async def say(self, act: Act, now: int) -> None:
        """Publish one piece of garbage; raises `LinkDownError`."""
        topic = up_topic(str(act.site), self._login.client_id, Kind.CHECKIN)
        await self._link.open()
        try:
            said = Publication(topic=topic, payload=payload(str(act.what), now))
            await self._link.publish([said])
        finally:
            await self._link.close()
        self._chronicle.quarantined += 1
        name = self._login.client_id
        self._chronicle.note("garbage", now, device=name, what=act.what, delivered=now)
