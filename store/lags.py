"""What devices' clocks said of late: for each device its live messages of the last ten minutes.

Held in memory by the ledger's writer, and made again from entries and `status_clock` after a start
or a transaction that failed: the same messages tell the same, whoever asks (laws 3 and 8).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from devices.ids import Instant
from rules.clocks import LIVE_SPAN, RECENT, Live
from store.tables import Arrival, Entry, StatusClock, table_of

ARRIVAL = table_of(Arrival)
ENTRY = table_of(Entry)
STATUS = table_of(StatusClock)

SWEEP = 2_000
"""Devices that are remembered before those that fell silent are looked for."""


class Heard(NamedTuple):
    """What one device sent in a span: the earliest and the latest `sent`, and how many."""

    earliest: Instant
    latest: Instant
    messages: int

    def and_(self, other: "Heard") -> "Heard":
        """With other messages."""
        earliest, latest = min(self.earliest, other.earliest), max(self.latest, other.latest)
        return Heard(earliest, latest, self.messages + other.messages)


class Lags:
    """For the ledger's writer only, within its transaction."""

    def __init__(self) -> None:
        self._live: dict[int, list[Live]] | None = None

    def forget(self) -> None:
        """The transaction did not commit: what is known is read again."""
        self._live = None

    def learn(
        self, connection: Connection, after: Instant, before: Instant, heard: Mapping[int, Heard]
    ) -> None:
        """A span has closed in which these devices sent something."""
        live = self._known(connection, after)
        if before - after > LIVE_SPAN:
            return
        for device_id, told in heard.items():
            lags = live.setdefault(device_id, [])
            lags.append(Live(after, after - told.latest, after - told.earliest, told.messages))
            if lags[0].after < after - RECENT:
                lags[:] = _recent(lags, after)
        if len(live) > SWEEP:
            _sweep(live, after)

    def of(self, connection: Connection, device_id: int, after: Instant) -> Sequence[Live]:
        """The device's live messages of the ten minutes up to the span that began at `after`."""
        return _recent(self._known(connection, after).get(device_id, ()), after)

    def _known(self, connection: Connection, after: Instant) -> dict[int, list[Live]]:
        if self._live is None:
            self._live = _load(connection, after)
        return self._live


def keep_statuses(
    connection: Connection, after: Instant, before: Instant, told: Sequence[tuple[int, Instant]]
) -> None:
    """Write what statuses of a span said; what is older than anybody asks goes."""
    rows = [
        {"device_id": device_id, "after": after, "before": before, "sent": sent}
        for device_id, sent in told
    ]
    connection.execute(insert(STATUS), rows)
    connection.execute(delete(STATUS).where(STATUS.c.after < after - 2 * RECENT))


def _recent(lags: Iterable[Live], after: Instant) -> list[Live]:
    return [live for live in lags if after - RECENT <= live.after <= after]


def _sweep(live: dict[int, list[Live]], after: Instant) -> None:
    silent = [device for device, lags in live.items() if lags[-1].after < after - RECENT]
    for device in silent:
        del live[device]


def _load(connection: Connection, after: Instant) -> dict[int, list[Live]]:
    found: dict[int, list[Live]] = {}
    for query in (_OF_ENTRIES, _OF_STATUSES):
        span = {"since": after - RECENT, "until": after}
        for device_id, *live in connection.execute(query, span):
            found.setdefault(device_id, []).append(Live(*live))
    for lags in found.values():
        lags.sort()
    return found


_LATELY = (
    (ARRIVAL.c.after >= bindparam("since"))
    & (ARRIVAL.c.after < bindparam("until"))
    & (ARRIVAL.c.before - ARRIVAL.c.after <= LIVE_SPAN)
)
_FIRST = select(func.min(ARRIVAL.c.first_entry)).where(_LATELY).scalar_subquery()
_TOLD = (
    select(
        ENTRY.c.device_id,
        ENTRY.c.arrival_id,
        func.max(ENTRY.c.sent).label("latest"),
        func.min(ENTRY.c.sent).label("earliest"),
        func.count().label("messages"),
    )
    .where(ENTRY.c.id >= _FIRST, ENTRY.c.sent.is_not(None))
    # an expression: else SQLite goes through all entries that ever were, in the order of a device's
    .group_by(ENTRY.c.device_id + 0, ENTRY.c.arrival_id)
    .cte("told")
    .prefix_with("MATERIALIZED")
)
_OF_ENTRIES = (
    select(
        _TOLD.c.device_id,
        ARRIVAL.c.after,
        ARRIVAL.c.after - _TOLD.c.latest,
        ARRIVAL.c.after - _TOLD.c.earliest,
        _TOLD.c.messages,
    )
    .select_from(_TOLD.join(ARRIVAL, ARRIVAL.c.id == _TOLD.c.arrival_id))
    .where(_LATELY)
)
_OF_STATUSES = (
    select(
        STATUS.c.device_id,
        STATUS.c.after,
        STATUS.c.after - func.max(STATUS.c.sent),
        STATUS.c.after - func.min(STATUS.c.sent),
        func.count(),
    )
    .where(STATUS.c.after >= bindparam("since"), STATUS.c.after < bindparam("until"))
    .where(STATUS.c.before - STATUS.c.after <= LIVE_SPAN)
    .group_by(STATUS.c.device_id, STATUS.c.after)
)
