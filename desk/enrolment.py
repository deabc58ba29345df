"""Enrolling a device: a credential of its own on our broker, written down who gave it out."""

import asyncio
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sqlalchemy import Connection, Engine, Row, select, update

from desk import broker
from desk.acts import By
from desk.errors import DeskError
from desk.pings import lets_in
from store.database import reading, writing
from store.entries import NewAction, append_action
from store.listings import DEVICE
from store.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """A device's credential; the password is shown this once, whatever else fails."""

    device: str
    username: str
    client_id: str
    password: str


def enroll(engine: Engine, folder: Path, device: str, *, by: By, renew: bool = False) -> Enrolled:
    """Make the credential of a device of the registry in the broker's `folder`.

    Raises `DeskError` when the device is unknown or retired, when it has a password and not
    `renew`, or when there is no broker's folder; then nothing has changed.
    """
    with reading(engine) as connection:
        found = _device(connection, device)
    password = broker.set_password(folder, device, renew=renew)
    with writing(engine) as connection:
        connection.execute(update(DEVICE).where(DEVICE.c.id == found.id).values(enrolled_at=by.now))
        action = {"do": "enroll", "device": device, "renewed": renew}
        append_action(
            connection, NewAction(author=by.author, at=by.now, site_id=found.site_id, body=action)
        )
    return Enrolled(device=device, username=device, client_id=device, password=password)


def make_live(settings: Settings, made: Enrolled) -> str | None:
    """Have the running broker let the device in, and see that it does.

    Returns None when it does, else what stands against it, in words.
    """
    try:
        if not broker.reload(settings.broker_dir):
            return f"no broker runs from {settings.broker_dir}; it knows the device when it starts"
    except DeskError as error:
        return f"{error}: {error.remedy}"
    if asyncio.run(lets_in(settings, made.username, made.password)):
        return None
    return f"the broker was told, but {settings.mqtt_url} does not let the device in: another one?"


def _device(connection: Connection, slug: str) -> Row[tuple[int, int | None]]:
    query = select(DEVICE.c.id, DEVICE.c.site_id, DEVICE.c.retired_at)
    found = connection.execute(query.where(DEVICE.c.slug == slug)).first()
    if found is None:
        known = connection.execute(select(DEVICE.c.slug)).scalars().all()
        near = get_close_matches(slug, list(known), n=3)
        hint = f" (near: {', '.join(near)})" if near else ""
        raise DeskError(
            f"no device {slug!r} is in the registry{hint}",
            "write it into the registry file first, then: gridbeat registry apply FILE",
        )
    if found.retired_at is not None:
        raise DeskError(
            f"device {slug} is retired", "write it into the registry file again, and apply that"
        )
    return found
