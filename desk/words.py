"""Sending words to who holds a device: written down under a name, told by the service."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select

from desk.acts import By
from desk.devices import known
from desk.errors import DeskError, UsageError
from devices import topics
from devices.ids import Instant
from devices.messages import Severity
from store import messages
from store.database import reading, writing
from store.handouts import SITE
from store.listings import DEVICE, ENTRY
from store.messages import NewMessage
from store.reach import sites_below

LONGEST = 500
"""Characters of a message, as of a hazard's text: what a small screen bears."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message that was written down. `told_at` None: the broker has not taken it yet."""

    id: str
    row: int
    device: str
    site: str
    severity: str
    text: str
    told_at: Instant | None


def send(engine: Engine, device: str, text: str, severity: str, by: By) -> Sent:
    """Write a message down for a device.

    Raises `UsageError` for words that are none, too many or of no known severity, and `DeskError`
    for a device that is unknown, retired or cannot show any.
    """
    text = text.strip()
    if not 0 < len(text) <= LONGEST:
        raise UsageError(
            f"a message has 1 to {LONGEST} characters, not {len(text)}", "say it in fewer words"
        )
    if severity not in {one.value for one in Severity}:
        raise UsageError(
            f"--severity {severity!r} is not known",
            f"write one of {', '.join(one.value for one in Severity)}",
        )
    with writing(engine) as connection:
        key = known(connection, device)
        site_id, site = _addressed(connection, key, device)
        slug = f"m-{secrets.token_hex(6)}"
        row = messages.write(
            connection,
            NewMessage(
                slug=slug,
                device_id=key,
                device=device,
                site_id=site_id,
                text=text,
                severity=severity,
                author=by.author,
                at=by.now,
            ),
        )
    return Sent(
        id=slug, row=row, device=device, site=site, severity=severity, text=text, told_at=None
    )


def told(engine: Engine, sent: Sent, once_more: Callable[[], bool]) -> Instant | None:
    """When the broker took it: waits while `once_more`; None where it still waits."""
    while True:
        with reading(engine) as connection:
            found = messages.told_at(connection, sent.row)
        if found is not None or not once_more():
            return found


def _addressed(connection: Connection, key: int, device: str) -> tuple[int, str]:
    """The site through whose topic a device hears: its own, or where a portable one was last."""
    row = connection.execute(select(DEVICE).where(DEVICE.c.id == key)).one()
    if row.retired_at is not None:
        raise DeskError(f"device {device} is retired", "gridbeat device list shows the others")
    if row.protocol != topics.PROTOCOL:
        raise DeskError(
            f"device {device} speaks {row.protocol}, which has no words for people",
            "only devices of our own contract (protocol: patrol) show messages",
        )
    site_id = row.site_id
    if site_id is None:
        last = select(ENTRY.c.site_id).where(ENTRY.c.device_id == key, ENTRY.c.site_id.is_not(None))
        site_id = connection.execute(last.order_by(ENTRY.c.id.desc()).limit(1)).scalar()
    if site_id is None:
        site_id = min(sites_below(connection).get(row.node_id, ()), default=None)
    if site_id is None:
        raise DeskError(
            f"no site lies below the grid node of {device}", "hang a site on it in the registry"
        )
    site = connection.execute(select(SITE.c.slug).where(SITE.c.id == site_id)).scalar_one()
    return site_id, site
