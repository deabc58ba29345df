"""Events as the ledger keeps them: every change of state a new revision, told on through the
outbox.

The revision counts on from the highest of its (kind, subject). A unique key over the three makes
two writers unable to tell the same change twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, func, insert, select

from devices.ids import Instant
from rules.events import EventState, Notice, Severity, event_id
from store.entries import NewAction, append_action
from store.prepared import Prepared
from store.silencing import held
from store.tables import EventRow, Outbox, Site, table_of

EVENT = table_of(EventRow)
OUTBOX = table_of(Outbox)
SITE = table_of(Site)

MQTT = "mqtt"
HELD = "held"
"""Events of what came due in a gap of our own, until it is known whether they are a storm."""

ACKNOWLEDGED = "acknowledged"
RANKS = {severity: rank for rank, severity in enumerate(Severity)}


class UnknownEvent(LookupError):  # noqa: N818  (the operator's message)
    """No event has this id: copy it from `gridbeat event list`."""


class EventResolved(ValueError):  # noqa: N818  (the operator's message)
    """The event has ended by itself; there is nothing left to acknowledge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """An event the outbox still has to tell on its channel."""

    outbox_id: int
    event: Mapping[str, Any]


_LATEST = Prepared(
    select(EVENT)
    .where(EVENT.c.kind == bindparam("kind"), EVENT.c.subject == bindparam("subject"))
    .order_by(EVENT.c.revision.desc())
    .limit(1)
)
_SITE_ID = Prepared(select(SITE.c.id).where(SITE.c.slug == bindparam("slug")))
_COLUMNS = [column.name for column in EVENT.c]
_RAISE = Prepared(
    insert(EVENT).returning(EVENT.c.id), columns=[name for name in _COLUMNS if name != "id"]
)
_TELL = Prepared(insert(OUTBOX), columns=("channel", "rank", "event_row"))


def raise_notices(
    connection: Connection, notices: Iterable[Notice], now: Instant, channel: str = MQTT
) -> int:
    """Write each notice that says something new as the next revision of its event.

    Returns how many were written. A notice that says what its event already says is nothing new;
    one that opens an acknowledged event again leaves it acknowledged.
    """
    written = 0
    for notice in notices:
        latest = _latest(connection, notice.kind, notice.subject)
        state, data = _next_state(latest, notice), _next_data(latest, notice)
        if latest is not None and (state, data) == (latest["state"], latest["data"]):
            continue
        _write(
            connection,
            {
                "kind": notice.kind,
                "severity": notice.severity,
                "site_id": _site_id(connection, notice.site),
                "subject": notice.subject,
                "at": notice.at,
                "raised_at": now,
                "revision": 1 if latest is None else latest["revision"] + 1,
                "state": state,
                "message": {"zh": notice.message_zh, "en": notice.message_en},
                "data": data,
            },
            None if notice.quiet else channel,
        )
        written += 1
    return written


def open_events(connection: Connection, kind: str) -> dict[str, Instant]:
    """The subjects of a kind whose latest revision is not resolved, with when it became true."""
    later = EVENT.alias()
    newest = select(func.max(later.c.revision)).where(
        later.c.kind == EVENT.c.kind, later.c.subject == EVENT.c.subject
    )
    query = select(EVENT.c.subject, EVENT.c.at).where(
        EVENT.c.kind == kind,
        EVENT.c.state != EventState.RESOLVED.value,
        EVENT.c.revision == newest.correlate(EVENT).scalar_subquery(),
    )
    return {row.subject: row.at for row in connection.execute(query)}


