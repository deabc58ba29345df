"""The deadline watch: makes what is owed, sleeps to the next wake, judges, flips, has it told.

It judges by `known`, the marker behind which everything is committed, not by our clock: what waits
in a queue is not missed. Where the marker of a due instant does not come back, it judges a minute
later by the clock alone, and the verdict says so.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from time import monotonic

import structlog
from msgspec import Struct, structs
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from devices.ids import Instant
from ingest.clock import SystemClock, TickClock
from ingest.judged import Judged
from ingest.ledger import Ledger
from rules import obligations as rule
from rules.events import EventState, Notice, follow
from rules.oddities import unproven
from rules.plans import Plan
from rules.promises import Flip, Known, Read, Standing, Verdict
from store import obligations
from store.arrivals import STEPPED_MS
from store.events import HELD, MQTT, raise_notices
from store.facts import Page
from store.obligations import ObligationRow
from store.owngaps import LOSSES, Cause, OwnGap, close_gap
from store.verdicts import flipped, put_off

log = structlog.get_logger()


PAGE = 100
"""Obligations that one transaction judges at most."""
TOGETHER = 50
"""Obligations whose facts are asked for at once."""
ENOUGH_S = 0.02
"""When one transaction asks for no more facts, so that with its commit it stays under 50 ms."""
LATEST_S = 0.03
"""When it leaves the rest to the next one, where some have hundreds of reads."""
GIVE_UP_MS = 60_000
"""How long a due instant waits for its marker (contract §6)."""
NEVER = 2**53
LONGEST_SLEEP_S = 3_600
PUSH_BACK_MS = 300_000
"""When an obligation whose rule raised is looked at again; the others go on."""


class Watch:
    """Judges for one instance.

    `on_next(wake)` hears the next instant at which something is due; `on_told()` that events wait.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: SystemClock | TickClock,
        judged: Judged,
        *,
        on_next: Callable[[Instant | None], None],
        on_told: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._judged = judged
        self._on_next = on_next
        self._on_told = on_told
        self._plans = obligations.Plans()
        self._some = asyncio.Event()
        self._known: Instant | None = None
        self._gap: OwnGap | None = None
        self._gap_ends: Instant = NEVER
        self._paused_until: Instant = 0
        self._paused = False
        # A simulator's ticks are the markers: nothing is past that they have not brought.
        # After a start, what waits with the broker is given its time to come in.
        ours = isinstance(clock, SystemClock)
        self._given_up_at = clock.now() + GIVE_UP_MS if ours else None
        self._hung_up = False

    def advance(self, known: Instant) -> None:
        """Everything that had arrived by `known` is committed, and what is owed until then made."""
        if self._known is None or known >= self._known:
            self._known = known
            self._some.set()

    def set_back(self, known: Instant) -> None:
        """Our own clock was set back: what is known is known by the new one."""
        self._known = known
        self._some.set()

    def make_up_for(self, gap: OwnGap) -> None:
        """What is judged from now on is told as one digest, once the gap is over.

        A loss within a gap is what that gap is told as: it is the graver news.
        """
        if self._gap is None:
            self._gap, self._gap_ends = gap, NEVER
        elif gap.cause in LOSSES and self._gap.cause not in LOSSES:
            self._gap = replace(self._gap, cause=gap.cause)

    def end_gap(self, now: Instant) -> None:
        """A gap, if there is one, ended `now`: what waited lies before the first marker after it.

        Markers from before, which waited with everything else, end no gap.
        """
        self._gap_ends = now

    def pause(self) -> None:
        """Our own clock has stepped: nothing is judged by it."""
        self._paused = True

    def resume(self, since: Instant, until: Instant) -> None:
        """Our own clock is steady again; it stepped at `since`, and was not followed to `until`.

        If it was set ahead, markers of before are still under way, and mean nothing yet.
        """
        self.make_up_for(OwnGap(since=since, cause=Cause.CLOCK))
        self.end_gap(max(until, self._clock.now()))
        self._paused_until = until
        self._wait_anew()
        self._paused = False
        self._some.set()

    def hold_back(self, *, hung_up: bool) -> None:
        """While we have hung up ourselves, a marker that does not come back means nothing."""
        self._hung_up = hung_up
        self._wait_anew()

    def _wait_anew(self) -> None:
        if self._given_up_at is not None:
            self._given_up_at = NEVER if self._hung_up else self._clock.now() + GIVE_UP_MS

    def poke(self) -> None:
        """Something judged wants another look."""
        self._some.set()

    async def run(self) -> None:
        """Judge until cancelled."""
        while True:
            wake = await self._ledger.read(obligations.next_wake)
            self._on_next(wake)
            await self._sleep(wake)
            if self._paused or self._known is None:
                continue
            known = self._known
            if known <= self._clock.now():  # else by a clock that was set back since
                await self._judge(known, waited=False)
                if self._gap is not None and self._is_over(self._gap, known):
                    await self._close(self._gap, known)
            if self._given_up():
                await self._judge(self._clock.now() - GIVE_UP_MS, waited=True)

    async def _sleep(self, wake: Instant | None) -> None:
        """Until poked or advanced, or until the next wake has waited long enough for its marker."""
        wait = None
        if wake is not None and self._given_up_at is not None:
            patience = max(wake + GIVE_UP_MS, self._given_up_at) - self._clock.now()
            wait = min(max(patience, 0) / 1_000 + 1, LONGEST_SLEEP_S)
        try:
            async with asyncio.timeout(wait):
                await self._some.wait()
        except TimeoutError:
            return
        self._some.clear()

    def _is_over(self, gap: OwnGap, known: Instant) -> bool:
        """Whether all that came due in the gap has been judged. A clock that was set back tells a
        time before it, and nothing has come due."""
        return known > self._gap_ends or known < gap.since - STEPPED_MS

    async def _close(self, gap: OwnGap, known: Instant) -> None:
        now = self._clock.now()
        until = max(known, self._paused_until)  # a clock that was set back tells an earlier time
        alarms = await self._ledger.write(lambda c: close_gap(c, gap, until, now))
        self._gap = None
        log.warning(
            "service.gap", cause=gap.cause.value, since=gap.since, until=until, alarms=alarms
        )
        self._on_told()

    @property
    def _channel(self) -> str:
        return MQTT if self._gap is None else HELD

    def _given_up(self) -> bool:
        """Whether markers that have not come back are waited for no more."""
        return self._given_up_at is not None and self._clock.now() >= self._given_up_at

    async def _judge(self, until: Instant, *, waited: bool) -> None:
        """Judge everything that wanted a look at or before `until`, page by page."""
        wake = await self._ledger.read(obligations.next_wake)
        more = wake is not None and wake <= until
        while more:
            more, told = await self._ledger.write(lambda c: self._page(c, until, waited=waited))
            self._ledger.verdicts_wait(more)
            if told:
                self._on_told()

    def _page(self, connection: Connection, until: Instant, *, waited: bool) -> tuple[bool, int]:
        """Judge a page in one transaction: its facts, the rules, what they say of it.

        Returns whether there may be more, and how many events were written.
        """
        begun = monotonic()
        rows = obligations.awake(connection, until, PAGE)
        looks: list[_Look] = []
        for begin in range(0, len(rows), TOGETHER):
            if monotonic() > begun + ENOUGH_S:
                break
            together = rows[begin : begin + TOGETHER]
            for look in self._together(connection, together, until, waited=waited):
                looks.append(look)
                if monotonic() > begun + LATEST_S:
                    break
        told = self._write(connection, looks)
        return len(rows) == PAGE or len(looks) < len(rows), told

    def _together(
        self, connection: Connection, rows: Sequence[ObligationRow], until: Instant, *, waited: bool
    ) -> Iterator["_Look"]:
        """A look at each row. Whatever a rule raises is that obligation's alone; where the facts of
        some cannot be had together, each is looked at by itself."""
        try:
            page = Page(connection, rows, self._plans, until)
        except DBAPIError:
            raise
        except Exception as error:
            if len(rows) == 1:
                self._push_back(connection, rows[0], until, error)
                return
            for row in rows:
                yield from self._together(connection, [row], until, waited=waited)
            return
        for row in rows:
            try:
                yield self._look(page, row, until, waited=waited)
            except DBAPIError:
                raise
            except Exception as error:
                self._push_back(connection, row, until, error)

    def _push_back(
        self, connection: Connection, row: ObligationRow, until: Instant, error: Exception
    ) -> None:
        log.error("rule.raised", obligation=row.key, error=str(error), exc_info=error)
        put_off(connection, [(row, until + PUSH_BACK_MS)])

    def _look(self, page: Page, row: ObligationRow, until: Instant, *, waited: bool) -> "_Look":
        """Derive the verdict again from the facts, and how it differs from the one that holds."""
        facts = page.of(row)
        promise, last, siblings = facts.promise, facts.last, facts.siblings
        # What came after the marker is looked at behind the next one: only then is all of it here,
        # and its time set right. Half a backlog would raise what its other half takes back.
        reads = [read for read in facts.reads if read.after < until]

        def could_tell() -> bool:
            return page.reachable(row.site_id, promise.opens, min(promise.due, until + 1))

        known = Known(
            marker=until,
            siblings=siblings,
            waited=waited,
            previous=last,
            reachable=bool(reads) or could_tell(),  # without a read it is in doubt anyhow
            decision=facts.decision,
        )
        verdict = rule.settle(promise, reads, known, until)
        if reads and _in_doubt(verdict):
            known = structs.replace(known, reachable=could_tell())
            verdict = rule.settle(promise, reads, known, until)
        if len(reads) < len(facts.reads):
            verdict = structs.replace(verdict, wake=min(until + 1, verdict.wake or until + 1))
        if verdict.wake is not None and verdict.wake <= until:
            raise ValueError(f"to be looked at again at {verdict.wake}, which is past at {until}")
        flip = rule.flip(promise, last, verdict)
        odd = rule.unproven(promise, reads, siblings)
        return _Look(
            row=row,
            site=promise.site,
            verdict=verdict,
            flip=flip,
            told=() if flip is None else _told(flip, facts.plan, reads),
            late=[unproven(promise.site, read) for read in odd],
        )

    def _write(self, connection: Connection, looks: Sequence["_Look"]) -> int:
        """Write what was seen, and what of it is told; returns how many events.

        Where another worker was first its verdict holds, and it has told it.
        """
        now = self._clock.now()
        flips = [look for look in looks if look.flip is not None]
        put_off(connection, [(x.row, x.verdict.wake) for x in looks if x.flip is None])
        taken = flipped(connection, [(look.row, look.verdict) for look in flips], now)
        notices: list[Notice] = []
        for look in looks:
            if look.row.id in taken:
                self._judged.saw(connection, look.row, look.verdict)
                notices += look.told
            notices += look.late
        sites = {look.site: look.row.site_id for look in looks}
        return raise_notices(connection, notices, now, self._channel, sites)


class _Look(Struct, frozen=True, kw_only=True):
    """What came of looking at an obligation. `told`: of the change; `late`: of reads that came
    after due, whose time nobody can vouch for."""

    row: ObligationRow
    site: str
    verdict: Verdict
    flip: Flip | None
    told: Sequence[Notice]
    late: Sequence[Notice]


def _told(flip: Flip, plan: Plan, reads: Sequence[Read]) -> Sequence[Notice]:
    notices = follow(flip, plan)
    if rule.old_news(flip, reads):
        return [structs.replace(one, quiet=one.state is EventState.OPEN) for one in notices]
    return notices


def _in_doubt(verdict: Verdict) -> bool:
    """Whether the verdict hangs on whether anybody could have told: the dearer question."""
    unseen = bool(verdict.stretches) and not verdict.visited
    return unseen or Standing.MISSED in (verdict.standing, verdict.first)
