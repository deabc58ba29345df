"""The append-only door: what devices and people said, once, as it was told.

Nothing here is ever changed or deleted; triggers in the database refuse it. A device's entry is
known by (device, epoch, seq): told again with the same content it is the same entry, with other
content a conflict, which the caller keeps in quarantine.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, select

from devices.adapters.heard import TimeSource
from devices.ids import Instant
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
    """One row of `entry`, in the order of its columns, so that a batch goes to the driver as it
    is."""

    id: int
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
    arrival_id: int | None
    tag: str | None
    via: int | None
    digest: int | None
    author: str | None
    body: str | None

    def numbered(self, id_: int, arrival_id: int) -> "EntryRow":
        """The same with its ids; each row comes through here, and `_replace` is much slower."""
        return EntryRow._make((id_, *self[1:_ARRIVAL], arrival_id, *self[_ARRIVAL + 1 :]))


_ARRIVAL = EntryRow._fields.index("arrival_id")


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


TOGETHER = 100
"""Rows of one INSERT. The driver lets go of the interpreter once a statement: row by row, a batch
would have to ask for it back 2,000 times from a loop that is reading the next one."""


def _insert(rows: int) -> str:
    row = f"({', '.join('?' * len(EntryRow._fields))})"
    return (
        f"INSERT INTO entry ({', '.join(EntryRow._fields)}) VALUES {', '.join([row] * rows)} "  # noqa: S608  (our own names)
        "ON CONFLICT (device_id, epoch, seq) DO NOTHING"
    )


_ONE, _MANY = _insert(1), _insert(TOGETHER)


def last_id(connection: Connection) -> int:
    """The highest id of an entry; 0 where there is none."""
    return connection.execute(select(func.max(ENTRY.c.id))).scalar() or 0


def time_source(body: str | None) -> TimeSource:
    """Who tells when an entry happened, by its body: its device, where that does not say."""
    if body is None or '"time_source"' not in body:
        return TimeSource.DEVICE
    return TimeSource(json.loads(body)["time_source"])


def next_id(connection: Connection) -> int:
    """The lowest id above every entry; stays true while the caller holds its write transaction."""
    return last_id(connection) + 1


def append(connection: Connection, rows: Sequence[EntryRow]) -> Appended:
    """Append devices' entries, whose ids the caller took from `next_id` in this transaction."""
    if not rows:
        return Appended([], [])
    whole = len(rows) - len(rows) % TOGETHER
    written = 0
    for begin in range(0, whole, TOGETHER):
        values = tuple(chain.from_iterable(rows[begin : begin + TOGETHER]))
        written += connection.exec_driver_sql(_MANY, values).rowcount
    if whole < len(rows):
        written += connection.exec_driver_sql(_ONE, list(rows[whole:])).rowcount
    if written == len(rows):
        return Appended([], [])
    return _told_before(connection, rows)


def _told_before(connection: Connection, rows: Sequence[EntryRow]) -> Appended:
    first = rows[0].id
    query = select(ENTRY.c.id).where(ENTRY.c.id >= first)
    new = set(connection.execute(query).scalars())
    appended = Appended([], [])
    for index, row in enumerate(rows):
        if row.id in new:
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
