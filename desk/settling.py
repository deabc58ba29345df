"""The broker's files, made to say what the ledger says of who may speak; and the broker told so.

Done again it changes nothing. It ends the credentials that have had their time and those of devices
a registry file has retired, writes the password and access files anew, has the broker read them,
and sees that it has. Who lost a login is hung up; of who is retired nothing stays on the broker.
"""

import asyncio
from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Connection, Engine, select

from desk import broker
from desk.access import SECOND
from desk.accesslist import SERVICE_USER, Rights
from desk.acts import By
from desk.checks import few
from desk.credentials import locked
from desk.errors import DeskError
from desk.ledger import opened
from desk.pings import clear_retained, hang_up, lets_in
from devices import topics
from devices.adapters import table as adapters
from rules.access import Step
from store.access import (
    DEVICE,
    Act,
    Holder,
    adopt,
    holders,
    lapsed,
    left_by_retired,
    take,
    usernames,
)
from store.database import reading, writing
from store.settings import Settings

HOUSE = "gridbeat"
"""Who ends what ends by itself, in the audit."""


class Reach(StrEnum):
    """How far what the ledger says has come on its way to the broker."""

    LIVE = "live"  # the broker goes by it
    WRITTEN = (
        "written"  # in its files; no broker runs from them, and one goes by them when it starts
    )
    LEFT = "left"  # the broker goes by it, and still keeps something of who is retired
    UNTOLD = "untold"  # in its files; the one that runs could not be told, or does not go by them
    UNWRITTEN = "unwritten"  # in the ledger alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Which user names the broker takes anew, and which no more, and how far that has come.

    `remark`: what stands against it, in words; None when the broker runs by what the ledger says.
    """

    let_in: tuple[str, ...] = ()
    shut_out: tuple[str, ...] = ()
    reach: Reach = Reach.LIVE
    remark: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the files shall say: a hash for each user name, None for whom to shut out.

    `mute`: devices that no login is left to, and, of retired ones, the topics to be cleared.
    """

    users: Mapping[str, str | None]
    rights: Mapping[str, Rights]
    mute: Mapping[str, tuple[str, ...]]


def settle(settings: Settings, engine: Engine, *, by: By, whole: bool = False) -> Settled:
    """Make the broker's files what the ledger says. `whole`: and look after what was left before.

    Raises `DeskError` where `broker_dir` holds no broker's files.
    """
    changed, wanted = write_files(engine, settings.broker_dir, by=by)
    if changed is None and not whole:
        return Settled()
    shut_out = () if changed is None else changed.shut_out
    lost = {name.removesuffix(SECOND) for name in shut_out}
    mute = {name: kept for name, kept in wanted.mute.items() if whole or name in lost}
    reach, remark = _tell(settings, changed, mute)
    return Settled(
        let_in=() if changed is None else changed.let_in,
        shut_out=shut_out,
        reach=reach,
        remark=remark,
    )


def follow(settings: Settings, by: By) -> Settled:
    """Settle after the ledger was changed; what stands against it is told, and never raised.

    Nothing to do where there are no broker's files of ours.
    """
    if not (settings.broker_dir / broker.PASSWORDS).exists():
        return Settled()
    try:
        with opened(settings) as engine:
            return settle(settings, engine, by=by)
    except (DeskError, OSError) as error:
        remark = (
            f"it is decided, but the broker's files are not written: {error}. Mend that; a service "
            "that runs here tries again by itself, and so does: gridbeat broker sync"
        )
        return Settled(reach=Reach.UNWRITTEN, remark=remark)


def write_files(engine: Engine, folder: Path, *, by: By) -> tuple[broker.Changed | None, Wanted]:
    """End what is due to end, and write the files of `folder` anew where they say otherwise."""
    broker.passwords(folder)
    with locked(folder):
        with writing(engine) as connection:
            adopt(connection, broker.passwords(folder))
            _end_what_is_due(connection, by)
            wanted = _wanted(connection)
        return broker.put_users(folder, wanted.users, wanted.rights), wanted


def agrees(engine: Engine, folder: Path) -> bool:
    """Whether the files of `folder` say what the ledger says. Changes nothing."""
    with reading(engine) as connection:
        wanted = _wanted(connection)
    return broker.says(folder, wanted.users, wanted.rights)


