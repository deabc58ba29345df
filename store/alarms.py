"""Looking at devices: which cannot be reached, whose battery is low, and what of it is over.

`device_state.wake` is the next instant worth looking at a device. What is open stands in
`device_alarm`, written in the transaction that tells it, so that any worker can end it.

After a gap of our own many devices may be away at once. The first few are told one by one; the
rest go to an outbox of their own (`DIGEST`) and are told as the next revision of the gap's digest
(docs/decisions/0012).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection, Integer, bindparam, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DBAPIError

from devices.ids import Instant
from rules.events import EventKind, EventState, Notice, gap_found, service_gap
from rules.presence import Limits, Looked, Open, Seen, look
from store.events import EVENT, MQTT, OUTBOX, raise_notices
from store.owngaps import FEW
from store.prepared import Prepared
from store.series.lines import DeviceGauge
from store.tables import Device, DeviceAlarm, DeviceState, Entry, Outage, Site, table_of
from store.workers import sure_from

log = structlog.get_logger()

DEVICE = table_of(Device)
STATE = table_of(DeviceState)
SITE = table_of(Site)
ALARM = table_of(DeviceAlarm)
OUTAGE = table_of(Outage)
ENTRY = table_of(Entry)

DIGEST = "digest"
"""Devices that did not come back with us, until the digest names them."""
PUSH_BACK_MS = 300_000
"""When a device whose look raised is looked at again; the others go on."""
SETTLE_MS = 60_000
"""How long after the last of them the digest is told; and how long devices may take to come back
before their absence is their own."""


class _Row(NamedTuple):
    """What of a device the rules want to know."""

    id: int
    device: str
    site: str | None
    retired_at: Instant | None
    suspended_at: Instant | None
    heartbeat: int | None
    online: bool | None
    turned_at: Instant | None
    heard_at: Instant | None
    status_at: Instant | None
    boot: str | None
    battery: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one look came to. `turned`: what no status of a device tells the series."""

    more: bool
    told: int
    turned: tuple[DeviceGauge, ...]


def next_look(connection: Connection) -> Instant | None:
    """The earliest instant at which a device wants to be looked at.

    0 while a digest waits, or an alarm of a device that was taken out of service meanwhile.
    """
    if _DIGEST.first(connection) is not None or _SOME_OUT.first(connection) is not None:
        return 0
    wake: Instant | None
    ((wake,),) = _NEXT_WAKE.all(connection)
    return wake


def look_at_all(connection: Connection) -> None:
    """Have every device looked at: limits, heartbeats or who is retired may have changed."""
    connection.execute(update(STATE).values(wake=0))


def look_around(
    connection: Connection, limits: Limits, known: Instant, now: Instant, limit: int
) -> Page:
    """Look at up to `limit` devices that wanted it by `known`, and tell what has changed.

    `known`: everything that had arrived by then is committed. While something is out of order on
    our side, nobody is looked at.
    """
    if _CUT.first(connection) is not None:
        return Page(more=False, told=0, turned=())
    ended = sure_from(connection, known)
    connection.execute(update(STATE).where(STATE.c.device_id.in_(_OUT)).values(wake=0))
    rows = [_Row(*row) for row in _AWAKE.all(connection, known=known, most=limit)]
    alarms = defaultdict(list)
    for device_id, *alarm in _ALARMS.all(connection, known=known, most=limit):
        alarms[device_id].append(alarm)
    told = 0
    turned = []
    asleep: list[tuple[Instant | None, int]] = []
    for row in rows:
        try:
            seen = _seen(row, ended)
            looked = look(seen, _open(connection, row, alarms[row.id]), limits, known)
            if looked.notices:
                channel = _channel(connection, seen, ended)
                told += _tell(connection, row.id, looked, now, channel)
        except DBAPIError:
            raise
        except Exception as error:  # one device's rows are that device's alone
            log.exception("rollcall.raised", device=row.device, error=str(error))
            asleep.append((known + PUSH_BACK_MS, row.id))
            continue
        asleep.append((looked.wake, row.id))
        if (turn := _turn(seen, looked, known)) is not None:
            turned.append(turn)
    if asleep:
        connection.exec_driver_sql(_SLEEP, asleep)
    told += _close_digest(connection, now)
    return Page(more=len(rows) == limit, told=told, turned=tuple(turned))


