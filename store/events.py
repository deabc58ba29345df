"""Events as the ledger keeps them: every change of state a new revision, told on through the
outbox.

The revision counts on from the highest of its (kind, subject). A unique key over the three makes
two writers unable to tell the same change twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Integer, and_, bindparam, delete, func, select
from sqlalchemy.dialects.sqlite import insert as upsert

from devices.ids import Instant
from rules.events import EventKind, EventState, Notice, Severity, event_id
from store.entries import NewAction, append_action
from store.prepared import Inserts, Prepared, paged
from store.silencing import held
from store.tables import EventRow, OpenEvent, Outbox, Site, table_of

EVENT = table_of(EventRow)
OPEN = table_of(OpenEvent)
OUTBOX = table_of(Outbox)
SITE = table_of(Site)

MQTT = "mqtt"
HELD = "held"
"""Events of what came due in a gap of our own, until it is known whether they are a storm."""

ACKNOWLEDGED = "acknowledged"
ENDING = frozenset({EventKind.SOS_RAISED, EventKind.DEVICE_CLOCK_SKEW, EventKind.CALENDAR_UNKNOWN})
"""Kinds of which the service asks, again and again, what has not ended."""
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


_COLUMNS = [column.name for column in EVENT.c]
_later = EVENT.alias()
_PAGE = paged("page", "kind", "subject")
_LATEST = Prepared(
    select(EVENT).join(
        _PAGE,
        and_(
            EVENT.c.kind == _PAGE.c.kind,
            EVENT.c.subject == _PAGE.c.subject,
            EVENT.c.revision
            == select(func.max(_later.c.revision))
            .where(_later.c.kind == _PAGE.c.kind, _later.c.subject == _PAGE.c.subject)
            .correlate(_PAGE)
            .scalar_subquery(),
        ),
    )
)
_SITES = paged("page", "slug")
_SITE_IDS = Prepared(select(SITE.c.slug, SITE.c.id).join(_SITES, SITE.c.slug == _SITES.c.slug))
_RAISE = Inserts(EVENT, _COLUMNS)
_TELL = Inserts(OUTBOX, ("channel", "rank", "event_row"))


def raise_notices(
    connection: Connection,
    notices: Iterable[Notice],
    now: Instant,
    channel: str = MQTT,
    sites: Mapping[str, int] = MappingProxyType({}),
) -> int:
    """Write each notice that says something new as the next revision of its event.

    `sites`: ids that the caller knows. Returns how many were written. A notice that says what its
    event already says is nothing new; one that opens an acknowledged event again leaves it
    acknowledged.
    """
    page = list(notices)
    if not page:
        return 0
    named = [(notice.kind.value, notice.subject) for notice in page]
    latest = _latest(connection, set(named))
    asked = {notice.site for notice in page if notice.site is not None} - sites.keys()
    known = {**sites, **_site_ids(connection, asked)} if asked else sites
    new: list[tuple[dict[str, Any], str | None]] = []
    for event, notice in zip(named, page, strict=True):
        last = latest.get(event)
        state, data = _next_state(last, notice), _next_data(last, notice)
        if last is not None and (state, data) == (last["state"], last["data"]):
            continue
        revision: dict[str, Any] = {
            "kind": event[0],
            "severity": notice.severity.value,
            "site_id": None if notice.site is None else known[notice.site],
            "subject": notice.subject,
            "at": notice.at,
            "raised_at": now,
            "revision": 1 if last is None else last["revision"] + 1,
            "state": state,
            "message": {"zh": notice.message_zh, "en": notice.message_en},
            "data": data,
        }
        latest[event] = revision
        new.append((revision, None if notice.quiet else channel))
    _write(connection, new)
    return len(new)


def open_events(connection: Connection, kind: EventKind) -> list[Mapping[str, Any]]:
    """The latest revisions of the events of a kind that are not resolved, each with its site's slug
    as `site`. Raises ValueError for a kind that is not of `ENDING`: of it nobody keeps that."""
    if kind not in ENDING:
        raise ValueError(f"which events of {kind} have not ended is not kept")
    names = ("site", *_COLUMNS)
    return [dict(zip(names, row, strict=True)) for row in _STILL.all(connection, of=kind.value)]


_STILL = Prepared(
    select(SITE.c.slug, EVENT)
    .select_from(
        OPEN.outerjoin(EVENT, EVENT.c.id == OPEN.c.event_row).outerjoin(
            SITE, SITE.c.id == EVENT.c.site_id
        )
    )
    .where(OPEN.c.kind == bindparam("of"))
)


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
    event = (asked["kind"], asked["subject"])
    latest = _latest(connection, {event})[event]
    if latest["state"] == EventState.RESOLVED:
        raise EventResolved(
            f"{asked['kind']} of {asked['subject']} is resolved; nothing is left to acknowledge"
        )
    action = {"do": "acknowledge", "kind": asked["kind"], "subject": asked["subject"], "note": note}
    append_action(
        connection, NewAction(author=author, at=now, site_id=asked["site_id"], body=action)
    )
    columns = ("kind", "severity", "site_id", "subject", "at", "message")
    taken = {"by": author, "at": now, "note": note}
    revision = {name: latest[name] for name in columns} | {
        "raised_at": now,
        "revision": latest["revision"] + 1,
        "state": EventState.ACKNOWLEDGED.value,
        "data": {**latest["data"], ACKNOWLEDGED: taken},
    }
    _write(connection, [(revision, MQTT)])
    return revision


def pending(
    connection: Connection,
    channel: str,
    limit: int,
    now: Instant | None = None,
    but: Iterable[int] = (),
) -> list[Pending]:
    """What `channel` has not been told yet, the gravest first, then the oldest.

    `but`: rows of the outbox that are not asked for. With `now`, without what a silence holds back.
    """
    asked = {"channel": channel, "most": limit, "rows": [(number,) for number in but]}
    if now is None:
        rows = _PENDING.all(connection, **asked)
    else:
        rows = _PENDING_UNHELD.all(connection, now=now, **asked)
    names = ("site", *_COLUMNS)
    return [Pending(outbox_id=row[0], event=dict(zip(names, row[1:], strict=True))) for row in rows]


_ROWS = paged("rows", "id")
_WAITING = (
    select(OUTBOX.c.id.label("outbox_id"), SITE.c.slug.label("site"), EVENT)
    .join(EVENT, EVENT.c.id == OUTBOX.c.event_row)
    .outerjoin(SITE, SITE.c.id == EVENT.c.site_id)
    .where(OUTBOX.c.channel == bindparam("channel"), OUTBOX.c.id.not_in(select(_ROWS.c.id)))
    .order_by(OUTBOX.c.rank, OUTBOX.c.event_row)
    .limit(bindparam("most", type_=Integer))
)
_PENDING = Prepared(_WAITING)
_PENDING_UNHELD = Prepared(_WAITING.where(~held(bindparam("now", type_=Integer))))


def told(connection: Connection, outbox_ids: Iterable[int]) -> None:
    """Forget outbox rows whose channel has taken them."""
    _TOLD.run(connection, rows=[(number,) for number in outbox_ids])


_TOLD = Prepared(delete(OUTBOX).where(OUTBOX.c.id.in_(select(_ROWS.c.id))))


def outbox_depth(connection: Connection) -> int:
    """How many events wait to be told, on all channels."""
    return connection.execute(select(func.count()).select_from(OUTBOX)).scalar_one()


def _latest(
    connection: Connection, events: set[tuple[str, str]]
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The revision that holds of each (kind, subject) that has any."""
    rows = _LATEST.all(connection, page=list(events))
    found = (dict(zip(_COLUMNS, row, strict=True)) for row in rows)
    return {(event["kind"], event["subject"]): event for event in found}