def strangers(engine: Engine, folder: Path) -> list[str]:
    """Devices that the files of `folder` let in, with passwords the ledger does not know."""
    there = broker.passwords(folder)
    with reading(engine) as connection:
        devices = connection.execute(select(DEVICE.c.slug, DEVICE.c.enrolled_at)).all()
        ours = usernames(connection)
    return sorted(
        row.slug
        for row in devices
        if row.slug in there and row.slug not in ours and row.enrolled_at is None
    )


def _wanted(connection: Connection) -> Wanted:
    users: dict[str, str | None] = dict.fromkeys(usernames(connection))
    rights: dict[str, Rights] = {}
    mute = {}
    known = list(holders(connection))
    taken_up = {name for held in known if not held.retired for name in _own(held)}
    ended = {name for held in known if held.retired for name in _own(held)} - taken_up
    if ended:  # to clear them: what is no topic of ours the service may only read
        rights[SERVICE_USER] = Rights(write=tuple(sorted(ended)))
    for held in known:
        if not held.working:
            mute[held.slug] = _kept(held, ended) if held.retired else ()
        users |= {login.username: login.hash for login in held.working}
        rights |= _rights(held)
    return Wanted(users=users, rights=rights, mute=mute)


def _end_what_is_due(connection: Connection, by: By) -> None:
    for held in lapsed(connection, by.now):
        take(connection, held, Act(step=Step.FINISH, author=HOUSE, at=by.now))
    for held in left_by_retired(connection):
        take(connection, held, Act(step=Step.RETIRE, author=by.author, at=by.now))


def _rights(held: Holder) -> dict[str, Rights]:
    """What a reader may say in the topics of its own protocol; and for a device's second name what
    the patterns would give it, were that its id.
    """
    if held.address is not None:
        write, read = adapters.rights(held.protocol, held.address)
        return {login.username: Rights(write=write, read=read) for login in held.working}
    mine = f"{topics.ROOT}/+/{held.slug}"
    as_the_first = Rights(write=(f"{mine}/up/#",), read=(f"{mine}/down/#",))
    return {login.username: as_the_first for login in held.working if login.username != held.slug}


def _own(held: Holder) -> tuple[str, ...]:
    """The topics of a reader's own protocol that are its alone."""
    return () if held.address is None else adapters.own(held.protocol, held.address)


def _kept(held: Holder, ended: Set[str]) -> tuple[str, ...]:
    """Where the broker may keep something of a device; of its own topics those in `ended`, which
    no other reader has taken up.
    """
    return (f"{topics.ROOT}/+/{held.slug}/#", *(name for name in _own(held) if name in ended))


def _tell(
    settings: Settings, changed: broker.Changed | None, mute: Mapping[str, tuple[str, ...]]
) -> tuple[Reach, str | None]:
    """Have the running broker go by its files; what stands against it, in words."""
    folder, address = settings.broker_dir, settings.mqtt_url
    # Who is let in anew begins a session of its own: none that an earlier one left gathers for it.
    ids = [*(() if changed is None else changed.let_in)]
    ids += [name for device in mute for name in (device, device + SECOND)]
    kept = [name for filters in mute.values() for name in filters]
    try:
        if not broker.reload(folder):
            return Reach.WRITTEN, f"no broker runs from {folder}; it goes by them when it starts"
        if changed is not None and not asyncio.run(
            lets_in(settings, broker.CHECK_USER, changed.check)
        ):
            other = f"the broker was told, but {address} does not go by {folder}: another one?"
            return Reach.UNTOLD, other
        asyncio.run(hang_up(settings, ids))
        left = asyncio.run(clear_retained(settings, kept))
    except DeskError as error:
        return Reach.UNTOLD, f"{error}: {error.remedy}"
    if left:
        return Reach.LEFT, f"the broker still keeps, of who is retired: {few(left)}; {_CLEAR}"
    return Reach.LIVE, None


_CLEAR = (
    "let the user of mqtt_url write there (broker/acl), then: gridbeat broker sync; or clear each: "
    "mosquitto_pub --retain --null-message --topic TOPIC"
)