def acknowledge(
    connection: Connection, id_: str, *, author: str, note: str, now: Instant
) -> Mapping[str, Any]:
    """Record that `author` has taken notice of an event, and tell so; returns its new revision.

    `id_` is the id of any revision of the event. Raises `UnknownEvent`, or `EventResolved` when it
    has ended. Acknowledging again adds another note.
    """
    asked = connection.execute(select(EVENT).where(EVENT.c.event_id == id_)).mappings().first()
    if asked is None:
        raise UnknownEvent(f"no event has the id {id_!r}: copy it from `gridbeat event list`")
    latest = _latest(connection, asked["kind"], asked["subject"])
    if latest is None or latest["state"] == EventState.RESOLVED:
        raise EventResolved(
            f"{asked['kind']} of {asked['subject']} is resolved; nothing is left to acknowledge"
        )
    action = {"do": "acknowledge", "kind": asked["kind"], "subject": asked["subject"], "note": note}
    append_action(
        connection, NewAction(author=author, at=now, site_id=asked["site_id"], body=action)
    )
    columns = ("kind", "severity", "site_id", "subject", "at", "message")
    taken = {"by": author, "at": now, "note": note}
    return _write(
        connection,
        {name: latest[name] for name in columns}
        | {
            "raised_at": now,
            "revision": latest["revision"] + 1,
            "state": EventState.ACKNOWLEDGED.value,
            "data": {**latest["data"], ACKNOWLEDGED: taken},
        },
    )


def pending(
    connection: Connection, channel: str, limit: int, now: Instant | None = None
) -> list[Pending]:
    """What `channel` has not been told yet, the gravest first, then the oldest.

    With `now`, without what a silence holds back.
    """
    asked = {"channel": channel, "most": limit}
    if now is None:
        rows = _PENDING.all(connection, **asked)
    else:
        rows = _PENDING_UNHELD.all(connection, now=now, **asked)
    names = ("site", *_COLUMNS)
    return [Pending(outbox_id=row[0], event=dict(zip(names, row[1:], strict=True))) for row in rows]


_WAITING = (
    select(OUTBOX.c.id.label("outbox_id"), SITE.c.slug.label("site"), EVENT)
    .join(EVENT, EVENT.c.id == OUTBOX.c.event_row)
    .outerjoin(SITE, SITE.c.id == EVENT.c.site_id)
    .where(OUTBOX.c.channel == bindparam("channel"))
    .order_by(OUTBOX.c.rank, OUTBOX.c.event_row)
    .limit(bindparam("most", type_=Integer))
)
_PENDING = Prepared(_WAITING)
_PENDING_UNHELD = Prepared(_WAITING.where(~held(bindparam("now", type_=Integer))))


def told(connection: Connection, outbox_ids: Iterable[int]) -> None:
    """Forget outbox rows whose channel has taken them."""
    ids = [(number,) for number in outbox_ids]
    if ids:
        connection.exec_driver_sql("DELETE FROM outbox WHERE id = ?", ids)


def outbox_depth(connection: Connection) -> int:
    """How many events wait to be told, on all channels."""
    return connection.execute(select(func.count()).select_from(OUTBOX)).scalar_one()


def _latest(connection: Connection, kind: str, subject: str) -> Mapping[str, Any] | None:
    found = _LATEST.first(connection, kind=kind, subject=subject)
    return None if found is None else dict(zip(_COLUMNS, found, strict=True))


def _next_state(latest: Mapping[str, Any] | None, notice: Notice) -> str:
    again = latest is not None and latest["state"] == EventState.ACKNOWLEDGED
    if again and notice.state == EventState.OPEN:
        return EventState.ACKNOWLEDGED.value
    return notice.state.value


def _next_data(latest: Mapping[str, Any] | None, notice: Notice) -> dict[str, Any]:
    """The notice's, and who has acknowledged it: that is not undone by what follows."""
    taken = {} if latest is None else latest["data"]
    return {**notice.data, **{key: taken[key] for key in (ACKNOWLEDGED,) if key in taken}}


def _site_id(connection: Connection, slug: str | None) -> int | None:
    if slug is None:
        return None
    found = _SITE_ID.first(connection, slug=slug)
    if found is None:
        raise LookupError(f"the ledger has no site {slug}")
    return int(found[0])


def _write(
    connection: Connection, values: dict[str, Any], channel: str | None = MQTT
) -> Mapping[str, Any]:
    values["event_id"] = event_id(values["kind"], values["subject"], values["revision"])
    ((row,),) = _RAISE.all(connection, **values)
    if channel is not None:
        rank = RANKS[Severity(values["severity"])]
        _TELL.run(connection, channel=channel, rank=rank, event_row=row)
    return {"id": row, **values}
