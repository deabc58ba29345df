"""Taking notice of events: saying who has seen one, and following them as they are told."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
from sqlalchemy import Engine, select

from desk.acts import By
from desk.errors import DeskError, UnreachableError
from devices import topics
from store.brokers import TrustRefused, remedy, trust
from store.database import reading, writing
from store.events import EVENT, EventResolved, UnknownEvent
from store.events import acknowledge as append
from store.listings import SITE
from store.rows import EventOut
from store.settings import Settings
from store.walking import ALL

SHORTEST = 6
"""Signs of an id that are enough to name an event, where only one begins so."""


def acknowledge(engine: Engine, id_: str, *, by: By, note: str) -> EventOut:
    """Write down that somebody has taken notice of an event; returns its new revision.

    `id_` may be the beginning of an id. Raises `DeskError` when no event has it or it has ended.
    """
    try:
        with writing(engine) as connection:
            row = append(
                connection, _whole(connection, id_), author=by.author, note=note, now=by.now
            )
    except UnknownEvent:
        raise DeskError(f"no event has the id {id_!r}", "gridbeat event list shows them") from None
    except EventResolved as error:
        raise DeskError(str(error)) from None
    return _out(engine, row)


def _whole(connection: Any, start: str) -> str:
    if len(start) < SHORTEST or not all(sign in "0123456789abcdef" for sign in start):
        return start
    query = select(EVENT.c.event_id).where(EVENT.c.event_id.startswith(start)).limit(2)
    found = connection.execute(query).scalars().all()
    if len(found) > 1:
        raise DeskError(f"several events begin with {start}", "give more of the id")
    return str(found[0]) if found else start


def _out(engine: Engine, row: Any) -> EventOut:
    with reading(engine) as connection:
        query = select(SITE.c.slug, SITE.c.timezone).where(SITE.c.id == row["site_id"])
        site = connection.execute(query).first()
    names = ("kind", "severity", "subject", "at", "raised_at", "revision", "state")
    return EventOut(
        id=row["event_id"],
        site=ALL if site is None else site.slug,
        timezone=None if site is None else site.timezone,
        message=row["message"],
        data=row["data"],
        **{name: row[name] for name in names},
    )


@asynccontextmanager
async def connected(settings: Settings, **credentials: Any) -> AsyncIterator[aiomqtt.Client]:
    """A connection of one's own to the broker that leaves no session behind.

    `credentials` (username, password) stand in for the service's. Raises `UnreachableError`.
    """
    address = settings.mqtt_url
    try:
        context = trust(address, settings.mqtt_ca_file)
    except TrustRefused as error:
        raise UnreachableError(f"the broker {address} is not to be trusted yet", None) from error
    who = {"username": address.username, "password": address.password} | credentials
    client = aiomqtt.Client(
        address.host,
        address.port,
        protocol=aiomqtt.ProtocolVersion.V5,
        tls_context=context,
        timeout=5,
        **who,
    )
    try:
        async with client:
            yield client
    except (aiomqtt.MqttError, OSError) as error:
        raise UnreachableError(
            f"the broker {address} cannot be reached, or does not let us in",
            f"{remedy(str(error))}; gridbeat doctor tells more",
        ) from error


AGAIN_S = 1.0
"""How soon a broker that was lost is tried again."""


async def events(
    settings: Settings, site: str | None, turned: Callable[[bool], None]
) -> AsyncIterator[dict[str, Any]]:
    """Events as they are told on MQTT from now on, as the wire has them (times in ms).

    A broker that goes away is waited for: `turned` hears False when it is lost, True when it is
    back. Raises `UnreachableError` where it cannot be reached at first.
    """
    heard = lost = False
    while True:
        try:
            async with connected(settings) as client:
                await client.subscribe(topics.event(site or "+", "#"), qos=1)
                if lost:
                    turned(True)
                heard, lost = True, False
                async for event in _told(client):
                    yield event
        except UnreachableError:
            if not heard:
                raise
            if not lost:
                turned(False)
            lost = True
        await asyncio.sleep(AGAIN_S)


async def _told(client: aiomqtt.Client) -> AsyncIterator[dict[str, Any]]:
    async for message in client.messages:
        if isinstance(message.payload, bytes | bytearray):
            told = json.loads(message.payload)
            if isinstance(told, dict):
                yield told
