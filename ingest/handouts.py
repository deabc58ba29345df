"""Handouts: tells devices which rounds are open or about to be, and what is left to visit.

A site is looked at when a checkpoint that was left is visited, when a round is about to open or
closes, and when the registry moves. Only what differs from what the broker last took goes out, a
page at a time, and between two pages it rests: where much is visited at once, what is told tells of
many visits, and check-ins and verdicts go first. What is remembered here is found again in the
ledger after a restart.
"""

import asyncio
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import islice
from time import monotonic

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from devices.ids import Instant
from ingest.clock import SystemClock, TickClock
from ingest.ledger import Ledger
from ingest.source import Source, taken
from store import handouts
from store.handouts import Change, Desk
from store.obligations import Plans

log = structlog.get_logger()

PAGE = 50
"""Sites looked at, and told, together: so many of those visited, and so many of the others."""
RESTS = 19
"""How much longer than a page took it rests: of a busy service's time it takes a twentieth."""
LONGEST_REST_S = 1.0
"""On a machine that is busy besides, 30,000 sites must be told before their rounds open."""
TAKEN_WITHIN_S = 10.0
RETRY_S = 1.0
PUSH_BACK_MS = 300_000
"""When a site whose look raised is looked at again; the others go on."""


class Handouts:
    """Tells the devices for one instance."""

    def __init__(self, source: Source, ledger: Ledger, clock: SystemClock | TickClock) -> None:
        self._source = source
        self._ledger = ledger
        self._clock = clock
        self._plans = Plans()
        self._known: Instant | None = None
        self._everybody = True
        self._forget = False
        self._left: dict[int, frozenset[int]] = {}
        self._wakes: list[tuple[Instant, int]] = []
        self._wake_of: dict[int, Instant] = {}
        self._visited: dict[int, None] = {}  # first come, first told
        self._others: dict[int, None] = {}
        self._some = asyncio.Event()

    def visited(self, visits: Iterable[tuple[int, int | None]]) -> None:
        """Checkpoints that were visited, by site; None where any may have been."""
        for site_id, checkpoint_id in visits:
            left = self._left.get(site_id)  # None: not looked at yet, or being looked at
            if left is None or checkpoint_id is None or checkpoint_id in left:
                self._visited[site_id] = None
        if self._visited:
            self._some.set()

    def advance(self, known: Instant) -> None:
        """The time is `known`, and everything that had arrived by then is committed."""
        self._known = known
        self._some.set()

    def everybody(self, *, forget: bool = False) -> None:
        """Plans or devices may be others; with `forget`, the broker has lost what it kept."""
        self._everybody, self._forget = True, self._forget or forget
        self._some.set()

    @property
    def looked_at(self) -> int:
        """Sites that were looked at since the start, but for those that are just now."""
        return len(self._left)

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            if self._known is None:
                continue
            await self._gather()
            while self._visited or self._others:
                await self._ledger.turn()
                begun, visited = monotonic(), bool(self._visited)
                if self._source.connected and await self._tell(self._next_page()):
                    rest = min(RESTS * (monotonic() - begun), LONGEST_REST_S)
                    await (asyncio.sleep(rest) if visited else self._rest(rest))
                else:
                    await asyncio.sleep(RETRY_S)
                await self._gather()

    async def _rest(self, seconds: float) -> None:
        """Rest, but for no longer than until somebody has visited a checkpoint."""
        self._some.clear()
        ends = monotonic() + seconds
        while not self._visited and (left := ends - monotonic()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._some.wait()
            except TimeoutError:
                break
            self._some.clear()
        self._some.set()

    async def _gather(self) -> None:
        """Queue the sites that time, the registry or the broker want looked at."""
        if self._forget:
            await self._ledger.write(handouts.forget)
            self._forget = False
        if self._everybody:
            self._everybody = False
            self._others |= dict.fromkeys(await self._ledger.read(handouts.all_sites))
        known = self._known or 0
        while self._wakes and self._wakes[0][0] <= known:
            wake, site_id = heappop(self._wakes)
            if self._wake_of.get(site_id) == wake:
                self._others[site_id] = None

    def _next_page(self) -> list[int]:
        """Visited sites and others, so that neither wait for ever."""
        page = dict.fromkeys((*islice(self._visited, PAGE), *islice(self._others, PAGE)))
        for site_id in page:
            self._visited.pop(site_id, None)
            self._others.pop(site_id, None)
            self._left.pop(site_id, None)  # the look may be too early to see a visit made now
        return list(page)

    async def _tell(self, sites: Sequence[int]) -> bool:
        """Look at sites and tell their devices; False where the broker did not take all of it."""
        now = self._clock.now()
        looked = await self._ledger.read(lambda c: self._look(c, sites, now))
        for desk in looked:
            self._left[desk.site_id] = desk.left
            if desk.wake is not None:
                self._wake_of[desk.site_id] = desk.wake
                heappush(self._wakes, (desk.wake, desk.site_id))
        changes = [change for desk in looked for change in desk.changes]
        return not changes or await self._send(changes, now)

    def _look(self, connection: Connection, sites: Sequence[int], now: Instant) -> list[Desk]:
        looked = []
        for site_id in sites:
            try:
                looked.append(handouts.look(connection, site_id, self._plans, now))
            except DBAPIError:
                raise
            except Exception as error:  # whatever a plan raises is that site's alone
                log.exception("handout.raised", site=site_id, error=str(error))
                again = now + PUSH_BACK_MS
                looked.append(Desk(site_id=site_id, changes=(), left=frozenset(), wake=again))
        return looked

    async def _send(self, changes: Sequence[Change], now: Instant) -> bool:
        sendings = [
            (change, self._source.publish(change.topic, change.payload, qos=1, retain=True))
            for change in changes
        ]
        went = await taken(sendings, TAKEN_WITHIN_S)
        if went:
            await self._ledger.write(lambda c: handouts.told(c, went, now))
        if len(went) < len(changes):
            kept = frozenset(went)
            self._others |= {c.site_id: None for c in changes if c not in kept}
            log.warning("handout.not_taken", devices=len(changes) - len(went))
        return len(went) == len(changes)
