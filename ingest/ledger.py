"""The service's two ways to the ledger: one thread that writes, and others that read.

SQLite has one writer. Ours is a thread of its own, so that a commit (an fsync) never holds up the
event loop, and so that what is remembered beside the tables is only ever touched by one thread.

A database that cannot work now (a full disk, a lock that is held too long) is asked again until it
can: no part of the service ends because of it, and none goes on as if it had been heard.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from store.database import reading, writing
from store.place import LedgerAway

log = structlog.get_logger()

T = TypeVar("T")

RETRY_S = 1.0
PATIENCE_S = 10.0
"""How long at most what can wait does so for verdicts, each time."""


class Ledger:
    """Runs functions of a connection in the right thread and transaction.

    `on_away` hears why the ledger's file is not at its place any more, and None when it is back.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="ledger-reader")
        self._calm = asyncio.Event()
        self._calm.set()
        self._away: str | None = None
        self.on_away: Callable[[str | None], None] = lambda _: None

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one write transaction; it is committed when this returns.

        `work` may run more than once, each time in a transaction of its own.
        """

        def run() -> T:
            with writing(self.engine) as connection:
                return work(connection)

        return await self._again(run, self._writer)

    def verdicts_wait(self, more: bool) -> None:
        """More is due than has been judged, or no more is: check-ins and verdicts come first."""
        if more:
            self._calm.clear()
        else:
            self._calm.set()

    @property
    def crowded(self) -> bool:
        """Whether verdicts wait."""
        return not self._calm.is_set()

    async def turn(self) -> None:
        """Wait while verdicts do, for what can wait: marks, absences, what is left to visit."""
        await self.give_way(PATIENCE_S)

    async def give_way(self, most_s: float) -> None:
        """Leave the writer to verdicts while they wait, for `most_s` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._calm.wait()

    async def in_writer(self, work: Callable[[], T]) -> T:
        """Run `work` in the writer's thread; it opens its own transactions."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a snapshot of the ledger, beside the writer."""

        def run() -> T:
            with reading(self.engine) as connection:
                return work(connection)

        return await self._again(run, self._readers)

    async def _again(self, run: Callable[[], T], thread: ThreadPoolExecutor) -> T:
        while True:
            try:
                done = await asyncio.get_running_loop().run_in_executor(thread, run)
            except OperationalError as error:
                if isinstance(error.orig, LedgerAway):
                    self._tell_away(str(error.orig))
                log.warning("ledger.refused", error=str(error.orig), next="tried again each second")
                await asyncio.sleep(RETRY_S)
            else:
                self._tell_away(None)
                return done

    def _tell_away(self, why: str | None) -> None:
        if why != self._away:
            self._away = why
            self.on_away(why)

    def close(self) -> None:
        """Wait for what is under way."""
        self._writer.shutdown()
        self._readers.shutdown()
