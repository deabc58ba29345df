"""Rows of imported files, put through the append-only door beside the running service.

What follows from a read is the writer's, but little follows from one that is past: the judged
rounds it bears on are looked at again, and the marks around it, both by rows that the service
finds within a second. Nobody's presence, coverage or receipt is touched: a file is not a contact.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update

from devices.adapters.heard import TimeSource
from devices.ids import Identity, Instant
from devices.topics import ROOT
from rules.holders import Hold
from rules.promises import Do
from store import decisions, touching
from store.arrivals import span_at
from store.decisions import NewDecision, decide
from store.doubts import DOUBT
from store.entries import (
    ENTRY,
    EntryKind,
    EntryRow,
    NewAction,
    ViaCode,
    append,
    append_action,
    next_id,
)
from store.holdings import hold
from store.obligations import LONGEST_EARLY_MS, LONGEST_QUOTA_MS, OBLIGATION
from store.prepared import Prepared
from store.quarantine import QUARANTINE, QuarantineBook, State, Suspect

TOPIC = f"{ROOT}/import/wand"
"""The topic under which quarantine keeps rows that could not be read: one that no device has, so
that a retry leaves them there."""
EPOCH = 0


class Row(NamedTuple):
    """A row to be kept; `number` is the file's, `hold` of a person's tag. `local`: the file tells
    its time without an offset."""

    number: int
    device_id: int
    device: str
    seq: int
    digest: int
    site_id: int
    checkpoint_id: int | None
    person_id: int | None
    hold: Hold | None
    at: Instant
    local: bool
    tag: str
    said: str | None
    cells: Sequence[str]

    @property
    def identity(self) -> str:
        """As people call the record."""
        return str(Identity(self.device, EPOCH, self.seq))


class There(NamedTuple):
    """A record that is kept already."""

    entry_id: int
    digest: int
    person_id: int | None


def there(connection: Connection, row: Row) -> There | None:
    """What is kept under a row's identity."""
    found = _THERE.first(connection, device=row.device_id, epoch=EPOCH, seq=row.seq)
    return None if found is None else There(*found)


_THERE = Prepared(
    select(ENTRY.c.id, ENTRY.c.digest, ENTRY.c.person_id).where(
        ENTRY.c.device_id == bindparam("device"),
        ENTRY.c.epoch == bindparam("epoch"),
        ENTRY.c.seq == bindparam("seq"),
    )
)


class Import(NamedTuple):
    """One import: its action in the door, its span, and when what it bears on is looked at again.

    `wake` lies ahead, so that no round is judged by half a file; `touching.hurry` ends the
    waiting, and should the import be cut short, the rounds are looked at all the same.
    """

    id: int
    arrival_id: int
    now: Instant
    wake: Instant


def begin(connection: Connection, action: NewAction, wake: Instant) -> Import:
    """Write down who imports what; the span between markers is one for all of the file."""
    arrival_id = span_at(connection, action.at, next_id(connection))
    return Import(append_action(connection, action), arrival_id, action.at, wake)


def take(connection: Connection, rows: Sequence[Row], made: Import) -> int:
    """Keep the rows that are not there yet, and note what they bear on; how many."""
    first = next_id(connection)
    entries = [
        EntryRow(
            kind=EntryKind.CHECKIN.value,
            device_id=row.device_id,
            epoch=EPOCH,
            seq=row.seq,
            site_id=row.site_id,
            checkpoint_id=row.checkpoint_id,
            person_id=row.person_id,
            at=row.at,
            sent=None,
            received_at=made.now,
            tag=row.tag,
            via=ViaCode.IMPORT.value,
            digest=row.digest,
            body=_body(row, made.id),
        )
        for row in rows
    ]
    appended = append(connection, entries, first, made.arrival_id)
    again = {*appended.duplicates, *appended.conflicts}
    fresh = [index for index in range(len(rows)) if index not in again]
    doubts: list[dict[str, int]] = []
    for index in fresh:
        doubts += _follow(connection, rows[index], first + index, entries[index], made.wake)
    if doubts:
        connection.execute(insert(DOUBT), doubts)
    return len(fresh)


def _body(row: Row, import_id: int) -> str:
    source = TimeSource.LOCAL if row.local else TimeSource.DEVICE
    said: dict[str, Any] = {
        "import": import_id,
        "row": row.number,
        "time_source": source.value,
    }
    if row.said is not None:
        said["person"] = row.said
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def _follow(
    connection: Connection, row: Row, entry_id: int, entry: EntryRow, wake: Instant
) -> list[dict[str, int]]:
    """What a new read bears on is looked at again; returns around which reads marks may change."""
    _look_again(connection, row.site_id, row.checkpoint_id, row.at, wake)
    doubts = [{"site_id": row.site_id, "at": row.at}]
    if row.hold is not None and row.person_id is not None:
        for read in hold(connection, entry_id, entry, row.person_id, row.hold):
            _look_again(connection, read.site_id, read.checkpoint_id, read.at, wake)
            doubts.append({"site_id": read.site_id, "at": read.at})
    return doubts


def _look_again(
    connection: Connection, site_id: int, checkpoint_id: int | None, at: Instant, wake: Instant
) -> None:
    touching.touch(connection, site_id, at, wake)
    if checkpoint_id is not None:
        touching.touch_alarm(connection, checkpoint_id, wake)
        touching.touch_overrun(connection, checkpoint_id, at, wake)