def _seen(row: _Row, sure_from: Instant) -> Seen:
    return Seen(
        device=row.device,
        site=row.site,
        retired=row.retired_at is not None or row.suspended_at is not None,
        online=row.online,
        turned_at=row.turned_at,
        heard_at=row.heard_at,
        told_at=row.status_at,
        boot=row.boot,
        heartbeat=row.heartbeat,
        battery=row.battery,
        sure_from=sure_from,
    )


def _turn(seen: Seen, looked: Looked, now: Instant) -> DeviceGauge | None:
    """A silence begun or ended: the series has no status to show it by."""
    for notice in looked.notices:
        if notice.kind is EventKind.DEVICE_OFFLINE and notice.data.get("silent"):
            away = notice.state is EventState.OPEN
            at = notice.at if away else now
            return DeviceGauge(site=seen.site, device=seen.device, at=at, online=not away)
    return None


# Open alarms --------------------------------------------------------------------------------------


def _open(connection: Connection, row: _Row, alarms: Iterable[Sequence[Any]]) -> list[Open]:
    found = [
        Open(EventKind(kind), subject, at, data)
        for kind, subject, at, data in alarms
        if kind != EventKind.DEVICE_GAP.value  # what is lost is not found by looking
    ]
    return found if row.retired_at is None else [*found, *_skews(connection, row.device)]


def _skews(connection: Connection, device: str) -> Iterable[Open]:
    """A retired device's clock: its event is followed by `store.skews` while it lives."""
    kind = EventKind.DEVICE_CLOCK_SKEW
    mine = (EVENT.c.kind == kind.value) & (
        (EVENT.c.subject == device)
        | ((EVENT.c.subject > f"{device}/") & (EVENT.c.subject < f"{device}0"))  # "0" follows "/"
    )
    latest: dict[str, Any] = {}
    for row in connection.execute(select(EVENT).where(mine).order_by(EVENT.c.revision)):
        latest[row.subject] = row
    for subject, row in latest.items():
        if row.state != EventState.RESOLVED:
            data = {name: row.data[name] for name in ("device", "skew_ms")}
            yield Open(kind, subject, row.at, data)


def _tell(
    connection: Connection, device_id: int, looked: Looked, now: Instant, channel: str
) -> int:
    told = 0
    for notice in looked.notices:
        away = (notice.kind, notice.state) == (EventKind.DEVICE_OFFLINE, EventState.OPEN)
        told += raise_notices(connection, [notice], now, channel if away else MQTT)
        note(connection, device_id, notice, now)
    return told


def note(connection: Connection, device_id: int, notice: Notice, now: Instant) -> None:
    """Remember an event of a device that was told, or that it has ended."""
    key = {"device_id": device_id, "kind": notice.kind.value, "subject": notice.subject}
    if notice.state is EventState.RESOLVED:
        mine = [ALARM.c[name] == value for name, value in key.items()]
        connection.execute(delete(ALARM).where(*mine))
        return
    row = upsert(ALARM).values(**key, at=notice.at, raised_at=now, data=dict(notice.data))
    connection.execute(row.on_conflict_do_nothing())


# What was lost and comes after all ----------------------------------------------------------------


def found_again(connection: Connection, device_id: int, epoch: int, seq: int) -> list[Notice]:
    """The gaps of a device that end with this record, kept just now: all of theirs are here."""
    ended = []
    rows = connection.execute(
        select(ALARM.c.subject, ALARM.c.at, ALARM.c.data, SITE.c.slug.label("site"))
        .select_from(ALARM.join(DEVICE, DEVICE.c.id == ALARM.c.device_id).outerjoin(SITE))
        .where(ALARM.c.device_id == device_id, ALARM.c.kind == EventKind.DEVICE_GAP.value)
    ).all()
    for row in rows:
        lost: Mapping[str, Any] = row.data
        if lost["epoch"] != epoch or not lost["first"] <= seq <= lost["last"]:
            continue
        here = select(func.count()).where(
            ENTRY.c.device_id == device_id,
            ENTRY.c.epoch == epoch,
            ENTRY.c.seq.between(lost["first"], lost["last"]),
        )
        if connection.execute(here).scalar_one() == lost["count"]:
            notice = gap_found(row.site, row.subject, row.at, lost)
            note(connection, device_id, notice, row.at)
            ended.append(notice)
    return ended


# After a gap of our own ---------------------------------------------------------------------------


def _channel(connection: Connection, seen: Seen, ended: Instant) -> str:
    """Whether one more absence is told by itself."""
    if not ended or not _left_with_us(seen, ended):
        return MQTT
    told = connection.execute(
        select(func.count()).where(
            ALARM.c.kind == EventKind.DEVICE_OFFLINE.value, ALARM.c.raised_at >= ended
        )
    ).scalar_one()
    return MQTT if told < FEW else DIGEST


