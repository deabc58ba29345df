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

devices = st.sampled_from(sorted(HEARTBEATS))
plans = st.sampled_from(PLANS).map(Planned)
tags = st.sampled_from([*TAGS.values(), *TAGS.values(), STRANGE])
pauses = st.sampled_from([0, 1, SECOND, 30 * SECOND, 10 * MINUTE])
spans = st.sampled_from([SECOND, 20 * SECOND, 5 * MINUTE, 20 * MINUTE, HOUR, 3 * HOUR])
skews = st.sampled_from([0, 0, 7 * MINUTE, 3 * HOUR, -20 * MINUTE, -2 * HOUR, 40 * 365 * 24 * HOUR])
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
        silent=st.sets(devices, max_size=1),
        counting=st.sets(devices, max_size=1),
    )
    def begin(
        self, when: tuple[int, int, int], first: Planned, silent: set[str], counting: set[str]
    ) -> None:
        self.now = self.began = evening(when)
        self.devices = {
            slug: Device(slug, sends=slug not in silent, counts=slug in counting, booted=self.now)
            for slug in HEARTBEATS
        }
        self.follow(first)
        self.tick(0, "all")

    # Time -------------------------------------------------------------------------------------

    @rule(by=spans, how=serving)
    def tick(self, by: int, how: str) -> None:
        """Time goes on; the driver says so."""
        over = self.now > self.began + 30 * HOUR  # one night and the day after it are enough
        self.now += min(by, SECOND) if over else by
        self.queue.append(Tick(self.now))
        self.serve(how)

    @rule(which=st.integers(0, 3), beside=st.sampled_from([0, 0, -1, 1]), how=serving)
    def tick_to_an_edge(self, which: int, beside: int, how: str) -> None:
        """Time goes on to an instant at which something opens, closes or is due."""
        edges = self.edges()
        if edges:
            self.tick(max(0, edges[min(which, len(edges) - 1)] + beside - self.now), how)

    def edges(self) -> list[int]:
        """What is ahead, as far as plans tell now."""
        found: set[int] = set()
        for one in oracle.owed(oracle.read(self.log), self.now + 8 * HOUR):
            found |= {one.opens - one.early, one.opens, one.closes, one.due}
            if one.every is not None:
                found |= {one.opens + one.every + one.grace}
        return sorted(edge for edge in found if edge > self.now)

    # Devices ----------------------------------------------------------------------------------

    @rule(slug=devices, tag=tags, pause=pauses, at_once=st.booleans())
    def read(self, slug: str, tag: str, pause: int, at_once: bool) -> None:
        """A tag is read; the record waits in the device, or goes out."""
        self.now += pause
        self.devices[slug].read(tag, self.now)
        if at_once:
            self.publish(slug, "one", "now")

    @rule(slug=devices, pause=pauses)
    def walk(self, slug: str, pause: int) -> None:
        """Every checkpoint is read, and nothing is sent."""
        for tag in TAGS.values():
            self.read(slug, tag, pause, False)

    @rule(
        slug=devices,
        shape=st.sampled_from(["one", "array", "backwards"]),
        line=st.sampled_from(["now", "now", "now", "held"]),
    )
    def publish(self, slug: str, shape: str, line: str) -> None:
        """What is stored goes out: in one array, one by one, or the newest first."""
        device = self.devices[slug]
        out = [device.publish(record, self.now) for record in device.stored]
        device.published += device.stored
        device.stored = []
        if not out:
            return
        if shape == "backwards":
            out.reverse()
        whole = [out] if shape == "array" else out
        (self.queue if line == "now" else self.held).extend(
            Said(slug, "checkin", body) for body in whole
        )

    @precondition(lambda self: self.held)
    @rule(many=st.integers(1, 3))
    def arrive(self, many: int) -> None:
        """What was held up on its way comes in."""
        self.queue += self.held[-many:]
        del self.held[-many:]

    @rule(slug=devices, which=st.integers(0, 20), other=st.sampled_from([False, False, True]))
    def again(self, slug: str, which: int, other: bool) -> None:
        """A record is published again; `other`: with other content under its identity."""
        device = self.devices[slug]
        if device.published:
            record = device.published[which % len(device.published)]
            said = device.publish(record, self.now)
            if other:
                said |= {"at": said["at"] + MINUTE}
            self.queue.append(Said(slug, "checkin", said))

    @rule(slug=devices, fast=skews)
    def set_clock(self, slug: str, fast: int) -> None:
        """The device's clock steps."""
        self.devices[slug].fast = fast

    @rule(slug=devices, reboots=st.booleans())
    def comes(self, slug: str, reboots: bool) -> None:
        """The device is switched on, or is there again."""
        device = self.devices[slug]
        if reboots:
            device.reboot(self.now)
        self.turn(slug, device.status(self.now))

    @rule(slug=devices, stale=st.sampled_from([False, False, True]))
    def goes(self, slug: str, stale: bool) -> None:
        """Its line is cut: the broker tells its will; or that of a boot long gone."""
        device = self.devices[slug]
        self.turn(slug, {"online": False, "boot": f"b{device.boot - stale}"})

    def turn(self, slug: str, said: dict[str, Any]) -> None:
        """One turn between two ticks: of two, nobody could say at which instant which held."""
        ticks = sum(isinstance(item, Tick) for item in [*self.log, *self.queue])
        if self.turned.get(slug) != ticks:
            self.turned[slug] = ticks
            self.queue.append(Said(slug, "status", said))

    @rule(slug=devices, tag=tags)
    def chats(self, slug: str, tag: str) -> None:
        """Some minutes of a device that is there, record by record: its clock shows itself."""
        for _ in range(4):
            self.read(slug, tag, SECOND, True)
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
