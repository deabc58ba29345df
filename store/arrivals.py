"""When messages arrived: the spans between markers, and what closing one corrects.

A message lies between the last marker before it in the stream and the first after it, whatever any
clock said and however long we were down. A span is written when the first entry of it is, and
closed by the next marker; only then is it known whether a device's clock ran ahead, or is slow.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, ScalarSelect, bindparam, func, insert, select, update

from devices.ids import Instant
from rules.clocks import JITTER, Live, had_arrived, skew, timing
from rules.promises import Trust
from store.entries import EntryKind
from store.lags import Heard, Lags, keep_statuses
from store.prepared import Prepared
from store.tables import Arrival, Correction, Entry, Holding, table_of

ARRIVAL = table_of(Arrival)
CORRECTION = table_of(Correction)
ENTRY = table_of(Entry)
HOLDING = table_of(Holding)


STEPPED_MS = 30_000
"""A marker this much before the last one, in ms, says that our own clock was set back."""


TIMED = (EntryKind.CHECKIN, EntryKind.HAZARD)
"""Kinds of entries whose time is corrected, since something follows from it: verdicts, and how a
case stands. Nothing hangs on the time of a call for help."""


class Moved(NamedTuple):
    """A read, or a step of a case, whose time was corrected: where, when it happened, and what its
    device had told."""

    kind: EntryKind
    site_id: int
    checkpoint_id: int | None
    at: Instant
    told_at: Instant
    entry_id: int


class Closed(NamedTuple):
    """What closing a span showed: what was moved; by device, how wrong its clock is (ms)."""

    moved: Sequence[Moved] = ()
    skews: Sequence[tuple[int, int]] = ()


class ArrivalBook:
    """The span that is open now. For the ledger's writer only, within its transaction."""

    def __init__(self, after: Instant, *, steps: bool = False) -> None:
        """`steps`: markers are our own clock's, which may be set back; ticks never are."""
        self.after = after
        self._steps = steps
        self.lags = Lags()
        self._open: int | None = None
        self._heard: dict[int, Heard] = {}
        self._statuses: list[tuple[int, Instant]] = []
        self._odd: set[int] = set()
        self.keep()

    def keep(self) -> None:
        """The transaction has committed."""
        heard, statuses = dict(self._heard), list(self._statuses)
        self._kept = (self.after, self._open, set(self._odd), heard, statuses)

    def forget(self) -> None:
        """The transaction did not commit: go back to where the last one left off."""
        self.after, self._open, odd, heard, statuses = self._kept
        self._odd, self._heard, self._statuses = set(odd), dict(heard), list(statuses)
        self.lags.forget()

    def resume(self, connection: Connection) -> None:
        """Go on in the span that a crash left open: the next marker closes it as if nothing had
        been.

        Only where that marker cannot lie long after: with a simulator's clock, which waits for us.
        """
        left = select(ARRIVAL.c.id).where(ARRIVAL.c.before.is_(None)).order_by(ARRIVAL.c.id.desc())
        self._open = connection.execute(left.limit(1)).scalar()
        if self._open is not None:
            told = select(ENTRY.c.device_id, ENTRY.c.sent).where(
                ENTRY.c.id >= _first_of(self._open),
                ENTRY.c.arrival_id == self._open,
                ENTRY.c.sent.is_not(None),
            )
            for device_id, sent in connection.execute(told):
                self.hear(device_id, Heard(sent, sent, 1), odd=True)
        self.keep()

    def span(self, connection: Connection, next_entry: int) -> int:
        """The id of the open span, for an entry that is about to be written in it with an id of
        `next_entry` or above."""
        span = self._open
        if span is None:
            ((number,),) = _BEGIN.all(connection, after=self.after, first_entry=next_entry)
            span = self._open = int(number)
        return span

    def hear(self, device_id: int, told: Heard, *, odd: bool = False) -> None:
        """New live messages of the span. `odd`: an uptime contradicts its clock."""
        heard = self._heard.get(device_id)
        self._heard[device_id] = told if heard is None else heard.and_(told)
        if odd:
            self._odd.add(device_id)

    def hear_status(self, device_id: int, sent: Instant) -> None:
        """A live status of the span: it tells of the clock, and is kept for that alone."""
        self.hear(device_id, Heard(sent, sent, 1))
        self._statuses.append((device_id, sent))

    def close(self, connection: Connection, marker: Instant, came: Instant | None = None) -> Closed:
        """A marker came back at `came`: close the span. A tick comes when it is.

        The caller has written all entries before the marker.
        """
        after, until = self.after, marker if came is None else had_arrived(marker, came)
        before = max(until, after)  # a clock set back ends no span early
        set_back = self._steps and marker < after - STEPPED_MS
        if marker <= after and not set_back:
            return Closed()  # a copy: the broker sends again what a crash left unacknowledged
        span, heard, statuses, odd = self._open, self._heard, self._statuses, self._odd
        self.after, self._open, self._odd = marker, None, set()
        if not heard and span is None:
            return Closed()
        self._heard, self._statuses = {}, []
        self.lags.learn(connection, after, before, heard)
        if statuses:
            keep_statuses(connection, after, before, statuses)
        wrong = any(_outside(told, after, before) for told in heard.values())
        moved: list[Moved] = []
        if span is not None:
            _END.run(connection, span=span, before=before)
            moved = _correct(connection, span, self.lags, odd) if wrong or odd else []
        return Closed(moved, self._skews(connection, after, before, heard))

    def _skews(
        self, connection: Connection, after: Instant, before: Instant, heard: dict[int, Heard]
    ) -> list[tuple[int, int]]:
        found = []
        for device_id, told in heard.items():
            live: Sequence[Live] = ()
            if told.latest < after - JITTER:
                live = self.lags.of(connection, device_id, after)
            wrong = skew((told.earliest, told.latest), after, before, live)
            if wrong is not None:
                found.append((device_id, wrong))
        return found


