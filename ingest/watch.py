"""The deadline watch: makes what is owed, sleeps to the next wake, judges, flips, has it told.

It judges by `known`, the marker behind which everything is committed, not by our clock: what waits
in a queue is not missed. Where the marker of a due instant does not come back, it judges a minute
later by the clock alone, and the verdict says so.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import Connection, Row
from sqlalchemy.exc import DBAPIError

from devices.ids import Instant
from ingest.clock import SystemClock, TickClock
from ingest.judged import Judged
from ingest.ledger import Ledger
from rules import obligations as rule
from rules.events import EventState, Notice, follow
from rules.oddities import unproven
from rules.promises import Flip, Known, Standing, Verdict
from store import decisions, obligations
from store.arrivals import STEPPED_MS
from store.events import HELD, MQTT, raise_notices
from store.evidence import deciding_reads, reachable
from store.owngaps import LOSSES, Cause, OwnGap, close_gap
from store.spans import excuse_of

log = structlog.get_logger()

PAGE = 200
"""Obligations looked up at once."""
PAGE_S = 0.03
"""How long one transaction judges, so that with its commit it stays under 50 ms."""
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
        self.hold_back(hung_up=False)
        self._paused = False
        self._some.set()

    def hold_back(self, *, hung_up: bool) -> None:
        """While we have hung up ourselves, a marker that does not come back means nothing."""
        if self._given_up_at is not None:
            self._given_up_at = NEVER if hung_up else self._clock.now() + GIVE_UP_MS

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
        more = True
        while more:
            more, told = await self._ledger.write(lambda c: self._page(c, until, waited=waited))
            if told:
                self._on_told()

    def _page(self, connection: Connection, until: Instant, *, waited: bool) -> tuple[bool, int]:
        rows = obligations.awake(connection, until, PAGE)
        told, enough = 0, monotonic() + PAGE_S
        for row in rows:
            if monotonic() > enough:
                return True, told
            try:
                verdict, flip, told_of = self._look(connection, row, until, waited=waited)
            except DBAPIError:
                raise
            except Exception as error:  # whatever a rule raises is that obligation's alone
                log.exception("rule.raised", obligation=row.key, error=str(error))
                obligations.put_off(connection, row, until + PUSH_BACK_MS)
                continue
            if flip is None:
                obligations.put_off(connection, row, verdict.wake)
            else:
                told += self._write(connection, row, verdict, told_of[0])
            told += raise_notices(connection, told_of[1], self._clock.now(), self._channel)
        return len(rows) == PAGE, told

    def _look(
        self, connection: Connection, row: Row[*tuple[Any, ...]], until: Instant, *, waited: bool
    ) -> tuple[Verdict, Flip | None, tuple[Sequence[Notice], Sequence[Notice]]]:
        """Derive the verdict again from the facts, and how it differs from the one that holds.

        And what is to be told: of the change, and of late reads whose time nobody can vouch for.
        """
        promise = self._plans.promise(connection, row)
        last = obligations.last_verdict(connection, row)
        # an overdue stretch is ended by the next visit, which may come after due
        end = max(until + 1, promise.due) if row.kind == "gap" else promise.due
        siblings = obligations.siblings(connection, row, self._plans)
        here = deciding_reads(connection, row.site_id, promise, end, marker=until, rivals=siblings)
        # What came after the marker is looked at behind the next one: only then is all of it here,
        # and its time set right. Half a backlog would raise what its other half takes back.
        reads = [read for read in here if read.after < until]

        def could_tell() -> bool:
            ends = min(promise.due, until + 1)
            return reachable(connection, row.site_id, promise.opens, ends)

        known = Known(
            marker=until,
            siblings=siblings,
            waited=waited,
            previous=last,
            reachable=bool(reads) or could_tell(),  # without a read it is in doubt anyhow
            decision=decisions.of_obligation(connection, row.id) or excuse_of(connection, row),
        )
        verdict = rule.settle(promise, reads, known, until)
        if reads and _in_doubt(verdict):
            known = replace(known, reachable=could_tell())
            verdict = rule.settle(promise, reads, known, until)
        if len(reads) < len(here):
            verdict = replace(verdict, wake=min(until + 1, verdict.wake or until + 1))
        if verdict.wake is not None and verdict.wake <= until:
            raise ValueError(f"to be looked at again at {verdict.wake}, which is past at {until}")
        odd = rule.unproven(promise, reads, known.siblings)
        late = [unproven(promise.site, read) for read in odd]
        flip = rule.flip(promise, last, verdict)
        notices = self._follow(connection, row, flip)
        if flip is not None and rule.old_news(flip, reads):
            notices = [replace(one, quiet=one.state is EventState.OPEN) for one in notices]
        return verdict, flip, (notices, late)

    def _follow(
        self, connection: Connection, row: Row[*tuple[Any, ...]], flip: Flip | None
    ) -> Sequence[Notice]:
        if flip is None:
            return ()
        return follow(flip, self._plans.of(connection, row.plan_version_id))

    def _write(
        self,
        connection: Connection,
        row: Row[*tuple[Any, ...]],
        verdict: Verdict,
        notices: Sequence[Notice],
    ) -> int:
        """Write the flip and its events; returns how many events. Another worker may be first."""
        now = self._clock.now()
        if not obligations.flipped(connection, row, verdict, now):
            return 0
        self._judged.saw(connection, row, verdict)
        return raise_notices(connection, notices, now, self._channel)


def _in_doubt(verdict: Verdict) -> bool:
    """Whether the verdict hangs on whether anybody could have told: the dearer question."""
    unseen = bool(verdict.stretches) and not verdict.visited
    return unseen or Standing.MISSED in (verdict.standing, verdict.first)
