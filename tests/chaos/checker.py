"""A whole run: put everything up, hurt it by seed, heal it, and compare the histories."""

import asyncio
import errno
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt

from firmware_sim.crowd import MINUTE, Crowd, Layout
from firmware_sim.line import Line
from firmware_sim.link import Broker
from firmware_sim.live import wall
from firmware_sim.setcheck import Finding, Found, check
from store import registry
from store.database import open_engine, upgrade
from tests.chaos.broker import Mosquitto
from tests.chaos.faults import HARMS, STEPS, Scale, Turn, World, deal, play
from tests.chaos.ledger import Disk, Ledger, name_of
from tests.chaos.series import DATABASE, Door
from tests.chaos.services import Services
from tests.servers import Server, free_port

SETTLE_S = 120.0
GRACE_S = 5
JUDGED_MS = 2_000
"""After its due instant a round's marker has come back, or it is judged after a restart."""


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a run is made. `source`: which client the service reads with, its own choice if None."""

    seed: int
    scale: Scale
    layout: Layout
    every_s: float = 1.0
    alarms: float = 0.05
    broken: str = "none"
    source: str | None = None
    settle_s: float = SETTLE_S
    turns: tuple[Turn, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of it."""

    finding: Finding
    manner: Manner
    kills: dict[str, int]
    harms: dict[str, int]
    skipped: tuple[str, ...]
    service_fell: tuple[int, ...]
    seconds: float
    more: dict[str, Any]

    @property
    def killed(self) -> int:
        return sum(self.kills.values())

    def members(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "seed": self.manner.seed,
            "broken": self.manner.broken,
            "source": self.manner.source or "default",
            "seconds": round(self.seconds, 1),
            "kills": {"all": self.killed, **self.kills},
            "harms": self.harms,
            "skipped": list(self.skipped),
            "service_ended_by_itself": list(self.service_fell),
            **self.finding.members(),
            **self.more,
        }


class Listener:
    """What the ears heard, each event once for each content it came with."""

    def __init__(self) -> None:
        self._heard: dict[tuple[str, str, int], set[bytes]] = {}

    def hear(self, payload: bytes) -> None:
        said = json.loads(payload)
        key = (said["kind"], said["subject"], said["revision"])
        self._heard.setdefault(key, set()).add(payload)

    @property
    def told(self) -> tuple[tuple[str, str, int], ...]:
        return tuple(key for key, bodies in self._heard.items() for _ in bodies)


async def run(
    manner: Manner, folder: Path, influx: Server | None, tell: Callable[[str], None]
) -> Result:
    """One run in `folder`, which must be empty. With `influx`, a running InfluxDB is fed."""
    began = time.monotonic()
    asyncio.get_running_loop().set_exception_handler(_but_for_closed_sockets)
    async with AsyncExitStack() as stack:
        disk = Disk(folder)
        stack.callback(disk.unmount)
        ledger = Ledger(disk.folder / "gridbeat.db")
        since = wall() - wall() % MINUTE
        _make(ledger.path, manner.layout.registry(since, 120, GRACE_S), since - 1)
        listener = Listener()
        mosquitto = Mosquitto(folder, listener.hear)
        stack.callback(mosquitto.stop)
        await mosquitto.start()
        watching = asyncio.create_task(mosquitto.watch())
        stack.callback(watching.cancel)
        rng = random.Random(f"faults {manner.seed}")
        lines = Line(mosquitto.port, rng), Line(mosquitto.port, rng)
        ports = [await line.open() for line in lines]
        for line in lines:
            stack.push_async_callback(line.close)
        door = None
        if influx is not None:
            door = Door(influx)
            await door.open()
            stack.push_async_callback(door.close)
        services = Services(folder, _settings(manner, ledger, ports[1], door), manner.broken)
        await services.open()
        stack.push_async_callback(services.close)
        await mosquitto.ears.open()
        stack.push_async_callback(mosquitto.ears.close)
        crowd = Crowd(
            layout=manner.layout,
            broker=Broker(port=ports[0]),
            seed=manner.seed,
            every_s=manner.every_s,
            alarms=manner.alarms,
            batch=manner.scale.batch,
        )
        stack.push_async_callback(crowd.stop)
        world = World(
            crowd=crowd, services=services, mosquitto=mosquitto, devices_line=lines[0],
            service_line=lines[1], disk=disk, door=door, rng=rng, scale=manner.scale,
        )  # fmt: skip
        await services.start()
        crowd.start()
        upto = await _play(world, manner, ledger, tell)
        stack.callback(ledger.copy, folder)
        tell("healing, and waiting until everybody is told")
        finding = await _settle(world, manner, ledger, listener, upto)
        return Result(
            finding=finding,
            manner=manner,
            kills=dict(services.kills + _prefixed("broker, ", mosquitto.kills)),
            harms={name: n for name, n in world.done.items() if name in {*HARMS, *STEPS}},
            skipped=_skipped(disk, door),
            service_fell=tuple(services.fell),
            seconds=time.monotonic() - began,
            more={
                "packets_cut": sum(line.cuts for line in lines),
                "broker_refused_its_store": mosquitto.refused,
                "broker_fell_by_itself": mosquitto.fell,
                "influx_met": {} if door is None else dict(door.met),
                "outbox": ledger.outbox(),
                "quarantined": ledger.quarantined(),
            },
        )


