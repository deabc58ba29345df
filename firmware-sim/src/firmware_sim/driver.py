"""The driver owns the clock: it jumps from one instant of interest to the next.

At each: publish the tick, let the devices act at that time, wait until all they published is
acknowledged and receipted or they are known to be cut off; only then the next (contract, 7).
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from firmware_sim.access import Access
from firmware_sim.chronicle import Chronicle
from firmware_sim.clocks import DeviceClock
from firmware_sim.fleet import RECONNECT_AFTER, NoReceiptsError, Patience, Stranger, Unit, new_boot
from firmware_sim.guards import Act, Do, Doings, walk
from firmware_sim.handheld import Battery, Fitting, Habits, Handheld
from firmware_sim.link import Dial, Link, LinkDownError, Login
from firmware_sim.plans import occasions
from firmware_sim.proofs import sign
from firmware_sim.scenario import Make, Scenario
from firmware_sim.tally import Tally
from firmware_sim.wire import CLOCK_TOPIC, Publication, encode_tick

MINUTE = 60_000
AFTERWARDS = 10 * MINUTE
SMOOTH = 0.1  # real seconds between two ticks of a paced run


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How to run. `seconds`: real length of the whole, 0 for as fast as it goes.

    Without `ticking` simulated time is real time, and `seconds`, where set, ends the run.
    """

    seed: int
    seconds: float = 0.0
    patience: float = 120.0
    ticking: bool = True


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where a run stands, for whoever watches. `left`: what the handhelds' screens say."""

    now: int
    share: float
    offline: tuple[str, ...]
    left: dict[str, int]
    tally: Tally


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a whole run leaves behind."""

    chronicle: Chronicle
    doings: Doings
    tally: Tally
    first_tick: int
    last_tick: int
    seconds: float


Watch = Callable[[Step], None]


class Clock:
    """The hand of the simulated clock; follows the broker through its restarts."""

    def __init__(self, dial: Dial, login: Login, tally: Tally, patience: float):
        self._link = dial(login, lambda _topic, _body: None, lambda: None)
        self._tally = tally
        self._patience = patience

    async def tick(self, now: int) -> None:
        """Say what time it is, and have it acknowledged; raises `NoReceiptsError`."""
        left = Patience(self._patience)
        said = Publication(topic=CLOCK_TOPIC, payload=encode_tick(now))
        while True:
            try:
                if not self._link.up:
                    await self._link.open()
                await self._link.publish([said])
            except LinkDownError as error:
                if left.over:
                    raise NoReceiptsError(f"clock: broker unreachable: {error}") from error
                await asyncio.sleep(RECONNECT_AFTER)
            else:
                self._tally.ticks += 1
                return

    async def close(self) -> None:
        """Disconnect."""
        await self._link.close()


@dataclass(slots=True)
class _Agenda:
    """The instants of interest still ahead."""

    acts: list[Act]
    edges: list[int]
    last: int
    _next: int = field(default=0)
    _edge: int = field(default=0)

    def next(self, now: int, wakes: Iterable[int]) -> int | None:
        """The earliest instant after `now`; None when all is done."""
        while self._edge < len(self.edges) and self.edges[self._edge] <= now:
            self._edge += 1
        ahead = [max(wake, now + 1) for wake in wakes]
        ahead += [self.acts[self._next].at] if self._next < len(self.acts) else []
        ahead += [self.edges[self._edge]] if self._edge < len(self.edges) else []
        ahead = [max(instant, now + 1) for instant in ahead if instant <= self.last]
        return min(ahead, default=self.last if now < self.last else None)

    def take(self, now: int) -> list[Act]:
        """The acts due by `now`, in order."""
        first = self._next
        while self._next < len(self.acts) and self.acts[self._next].at <= now:
            self._next += 1
        return self.acts[first : self._next]


class Driver:
    """Plays one scenario once: over the broker of `access`, or whatever `dial` connects to."""

    def __init__(
        self,
        scenario: Scenario,
        access: Access,
        manner: Manner,
        watch: Watch,
        dial: Dial | None = None,
    ):
        self._scenario = scenario
        self._access = access
        self._dial = partial(Link, access.broker) if dial is None else dial
        self._manner = manner
        self._watch = watch
        self._tally = Tally()
        self._chronicle = Chronicle(scenario.zone)
        self._doings = sign(scenario, walk(scenario, manner.seed))
        self._now = scenario.starts if manner.ticking else _wall()
        self._first = self._now
        self._agenda = _agenda(scenario, self._doings, self._now)
        if not manner.ticking and manner.seconds > 0:
            self._agenda.last = self._now + round(manner.seconds * 1000)
        self._clock = Clock(self._dial, access.clock, self._tally, manner.patience)
        self._units = {device: self._unit(device) for device in self._present()}
        self._labels: dict[str, str] = {}
        self._marker_at: int | None = None
        self._started = 0.0
        self._stopping = False

    def stop(self) -> None:
        """Ask it to end after the step it is in; a cancellation may be swallowed on the way."""
        self._stopping = True

    async def run(self) -> Outcome:
        """From the first tick to the last; leaves no connection open, whatever happens."""
        self._started = time.monotonic()
        try:
            await self._play()
        finally:
            await self._leave()
        return Outcome(
            chronicle=self._chronicle,
            doings=self._doings,
            tally=self._tally,
            first_tick=self._first,
            last_tick=self._now,
            seconds=time.monotonic() - self._started,
        )

    async def _play(self) -> None:
        await self._tick()
        await self._settle(list(self._units.values()))
        while (instant := self._next()) is not None:
            if self._stopping:
                raise asyncio.CancelledError
            await self._settle([unit for unit in self._units.values() if unit.fallen])
            self._now = await self._reach(instant)
            await self._tick()
            await self._step(self._agenda.take(self._now))
            self._watch(self._where())
        await self._tick()
        known = [unit for unit in self._units.values() if unit.receipts]
        await asyncio.gather(*(u.roll_call(self._now, self._manner.patience) for u in known))

    async def _step(self, acts: list[Act]) -> None:
        networks = [act for act in acts if act.do in (Do.CUT, Do.REBOOT, Do.RESET)]
        for act in networks:
            await self._upset(act)
        if networks:  # after two more round trips the broker has seen the sockets go
            await self._tick()
            await self._tick()
        touched = {unit.device for unit in self._units.values() if self._is_due(unit)}
        for act in acts:
            if act not in networks:
                touched |= await self._do(act)
        touched |= {act.device for act in networks}
        await self._settle([self._units[d] for d in sorted(touched)])

    async def _upset(self, act: Act) -> None:
        unit = self._units[act.device]
        if act.do is Do.CUT:
            await unit.cut(self._now)
        else:
            await unit.upset(self._now, reset=act.do is Do.RESET)

    async def _do(self, act: Act) -> set[str]:
        """One act; returns the handhelds that now have something to say."""
        unit = self._units.get(act.device)
        if act.do is Do.GARBAGE:
            await self._garbage(act, unit)
            return set()
        if unit is None:
            return set()
        if act.do is Do.MEND:
            unit.mend(self._now)
        else:
            ref = self._labels.get(act.refers) if act.refers else None
            if act.refers and ref is None:
                return set()  # what it refers to was before our time
            made = unit.act(act, self._now, ref)
            if act.label and made:
                self._labels[act.label] = made
        return {act.device}

    async def _garbage(self, act: Act, unit: Unit | None) -> None:
        if unit is not None:
            await unit.garble(act, self._now)
        elif self._access.may_stray(act.device):
            stranger = Stranger(self._dial, self._access.login(act.device), self._chronicle)
            with contextlib.suppress(LinkDownError):  # then it was never said, nor noted
                await stranger.say(act, self._now)

    async def _settle(self, units: list[Unit]) -> None:
        said = self._tally.published
        await asyncio.gather(*(unit.settle(self._now, self._manner.patience) for unit in units))
        if self._scenario.marker is not None and self._tally.published > said:
            self._marker_at = self._now + self._scenario.marker

    async def _tick(self) -> None:
        if self._manner.ticking:
            await self._clock.tick(self._now)
            self._chronicle.ticked(self._now)

    async def _leave(self) -> None:
        leaving = [unit.leave(self._now) for unit in self._units.values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.gather(*leaving, self._clock.close(), return_exceptions=True)

    # Time

    def _next(self) -> int | None:
        wakes = [wake for unit in self._units.values() if (wake := unit.wake()) is not None]
        if self._marker_at is not None and self._marker_at > self._now:
            wakes.append(self._marker_at)
        instant = self._agenda.next(self._now, wakes)
        if instant is None or self._manner.seconds <= 0 or not self._manner.ticking:
            return instant
        span = self._agenda.last - self._first
        return min(instant, self._now + max(MINUTE, int(span * SMOOTH / self._manner.seconds)))

    async def _reach(self, instant: int) -> int:
        """Sleep until the instant's turn; returns the time it is then."""
        if not self._manner.ticking:
            await asyncio.sleep(max(0.0, (instant - _wall()) / 1000))
            return max(instant, _wall())
        if self._manner.seconds > 0:
            share = (instant - self._first) / (self._agenda.last - self._first)
            elapsed = time.monotonic() - self._started
            await asyncio.sleep(max(0.0, share * self._manner.seconds - elapsed))
        return instant

    def _is_due(self, unit: Unit) -> bool:
        wake = unit.wake()
        return wake is not None and wake <= self._now

    def _where(self) -> Step:
        span = self._agenda.last - self._first
        return Step(
            now=self._now,
            share=min(1.0, (self._now - self._first) / span) if span else 1.0,
            offline=tuple(d for d, unit in self._units.items() if not unit.in_network),
            left={
                device: unit.handheld.left
                for device, unit in self._units.items()
                if unit.handheld.left is not None
            },
            tally=self._tally,
        )

    # Making

    def _present(self) -> list[str]:
        """The scenario's devices, and roaming ones somebody uses."""
        used = {act.device for act in self._doings.acts}
        roaming = [d for d in self._scenario.registry.roaming if d in used]
        return list(dict.fromkeys([*self._scenario.devices, *roaming]))

    def _unit(self, device: str) -> Unit:
        rng = random.Random(f"{self._scenario.name}/{device}/{self._manner.seed}")
        handheld = Handheld(
            self._fitting(device, rng),
            epoch=rng.getrandbits(32),
            boot=new_boot(rng),
            now=self._now,
            rng=rng,
            clock=DeviceClock(c.setting for c in self._scenario.clocks if c.device == device),
        )
        login = self._access.login(device)
        return Unit(
            handheld,
            partial(self._dial, login),
            self._chronicle,
            self._tally,
            rng,
        )

    def _fitting(self, device: str, rng: random.Random) -> Fitting:
        registry = self._scenario.registry
        makes = {make.device: make for make in self._scenario.makes}
        make = makes.get(device, Make(device=device))
        used = next((a.site for a in self._doings.acts if a.device == device and a.site), None)
        return Fitting(
            device=device,
            site=registry.home(device) or used or next(iter(registry.sites)),
            habits=Habits(
                batch=self._scenario.batch,
                heartbeat=registry.beats.get(device),
                uptimes=make.uptimes,
                takes_now=make.takes_now,
            ),
            battery=Battery(
                full=rng.uniform(85, 100), per_hour=rng.uniform(0.8, 2.0), since=self._now
            ),
            rssi=-rng.randrange(55, 90),
        )


def _agenda(scenario: Scenario, doings: Doings, now: int) -> _Agenda:
    """Acts and edges after `now`; the last tick comes well after the last due."""
    windows = occasions(scenario.registry, now, scenario.ends)
    edges = {at for o in windows for at in (o.opens, o.closes, o.due)}
    acts = [act for act in doings.acts if act.at > now]
    ends = [scenario.ends, *edges, *(act.at for act in acts if act.do is not Do.MEND)]
    last = max(ends) + AFTERWARDS
    return _Agenda(acts=acts, edges=sorted(edges), last=last)


def _wall() -> int:
    return time.time_ns() // 1_000_000
