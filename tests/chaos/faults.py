"""Everything that is done to the fleet, the broker, the service and what lies behind it.

`HARMS` is the table: each is a context in which some kills happen, and which ends healed. `deal`
lays out a run by its seed: every harm, and between them every kind of kill.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from firmware_sim.crowd import Crowd, flood
from firmware_sim.line import Line, Way
from tests.chaos.broker import Mosquitto, Persistence
from tests.chaos.fuses import Point
from tests.chaos.ledger import Disk
from tests.chaos.series import Answers, Door
from tests.chaos.services import Services

HOUR_MS = 3_600_000
SESSIONS = ("main", "sos", "bulk")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large a run is: hands of kills (18 in each), rounds of harms, and numbers of things."""

    hands: int = 2
    rounds: int = 1
    hoard: int = 300
    batch: int = 1
    recalled: int = 3
    garbage: int = 300


@dataclass(kw_only=True)
class World:
    """All there is to hurt."""

    crowd: Crowd
    services: Services
    mosquitto: Mosquitto
    devices_line: Line
    service_line: Line
    disk: Disk
    door: Door | None
    rng: random.Random
    scale: Scale
    instance: str = "gridbeat"
    done: Counter[str] = field(default_factory=Counter)
    stepped: list[tuple[int, int]] = field(default_factory=list)


# Kills -------------------------------------------------------------------------------------------

RANDOM = "at random"
POINT_WITHIN_S = 6.0
PASSES = 4
"""Of a point, at most so many before the fuse burns: a few seconds of work."""


def kinds_of_kills() -> tuple[str, ...]:
    """A hand of kills: each point once, three at random instants, the broker in each state."""
    return (*Point, *[RANDOM] * 3, *(f"broker, {then}" for then in Persistence))


async def kill(world: World, what: str) -> None:
    """One kill, and the start after it."""
    rng, services = world.rng, world.services
    if what.startswith("broker, "):
        # Mosquitto's word to the service would be no news to ears that are not back yet
        world.service_line.shut = True
        await world.mosquitto.kill(Persistence(what.removeprefix("broker, ")), rng)
        world.service_line.shut = False
        await asyncio.sleep(rng.uniform(0.2, 1.5))
    elif what == RANDOM:
        await services.kill(RANDOM)
        await services.start()
        await asyncio.sleep(rng.uniform(0.2, 2.5))
    else:
        await services.kill(RANDOM)
        await services.start(what, rng.randint(1, PASSES))
        await services.fall(what, POINT_WITHIN_S)
        await services.start()
    world.done[what] += 1


# Harms -------------------------------------------------------------------------------------------

