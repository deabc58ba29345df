"""Credentials of devices: what the ledger holds of them, and each step, written down under a name.

The steps that are allowed stand in `rules.access`. The broker's files follow from what is kept here
(`logins`); they are never the other way round but once, where a ledger finds passwords that were
made before it kept any (`adopt`).
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from devices.ids import Instant
from rules.access import LOGINS, STEPS, Access, Step, standing
from store.entries import ENTRY, NewAction, append_action
from store.tables import Credential, Device, table_of

DEVICE = table_of(Device)
CREDENTIAL = table_of(Credential)


def admits(connection: Connection, device: str, username: str, password: str) -> bool:
    """Whether that login is one of the device's that work now: as the broker would take it."""
    held = holder(connection, device)
    logins = () if held is None else held.working
    return any(login.username == username and matches(password, login.hash) for login in logins)


def matches(password: str, kept: str) -> bool:
    """Whether `password` is the one that `kept`, `$7$iterations$salt$hash`, was made from.

    Compared in constant time. Raises ValueError for what is no such hash.
    """
    _, _, iterations, salt, key = kept.split("$")
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), base64.b64decode(salt), int(iterations))
    return hmac.compare_digest(made, base64.b64decode(key))


DO = "device."
"""What an action's `do` begins with."""


class StepRefused(Exception):  # noqa: N818 - an answer, not a fault
    """The device stands where this step leads nowhere."""

    def __init__(self, step: Step, access: Access) -> None:
        self.step, self.access = step, access
        super().__init__(f"{step} is no step of a device that is {access}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user name and what its password is checked by. `until`: when it ends by itself."""

    username: str
    hash: str
    until: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A device and the credentials it has not lost, the oldest first."""

    id: int
    slug: str
    site_id: int | None
    protocol: str
    address: str | None
    retired: bool
    suspended: bool
    logins: tuple[Login, ...]

    @property
    def access(self) -> Access:
        """How its right to log in stands."""
        if self.retired and not self.logins:
            return Access.RETIRED
        return standing(suspended=self.suspended, credentials=len(self.logins))

    @property
    def working(self) -> tuple[Login, ...]:
        """Those that the broker shall take."""
        count = 0 if self.retired else LOGINS[self.access]
        return self.logins[-count:] if count else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A step and who takes it, when, why. `login`: the new one; `until`: when the old one ends."""

    step: Step
    author: str
    at: Instant
    reason: str | None = None
    login: Login | None = None
    until: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A step as it was written down: who took it, when, from where to where, and why."""

    at: Instant
    author: str
    step: str
    was: str
    now: str
    reason: str | None


def trail(connection: Connection, device: str, limit: int) -> list[Taken]:
    """The latest steps of a device, the last one first."""
    begins = f'{{"do":"{DO}%","device":"{device}"%'
    query = select(ENTRY.c.at, ENTRY.c.author, ENTRY.c.body).where(
        ENTRY.c.device_id.is_(None),  # a person's: the index by devices finds them
        ENTRY.c.body.like(begins),
    )
    found = []
    for row in connection.execute(query.order_by(ENTRY.c.id.desc()).limit(limit)):
        told = json.loads(row.body)
        found.append(
            Taken(
                at=row.at,
                author=row.author,
                step=told["do"].removeprefix(DO),
                was=told["was"],
                now=told["now"],
                reason=told.get("reason"),
            )
        )
    return found


def holder(connection: Connection, device: str) -> Holder | None:
    """A device of the registry by its id; None where there is none."""
    return next(_holders(connection, device), None)


def holders(connection: Connection) -> Iterator[Holder]:
    """Every device that has, or ever had, a credential."""
    return _holders(connection, None)


def left_by_retired(connection: Connection) -> list[Holder]:
    """Devices that a registry file has retired and that still have credentials."""
    return [held for held in holders(connection) if held.retired and held.logins]


def _holders(connection: Connection, device: str | None) -> Iterator[Holder]:
    query = select(DEVICE).order_by(DEVICE.c.id)
    if device is None:
        query = query.where(DEVICE.c.id.in_(select(CREDENTIAL.c.device_id)))
        kept = select(CREDENTIAL)
    else:
        query = query.where(DEVICE.c.slug == device)
        kept = select(CREDENTIAL).join(DEVICE, DEVICE.c.id == CREDENTIAL.c.device_id)
        kept = kept.where(DEVICE.c.slug == device)
    logins: dict[int, list[Login]] = {}
    for row in connection.execute(
        kept.where(CREDENTIAL.c.ended_at.is_(None)).order_by(CREDENTIAL.c.id)
    ):
        login = Login(username=row.username, hash=row.hash, until=row.until)
        logins.setdefault(row.device_id, []).append(login)
    for row in connection.execute(query):
        yield Holder(
            id=row.id,
            slug=row.slug,
            site_id=row.site_id,
            protocol=row.protocol,
            address=row.address,
            retired=row.retired_at is not None,
            suspended=row.suspended_at is not None,
            logins=tuple(logins.get(row.id, ())),
        )


def take(connection: Connection, held: Holder, act: Act) -> Access:
    """Take a step, and write it down; returns where the device stands now.

    `held` must have been read in this transaction. Raises `StepRefused`; then nothing is written.
    A step to `retired` is the registry's to complete.
    """
    now = STEPS.get((held.access, act.step))
    if now is None:
        raise StepRefused(act.step, held.access)
    _end(connection, held, act, keep=LOGINS_KEPT[act.step])
    if act.login is not None:
        connection.execute(
            insert(CREDENTIAL).values(
                device_id=held.id, username=act.login.username, hash=act.login.hash, made_at=act.at
            )
        )
        connection.execute(update(DEVICE).where(DEVICE.c.id == held.id).values(enrolled_at=act.at))
    suspended = act.at if now is Access.SUSPENDED else None
    connection.execute(update(DEVICE).where(DEVICE.c.id == held.id).values(suspended_at=suspended))
    append_action(
        connection,
        NewAction(author=act.author, at=act.at, site_id=held.site_id, body=_told(held, act, now)),
    )
    return now


LOGINS_KEPT: Mapping[Step, int] = {
    Step.ENROLL: 0,
    Step.RENEW: 0,
    Step.ROTATE: 1,
    Step.FINISH: 1,
    Step.SUSPEND: 1,
    Step.RESUME: 1,
    Step.RETIRE: 0,
}
"""How many of the credentials a device has, the newest, each step leaves it."""


def _end(connection: Connection, held: Holder, act: Act, *, keep: int) -> None:
    """End all credentials but the newest `keep`, and say when those of a rotation will."""
    ends = held.logins[: len(held.logins) - keep]
    current = CREDENTIAL.c.ended_at.is_(None)
    for login in ends:
        connection.execute(
            update(CREDENTIAL)
            .where(CREDENTIAL.c.username == login.username, current)
            .values(ended_at=act.at)
        )
    if act.until is not None:
        connection.execute(
            update(CREDENTIAL)
            .where(CREDENTIAL.c.device_id == held.id, current)
            .values(until=act.until)
        )


def _told(held: Holder, act: Act, now: Access) -> dict[str, str | int]:
    told: dict[str, str | int | None] = {
        "do": f"{DO}{act.step}",
        "device": held.slug,
        "was": str(held.access),
        "now": str(now),
        "username": None if act.login is None else act.login.username,
        "until": act.until,
        "reason": act.reason,
    }
    return {name: value for name, value in told.items() if value is not None}


def lapsed(connection: Connection, now: Instant) -> list[Holder]:
    """Devices whose old credential of a rotation has had its time."""
    due = select(DEVICE.c.slug).join(CREDENTIAL, CREDENTIAL.c.device_id == DEVICE.c.id)
    due = due.where(CREDENTIAL.c.ended_at.is_(None), CREDENTIAL.c.until <= now)
    found = (holder(connection, slug) for slug in connection.execute(due).scalars().all())
    return [held for held in found if held is not None and held.access is Access.ROTATING]


def next_lapse(connection: Connection) -> Instant | None:
    """When the next credential ends by itself."""
    query = select(func.min(CREDENTIAL.c.until)).where(CREDENTIAL.c.ended_at.is_(None))
    found = connection.execute(query).scalar()
    return None if found is None else Instant(found)


def usernames(connection: Connection) -> set[str]:
    """Every user name that was ever a device's: those that the broker's files follow us in."""
    return set(connection.execute(select(CREDENTIAL.c.username).distinct()).scalars())


def adopt(connection: Connection, passwords: Mapping[str, str]) -> None:
    """Take up the passwords of devices that were enrolled before the ledger kept credentials."""
    query = select(DEVICE.c.id, DEVICE.c.slug, DEVICE.c.enrolled_at).where(
        DEVICE.c.enrolled_at.is_not(None), DEVICE.c.id.not_in(select(CREDENTIAL.c.device_id))
    )
    rows = [
        {
            "device_id": row.id,
            "username": row.slug,
            "hash": passwords[row.slug],
            "made_at": row.enrolled_at,
        }
        for row in connection.execute(query)
        if row.slug in passwords
    ]
    if rows:
        connection.execute(insert(CREDENTIAL), rows)
