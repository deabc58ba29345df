"""Ends the credentials that have had their time, beside the service for as long as it runs.

A thread of its own: the service itself knows no broker's files, and need not.
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
from desk.settling import HOUSE, follow
from store.access import next_lapse
from store.database import open_engine, reading
from store.settings import Settings

log = structlog.get_logger()

LOOK_S = 1.0


@contextmanager
def keeping(settings: Settings) -> Iterator[None]:
    """While the block runs, the old credential of a rotation stops working when its time is up."""
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
    try:
        while not ended.wait(LOOK_S):
            try:
                _look(settings, engine)
            except SQLAlchemyError as error:
                log.warning("credentials.not_looked_at", error=str(error), next="again in a moment")
    finally:
        engine.dispose()


def _look(settings: Settings, engine: Engine) -> None:
    if not (settings.broker_dir / broker.PASSWORDS).exists():
        return
    now = time.time_ns() // 1_000_000
    with reading(engine) as connection:
        due = next_lapse(connection)
    if due is not None and due <= now:
        remark = follow(settings, By(author=HOUSE, now=now))
        log.info("credentials.ended", remark=remark)
