"""Words for who holds a device: written by a person, told once the broker has taken them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select, update

from devices.ids import Instant
from store.entries import NewAction, append_action
from store.tables import Device, DeviceMessage, Site, table_of

MESSAGE = table_of(DeviceMessage)
DEVICE = table_of(Device)
SITE = table_of(Site)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """What is to be told, to which device, through which site's topic, by whom."""

    slug: str
    device_id: int
    device: str
    site_id: int
    text: str
    severity: str
    author: str
    at: Instant


class Waiting(NamedTuple):
    """A message the broker has not taken yet."""

    id: int
    slug: str
    site: str
    device: str
    text: str
    severity: str


def write(connection: Connection, message: NewMessage) -> int:
    """Write a message down, with its author, to be told; returns its row."""
    action = {
        "do": "message",
        "device": message.device,
        "id": message.slug,
        "text": message.text,
        "severity": message.severity,
    }
    entry = append_action(
        connection,
        NewAction(author=message.author, at=message.at, site_id=message.site_id, body=action),
    )
    row = insert(MESSAGE).values(
        slug=message.slug,
        device_id=message.device_id,
        site_id=message.site_id,
        text=message.text,
        severity=message.severity,
        author=message.author,
        made_at=message.at,
        entry_id=entry,
    )
    return int(connection.execute(row.returning(MESSAGE.c.id)).scalar_one())


def waiting(connection: Connection, limit: int) -> list[Waiting]:
    """Messages to be told, the oldest first."""
    query = (
        select(
            MESSAGE.c.id,
            MESSAGE.c.slug,
            SITE.c.slug,
            DEVICE.c.slug,
            MESSAGE.c.text,
            MESSAGE.c.severity,
        )
        .outerjoin(SITE, SITE.c.id == MESSAGE.c.site_id)  # never from sites to all of theirs
        .outerjoin(DEVICE, DEVICE.c.id == MESSAGE.c.device_id)
        .where(MESSAGE.c.told_at.is_(None))
        .order_by(MESSAGE.c.id)
        .limit(limit)
    )
    return [Waiting(*row) for row in connection.execute(query)]


def told(connection: Connection, ids: Iterable[int], now: Instant) -> None:
    """The broker has taken these."""
    mine = MESSAGE.c.id.in_(list(ids))
    connection.execute(update(MESSAGE).where(mine).values(told_at=now))


def told_at(connection: Connection, id_: int) -> Instant | None:
    """When the broker took a message; None while it waits."""
    return connection.execute(select(MESSAGE.c.told_at).where(MESSAGE.c.id == id_)).scalar()


def latest(connection: Connection, device_id: int, limit: int) -> list[Any]:
    """The last messages for a device, the newest first."""
    query = select(MESSAGE).where(MESSAGE.c.device_id == device_id)
    return list(connection.execute(query.order_by(MESSAGE.c.id.desc()).limit(limit)))
