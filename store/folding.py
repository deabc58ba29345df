"""Entries whose traces are not folded yet: what a crash has left to be told once more.

Coverage and contacts are folded from entries: a row a device, not a row a record. They are held in
memory and written with each marker, each second, and with whatever entries do not tell again; the
worker's `folded_entry` says up to which entry. What came after it is folded anew at the next start,
so that a restart knows what a run without it would (law 8).
"""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select, update

from devices import topics
from devices.ids import Instant
from store.prepared import Prepared
from store.tables import Device, Entry, Worker, table_of

ENTRY = table_of(Entry)
DEVICE = table_of(Device)
WORKER = table_of(Worker)


class Trace(NamedTuple):
    """What an entry leaves behind: its device was there, and its `seq` is kept."""

    device_id: int
    device: str
    epoch: int
    seq: int
    received_at: Instant
    receipted: bool  # foreign readers know no receipts


def unfolded(connection: Connection, instance: str) -> Iterator[Trace]:
    """The traces of what this instance has not folded, in the order in which it came."""
    rows = _UNFOLDED.all(connection, instance=instance)
    for device_id, device, epoch, seq, received_at, protocol in rows:
        yield Trace(device_id, device, epoch, seq, received_at, protocol == topics.PROTOCOL)


def fold(connection: Connection, instance: str) -> None:
    """Everything up to the newest entry is folded, within the transaction that does it."""
    _FOLD.run(connection, instance=instance)


_SINCE = select(WORKER.c.folded_entry).where(WORKER.c.instance == bindparam("instance"))
_UNFOLDED = Prepared(
    select(
        ENTRY.c.device_id,
        DEVICE.c.slug,
        ENTRY.c.epoch,
        ENTRY.c.seq,
        ENTRY.c.received_at,
        DEVICE.c.protocol,
    )
    .outerjoin(DEVICE, DEVICE.c.id == ENTRY.c.device_id)  # never from devices to all of theirs
    .where(ENTRY.c.id > _SINCE.scalar_subquery(), ENTRY.c.device_id.is_not(None))
    .order_by(ENTRY.c.id)
)
_NEWEST = select(func.coalesce(func.max(ENTRY.c.id), 0)).scalar_subquery()
_FOLD = Prepared(
    update(WORKER).where(WORKER.c.instance == bindparam("instance")).values(folded_entry=_NEWEST)
)
