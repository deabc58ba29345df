"""Sees to it that the broker's files follow the ledger, beside the service for as long as it runs.

It ends the credentials that have had their time, and writes what nobody could write when it was
decided: on a full disk, or killed in between. A thread of its own: the service itself knows no
broker's files, and need not.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from desk import broker
from desk.acts import By
from desk.errors import DeskError
from desk.settling import HOUSE, Reach, agrees, follow
from devices.ids import Instant
from store.access import next_lapse
from store.database import open_engine, reading
from store.settings import Settings

log = structlog.get_logger()

LOOK_S = 1.0

COMPARE_EVERY = 30
"""Looks to each comparison of the broker's files with the ledger: it reads both whole, which takes
77 ms of CPU with 3,000 devices."""


@contextmanager
def keeping(settings: Settings) -> Iterator[None]:
    """While the block runs, who may speak no more does not: the files are kept as the ledger is."""
    ended = threading.Event()
    keeper = threading.Thread(target=_keep, args=(settings, ended), name="keeper", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()


def _keep(settings: Settings, ended: threading.Event) -> None:
    engine = open_engine(settings.database_url)
    keeper = Keeper(settings, engine)
    try:
        while not ended.wait(LOOK_S):
            try:
                keeper.look(Instant(time.time_ns() // 1_000_000))
            except (SQLAlchemyError, DeskError, OSError) as error:
                log.warning("credentials.not_looked_at", error=str(error), next="again in a moment")
    finally:
        engine.dispose()


class Keeper:
    """Settles when a credential has had its time, and when the files stay behind the ledger."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings, self._engine = settings, engine
        self._looks = 0
        self._behind = False

    def look(self, now: Instant) -> None:
        """One look; called about every `LOOK_S`. Raises `DeskError` for files nobody can read."""
        if not (self._settings.broker_dir / broker.PASSWORDS).exists():
            return
        if self._lapsed(now) or self._stays_behind():
            self._settle(now)

    def _lapsed(self, now: Instant) -> bool:
        with reading(self._engine) as connection:
            due = next_lapse(connection)
        return due is not None and due <= now

    def _stays_behind(self) -> bool:
        """Whether the files are behind at two comparisons running: whoever decides something is let
        write it, and see it through.
        """
        self._looks += 1
        if self._looks % COMPARE_EVERY:
            return False
        before, self._behind = self._behind, not agrees(self._engine, self._settings.broker_dir)
        return before and self._behind

    def _settle(self, now: Instant) -> None:
        settled = follow(self._settings, By(author=HOUSE, now=now))
        self._behind = settled.reach is Reach.UNWRITTEN
        tell = log.info if settled.remark is None else log.warning
        tell("credentials.settled", shut_out=settled.shut_out, remark=settled.remark)