# A person's word for a file -----------------------------------------------------------------------


def accept(connection: Connection, row: Row, made: Import, *, author: str, reason: str) -> bool:
    """Let a kept row count although it came late; False where it needs nobody's word.

    That is where nothing it could bear on was due when it came, or somebody has decided already.
    """
    found = there(connection, row)
    if found is None or not waits(connection, row):
        return False
    new = NewDecision(
        do=Do.ACCEPT,
        author=author,
        at=made.now,
        reason=reason,
        site_id=row.site_id,
        about=row.identity,
        entry_id=found.entry_id,
    )
    decide(connection, new)
    _look_again(connection, row.site_id, row.checkpoint_id, row.at, made.wake)
    return True


def waits(connection: Connection, row: Row) -> bool:
    """Whether a row is kept, came after something it bears on was due, and nobody has decided."""
    found = there(connection, row)
    if found is None or not _late(connection, found.entry_id, row):
        return False
    return decisions.of_read(connection, found.entry_id, row.identity) is None


def _late(connection: Connection, entry_id: int, row: Row) -> bool:
    received_at = _RECEIVED.first(connection, it=entry_id)
    if received_at is None:
        return False
    span = {
        "since": row.at - LONGEST_QUOTA_MS,
        "until": row.at + LONGEST_EARLY_MS,
        "at": row.at,
        "now": received_at[0],
    }
    return _DUE.first(connection, site=row.site_id, **span) is not None


_RECEIVED = Prepared(select(ENTRY.c.received_at).where(ENTRY.c.id == bindparam("it")))
_DUE = Prepared(
    select(OBLIGATION.c.id)
    .where(
        OBLIGATION.c.site_id == bindparam("site"),
        OBLIGATION.c.opens > bindparam("since"),
        OBLIGATION.c.opens <= bindparam("until"),
        OBLIGATION.c.due > bindparam("at"),
        OBLIGATION.c.due <= bindparam("now"),
    )
    .limit(1)
)


# What cannot be read ------------------------------------------------------------------------------


class Book:
    """Rows in quarantine: each is there once, however often its file is imported."""

    def __init__(self, connection: Connection) -> None:
        query = select(QUARANTINE.c.sha256, QUARANTINE.c.id, QUARANTINE.c.state)
        rows = connection.execute(query.where(QUARANTINE.c.topic == TOPIC))
        self._kept = {row.sha256: (row.id, State(row.state)) for row in rows}
        self._quarantine = QuarantineBook()

    def knows(self, payload: bytes) -> bool:
        """Whether a row is there, or was, and somebody dropped it."""
        found = self._kept.get(_hash(payload))
        return found is not None and found[1] is not State.TAKEN

    def keep(self, connection: Connection, suspect: Suspect, arrival_id: int) -> None:
        """Keep a row that `knows` does not know."""
        self._quarantine.keep(connection, suspect, arrival_id)

    def __bool__(self) -> bool:
        return bool(self._kept)

    def taken(self, connection: Connection, payload: bytes, now: Instant) -> bool:
        """Say that a row could be read after all; whether it was there."""
        found = self._kept.get(_hash(payload))
        if found is None or found[1] in (State.TAKEN, State.DROPPED):
            return False
        done = {"state": State.TAKEN.value, "settled_at": now}
        connection.execute(update(QUARANTINE).where(QUARANTINE.c.id == found[0]).values(done))
        return True


def payload_of(cells: Sequence[str]) -> bytes:
    """A row as quarantine keeps it: its cells as a JSON array."""
    return json.dumps(list(cells), ensure_ascii=False, separators=(",", ":")).encode()


def _hash(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


# What became of the rounds ------------------------------------------------------------------------


class Stand(NamedTuple):
    """How a judged obligation stands; `awake`: it is to be looked at again."""

    key: str
    standing: str
    awake: bool


def stands(
    connection: Connection, spans: Mapping[int, tuple[Instant, Instant]]
) -> dict[int, Stand]:
    """The judged obligations of sites that reads in `[first, last]` may bear on, by their id."""
    found: dict[int, Stand] = {}
    for site_id, (first, last) in spans.items():
        rows = _STANDS.all(
            connection,
            site=site_id,
            since=first - LONGEST_QUOTA_MS,
            until=last + LONGEST_EARLY_MS,
            first=first,
        )
        found |= {
            number: Stand(key, standing, wake is not None) for number, key, standing, wake in rows
        }
    return found


_STANDS = Prepared(
    select(
        OBLIGATION.c.id,
        OBLIGATION.c.key,
        OBLIGATION.c.standing,
        OBLIGATION.c.wake,
    ).where(
        OBLIGATION.c.site_id == bindparam("site"),
        OBLIGATION.c.opens > bindparam("since"),
        OBLIGATION.c.opens <= bindparam("until"),
        OBLIGATION.c.due > bindparam("first"),
        OBLIGATION.c.standing != "pending",
    )
)


def spans_of(rows: Iterable[Row]) -> dict[int, tuple[Instant, Instant]]:
    """By site: the first and the last instant of some rows."""
    found: dict[int, tuple[Instant, Instant]] = {}
    for row in rows:
        first, last = found.get(row.site_id, (row.at, row.at))
        found[row.site_id] = min(first, row.at), max(last, row.at)
    return found