Harm = Callable[[World], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def calm(_world: World) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def connections_cut(world: World) -> AsyncIterator[None]:
    """Devices' connections and the service's end in mid-packet, again and again."""

    async def cutting() -> None:
        while True:
            world.devices_line.cut(0.3, world.rng.choice(list(Way)))
            world.service_line.cut(0.5, world.rng.choice(list(Way)))
            await asyncio.sleep(world.rng.uniform(0.3, 1.0))

    async with _meanwhile(cutting()):
        await asyncio.sleep(1.0)
        yield


@asynccontextmanager
async def receipts_lost(world: World) -> AsyncIterator[None]:
    """Half the devices hear no receipt."""
    deaf = world.crowd.some(0.5)
    for live in deaf:
        live.deaf = True
    yield
    for live in deaf:
        live.deaf = False


@asynccontextmanager
async def session_lost(world: World) -> AsyncIterator[None]:
    """Somebody takes the service's name at the broker, with a clean start."""
    for session in SESSIONS:
        await world.mosquitto.steal_session(f"{world.instance}-{session}")
    yield


def influx(answers: Answers) -> Harm:
    """InfluxDB behaves so for a while."""

    @asynccontextmanager
    async def harm(world: World) -> AsyncIterator[None]:
        if world.door is None:
            yield
            return
        await world.door.behave(answers)
        yield
        await asyncio.sleep(1.0)
        await world.door.behave(Answers.WELL)

    return harm


@asynccontextmanager
async def disk_full(world: World) -> AsyncIterator[None]:
    """Not a byte is left under the ledger."""
    if world.disk.skipped:
        yield
        return
    world.disk.fill()
    await asyncio.sleep(1.5)
    yield
    world.disk.free()


def clock_stepped(ms: int) -> Harm:
    """The machine's clock jumps under the running service, and comes back."""

    @asynccontextmanager
    async def harm(world: World) -> AsyncIterator[None]:
        world.services.step_clock(ms)
        await asyncio.sleep(1.0)
        yield
        world.services.step_clock(0)

    return harm


@asynccontextmanager
async def flash_lost(world: World) -> AsyncIterator[None]:
    """Devices forget everything and count anew under another epoch."""
    yield
    for live in world.crowd.some(0.1):
        await live.lose_flash()


@asynccontextmanager
async def clocks_lost(world: World) -> AsyncIterator[None]:
    """Devices' clocks start in the year 2000."""
    lost = world.crowd.some(0.2)
    for live in lost:
        live.lose_clock(946_684_800_000)
    yield
    for live in lost:
        live.find_clock()


@asynccontextmanager
async def renamed(world: World) -> AsyncIterator[None]:
    """Devices come back under another client id while the old connection still stands."""
    await asyncio.gather(*(live.rename() for live in world.crowd.some(0.3)))
    yield


@asynccontextmanager
async def store_emptied(world: World) -> AsyncIterator[None]:
    """A device was out of reach for long, and empties its store at once."""
    live = world.crowd.some(0)[0]
    await live.lose_network()
    world.crowd.hoard(live, world.scale.hoard)
    live.find_network()
    yield


@asynccontextmanager
async def all_at_once(world: World) -> AsyncIterator[None]:
    """The reserve connects at one instant, each with something to say."""
    await world.crowd.call_up(world.scale.recalled)
    yield
    await asyncio.sleep(3.0)
    await world.crowd.send_home()


@asynccontextmanager
async def stranger(world: World) -> AsyncIterator[None]:
    """Somebody nobody enrolled publishes garbage as fast as the broker takes it."""
    await asyncio.sleep(2.0)  # a broker that has just lost every session would throw it away
    flooding = flood(world.crowd.broker, world.scale.garbage, world.rng)
    async with _meanwhile(flooding):
        await asyncio.sleep(0.5)
        yield


HARMS: Mapping[str, Harm] = {
    "calm": calm,
    "connections cut in mid-packet": connections_cut,
    "receipts lost": receipts_lost,
    "session lost": session_lost,
    "influx refusing": influx(Answers.REFUSING),
    "influx hanging": influx(Answers.HANGING),
    "influx answering 500": influx(Answers.FAILING),
    "influx finding one bad line": influx(Answers.ONE_BAD_LINE),
    "influx over its limit": influx(Answers.LIMIT_EXCEEDED),
    "disk full": disk_full,
    "flash lost": flash_lost,
    "clocks lost": clocks_lost,
    "another client id": renamed,
    "a store emptied at once": store_emptied,
    "all at once": all_at_once,
    "a stranger flooding": stranger,
}
STEPS: Mapping[str, Harm] = {
    "our clock an hour ahead": clock_stepped(HOUR_MS),
    "our clock an hour behind": clock_stepped(-HOUR_MS),
}
"""Last in a run: what was judged by a wrong clock is judged again, but not within minutes."""


@asynccontextmanager
async def _meanwhile(coroutine: object) -> AsyncIterator[None]:
    task = asyncio.ensure_future(coroutine)  # type: ignore[arg-type]
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


# The run -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A harm, and the kills while it lasts."""

    harm: str
    kills: tuple[str, ...]


def deal(seed: int, scale: Scale) -> tuple[Turn, ...]:
    """The turns of a run: `rounds` times every harm, in an order of its own each time."""
    rng = random.Random(f"deal {seed}")
    harms = [name for _ in range(scale.rounds) for name in rng.sample(list(HARMS), len(HARMS))]
    harms += list(STEPS)
    hand = kinds_of_kills()
    kills = [kill for _ in range(scale.hands) for kill in rng.sample(hand, len(hand))]
    shares = [kills[number :: len(harms)] for number in range(len(harms))]
    return tuple(Turn(harm=h, kills=tuple(k)) for h, k in zip(harms, shares, strict=True))


async def play(
    world: World, turns: Sequence[Turn], before: Callable[[Turn], Awaitable[None]]
) -> None:
    """Do it all."""
    both = {**HARMS, **STEPS}
    for turn in turns:
        await before(turn)
        async with both[turn.harm](world):
            for what in turn.kills:
                await kill(world, what)
        world.done[turn.harm] += 1
