"""Enrolling a device: a credential of its own on our broker, written down who gave it out."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sqlalchemy import Connection, Engine, Row, select, update

from desk import broker
from desk.acts import By
from desk.errors import DeskError
from store.database import reading, writing
from store.entries import NewAction, append_action
from store.listings import DEVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """A device's credential; the password is shown this once. `live`: a running broker took it."""

    device: str
    username: str
    client_id: str
    password: str
    live: bool


def enroll(engine: Engine, folder: Path, device: str, *, by: By, renew: bool = False) -> Enrolled:
    """Make the credential of a device of the registry and have the running broker take it.

    Raises `DeskError` when the device is unknown or retired, when it has a password and not
    `renew`, or when there is no broker's folder.
    """
    with reading(engine) as connection:
        found = _device(connection, device)
    password = broker.set_password(folder, device, renew=renew)
    live = broker.reload(folder)
    with writing(engine) as connection:
        connection.execute(update(DEVICE).where(DEVICE.c.id == found.id).values(enrolled_at=by.now))
        action = {"do": "enroll", "device": device, "renewed": renew}
        append_action(
            connection, NewAction(author=by.author, at=by.now, site_id=found.site_id, body=action)
        )
    return Enrolled(device=device, username=device, client_id=device, password=password, live=live)


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
