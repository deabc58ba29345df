"""Many handhelds in real time: their sites, what their guards do, and strangers.

Each site owes a round of all its checkpoints every minute; its guards leave some of them out, which
ones follows from the seed. Everything is one event loop's.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from firmware_sim.garbage import GARBAGE, payload
from firmware_sim.handheld import Fitting, Habits
from firmware_sim.history import History
from firmware_sim.link import Broker, Link, LinkDownError, Login
from firmware_sim.live import RECONNECT_S, Live, wall
from firmware_sim.wire import Kind, Publication, up_topic

MINUTE = 60_000
POINTS = 4
GUSH = 50
"""Garbage said in one go."""
LEFT_OUT = 0.3
"""The share of visits that no guard makes."""

QUICK = Habits(
    resend=(1_000, 2_000, 4_000, 4_000, 6_000),
    resend_sos=(500, 1_000, 2_000),
    greeting=500,
)
"""Habits of a handheld whose resend times are shortened, so that minutes stand for hours."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How many there are: sites, devices of each, and devices that only come to reconnect."""

    sites: int = 6
    per_site: int = 5
    reserve: int = 100

    @property
    def devices(self) -> dict[str, str]:
        """Every guard's device with its site."""
        pairs = ((s, d) for s in range(self.sites) for d in range(self.per_site))
        return {f"hh-{site:02}-{device:02}": f"school-{site:02}" for site, device in pairs}

    @property
    def reserves(self) -> dict[str, str]:
        """The others, with theirs."""
        return {f"rs-{n:04}": f"school-{n % self.sites:02}" for n in range(self.reserve)}

    @property
    def tags(self) -> dict[str, str]:
        """Every tag with its checkpoint; the number of its site stands in both."""
        pairs = ((s, p) for s in range(self.sites) for p in range(POINTS))
        return {tag_of(site, point): f"point-{point}" for site, point in pairs}

    def registry(self, since: int, minutes: int, grace_s: int = 5) -> str:
        """The registry file: a round each minute from `since` (ms), for so many minutes."""
        first = since // MINUTE
        windows = ", ".join(f'"{_clock(m)}-{_clock(m + 1)}"' for m in range(first, first + minutes))
        lines = ["calendar: every-day", "sites:"]
        for site in range(self.sites):
            name = f"school-{site:02}"
            both = {**self.devices, **self.reserves}
            points = ", ".join(f"point-{point}" for point in range(POINTS))
            lines += [
                f"  - {{id: {name}, name: {name}, timezone: UTC,",
                "     checkpoints: ["
                + ", ".join(
                    f'{{id: point-{p}, name: point-{p}, tags: ["{tag_of(site, p)}"]}}'
                    for p in range(POINTS)
                )
                + "],",
                "     devices: ["
                + ", ".join(f"{{id: {d}}}" for d, where in both.items() if where == name)
                + "],",
                f"     plans: [{{id: minutely, name: minutely, route: [{points}],",
                f"              grace: {grace_s}s, windows: [{windows}]}}]}}",
            ]
        return "\n".join(lines) + "\n"


def tag_of(site: int, point: int) -> str:
    """The tag of a site's checkpoint."""
    return f"04{site:06X}{point:04X}"


def _clock(minute: int) -> str:
    hour, rest = divmod(minute % 1_440, 60)
    return f"{hour:02}:{rest:02}"