_BEGIN = Prepared(insert(ARRIVAL).returning(ARRIVAL.c.id), columns=("after", "first_entry"))
_END = Prepared(update(ARRIVAL).where(ARRIVAL.c.id == bindparam("span")), columns=("before",))


def _outside(told: Heard, after: Instant, before: Instant) -> bool:
    return told.earliest < after - JITTER or told.latest > before


def _first_of(span: int) -> ScalarSelect[int]:
    return select(ARRIVAL.c.first_entry).where(ARRIVAL.c.id == span).scalar_subquery()


def close_left_open(connection: Connection, now: Instant, lags: Lags) -> list[Moved]:
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
        moved += _correct(connection, row.id, lags)
    return moved


class _Uptime(msgspec.Struct):
    """What a body says of its device's uptime."""

    up: int | None = None
    sent_up: int | None = None


_uptime = msgspec.json.Decoder(_Uptime).decode


def _correct(
    connection: Connection, span: int, lags: Lags, odd: Collection[int] | None = None
) -> list[Moved]:
    """Write the third time of what the span has of `TIMED` and a device whose clock was wrong.

    `odd`: the devices of which an uptime contradicts the clock; None: it may be any of them.
    """
    here = (ARRIVAL.c.id == span) & (ENTRY.c.id >= ARRIVAL.c.first_entry)
    query = (
        select(*_TOLD)
        .join(ARRIVAL, here)
        .where(ENTRY.c.arrival_id == span, ENTRY.c.kind.in_(TIMED))
    )
    if odd is not None:
        query = query.where(_OUTSIDE | ENTRY.c.device_id.in_(odd))
    return _correct_rows(connection, connection.execute(query).all(), lags)


def span_at(connection: Connection, received_at: Instant, next_entry: int) -> int:
    """A span of its own for what came in then, where none was noted: as short as it can be."""
    values = {"after": received_at, "before": received_at, "first_entry": next_entry}
    new = insert(ARRIVAL).values(values).returning(ARRIVAL.c.id)
    return int(connection.execute(new).scalar_one())


def correct_entry(connection: Connection, entry_id: int, lags: Lags) -> Moved | None:
    """Correct one entry whose span has closed already: it waited in quarantine."""
    query = select(*_TOLD).join(ARRIVAL, ARRIVAL.c.id == ENTRY.c.arrival_id)
    query = query.where(ENTRY.c.id == entry_id, ENTRY.c.kind.in_(TIMED))
    rows = connection.execute(query.where(ARRIVAL.c.before.is_not(None)))
    return next(iter(_correct_rows(connection, rows.all(), lags)), None)


_TOLD = (
    ENTRY.c.id.label("entry_id"),
    ENTRY.c.kind,
    ENTRY.c.device_id,
    ENTRY.c.site_id,
    ENTRY.c.checkpoint_id,
    ENTRY.c.at,
    ENTRY.c.sent,
    ENTRY.c.body,
    ARRIVAL.c.after,
    ARRIVAL.c.before,
)


_OUTSIDE = (ENTRY.c.sent < ARRIVAL.c.after - JITTER) | (ENTRY.c.sent > ARRIVAL.c.before)


def _correct_rows(
    connection: Connection, rows: Iterable[Row[*tuple[Any, ...]]], lags: Lags
) -> list[Moved]:
    """Write the third time of entries where their devices' own cannot stand."""
    moved: list[Moved] = []
    thirds: list[dict[str, object]] = []
    for row in rows:
        if row.sent is None:
            continue
        late = row.sent < row.after - JITTER
        live = lags.of(connection, row.device_id, row.after) if late else ()
        found = timing(row.at, row.sent, row.after, row.before, live, _age(row.body))
        if found.trust in (Trust.TRUSTED, Trust.UNPROVEN):
            continue
        third = {"entry_id": row.entry_id, "site_id": row.site_id, "at": found.at}
        thirds.append({**third, "how": found.trust.value})
        if row.checkpoint_id is None:
            _HOLDS.run(connection, it=row.entry_id, at=found.at)
        where = (EntryKind(row.kind), row.site_id, row.checkpoint_id)
        moved.append(Moved(*where, found.at, row.at, row.entry_id))
    if thirds:
        connection.execute(insert(CORRECTION), thirds)
    return moved


_HOLDS = Prepared(
    update(HOLDING).where(HOLDING.c.entry_id == bindparam("it")).values(at=bindparam("at"))
)


def _age(body: str | None) -> int | None:
    """How old a record was when it was sent, where it counts its uptime."""
    if body is None or '"sent_up"' not in body:
        return None
    told = _uptime(body)
    if told.up is None or told.sent_up is None or told.sent_up < told.up:
        return None
    return told.sent_up - told.up
