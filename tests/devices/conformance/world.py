"""A device, a broker and a service in virtual time, and what an observer hears of them.

`tour` is a day of everything a device maker is asked to do while `gridbeat contract check` watches:
each clause of the contract has its occasion.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

from devices import codec, topics
from devices.codec import Record
from devices.conformance.trace import Heard
from devices.coverage import Coverage
from devices.messages import Receipt, Status
from devices.topics import Kind, UpTopic, parse_up
from firmware_sim.clocks import DeviceClock
from firmware_sim.handheld import Fitting, Habits, Handheld, Phase
from firmware_sim.wire import Kind as Said
from firmware_sim.wire import Publication, read_receipt

SITE, DEVICE = "school-01", "hh-1"
START = 1_788_235_200_000
SECOND = 1_000
WAY_MS = 20
"""How long a receipt is under way."""

Act = Callable[["World"], None]


@dataclass
class World:
    """Everything stands still between two instants; `now` is everybody's clock."""

    device: Handheld
    now: int = START
    heard: list[Heard] = field(default_factory=list)
    running: bool = True
    ledger: str = "ledger-1"
    scale: float = 1.0
    loses: Callable[[int], bool] = lambda _: False
    """Which receipts, counted from 0, are lost on their way (QoS 0)."""

    def __post_init__(self) -> None:
        self._agenda: list[tuple[int, int, Act]] = []
        self._number = count()
        self._queued: list[Publication] = []
        self._covered: dict[int, Coverage] = {}
        self._receipts = count()

    def at(self, seconds: float, act: Act) -> None:
        """Have something happen so long after the start."""
        self._plan(START + round(seconds * SECOND * self.scale), act)

    def run(self, seconds: float) -> int:
        """Let it happen; returns the instant at which it ended."""
        end = START + round(seconds * SECOND * self.scale)
        while True:
            wake = self.device.wake()
            planned = self._agenda[0][0] if self._agenda else end
            self.now = max(min(planned, end if wake is None else wake), self.now)
            if self.now >= end:
                return end
            while self._agenda and self._agenda[0][0] <= self.now:
                heappop(self._agenda)[2](self)
            for said in self.device.due(self.now):
                self.publish(said)

    def publish(self, said: Publication) -> None:
        """The broker has it: the observer hears it, the service when it runs."""
        self.heard.append(
            Heard(
                at=self.now,
                topic=said.topic,
                payload=said.payload,
                qos=said.qos,
                retain=said.retain,
            )
        )
        if self.running:
            self._take(said)
        else:
            self._queued.append(said)

    def connect(self) -> None:
        """The device is let in, and greets."""
        self.publish(self.device.connected(self.now))

    def cut(self) -> None:
        """The network is gone, and the broker says so for it."""
        self.publish(self.device.will())
        self.device.disconnected(self.now)

    def start(self) -> None:
        """The service comes back to what waited for it."""
        self.running = True
        queued, self._queued = self._queued, []
        for said in queued:
            self._take(said)

    def restore(self, ledger: str) -> None:
        """Another ledger: it has nothing of this device."""
        self.ledger = ledger
        self._covered.clear()

    def _take(self, said: Publication) -> None:
        topic = parse_up(said.topic)
        if not isinstance(topic, UpTopic) or topic.kind is Kind.PHOTO:
            return
        if topic.kind is Kind.STATUS:
            self._hear(codec.decode_status(said.payload))
            return
        for record in codec.decode(topic, said.payload):
            epoch, seq = (
                record.identity[1:] if isinstance(record, Record) else (record.epoch, record.seq)
            )
            if epoch is None or seq is None:
                continue
            self._covered.setdefault(epoch, Coverage.opening_at(seq)).add(seq)
            self._answer(epoch)

    def _hear(self, status: object) -> None:
        if not isinstance(status, Status) or not status.online:
            return
        if status.oldest is not None:
            covered = self._covered.setdefault(status.epoch, Coverage.opening_at(status.oldest))
            covered.open_below(status.oldest)
            covered.close_below(status.oldest)
        self._answer(status.epoch)

    def _answer(self, epoch: int) -> None:
        upto, missing = (-1, ())
        if epoch in self._covered:
            upto, missing = self._covered[epoch].receipt_view()
        receipt = Receipt(ledger=self.ledger, epoch=epoch, upto=upto, missing=missing, now=self.now)
        payload = codec.encode_receipt(receipt)
        self._plan(self.now + WAY_MS, lambda world: world.receipt(payload))

    def receipt(self, payload: bytes) -> None:
        """A receipt arrives; one for a device that is away is gone."""
        topic = topics.receipt(SITE, DEVICE)
        self.heard.append(Heard(at=self.now, topic=topic, payload=payload, qos=0, retain=False))
        if self.device.phase is not Phase.OFFLINE and not self.loses(next(self._receipts)):
            self.device.receipted(read_receipt(payload))

    def _plan(self, at: int, act: Act) -> None:
        heappush(self._agenda, (at, next(self._number), act))


def handheld(
    firmware: type[Handheld] = Handheld,
    *,
    scale: float = 1.0,
    clock: DeviceClock | None = None,
    **habits: Any,
) -> Handheld:
    """A device as the simulator makes it."""
    return firmware(
        Fitting(device=DEVICE, site=SITE, habits=Habits(**habits).scaled(scale)),
        epoch=7,
        boot="b1",
        now=START,
        rng=random.Random(1),
        clock=clock,
    )


def read(world: World) -> None:
    """Somebody reads a tag."""
    world.device.record(Said.CHECKIN, world.now, tag="04A2B3C4D5E680")


def sos(world: World) -> None:
    """Somebody calls for help."""
    world.device.record(Said.SOS, world.now)


def stop(world: World) -> None:
    """The service goes; the broker keeps for it."""
    world.running = False


def tour(world: World) -> int:
    """Everything a device is asked to show; returns when it ended."""
    world.at(0, World.connect)
    for seconds in (1, 1.5, 2):
        world.at(seconds, read)
    world.at(3, lambda w: w.publish(w.device.photo()))
    world.at(4, sos)
    # restarted with nothing stored: counting goes on
    world.at(60, World.cut)
    world.at(61, lambda w: w.device.reboot(w.now, "b2"))
    world.at(70, World.connect)
    world.at(75, read)
    # the service is away: records are published again, each at its times
    world.at(100, stop)
    world.at(101, read)
    world.at(103, read)
    world.at(104, sos)
    world.at(400, World.start)
    # thirty records without a network
    world.at(500, World.cut)
    for number in range(30):
        world.at(501 + number, read)
    world.at(540, World.connect)
    # what a receipt covers while it is away, the answer to its birth tells
    world.at(600, stop)
    world.at(601, read)
    world.at(610, World.cut)
    world.at(620, World.start)
    world.at(630, World.connect)
    # restarted with something stored, and nobody to receipt it
    world.at(700, stop)
    world.at(701, read)
    world.at(705, World.cut)
    world.at(706, lambda w: w.device.reboot(w.now, "b3"))
    world.at(720, World.connect)
    world.at(800, World.start)
    # the ledger is another one
    world.at(900, World.cut)
    world.at(901, lambda w: w.restore("ledger-2"))
    world.at(905, World.connect)
    world.at(915, lambda w: w.publish(w.device.status(w.now)))
    # reset to factory state
    world.at(1_000, World.cut)
    world.at(1_001, lambda w: w.device.reset(w.now, "b4", 99))
    world.at(1_010, World.connect)
    world.at(1_015, read)
    world.at(1_020, read)
    return world.run(1_150)
