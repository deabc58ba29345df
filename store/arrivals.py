"""When messages arrived: the spans between markers, and what closing one corrects.

A message lies between the last marker before it in the stream and the first after it, whatever any
clock said and however long we were down. A span is written when the first entry of it is, and closed
by the next marker; only then is it known whether a device's clock ran ahead.
"""

from typing import NamedTuple

from sqlalchemy import Connection, ScalarSelect, func, insert, select, update

from devices.ids import Instant
from rules.clocks import timing
from rules.promises import Trust
from store.entries import EntryKind
from store.tables import Arrival, Correction, Entry

ARRIVAL = Arrival.__table__  # type: ignore[attr-defined]
CORRECTION = Correction.__table__  # type: ignore[attr-defined]
ENTRY = Entry.__table__  # type: ignore[attr-defined]


class Moved(NamedTuple):
    """A read whose time was corrected: where, and when it happened."""

    site_id: int
    checkpoint_id: int | None
    at: Instant


class ArrivalBook:
    """The span that is open now. For the ledger's writer only, within its transaction."""

    def __init__(self, after: Instant) -> None:
        self.after = after
        self._open: int | None = None
        self._latest_sent: Instant = 0
        self.keep()

    def keep(self) -> None:
        """The transaction has committed."""
        self._kept = (self.after, self._open, self._latest_sent)

    def forget(self) -> None:
        """The transaction did not commit: go back to where the last one left off."""
        self.after, self._open, self._latest_sent = self._kept

    def resume(self, connection: Connection) -> None:
        """Go on in the span that a crash left open: the next marker closes it as if nothing had been.

        Only where that marker cannot lie long after: with a simulator's clock, which waits for us.
        """
        left = select(ARRIVAL.c.id).where(ARRIVAL.c.before.is_(None)).order_by(ARRIVAL.c.id.desc())
        self._open = connection.execute(left.limit(1)).scalar()
        if self._open is not None:
            sent = select(func.max(ENTRY.c.sent)).where(ENTRY.c.id >= _first_of(self._open))
            self._latest_sent = connection.execute(sent).scalar() or 0
        self.keep()

    def span(self, connection: Connection, next_entry: int, sent: Instant | None) -> int:
        """The id of the open span, for an entry that is about to be written in it."""
        span = self._open
        if span is None:
            new = insert(ARRIVAL).values(after=self.after, first_entry=next_entry)
            span = self._open = int(connection.execute(new.returning(ARRIVAL.c.id)).scalar_one())
        if sent is not None and sent > self._latest_sent:
            self._latest_sent = sent
        return span

    def close(self, connection: Connection, marker: Instant) -> list[Moved]:
        """A marker came: close the span. Returns the reads that it moved in time.

        The caller has written all entries before the marker.
        """
        before = max(marker, self.after)  # a clock that was set back ends no span before it began
        span, ahead = self._open, self._latest_sent > before
        self.after, self._open, self._latest_sent = before, None, 0
        if span is None:
            return []
        connection.execute(update(ARRIVAL).where(ARRIVAL.c.id == span).values(before=self.after))
        return _correct(connection, span) if ahead else []


def _first_of(span: int) -> ScalarSelect[int]:
    return select(ARRIVAL.c.first_entry).where(ARRIVAL.c.id == span).scalar_subquery()


def close_left_open(connection: Connection, now: Instant) -> list[Moved]:
    """Close the spans a crash left open, at latest now; for the start of the service.

    What was received after them waited with the broker, and lies in spans of its own.
    """
    moved: list[Moved] = []
    left = select(ARRIVAL.c.id, ARRIVAL.c.after, ARRIVAL.c.first_entry).where(
        ARRIVAL.c.before.is_(None)
    )
    for row in connection.execute(left).all():
        newest = select(func.max(ENTRY.c.received_at)).where(
            ENTRY.c.id >= row.first_entry, ENTRY.c.arrival_id == row.id
        )
        before = max(row.after, min(now, connection.execute(newest).scalar() or now))
        connection.execute(update(ARRIVAL).where(ARRIVAL.c.id == row.id).values(before=before))
        moved += _correct(connection, row.id)
    return moved


def _correct(connection: Connection, span: int) -> list[Moved]:
    """Write the third time of every entry of the span whose device's clock was ahead."""
    query = (
        select(
            ENTRY.c.id.label("entry_id"),
            ENTRY.c.site_id,
            ENTRY.c.checkpoint_id,
            ENTRY.c.at,
            ENTRY.c.sent,
            ARRIVAL.c.after,
            ARRIVAL.c.before,
        )
        .join(ARRIVAL, (ARRIVAL.c.id == span) & (ENTRY.c.id >= ARRIVAL.c.first_entry))
        .where(ENTRY.c.arrival_id == span, ENTRY.c.kind == EntryKind.CHECKIN.value)
        .where(ENTRY.c.sent > ARRIVAL.c.before)
    )
    moved: list[Moved] = []
    for row in connection.execute(query).all():
        found = timing(at=row.at, sent=row.sent, after=row.after, before=row.before)
        if found.trust is Trust.AHEAD:
            third = {"entry_id": row.entry_id, "site_id": row.site_id, "at": found.at}
            connection.execute(insert(CORRECTION).values(how=found.trust.value, **third))
            moved.append(Moved(row.site_id, row.checkpoint_id, found.at))
    return moved
