"""Quarantine: what could not be read or placed is kept byte for byte, within a bound for each
device.

Beyond `MAX_ENTRIES` or `MAX_BYTES` a device and day, one row a reason counts the rest: how many, a
hash over all of them in turn, and the first 256 bytes of the first.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from devices.ids import Instant
from devices.reasons import Reason
from store.prepared import Prepared
from store.tables import Quarantine, table_of

QUARANTINE = table_of(Quarantine)

MAX_ENTRIES = 1_000  # contract §2, bad input
MAX_BYTES = 16 * 1024 * 1024
TRACE_BYTES = 256
DAY_MS = 86_400_000


class State(StrEnum):
    """What became of an entry. Asked: somebody wants it taken after all; the service will see."""

    KEPT = "kept"
    ASKED = "asked"
    TAKEN = "taken"
    DUPLICATE = "duplicate"
    STALE = "stale"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An entry that is to be taken again, as it came in."""

    id: int
    topic: str
    payload: bytes
    received_at: Instant
    arrival_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """Something that came in and could not be taken: where from, why, and its bytes.

    `bucket` is whose daily bound it counts against: a registered device's slug, or "" for
    strangers.
    """

    topic: str
    site: str | None
    device: str | None
    bucket: str
    epoch: int | None
    seq: int | None
    reason: Reason
    detail: str
    received_at: Instant
    payload: bytes


@dataclass(slots=True)
class _Trace:
    """The row that counts what a bucket's day holds no more: all of one reason."""

    id: int
    sha256: str


class QuarantineBook:
    """Keeps suspects and remembers how full each bucket of the day is. For the ledger's writer
    only.

    Somebody who sends rubbish must not slow down the others: a suspect costs a few prepared
    statements, like a record.
    """

    def __init__(self) -> None:
        self._used: dict[tuple[str, int], tuple[int, int]] = {}
        self._traces: dict[tuple[str, int, Reason], _Trace] = {}

    def forget(self) -> None:
        """Drop what is remembered: the transaction it came from did not commit."""
        self._used.clear()
        self._traces.clear()

    def keep(self, connection: Connection, suspect: Suspect, arrival: int | None = None) -> bool:
        """Keep one suspect; False when it is there already. `arrival`: the span it came in."""
        sha256 = hashlib.sha256(suspect.payload).hexdigest()
        if _known(connection, suspect, sha256):
            return False
        day = suspect.received_at // DAY_MS
        entries, size = self._room(connection, suspect.bucket, day)
        if entries >= MAX_ENTRIES or size + len(suspect.payload) > MAX_BYTES:
            self._count(connection, suspect, day)
            return True
        _INSERT.run(connection, **_row(suspect, day, sha256) | {"arrival_id": arrival})
        self._used[suspect.bucket, day] = entries + 1, size + len(suspect.payload)
        return True

    def _room(self, connection: Connection, bucket: str, day: int) -> tuple[int, int]:
        used = self._used.get((bucket, day))
        if used is None:
            if len(self._used) > MAX_ENTRIES:
                self._used.clear()
                self._traces.clear()
            found = _ROOM.first(connection, bucket=bucket, day=day) or (0, 0)
            used = self._used[bucket, day] = found[0], found[1]
        return used

    def _count(self, connection: Connection, suspect: Suspect, day: int) -> None:
        """Beyond the bound: how many, and a hash over all of them in turn."""
        key = (suspect.bucket, day, suspect.reason)
        trace = self._traces.get(key) or _trace_of(connection, *key)
        before = "" if trace is None else trace.sha256
        chained = hashlib.sha256(before.encode() + suspect.payload).hexdigest()
        if trace is None:
            row = _row(suspect, day, chained) | {"whole": False, "arrival_id": None}
            row |= {"epoch": None, "seq": None, "payload": suspect.payload[:TRACE_BYTES]}
            _INSERT.run(connection, **row)
            return
        size = len(suspect.payload)
        _ONE_MORE.run(connection, trace=trace.id, more=size, chained=chained)
        trace.sha256 = chained
        self._traces[key] = trace


def _trace_of(connection: Connection, bucket: str, day: int, reason: Reason) -> _Trace | None:
    found = _TRACE.first(connection, bucket=bucket, day=day, reason=reason.value)
    return None if found is None else _Trace(*found)


