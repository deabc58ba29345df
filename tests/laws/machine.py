"""The machine: what a night may bring, rule by rule; at its end the night is run and judged.

A run draws how devices are used, what the network does and how the service fares. None of that
depends on the system, so a night is a script that any system, broken copies among them, may run.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.laws import oracle
from tests.laws.run import Call, Do, Script
from tests.laws.world import (
    HEARTBEATS,
    HOUR,
    MINUTE,
    NIGHTS,
    PLANS,
    SECOND,
    STRANGE,
    TAGS,
    Device,
    Item,
    Planned,
    Said,
    Tick,
    evening,
)

devices = st.integers(0, len(HEARTBEATS) - 1)
plans = st.sampled_from(PLANS).map(Planned)
tags = st.sampled_from([*TAGS.values(), *TAGS.values(), STRANGE])
pauses = st.sampled_from([0, 1, SECOND, 30 * SECOND, 10 * MINUTE])
spans = st.sampled_from([SECOND, 20 * SECOND, 5 * MINUTE, 20 * MINUTE, HOUR, 3 * HOUR])
NEVER_SET = -40 * 365 * 24 * HOUR
skews = st.sampled_from([0, 0, 7 * MINUTE, 3 * HOUR, -20 * MINUTE, -2 * HOUR, NEVER_SET])
shapes = st.sampled_from(["one", "array", "backwards"])
nearest = st.integers(0, 3)
besides = st.sampled_from([0, 0, -1, 1])
serving = st.sampled_from(
    ["all", "all", "all", "ones", "crash", "crash before ack", "fail", "wait"]
)


class Night(RuleBasedStateMachine):
    """One night of one school. `live` runs it, and raises where a law is broken."""

    live: ClassVar[Callable[[Script], None]]

    def __init__(self) -> None:
        super().__init__()
        self.script: Script = []
        self.log: list[Item] = []
        self.queue: list[Tick | Said] = []
        self.held: list[Said] = []
        self.turned: dict[str, int] = {}

    # How it begins ----------------------------------------------------------------------------

    @initialize(
        when=st.sampled_from(NIGHTS),
        first=plans,
        used=st.sampled_from([("hh-1",), ("hh-1", "hh-2"), tuple(HEARTBEATS)]),
        silent=st.sampled_from([None, "hh-2"]),
        counting=st.sampled_from([None, "hh-1", "hh-3"]),
    )
    def begin(
        self,
        when: tuple[int, int, int],
        first: Planned,
        used: tuple[str, ...],
        silent: str | None,
        counting: str | None,
    ) -> None:
        """Which night, which plans, how many devices are about; one says no `sent`, one counts."""
        self.now = self.began = evening(when)
        self.devices = [
            Device(slug, sends=slug != silent, counts=slug == counting, booted=self.now)
            for slug in used
        ]
        self.follow(first)
        self.tick(0, "all")

    def device(self, number: int) -> Device:
        """One of those that are about."""
        return self.devices[number % len(self.devices)]

    # Time -------------------------------------------------------------------------------------

    @rule(by=spans, how=serving)
    def tick(self, by: int, how: str) -> None:
        """Time goes on; the driver says so."""
        over = self.now > self.began + 30 * HOUR  # one night and the day after it are enough
        self.now += min(by, SECOND) if over else by
        self.queue.append(Tick(self.now))
        self.serve(how)

    @rule(which=nearest, beside=besides, how=serving)
    def tick_to_an_edge(self, which: int, beside: int, how: str) -> None:
        """Time goes on to an instant at which something opens, closes or is due."""
        edges = self.edges()
        if edges:
            self.tick(max(0, edges[min(which, len(edges) - 1)] + beside - self.now), how)

    def edges(self) -> list[int]:
        """What is ahead, as far as plans tell now."""
        found: set[int] = set()
        for one in self.owed():
            found |= {one.opens - one.early, one.opens, one.closes, one.due}
            if one.every is not None:
                found |= {one.opens + one.every + one.grace}
        return sorted(edge for edge in found if edge > self.now)

    def owed(self) -> list[oracle.Owed]:
        """What opens in the next hours, as far as plans tell now."""
        return oracle.owed(oracle.read(self.log), self.now + 8 * HOUR)

    # Devices ----------------------------------------------------------------------------------

    @rule(number=devices, tag=tags, pause=pauses, at_once=st.booleans())
    def read(self, number: int, tag: str, pause: int, at_once: bool) -> None:
        """A tag is read; the record waits in the device, or goes out."""
        self.now += pause
        self.device(number).read(tag, self.now)
        if at_once:
            self.publish(number, "one", "now")

    @rule(number=devices, tag=tags, which=nearest, beside=besides, at_once=st.booleans())
    def read_at_an_edge(
        self, number: int, tag: str, which: int, beside: int, at_once: bool
    ) -> None:
        """A tag is read at the instant at which something opens, closes or is due."""
        edges = self.edges()
        if edges:
            ahead = edges[min(which, len(edges) - 1)] + beside - self.now
            self.read(number, tag, max(0, ahead), at_once)

    @rule(number=devices, pause=pauses)
    def walk(self, number: int, pause: int) -> None:
        """Every checkpoint is read, and nothing is sent."""
        for tag in TAGS.values():
            self.read(number, tag, pause, False)

    @rule(
        number=devices,
        heard=st.sampled_from(["no", "status", "copy"]),
        fast=st.none() | skews,
        how=serving,
    )
    def found_later(self, number: int, heard: str, fast: int | None, how: str) -> None:
        """A round is walked and told when it is over; in between its device may have been heard,
        and its clock may have stepped."""
        self.tick_to_an_edge(0, 1, "all")
        running = [one for one in self.owed() if one.opens <= self.now < one.closes]
        self.walk(number, SECOND)
        self.tick(SECOND, "all")
        if heard == "status":
            self.queue.append(
                Said(self.device(number).slug, "status", self.device(number).status(self.now))
            )
        if heard == "copy":
            self.again(number, 0, False)
        self.tick(max([20 * MINUTE, *(one.due - self.now for one in running)]), "all")
        if fast is not None:
            self.set_clock(number, fast)
        self.publish(number, "array", "now")
        self.serve(how)

    @rule(number=devices, shape=shapes, line=st.sampled_from(["now", "now", "now", "held"]))
    def publish(self, number: int, shape: str, line: str) -> None:
        """What is stored goes out: in one array, one by one, or the newest first."""
        device = self.device(number)
        out = [device.publish(record, self.now) for record in device.stored]
        device.published += device.stored
        device.stored = []
        if not out:
            return
        if shape == "backwards":
            out.reverse()
        whole = [out] if shape == "array" else out
        (self.queue if line == "now" else self.held).extend(
            Said(device.slug, "checkin", body) for body in whole
        )

    @precondition(lambda self: self.held)
    @rule(many=st.integers(1, 3))
    def arrive(self, many: int) -> None:
        """What was held up on its way comes in."""
        self.queue += self.held[-many:]
        del self.held[-many:]

    @rule(number=devices, which=st.integers(0, 20), other=st.sampled_from([False, False, True]))
    def again(self, number: int, which: int, other: bool) -> None:
        """A record is published again; `other`: with other content under its identity."""
        device = self.device(number)
        if device.published:
            record = device.published[which % len(device.published)]
            said = device.publish(record, self.now)
            if other:
                said |= {"at": said["at"] + MINUTE}
            self.queue.append(Said(device.slug, "checkin", said))

    @rule(number=devices, fast=skews)
    def set_clock(self, number: int, fast: int) -> None:
        """The device's clock steps."""
        self.device(number).fast = fast

    @rule(number=devices, reboots=st.booleans())
    def comes(self, number: int, reboots: bool) -> None:
        """The device is switched on, or is there again."""
        device = self.device(number)
        if reboots:
            device.reboot(self.now)
        self.turn(device, device.status(self.now))

    @rule(number=devices, stale=st.sampled_from([False, False, True]))
    def goes(self, number: int, stale: bool) -> None:
        """Its line is cut: the broker tells its will; or that of a boot long gone."""
        device = self.device(number)
        self.turn(device, {"online": False, "boot": f"b{device.boot - stale}"})

    @rule(number=devices, by=spans)
    def told_late_that_it_went(self, number: int, by: int) -> None:
        """The broker notices the end of a line when its device is long there again."""
        self.comes(number, True)
        self.tick(SECOND, "all")
        self.goes(number, True)
        self.tick(by, "all")

    def turn(self, device: Device, said: dict[str, Any]) -> None:
        """One turn between two ticks: of two, nobody could say at which instant which held."""
        ticks = sum(isinstance(item, Tick) for item in [*self.log, *self.queue])
        if self.turned.get(device.slug) != ticks:
            self.turned[device.slug] = ticks
            self.queue.append(Said(device.slug, "status", said))

    @rule(number=devices, tag=tags, fast=skews)
    def chats(self, number: int, tag: str, fast: int) -> None:
        """Some minutes of a device that is there, record by record: its clock shows itself."""
        self.set_clock(number, fast)
        for _ in range(4):
            self.read(number, tag, SECOND, True)
            self.tick(25 * SECOND, "all")

    # The service ------------------------------------------------------------------------------

    @rule(how=serving)
    def serve(self, how: str) -> None:
        """The service takes what waits for it, or does not get to it."""
        if how == "wait" or not self.queue:
            return
        batch, self.queue = self.queue, []
        if how == "crash":
            self.script.append(Call(Do.RESTART))
        if how == "fail":
            self.script.append(Call(Do.FAIL, tuple(batch)))
        if how == "ones":
            for item in batch:
                self.take([item])
            return
        self.take(batch)
        if how == "crash before ack":
            self.script.append(Call(Do.RESTART))
            self.take(redelivered(batch))

    @rule(number=devices, tag=tags, fast=skews, by=spans, how=serving)
    def crashes(self, number: int, tag: str, fast: int, by: int, how: str) -> None:
        """A record has just come in, behind a tick, when the service is killed."""
        self.set_clock(number, fast)
        self.tick(by, "wait")
        self.read(number, tag, SECOND, True)
        self.serve(how)
        self.script.append(Call(Do.RESTART))

    def take(self, batch: list[Tick | Said]) -> None:
        self.log += batch
        self.script.append(Call(Do.TAKE, tuple(batch)))

    @precondition(lambda self: sum(isinstance(item, Planned) for item in self.log) < 3)
    @rule(said=plans)
    def follow(self, said: Planned) -> None:
        """The registry is applied with other plans."""
        self.log.append(said)
        self.script.append(Call(Do.FOLLOW, (said,)))

    # What must hold ---------------------------------------------------------------------------

    def teardown(self) -> None:
        if self.script:
            self.serve("all")
            self.tick(SECOND, "all")
            type(self).live(self.script)


def redelivered(batch: list[Tick | Said]) -> list[Tick | Said]:
    """What the broker sends again after a crash before the acknowledgements.

    A copy of a status cannot be told from a new one: only those that no tick has followed.
    """
    ticks = [index for index, item in enumerate(batch) if isinstance(item, Tick)]
    last = ticks[-1] if ticks else -1
    return [
        item
        for index, item in enumerate(batch)
        if index > last or isinstance(item, Tick) or item.kind != "status"
    ]
