"""The service's two ways to the ledger: one thread that writes, and others that read.

SQLite has one writer. Ours is a thread of its own, so that a commit (an fsync) never holds up the
event loop, and so that what is remembered beside the tables is only ever touched by one thread.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine

from store.database import reading, writing

T = TypeVar("T")


class Ledger:
    """Runs functions of a connection in the right thread and transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="ledger-reader")

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one write transaction; it is committed when this returns."""

        def run() -> T:
            with writing(self.engine) as connection:
                return work(connection)

        return await self.in_writer(run)

    async def in_writer(self, work: Callable[[], T]) -> T:
        """Run `work` in the writer's thread; it opens its own transactions."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a snapshot of the ledger, beside the writer."""

        def run() -> T:
            with reading(self.engine) as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    def close(self) -> None:
        """Wait for what is under way."""
        self._writer.shutdown()
        self._readers.shutdown()