def _row(suspect: Suspect, day: int, sha256: str) -> dict[str, Any]:
    return {
        "topic": suspect.topic,
        "site": suspect.site,
        "device": suspect.device,
        "bucket": suspect.bucket,
        "epoch": suspect.epoch,
        "seq": suspect.seq,
        "reason": suspect.reason.value,
        "detail": suspect.detail,
        "received_at": suspect.received_at,
        "day": day,
        "size": len(suspect.payload),
        "sha256": sha256,
        "payload": suspect.payload,
        "whole": True,
        "copies": 1,
        "state": State.KEPT.value,
    }


def _known(connection: Connection, suspect: Suspect, sha256: str) -> bool:
    """Whether it was told before: by identity and reason where it has one, else by its bytes."""
    if suspect.seq is not None:
        same = {"device": suspect.device, "epoch": suspect.epoch, "seq": suspect.seq}
        return _SAME.first(connection, **same, reason=suspect.reason.value) is not None
    return _AGAIN.run(connection, hash=sha256, where=suspect.topic) > 0


_INSERT = Prepared(
    insert(QUARANTINE),
    [column.name for column in QUARANTINE.columns if column.name not in ("id", "settled_at")],
)
_IN_BUCKET = (QUARANTINE.c.bucket == bindparam("bucket")) & (QUARANTINE.c.day == bindparam("day"))
_ROOM = Prepared(
    select(func.count(), func.coalesce(func.sum(QUARANTINE.c.size), 0)).where(
        _IN_BUCKET, QUARANTINE.c.whole
    )
)
_TRACE = Prepared(
    select(QUARANTINE.c.id, QUARANTINE.c.sha256).where(
        _IN_BUCKET, QUARANTINE.c.reason == bindparam("reason"), QUARANTINE.c.whole.is_(False)
    )
)
_ONE_MORE = Prepared(
    update(QUARANTINE)
    .where(QUARANTINE.c.id == bindparam("trace"))
    .values(
        copies=QUARANTINE.c.copies + 1,
        size=QUARANTINE.c.size + bindparam("more"),
        sha256=bindparam("chained"),
    )
)
_SAME = Prepared(
    select(QUARANTINE.c.id).where(
        QUARANTINE.c.device == bindparam("device"),
        QUARANTINE.c.epoch == bindparam("epoch"),
        QUARANTINE.c.seq == bindparam("seq"),
        QUARANTINE.c.reason == bindparam("reason"),
    )
)
_AGAIN = Prepared(
    update(QUARANTINE)
    .where(
        QUARANTINE.c.sha256 == bindparam("hash"),
        QUARANTINE.c.topic == bindparam("where"),
        QUARANTINE.c.whole,
    )
    .values(copies=QUARANTINE.c.copies + 1)
)


# Taken after all, or dropped ---------------------------------------------------------------------


def chosen(
    connection: Connection, ids: Sequence[int], reason: str | None, site: str | None
) -> list[int]:
    """The whole entries still kept that have one of the ids, or that reason (at that site)."""
    query = select(QUARANTINE.c.id).where(QUARANTINE.c.whole)
    query = query.where(QUARANTINE.c.state.in_([State.KEPT.value, State.ASKED.value]))
    if ids:
        query = query.where(QUARANTINE.c.id.in_(list(ids)))
    if reason is not None:
        query = query.where(QUARANTINE.c.reason == reason)
    if site is not None:
        query = query.where(QUARANTINE.c.site == site)
    return list(connection.execute(query.order_by(QUARANTINE.c.id)).scalars())


def settle(connection: Connection, id_: int, state: State, now: Instant | None) -> None:
    """Say what became of an entry. The bytes of one that is dropped go; its hash stays."""
    values: dict[str, Any] = {"state": state.value, "settled_at": now}
    if state is State.DROPPED:
        values["payload"] = b""
    connection.execute(update(QUARANTINE).where(QUARANTINE.c.id == id_).values(values))


def asked(connection: Connection, limit: int) -> list[Asked]:
    """The oldest entries that are to be taken again."""
    query = (
        select(
            QUARANTINE.c.id,
            QUARANTINE.c.topic,
            QUARANTINE.c.payload,
            QUARANTINE.c.received_at,
            QUARANTINE.c.arrival_id,
        )
        .where(QUARANTINE.c.state == "asked")
        .order_by(QUARANTINE.c.id)
        .limit(limit)
    )
    return [Asked(**row) for row in connection.execute(query).mappings()]


def states(connection: Connection, ids: Sequence[int]) -> dict[int, State]:
    """What became of some entries."""
    query = select(QUARANTINE.c.id, QUARANTINE.c.state).where(QUARANTINE.c.id.in_(list(ids)))
    return {row.id: State(row.state) for row in connection.execute(query)}