def _next_state(latest: Mapping[str, Any] | None, notice: Notice) -> str:
    again = latest is not None and latest["state"] == EventState.ACKNOWLEDGED
    if again and notice.state == EventState.OPEN:
        return EventState.ACKNOWLEDGED.value
    return notice.state.value


def _next_data(latest: Mapping[str, Any] | None, notice: Notice) -> dict[str, Any]:
    """The notice's, and who has acknowledged it: that is not undone by what follows."""
    taken = {} if latest is None else latest["data"]
    return {**notice.data, **{key: taken[key] for key in (ACKNOWLEDGED,) if key in taken}}


def _site_ids(connection: Connection, slugs: set[str]) -> dict[str, int]:
    found: dict[str, int] = dict(_SITE_IDS.all(connection, page=[(slug,) for slug in slugs]))
    for slug in slugs - found.keys():
        raise LookupError(f"the ledger has no site {slug}")
    return found


def _write(connection: Connection, revisions: Sequence[tuple[dict[str, Any], str | None]]) -> None:
    """Write revisions of events, and that they are to be told on their channels.

    Each gets its `id` and `event_id`. None: told on no channel.
    """
    first = _next_id(connection)
    for number, (values, _) in enumerate(revisions, first):
        values["id"] = number
        values["event_id"] = event_id(values["kind"], values["subject"], values["revision"])
    _RAISE.write(connection, [[values[name] for name in _COLUMNS] for values, _ in revisions])
    _keep_open(connection, [values for values, _ in revisions if values["kind"] in ENDING])
    _TELL.write(
        connection,
        [
            (channel, RANKS[Severity(values["severity"])], values["id"])
            for values, channel in revisions
            if channel is not None
        ],
    )


def _keep_open(connection: Connection, revisions: Iterable[Mapping[str, Any]]) -> None:
    """Note which of these events have not ended, and which have."""
    for values in revisions:
        event = {"kind": values["kind"], "subject": values["subject"]}
        if values["state"] == EventState.RESOLVED:
            _ENDED.run(connection, **event)
        else:
            _OPENED.run(connection, **event, event_row=values["id"])


_FRESH = upsert(OPEN)
_OPENED = Prepared(
    _FRESH.on_conflict_do_update(
        index_elements=["kind", "subject"], set_={"event_row": _FRESH.excluded.event_row}
    ),
    columns=("kind", "subject", "event_row"),
)
_ENDED = Prepared(
    delete(OPEN).where(OPEN.c.kind == bindparam("kind"), OPEN.c.subject == bindparam("subject"))
)


def _next_id(connection: Connection) -> int:
    """Above every event's; stays so while the caller holds its write transaction."""
    ((last,),) = _LAST_ID.all(connection)
    return (last or 0) + 1


_LAST_ID = Prepared(select(func.max(EVENT.c.id)))
