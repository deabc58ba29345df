"""The append-only door: what devices and people said, once, as it was told.

Nothing here is ever changed or deleted; triggers in the database refuse it. A device's entry is
known by (device, epoch, seq): told again with the same content it is the same entry, with other
content a conflict, which the caller keeps in quarantine.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain, count
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, select

from devices.adapters.heard import TimeSource
from devices.ids import Instant
from store.prepared import Prepared
from store.tables import Entry, table_of

ENTRY = table_of(Entry)


class EntryKind(IntEnum):
    """What an entry tells; the number stands in the table."""

    CHECKIN = 1
    HAZARD = 2
    SOS = 3
    ACTION = 4


class ViaCode(IntEnum):
    """How a tag was read (contract §2, `via`), as the table keeps it."""

    NFC = 1
    RFID = 2
    BLE = 3
    QR = 4
    GPS = 5
    BUTTON = 6
    IMPORT = 7


class EntryRow(NamedTuple):
    """What a device told, in columns of `entry`; a batch goes to the driver as it is.

    Its id and its span are given to it where it is appended.
    """

    kind: int
    device_id: int | None
    epoch: int | None
    seq: int | None
    site_id: int | None
    checkpoint_id: int | None
    person_id: int | None
    at: Instant
    sent: Instant | None
    received_at: Instant
    tag: str | None
    via: int | None
    digest: int | None
    body: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAction:
    """A person's action: who, when, about which site (None: all), and what was done."""

    author: str
    at: Instant
    site_id: int | None
    body: Mapping[str, Any]


class Appended(NamedTuple):
    """What became of a batch: indices into it. What is in neither list is new."""

    duplicates: list[int]
    conflicts: list[int]


TOGETHER = (100, 50, 20, 10, 5, 2, 1)
"""Rows of one INSERT. The driver lets go of the interpreter once a statement: row by row, a batch
would have to ask for it back 2,000 times from a loop that is reading the next one."""


def _insert(rows: int) -> str:
    """`?1` is the id of the first row, `?2` the span of all; what the rows say comes behind."""
    names, numbers = EntryRow._fields, count(3)
    said = [", ".join([f"?{next(numbers)}" for _ in names]) for _ in range(rows)]
    values = ", ".join(f"(?1 + {row}, ?2, {told})" for row, told in enumerate(said))
    return (
        f"INSERT INTO entry (id, arrival_id, {', '.join(names)}) VALUES {values} "  # noqa: S608  (our own names)
        "ON CONFLICT (device_id, epoch, seq) DO NOTHING"
    )


_INSERTS = {rows: _insert(rows) for rows in TOGETHER}


def last_id(connection: Connection) -> int:
    """The highest id of an entry; 0 where there is none."""
    ((last,),) = _LAST_ID.all(connection)
    return last or 0


_LAST_ID = Prepared(select(func.max(ENTRY.c.id)))


def time_source(body: str | None) -> TimeSource:
    """Who tells when an entry happened, by its body: its device, where that does not say."""
    if body is None or '"time_source"' not in body:
        return TimeSource.DEVICE
    return TimeSource(json.loads(body)["time_source"])


def next_id(connection: Connection) -> int:
    """The lowest id above every entry; stays true while the caller holds its write transaction."""
    return last_id(connection) + 1


def append(
    connection: Connection, rows: Sequence[EntryRow], first_id: int, arrival_id: int
) -> Appended:
    """Append devices' entries of one span, with ids from `first_id` on, which the caller took from
    `next_id` in this transaction. What was told before leaves its id unused.
    """
    written = at = 0
    for together in TOGETHER:
        while at + together <= len(rows):
            told = chain.from_iterable(rows[at : at + together])
            values = (first_id + at, arrival_id, *told)
            written += connection.exec_driver_sql(_INSERTS[together], values).rowcount
            at += together
    if written == len(rows):
        return Appended([], [])
    return _told_before(connection, rows, first_id)


def _told_before(connection: Connection, rows: Sequence[EntryRow], first_id: int) -> Appended:
    query = select(ENTRY.c.id).where(ENTRY.c.id >= first_id)
    new = set(connection.execute(query).scalars())
    appended = Appended([], [])
    for index, row in enumerate(rows):
        if first_id + index in new:
            continue
        same = _digest(connection, row) == row.digest
        (appended.duplicates if same else appended.conflicts).append(index)
    return appended


def _digest(connection: Connection, row: EntryRow) -> int | None:
    return connection.exec_driver_sql(
        "SELECT digest FROM entry WHERE device_id = ? AND epoch = ? AND seq = ?",
        (row.device_id, row.epoch, row.seq),
    ).scalar()


def append_action(connection: Connection, action: NewAction) -> int:
    """Append a person's action and return the entry's id."""
    values = {
        "kind": EntryKind.ACTION.value,
        "site_id": action.site_id,
        "at": action.at,
        "received_at": action.at,
        "author": action.author,
        "body": json.dumps(action.body, ensure_ascii=False, separators=(",", ":")),
    }
    new = insert(ENTRY).values(values).returning(ENTRY.c.id)
    return int(connection.execute(new).scalar_one())