def _left_with_us(seen: Seen, ended: Instant) -> bool:
    """Whether the device went away while we could not hear, or was not heard since."""
    turned = seen.turned_at or 0
    away_then = seen.online is False and turned <= ended + SETTLE_MS
    return away_then or (seen.heard_at or 0) < ended


def _close_digest(connection: Connection, now: Instant) -> int:
    """Tell of those the digest gathered, once no more have come for a while."""
    gathered = connection.execute(
        select(EVENT.c.data, EVENT.c.raised_at)
        .join(OUTBOX, OUTBOX.c.event_row == EVENT.c.id)
        .where(OUTBOX.c.channel == DIGEST)
    ).all()
    if not gathered or now < max(row.raised_at for row in gathered) + SETTLE_MS:
        return 0
    mine = OUTBOX.c.channel == DIGEST
    gap = _last_gap(connection, now)
    if gap is None:  # too short to be told: then each for itself
        return connection.execute(update(OUTBOX).where(mine).values(channel=MQTT)).rowcount
    connection.execute(delete(OUTBOX).where(mine))
    away = sorted({*gap.get("offline", ()), *(row.data["device"] for row in gathered)})
    names = ("rounds", "cause", "verdicts", "named", "singly")
    kept = {name: gap[name] for name in names if name in gap}
    digest = service_gap(gap["since"], gap["until"], **kept, offline=away)
    return raise_notices(connection, [digest], now)


def _last_gap(connection: Connection, now: Instant) -> Mapping[str, Any] | None:
    """What the digest of the last gap said; None where that one was not worth telling."""
    kind = EventKind.SERVICE_GAP.value
    query = select(EVENT.c.data).where(EVENT.c.kind == kind)
    row = connection.execute(
        query.order_by(EVENT.c.subject.desc(), EVENT.c.revision.desc()).limit(1)
    ).first()
    if row is None or row.data["until"] < sure_from(connection, now) - SETTLE_MS:
        return None
    found: Mapping[str, Any] = row.data
    return found


_OUT = (
    select(ALARM.c.device_id)
    .join(DEVICE, DEVICE.c.id == ALARM.c.device_id)
    .where(
        DEVICE.c.retired_at.is_not(None) | DEVICE.c.suspended_at.is_not(None),
        ALARM.c.kind != EventKind.DEVICE_GAP.value,
    )
)
_SOME_OUT = Prepared(_OUT.limit(1))
_DIGEST = Prepared(select(OUTBOX.c.id).where(OUTBOX.c.channel == DIGEST).limit(1))
_NEXT_WAKE = Prepared(select(func.min(STATE.c.wake)).where(STATE.c.wake.is_not(None)))
_CUT = Prepared(select(OUTAGE.c.id).where(OUTAGE.c.until.is_(None)).limit(1))
_AWAKE = Prepared(
    select(
        STATE.c.device_id,
        DEVICE.c.slug,
        SITE.c.slug,
        DEVICE.c.retired_at,
        DEVICE.c.suspended_at,
        DEVICE.c.heartbeat_ms,
        STATE.c.online,
        STATE.c.turned_at,
        STATE.c.heard_at,
        STATE.c.status_at,
        STATE.c.boot,
        STATE.c.battery,
    )
    .select_from(
        STATE.join(DEVICE, DEVICE.c.id == STATE.c.device_id).outerjoin(
            SITE, SITE.c.id == DEVICE.c.site_id
        )
    )
    .where(STATE.c.wake.is_not(None), STATE.c.wake <= bindparam("known"))
    .order_by(STATE.c.wake, STATE.c.device_id)
    .limit(bindparam("most", type_=Integer))
)
_NOW_AWAKE = (
    select(STATE.c.device_id)
    .where(STATE.c.wake.is_not(None), STATE.c.wake <= bindparam("known"))
    .order_by(STATE.c.wake, STATE.c.device_id)
    .limit(bindparam("most", type_=Integer))
)
_ALARMS = Prepared(
    select(ALARM.c.device_id, ALARM.c.kind, ALARM.c.subject, ALARM.c.at, ALARM.c.data).where(
        ALARM.c.device_id.in_(_NOW_AWAKE)
    )
)
# a row for each device of a page: as it goes to the driver
_SLEEP = "UPDATE device_state SET wake = ? WHERE device_id = ?"
