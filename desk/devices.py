"""One device: how it stands, what is wrong with it, what it was before."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from desk.errors import DeskError
from desk.ledger import present
from desk.status import services
from devices.ids import Instant
from store.access import Taken, trail
from store.database import reading
from store.listings import DEVICE, ENTRY, EVENT, devices
from store.messages import latest
from store.rows import DeviceRow
from store.tables import DeviceAlarm, DeviceFirmware, Presence, table_of
from store.walking import Filter

ALARM = table_of(DeviceAlarm)
FIRMWARE = table_of(DeviceFirmware)
PRESENCE = table_of(Presence)

LAST = 5
"""How many turns, and versions of firmware, are shown: the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something wrong with a device that has not ended."""

    kind: str
    severity: str
    state: str
    at: Instant
    message: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Since when it was there, or away, by its own word."""

    at: Instant
    online: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Which firmware it said it runs, since when."""

    at: Instant
    firmware: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A message that somebody sent to who holds it."""

    id: str
    text: str
    severity: str
    author: str
    made_at: Instant
    told_at: Instant | None
    timezone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFile:
    """A device as listed, and what else is known of it, the latest first."""

    row: DeviceRow
    now: Instant
    alarms: tuple[Alarm, ...]
    turns: tuple[Turn, ...]
    versions: tuple[Version, ...]
    messages: tuple[Words, ...]
    access: tuple[Taken, ...]
    read_at: Instant | None


def device(engine: Engine, id_: str, wall: Instant) -> DeviceFile:
    """A device by its id. Raises `DeskError` where the registry has none."""
    now = present(engine, wall)
    row = next((row for row in devices(engine, Filter(now=now)) if row.id == id_), None)
    with reading(engine) as connection:
        key = known(connection, id_)
        if row is None:
            raise LookupError(f"{id_} is in the registry and not in its listing")
        return DeviceFile(
            row=row,
            now=now,
            alarms=tuple(_alarms(connection, key, id_)),
            turns=tuple(
                Turn(at=r.at, online=r.online)
                for r in connection.execute(_latest(PRESENCE, key, PRESENCE.c.id))
            ),
            versions=tuple(
                Version(at=r.at, firmware=r.firmware)
                for r in connection.execute(_latest(FIRMWARE, key, FIRMWARE.c.id))
            ),
            messages=tuple(
                Words(
                    id=r.slug,
                    text=r.text,
                    severity=r.severity,
                    author=r.author,
                    made_at=r.made_at,
                    told_at=r.told_at,
                    timezone=row.timezone,
                )
                for r in latest(connection, key, LAST)
            ),
            access=tuple(trail(connection, id_, LAST)),
            read_at=connection.execute(_last_received(key)).scalar(),
        )


def known(connection: Connection, id_: str) -> int:
    """The key of a device of the registry. Raises `DeskError` naming near ones."""
    key = connection.execute(select(DEVICE.c.id).where(DEVICE.c.slug == id_)).scalar()
    if key is None:
        all_ids = connection.execute(select(DEVICE.c.slug)).scalars().all()
        near = get_close_matches(id_, list(all_ids), n=3)
        hint = f" (near: {', '.join(near)})" if near else ""
        raise DeskError(
            f"no device {id_!r} is in the registry{hint}", "gridbeat device list shows them"
        )
    return int(key)


def _last_received(key: int) -> Any:
    newest = select(func.max(ENTRY.c.id)).where(ENTRY.c.device_id == key).scalar_subquery()
    return select(ENTRY.c.received_at).where(ENTRY.c.id == newest)


def _latest(table: Any, key: int, order: Any) -> Any:
    return select(table).where(table.c.device_id == key).order_by(order.desc()).limit(LAST)


def _alarms(connection: Connection, key: int, id_: str) -> Sequence[Alarm]:
    """What is open in `device_alarm`, as its events tell it; and a wrong clock."""
    mine = connection.execute(
        select(ALARM.c.kind, ALARM.c.subject).where(ALARM.c.device_id == key)
    ).all()
    clock = connection.execute(
        select(EVENT.c.kind, EVENT.c.subject)
        .distinct()
        .where(
            EVENT.c.kind == "device.clock-skew",
            (EVENT.c.subject == id_)
            | ((EVENT.c.subject > f"{id_}/") & (EVENT.c.subject < f"{id_}0")),
        )
    ).all()
    found = []
    for kind, subject in (*mine, *clock):
        event = connection.execute(
            select(EVENT)
            .where(EVENT.c.kind == kind, EVENT.c.subject == subject)
            .order_by(EVENT.c.revision.desc())
            .limit(1)
        ).first()
        if event is not None and event.state != "resolved":
            found.append(
                Alarm(
                    kind=kind,
                    severity=event.severity,
                    state=event.state,
                    at=event.at,
                    message=event.message,
                )
            )
    return sorted(found, key=lambda alarm: -alarm.at)


def deaf_since(engine: Engine, wall: Instant) -> Instant | None:
    """Since when no service hears the devices; None while one does, or where none ever ran."""
    ran = services(engine, wall)
    if not ran or any(service.alive is not False for service in ran):
        return None
    return max((service.marker_at for service in ran if service.marker_at), default=None)


def away(engine: Engine, wall: Instant) -> list[DeviceRow]:
    """The devices that are offline or silent, the longest away first."""
    rows = devices(engine, Filter(now=present(engine, wall)))
    found = [row for row in rows if row.state in ("offline", "silent")]
    return sorted(found, key=lambda row: row.state_since_at or 0)
