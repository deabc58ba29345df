"""Coverage of each (device, epoch): what receipts may claim, kept in step with what is on disk."""

import json
from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from devices.coverage import NOTHING
from devices.coverage import Coverage as Covered
from devices.ids import Instant
from store.prepared import Prepared
from store.tables import Coverage, Device, DeviceState, table_of

COVERAGE = table_of(Coverage)
DEVICE = table_of(Device)
STATE = table_of(DeviceState)

Key = tuple[str, int]
"""A device's slug and one of its epochs."""

REMEMBERED = 50_000
"""Coverages held in memory between transactions; what is let go is read again when it is needed."""

MAX_STRANGERS = 10_000
"""How many (device, epoch) that no registry knows get receipts; a flood of names gets no more."""


class OfDevice(NamedTuple):
    """What of a registered device's present epoch is kept."""

    device_id: int
    slug: str
    epoch: int
    covered: Covered


class CoverageBook:
    """Coverages by (device, epoch), written behind. For the ledger's writer only.

    `flush` belongs into the transaction that holds the records; after a rollback, `forget`.
    """

    def __init__(self) -> None:
        self._covered: dict[Key, Covered] = {}
        self._dirty: set[Key] = set()
        self._strangers: set[Key] = set()
        self._guessed: set[Key] = set()

    def forget(self) -> None:
        """Drop what is remembered: the transaction it came from did not commit."""
        self._covered.clear()
        self._dirty.clear()
        self._guessed.clear()

    def add(
        self, connection: Connection, key: Key, seqs: Iterable[int], *, stranger: bool = False
    ) -> Collection[int]:
        """Count records as kept. Returns those that counted already: told before, or lost.

        The first one seen says nothing of where counting starts: what is below it may be under way
        in another session, or have gone with the broker. It stays missing until a status says that
        its device does not hold it.
        """
        if stranger and not self._admit(key):
            return ()
        covered = self._load(connection, key)
        if covered is None:
            covered = self._covered[key] = Covered.opening_at(0)
            self._guessed.add(key)
        self._dirty.add(key)
        again: set[int] = set()
        for seq in seqs:
            if seq <= covered.upto and seq in covered:
                again.add(seq)
            else:
                covered.add(seq)
        return again

    def born(self, connection: Connection, key: Key, oldest: int) -> list[tuple[int, int]]:
        """Hear a birth: below `oldest` the device holds nothing. Returns the ranges lost for good.

        What lies below the first record seen is none of them: it was never known to be there.
        """
        covered = self._load(connection, key)
        self._dirty.add(key)
        if covered is None:
            self._covered[key] = Covered.opening_at(oldest)
            return []
        covered.open_below(oldest)
        lost = covered.close_below(oldest)
        if key in self._guessed:
            self._guessed.discard(key)
            return [gap for gap in lost if gap[0] > 0]
        return lost

    def view(self, connection: Connection, key: Key) -> tuple[int, tuple[tuple[int, int], ...]]:
        """What a receipt says: `upto` and the missing ranges."""
        covered = self._load(connection, key)
        return (NOTHING, ()) if covered is None else covered.receipt_view()

    def flush(self, connection: Connection, now: Instant) -> None:
        """Write what has changed since the last flush."""
        if not self._dirty:
            return
        rows = [
            (*key, _encode(covered.to_state() | {"guessed": key in self._guessed}), now)
            for key in self._dirty
            if (covered := self._covered.get(key)) is not None
        ]
        connection.exec_driver_sql(_UPSERT, rows)
        self._dirty.clear()
        if len(self._covered) > REMEMBERED:
            self._covered.clear()
            self._guessed.clear()

    def _admit(self, key: Key) -> bool:
        if key not in self._strangers and len(self._strangers) < MAX_STRANGERS:
            self._strangers.add(key)
        return key in self._strangers

    def _load(self, connection: Connection, key: Key) -> Covered | None:
        covered = self._covered.get(key)
        if covered is None:
            row = _STATE.first(connection, device=key[0], epoch=key[1])
            if row is not None:
                state = row[0]
                covered = self._covered[key] = Covered.from_state(state)
                if state.get("guessed"):
                    self._guessed.add(key)
        return covered


_STATE = Prepared(
    select(COVERAGE.c.state).where(
        COVERAGE.c.device == bindparam("device"), COVERAGE.c.epoch == bindparam("epoch")
    )
)
_encode = json.JSONEncoder(separators=(",", ":")).encode
# a row for each device of each batch: as it goes to the driver, without a detour
_UPSERT = (
    "INSERT INTO coverage (device, epoch, state, touched_at) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (device, epoch) DO UPDATE "
    "SET state = excluded.state, touched_at = excluded.touched_at"
)


def of_devices(connection: Connection, after: int, limit: int) -> list[OfDevice]:
    """The next `limit` registered devices by id, less those of which nothing is kept yet."""
    rows = connection.execute(_OF_DEVICES, {"after": after, "limit": limit})
    return [OfDevice(row.id, row.slug, row.epoch, Covered.from_state(row.state)) for row in rows]


_OF_DEVICES = (
    select(DEVICE.c.id, DEVICE.c.slug, COVERAGE.c.epoch, COVERAGE.c.state)
    .outerjoin(STATE, STATE.c.device_id == DEVICE.c.id)
    .join(
        COVERAGE,
        (COVERAGE.c.device == DEVICE.c.slug)
        & (COVERAGE.c.epoch == func.coalesce(STATE.c.epoch, 0)),
    )
    .where(DEVICE.c.id > bindparam("after"), DEVICE.c.retired_at.is_(None))
    .order_by(DEVICE.c.id)
    .limit(bindparam("limit"))
)
