"""The ledger, opened for one action or question of a person."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, select
from sqlalchemy.exc import OperationalError

from desk.errors import UnreachableError
from devices.ids import Instant
from store.database import check_schema, open_engine, reading
from store.settings import ClockKind, Settings
from store.workers import WORKER


@contextmanager
def opened(settings: Settings) -> Iterator[Engine]:
    """The ledger, its schema checked.

    Raises `SchemaOutdated`, or `UnreachableError` when the database does not answer.
    """
    engine = open_engine(settings.database_url)
    try:
        check_schema(engine)
        yield engine
    except OperationalError as error:
        raise UnreachableError(
            f"the ledger at {engine.url.database} cannot be used",
            "look whether the disk is full, the file yours, and nothing else holds it;"
            " then: gridbeat doctor",
        ) from error
    finally:
        engine.dispose()


def present(engine: Engine, wall: Instant) -> Instant:
    """Now, as the ledger counts it: `wall`, or the last tick where its clock is the simulator's."""
    query = select(WORKER.c.clock, WORKER.c.marker_at).order_by(WORKER.c.started_at.desc())
    with reading(engine) as connection:
        latest = connection.execute(query.limit(1)).first()
    if latest is None or latest.clock != ClockKind.MQTT or latest.marker_at is None:
        return wall
    return Instant(latest.marker_at)
