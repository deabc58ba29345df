"""Feeds the series from the ledger: read a page, write it, and only then move the cursors.

1. In one view of the ledger, read the next rows of every source, at most `MAX_LINES` together.
2. Write their lines. What the database refuses for good is found by halving.
3. In one transaction, keep the refused lines and advance the cursors.

A crash between 2 and 3 writes the page again, which changes nothing. While the database is down the
cursors stand still and the ledger keeps what is missing, however long it takes.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import Engine

from devices.ids import Instant
from store.database import reading, writing
from store.series.halving import HalvingWriter
from store.series.ports import MAX_LINES, PartialWrite, Permanent, Reject, Retryable, SeriesWriter
from store.series.sources import SOURCES, Page, add_rejects, rewind

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
REST_S = 0.5
"""Between two pages that did not fill: a request each half second at most, not one a commit."""
IDLE_S = 5.0
"""Without a poke, the ledger is looked at this often all the same."""
GRACE_S = 5.0
"""A write in progress is given this long at a stop, and then given up: it will be repeated."""

log = structlog.get_logger()


class FeedState(StrEnum):
    """How the feeding stands."""

    OK = "ok"  # all that the ledger holds is written
    BEHIND = "behind"  # there is more, and it is being written
    WAITING = "waiting"  # the database is down or busy: tried again by itself
    REFUSED = "refused"  # the database refuses us: somebody must change something


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStatus:
    """`behind`: rows of the ledger still to be looked at. Counts are since this feeder began.

    `error`: what the last attempt failed with; None when it did not.
    """

    state: FeedState = FeedState.OK
    behind: int = 0
    written: int = 0
    rejected: int = 0
    error: str | None = None


class Feeder:
    """Follows the ledger of `engine` and keeps the series behind `writer` equal to it.

    `now` is our clock, in ms. One feeder at a time: two would do each other's work twice.
    """

    def __init__(self, engine: Engine, writer: SeriesWriter, *, now: Callable[[], Instant]) -> None:
        self._engine = engine
        self._writer = HalvingWriter(writer)
        self._now = now
        self._failures = 0
        self.status = FeedStatus()

    async def step(self) -> int:
        """Write the next page; returns how many lines the database took.

        Raises `Retryable` or `Permanent`, with the cursors where they were.
        """
        pages = await asyncio.to_thread(self._read)
        self.status = replace(self.status, behind=sum(page.top - page.after for page in pages))
        made = [line for page in pages for line in page.lines]
        rejected = [reject for page in pages for reject in page.rejected]
        refused = await self._write(made)
        moved = [page for page in pages if page.position > page.after]
        if moved:
            await asyncio.to_thread(self._advance, moved, [*rejected, *refused])
        self._succeeded(
            behind=sum(page.top - page.position for page in pages),
            written=len(made) - len(refused),
            rejected=len(rejected) + len(refused),
        )
        return len(made) - len(refused)

    async def run(self, stop: asyncio.Event, poke: asyncio.Event) -> None:
        """Feed until `stop`, looking again at each `poke`. Nothing the database does ends it."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                poke.clear()
                await _pause(stopping, await self._attempt_until(stopping))
                if self.status.state is FeedState.OK:
                    await _pause_or_poke(stopping, poke, IDLE_S)
        finally:
            stopping.cancel()

    async def close(self) -> None:
        """Let go of the database's connection."""
        await self._writer.close()

    async def _attempt_until(self, stopping: asyncio.Future[Any]) -> float:
        attempt = asyncio.ensure_future(self._attempt())
        try:
            await asyncio.wait((attempt, stopping), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((attempt,), timeout=GRACE_S)
            return attempt.result() if attempt.done() else 0.0
        finally:
            attempt.cancel()

    async def _attempt(self) -> float:
        """One step; returns the seconds to rest before the next."""
        try:
            await self.step()
        except Permanent as error:
            self._failed(FeedState.REFUSED, str(error))
            return LONGEST_PAUSE_S
        except Retryable as error:
            self._failed(FeedState.WAITING, str(error))
            return backoff_s(self._failures, error.after_s, random.random())  # noqa: S311 - jitter
        except Exception as error:
            log.exception("the series could not be fed; it is tried again")
            self._failed(FeedState.WAITING, f"{type(error).__name__}: {error}")
            return backoff_s(self._failures, None, random.random())  # noqa: S311 - jitter
        return REST_S if self.status.state is FeedState.OK else 0.0

    def _read(self) -> list[Page]:
        pages: list[Page] = []
        room = MAX_LINES
        now = self._now()
        with reading(self._engine) as connection:
            for source in SOURCES:
                page = source.page(connection, room, now)
                room -= len(page.lines)
                pages.append(page)
        return pages

    async def _write(self, made: list[str]) -> tuple[Reject, ...]:
        """Write what is writable; returns what is not."""
        if not made:
            return ()
        try:
            await self._writer.write(made)
        except PartialWrite as partial:
            return partial.rejected
        return ()

    def _advance(self, pages: list[Page], rejected: list[Reject]) -> None:
        with writing(self._engine) as connection:
            add_rejects(connection, self._now(), rejected)
            for page in pages:
                page.source.advance(connection, page.position)

    def _succeeded(self, *, behind: int, written: int, rejected: int) -> None:
        if self._failures:
            log.info("the series takes points again", behind=behind, attempts=self._failures)
        if rejected:
            log.warning("the series refuses points for good: see series_reject", points=rejected)
        self._failures = 0
        self.status = FeedStatus(
            state=FeedState.BEHIND if behind else FeedState.OK,
            behind=behind,
            written=self.status.written + written,
            rejected=self.status.rejected + rejected,
        )

    def _failed(self, state: FeedState, error: str) -> None:
        if self.status.state is not state:
            log.warning("the series takes nothing now", state=state.value, error=error)
        self._failures += 1
        self.status = replace(self.status, state=state, error=error)


def backoff_s(failures: int, asked_s: float | None, jitter: float) -> float:
    """Seconds to rest after so many failures in a row: what the server asked for, else doubling.

    `jitter` in `[0, 1)` takes off up to half of it, so that many services do not come back at once.
    """
    if asked_s is not None:
        return asked_s
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 30))
    return longest * (1 - jitter / 2)


def rebuild(engine: Engine) -> None:
    """Make the feeder write everything again, from the beginning of the ledger.

    For a database that is new or was lost. Empty it first where it still holds points: what was
    corrected since would stand beside what was written then. Gauges of the past (site states,
    devices, the service) are not in the ledger and do not come back.
    """
    with writing(engine) as connection:
        rewind(connection)


async def _pause(stopping: asyncio.Future[Any], seconds: float) -> None:
    await asyncio.wait((stopping,), timeout=seconds)


async def _pause_or_poke(
    stopping: asyncio.Future[Any], poke: asyncio.Event, seconds: float
) -> None:
    poked = asyncio.ensure_future(poke.wait())
    try:
        await asyncio.wait((stopping, poked), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        poked.cancel()
