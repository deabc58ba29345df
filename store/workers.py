"""Where an instance of the service stands, and the spans in which it could not be relied on."""

import uuid

from sqlalchemy import Connection, RowMapping, bindparam, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from devices.ids import Instant
from store.prepared import Prepared
from store.tables import LedgerIdentity, Outage, Worker, table_of

WORKER = table_of(Worker)
OUTAGE = table_of(Outage)
LEDGER = table_of(LedgerIdentity)


def ledger_uuid(connection: Connection) -> str:
    """The name of this ledger, as receipts carry it."""
    return str(connection.execute(select(LEDGER.c.uuid)).scalar_one())


def rename_ledger(connection: Connection) -> str:
    """Give this ledger another name: to handhelds it is one that holds nothing yet. Returns it."""
    name = str(uuid.uuid4())
    connection.execute(update(LEDGER).values(uuid=name))
    return name


def worker(connection: Connection, instance: str) -> RowMapping | None:
    """Where the instance stood when it last committed; None before its first start."""
    query = select(WORKER).where(WORKER.c.instance == instance)
    return connection.execute(query).mappings().first()


def start_worker(connection: Connection, instance: str, clock: str, now: Instant) -> None:
    """Record that the instance has started."""
    row = upsert(WORKER).values(instance=instance, clock=clock, started_at=now)
    again = {"clock": clock, "started_at": now}
    connection.execute(row.on_conflict_do_update(index_elements=["instance"], set_=again))


def advance(connection: Connection, instance: str, **values: Instant | None) -> None:
    """Move `marker_at`, `first_tick` or `made_until` of an instance."""
    connection.execute(update(WORKER).where(WORKER.c.instance == instance).values(values))


def begin_outage(connection: Connection, what: str, since: Instant) -> Instant:
    """Something we rely on is gone. Returns since when: earlier, where it was known already."""
    open_ = select(OUTAGE.c.since).where(OUTAGE.c.what == what, OUTAGE.c.until.is_(None))
    known = connection.execute(open_).scalar()
    if known is not None:
        return Instant(known)
    connection.execute(insert(OUTAGE).values(what=what, since=since))
    return since


def end_outage(connection: Connection, what: str, until: Instant) -> Instant | None:
    """It is back. Returns since when it was gone, or None where it was not."""
    open_ = select(OUTAGE.c.id, OUTAGE.c.since).where(
        OUTAGE.c.what == what, OUTAGE.c.until.is_(None)
    )
    found = connection.execute(open_).first()
    if found is None:
        return None
    connection.execute(update(OUTAGE).where(OUTAGE.c.id == found.id).values(until=until))
    return Instant(found.since)


def sure_from(connection: Connection, now: Instant) -> Instant:
    """Since when we could hear: before it no silence of a device counts. `now` while we cannot."""
    if _LASTING.first(connection, now=now) is not None:
        return now
    ended = _LAST_END.first(connection, now=now)
    return min(Instant(ended[0] if ended else 0), now)


_BEGUN = select(OUTAGE.c.until).where(OUTAGE.c.since <= bindparam("now")).limit(1)
_LASTING = Prepared(_BEGUN.where(OUTAGE.c.until.is_(None)))
_LAST_END = Prepared(_BEGUN.where(OUTAGE.c.until.is_not(None)).order_by(OUTAGE.c.until.desc()))


def heard_until(connection: Connection, now: Instant) -> Instant:
    """The last instant as of which anything can be said of who is there: our last marker."""
    marker = connection.execute(select(func.max(WORKER.c.marker_at))).scalar()
    return now if marker is None else min(Instant(marker), now)
