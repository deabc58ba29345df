"""Which events a silence keeps from being told. It stands behind the outbox: no verdict, no event
and no listing is another because of it.

Held while the silence lasts; then what has ended meanwhile is dropped, and what still is open is
told once, as it stands. What is critical is never held.
"""

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
)

from devices.ids import Instant
from devices.messages import EventState, Severity
from store.prepared import Prepared
from store.spans import SILENCE
from store.tables import EventRow, Outbox, table_of

EVENT = table_of(EventRow)
OUTBOX = table_of(Outbox)


def held(now: Instant | ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a silence holds now that covers the event of an outbox row."""
    return exists().where(_covers(), SILENCE.c.since <= now, SILENCE.c.until > now)


def any_ended(connection: Connection, since: Instant, now: Instant) -> bool:
    """Whether a silence ended in `(since, now]`."""
    return _ENDED.first(connection, since=since, now=now) is not None


_ENDED = Prepared(
    select(SILENCE.c.id)
    .where(SILENCE.c.until > bindparam("since"), SILENCE.c.until <= bindparam("now"))
    .limit(1)
)


def drop_over(connection: Connection, now: Instant) -> int:
    """Forget what was held by a silence that has ended, but for what is still open; how many.

    Of an event that is open the revision that holds is kept, and told.
    """
    ended = exists().where(
        _covers(),
        SILENCE.c.since <= EVENT.c.raised_at,
        SILENCE.c.until > EVENT.c.raised_at,
        SILENCE.c.until <= now,
    )
    later = EVENT.alias()
    newest = (
        select(func.max(later.c.revision))
        .where(later.c.kind == EVENT.c.kind, later.c.subject == EVENT.c.subject)
        .correlate(EVENT)
        .scalar_subquery()
    )
    over = or_(EVENT.c.state == EventState.RESOLVED.value, EVENT.c.revision < newest)
    waiting = EVENT.c.id.in_(select(OUTBOX.c.event_row))
    rows = select(EVENT.c.id).where(waiting, ended, over)
    query = delete(OUTBOX).where(OUTBOX.c.event_row.in_(rows))
    return connection.execute(query).rowcount


def _covers() -> ColumnElement[bool]:
    """Whether a silence is about an event: of its kind, its site, or both."""
    return and_(
        EVENT.c.severity != Severity.CRITICAL.value,
        or_(SILENCE.c.kind.is_(None), SILENCE.c.kind == EVENT.c.kind),
        or_(SILENCE.c.site_id.is_(None), SILENCE.c.site_id == EVENT.c.site_id),
    )