@dataclass(frozen=True, kw_only=True)
class Upto:
    """What is looked at: rounds that fell due by then (ms), events up to that key."""

    due: int
    event: int


async def _play(world: World, manner: Manner, ledger: Ledger, tell: Callable[[str], None]) -> Upto:
    """All turns; returns what was there before the first step of our clock, which waits until a
    round has fallen due."""
    sure: list[Upto] = []
    first_due = (wall() // MINUTE + 1) * MINUTE + GRACE_S * 1_000

    async def before(turn: Turn) -> None:
        if turn.harm in STEPS:
            await asyncio.sleep(max(0, first_due + JUDGED_MS - wall()) / 1_000)
            sure.append(Upto(due=wall(), event=ledger.newest_event()))
        tell(f"{turn.harm}: {', '.join(turn.kills) or 'no kill'}")

    turns = deal(manner.seed, manner.scale) if manner.turns is None else manner.turns
    await play(world, turns, before)
    return sure[0] if sure else Upto(due=wall(), event=ledger.newest_event())


async def _settle(
    world: World, manner: Manner, ledger: Ledger, listener: Listener, upto: Upto
) -> Finding:
    """Heal everything and wait until nothing is wrong any more, or has been for too long."""
    world.crowd.rest()
    world.crowd.gather_home()
    await world.services.kill("at random")
    await world.services.start()
    deadline = time.monotonic() + manner.settle_s
    while True:
        await asyncio.sleep(1.0)
        finding = check(world.crowd.history, await _find(world, ledger, listener, upto))
        if finding.good or time.monotonic() > deadline:
            return finding


async def _find(world: World, ledger: Ledger, listener: Listener, upto: Upto) -> Found:
    refused = ledger.rejected()
    door = world.door
    return Found(
        entries=ledger.entries(),
        points=None if door is None else tuple(await door.points()),
        refused=refused & {name_of(line) for line in door.refused} if door else frozenset(),
        events=ledger.events(upto.event),
        told=listener.told,
        rounds=ledger.rounds(upto.due),
        tags=world.crowd.layout.tags,
    )


def _but_for_closed_sockets(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """aiomqtt asks the loop to watch a socket that paho has closed, and leaves behind a future
    that tells of a lost connection; the link has told of it already."""
    error = context.get("exception")
    gone = isinstance(error, OSError) and error.errno == errno.EBADF
    if not (gone or isinstance(error, aiomqtt.MqttError)):
        loop.default_exception_handler(context)


def _make(path: Path, document: str, now: int) -> None:
    url = f"sqlite:///{path}"
    upgrade(url, now=now)
    engine = open_engine(url)
    read = registry.read_document(document.encode())
    registry.apply(engine, read, now=now, author="chaos", source="chaos.yaml", dry_run=False)
    engine.dispose()


def _settings(manner: Manner, ledger: Ledger, port: int, door: Door | None) -> dict[str, str]:
    named = {
        "database_url": f"sqlite:///{ledger.path}",
        "mqtt_url": f"mqtt://127.0.0.1:{port}",
        "http_address": f"127.0.0.1:{free_port()}",
        "disk_floor_mb": "1",
        **({} if manner.source is None else {"mqtt_source": manner.source}),
        **({} if door is None else {"influx_url": door.url, "influx_database": DATABASE}),
    }
    return {f"GRIDBEAT_{name.upper()}": value for name, value in named.items()}


def _prefixed(prefix: str, counts: Counter[str]) -> Counter[str]:
    return Counter({f"{prefix}{name}": count for name, count in counts.items()})


def _skipped(disk: Disk, door: Door | None) -> tuple[str, ...]:
    no_influx = None if door is not None else "no influxd: nothing was fed to a series"
    return tuple(reason for reason in (disk.skipped, no_influx) if reason is not None)