@dataclass(kw_only=True)
class Crowd:
    """The fleet at work. `every_s`: the mean pause between two acts of one guard; `alarms`: the
    share of these that is an sos or a hazard; `batch`: records that one publish holds at most."""

    layout: Layout
    broker: Broker
    seed: int
    every_s: float = 1.0
    alarms: float = 0.05
    batch: int = 1
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"crowd {self.seed}")
        self.members = [self._member(d, s) for d, s in self.layout.devices.items()]
        self._reserve = {d: self._member(d, s) for d, s in self.layout.reserves.items()}
        self._tasks: list[asyncio.Task[None]] = []
        self._walking = True

    @property
    def everybody(self) -> list[Live]:
        """All who ever made a record."""
        return [*self.members, *self._reserve.values()]

    def start(self) -> None:
        """Everybody connects, and the guards begin to walk."""
        for live in self.members:
            self._tasks.append(asyncio.create_task(live.run()))
            self._tasks.append(asyncio.create_task(self._walk(live)))

    def rest(self) -> None:
        """Nobody makes anything more; what is stored goes on being said."""
        self._walking = False

    async def stop(self) -> None:
        """Everybody leaves."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def some(self, share: float) -> list[Live]:
        """A share of the guards' devices, at least one."""
        return self._rng.sample(self.members, max(1, round(share * len(self.members))))

    async def call_up(self, records: int) -> None:
        """All the reserve connects at one instant, each with so many records stored."""
        for live in self._reserve.values():
            for _ in range(records):
                self._read(live)
            if not live.in_network:
                live.find_network()
            else:
                self._tasks.append(asyncio.create_task(live.run()))
        await asyncio.sleep(0)

    async def send_home(self) -> None:
        """The reserve is out of reach again, with whatever it was not told."""
        await asyncio.gather(*(live.lose_network() for live in self._reserve.values()))

    def gather_home(self) -> None:
        """Whoever has something to say is in reach, hears, and has a clock that is right."""
        for live in self.everybody:
            live.deaf = False
            live.find_clock()
            if live.handheld.unreceipted:
                live.find_network()

    def hoard(self, live: Live, records: int) -> None:
        """So many reads stored at once."""
        for _ in range(records):
            self._read(live)

    async def _walk(self, live: Live) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(0, 2 * self.every_s))
            if not self._walking:
                return
            self._act(live)

    def _act(self, live: Live) -> None:
        chance = self._rng.random()
        if chance < self.alarms * 0.4:
            live.record(Kind.SOS)
        elif chance < self.alarms:
            live.record(Kind.HAZARD, category="fire", grade="general", text="smoke")
        else:
            self._read(live)

    def _read(self, live: Live) -> None:
        site = int(live.handheld.fitting.site.rpartition("-")[2])
        points = [p for p in range(POINTS) if self._visited(site, wall() // MINUTE, p)]
        tag = tag_of(site, self._rng.choice(points)) if points else "04BAD0BAD0BAD0"
        live.record(Kind.CHECKIN, tag=tag, via="nfc", bat=80)

    def _visited(self, site: int, minute: int, point: int) -> bool:
        return random.Random(f"{self.seed} {site} {minute} {point}").random() >= LEFT_OUT

    def _member(self, device: str, site: str) -> Live:
        fitting = Fitting(device=device, site=site, habits=replace(QUICK, batch=self.batch))
        rng = random.Random(f"{self.seed} {device}")
        return Live(fitting, self._new_link, self.history, rng)

    def _new_link(
        self, client_id: str, heard: Callable[[str, bytes], None], fallen: Callable[[], None]
    ) -> Link:
        return Link(self.broker, Login(client_id=client_id), heard, fallen)


async def flood(broker: Broker, messages: int, rng: random.Random) -> None:
    """A stranger publishes garbage as fast as the broker takes it, and comes back if it is cut."""
    kinds = sorted(set(GARBAGE) - {"too-large", "nest"})
    link = Link(broker, Login(client_id=f"stranger-{rng.getrandbits(32):x}"), _deaf, _unmoved)
    topic = up_topic("school-00", "stranger", Kind.CHECKIN)
    try:
        while messages > 0:
            said = [
                Publication(topic=topic, payload=payload(rng.choice(kinds), rng.getrandbits(40)))
                for _ in range(min(messages, GUSH))
            ]
            try:
                if not link.up:
                    await link.open()
                await link.publish(said)
                messages -= len(said)
            except LinkDownError:
                await asyncio.sleep(RECONNECT_S[1])
    finally:
        await link.close()


def _deaf(_topic: str, _body: bytes) -> None:
    """A stranger listens to nobody."""


def _unmoved() -> None:
    """A stranger does not come back."""
