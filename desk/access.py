"""Who may speak: giving a device its credential, changing it, taking it away, for a while or more.

The ledger decides; the broker's files follow (`desk.settling`). A password is returned once, to be
shown once, and is kept nowhere.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sqlalchemy import Connection, Engine, select

from desk import broker
from desk.acts import By
from desk.credentials import hashed, new_password
from desk.errors import DeskError
from devices import wands
from devices.ids import Instant
from rules.access import Access, Step
from store import registry
from store.access import DEVICE, Act, Holder, Login, StepRefused, adopt, holder, take
from store.database import writing

SECOND = ".2"
"""Mosquitto keeps one password a user. While a device changes from one to the next it has two user
names: its id, and its id with this. No id has a dot, so nobody else can be called so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """A device's new credential; the password is shown this once, whatever else fails.

    `old`, `until`: the user name that works as well, and until when.
    """

    device: str
    username: str
    client_id: str
    password: str
    old: str | None = None
    until: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A device whose right to speak has changed."""

    device: str
    was: Access
    access: Access


def enroll(engine: Engine, folder: Path, device: str, *, by: By, renew: bool = False) -> Enrolled:
    """Give a device of the registry its credential; with `renew` a new one, in place of all others.

    Raises `DeskError` when the device is unknown or retired, when it has a credential and not
    `renew`, or when `folder` holds no broker's files; then nothing has changed.
    """
    password = new_password()
    with _held(engine, folder, device) as (connection, held):
        if held.protocol == wands.PROTOCOL:
            raise DeskError(
                f"{device} is a wand: it never speaks to the broker and needs no password",
                "its software's exports are read with: gridbeat checkin import FILE",
            )
        if not renew and held.access is Access.NEW and device in broker.passwords(folder):
            raise _refused(device, Access.ENROLLED)
        login = Login(username=device, hash=hashed(password))
        step = Step.RENEW if renew else Step.ENROLL
        _take(connection, held, Act(step=step, author=by.author, at=by.now, login=login))
    return Enrolled(device=device, username=device, client_id=device, password=password)


def rotate(engine: Engine, folder: Path, device: str, *, by: By, overlap: int) -> Enrolled:
    """Give a device a new credential, while the old one works for `overlap` ms more.

    Raises `DeskError` where it has none, or two already.
    """
    password, until = new_password(), by.now + overlap
    with _held(engine, folder, device) as (connection, held):
        taken = {login.username for login in held.logins}
        name = device if device not in taken else device + SECOND
        login = Login(username=name, hash=hashed(password))
        act = Act(step=Step.ROTATE, author=by.author, at=by.now, login=login, until=until)
        _take(connection, held, act)
        old = held.logins[-1].username
    return Enrolled(
        device=device, username=name, client_id=device, password=password, old=old, until=until
    )


def move(
    engine: Engine, folder: Path, device: str, step: Step, *, by: By, reason: str | None
) -> Moved:
    """Finish a rotation, suspend a device, let it speak again, or retire it.

    Raises `DeskError` where the device stands where that leads nowhere.
    """
    with _held(engine, folder, device) as (connection, held):
        act = Act(step=step, author=by.author, at=by.now, reason=reason)
        access = _take(connection, held, act)
        if access is Access.RETIRED:
            registry.retire_device(connection, device, now=by.now, author=by.author)
    return Moved(device=device, was=held.access, access=access)


@contextmanager
def _held(engine: Engine, folder: Path, device: str) -> Iterator[tuple[Connection, Holder]]:
    """The device as it stands, in a transaction of its own. Raises `DeskError` for none."""
    with writing(engine) as connection:
        if holder(connection, device) is None:
            raise _unknown(connection, device)
        if device in broker.people(folder):
            raise DeskError(
                f"{device} is the name of a user of the broker that is no device",
                "give the device another id in the registry file",
            )
        adopt(connection, broker.passwords(folder))
        held = holder(connection, device)
        if held is None or held.retired:
            raise _refused(device, Access.RETIRED)
        yield connection, held


def _take(connection: Connection, held: Holder, act: Act) -> Access:
    try:
        return take(connection, held, act)
    except StepRefused as refused:
        raise _refused(held.slug, refused.access) from None


REFUSALS = {
    Access.NEW: ("has no credential", "first: gridbeat device enroll {}"),
    Access.ENROLLED: (
        "has a credential, and it works",
        "for a new one: gridbeat device enroll {} --renew (the old one stops working), or "
        "gridbeat device rotate {} (it works on for a while)",
    ),
    Access.ROTATING: (
        "has two credentials, and both work",
        "gridbeat device rotate {} --finish ends the old one",
    ),
    Access.SUSPENDED: (
        "is suspended",
        "gridbeat device resume {} lets it speak again; with a new password: "
        "gridbeat device enroll {} --renew",
    ),
    Access.RETIRED: ("is retired", "write {} into the registry file again, and apply that"),
}
"""What is said of a step that leads nowhere, by where the device stands."""


def _refused(device: str, access: Access) -> DeskError:
    words, remedy = REFUSALS[access]
    return DeskError(f"{device} {words}", remedy.replace("{}", device))


def _unknown(connection: Connection, device: str) -> DeskError:
    known = connection.execute(select(DEVICE.c.slug)).scalars().all()
    near = get_close_matches(device, list(known), n=3)
    hint = f" (near: {', '.join(near)})" if near else ""
    return DeskError(
        f"no device {device!r} is in the registry{hint}",
        "write it into the registry file first, then: gridbeat registry apply FILE",
    )
