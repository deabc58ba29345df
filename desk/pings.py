"""Asks the broker: does it let us in, does a message come back, what does it say of itself."""

import asyncio
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import aiomqtt

from desk.errors import UnreachableError
from desk.notice import connected
from devices import topics
from store.settings import Settings

BACK_S = 3.0
"""A message to ourselves that takes longer does not come back."""
OWN_WORDS_S = 0.5
"""What the broker says of itself is retained: it is there at once, or not told to us."""

AT_ONCE = 50
"""Filters in one SUBSCRIBE."""

VERSION, DROPPED = "$SYS/broker/version", "$SYS/broker/publish/messages/dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """`back_ms` None: it did not come back. `version`, `dropped` None: the broker did not say."""

    back_ms: int | None
    version: str | None
    dropped: int | None


async def ping(settings: Settings) -> Ping:
    """Publish a message to ourselves and wait for it. Raises `UnreachableError`."""
    topic = topics.echo(secrets.token_hex(8))
    async with connected(settings) as client:
        await client.subscribe([(VERSION, 0), (DROPPED, 0), (topic, 1)])
        began = time.monotonic()
        await client.publish(topic, b"", qos=1)
        heard = await _heard(client, topic, BACK_S)
        took = round((time.monotonic() - began) * 1000)
        if VERSION not in heard:
            heard |= await _heard(client, VERSION, OWN_WORDS_S)
    dropped = _text(heard.get(DROPPED)) or ""
    return Ping(
        back_ms=took if topic in heard else None,
        version=_text(heard.get(VERSION)),
        dropped=int(dropped) if dropped.isdigit() else None,
    )


async def lets_in(settings: Settings, username: str, password: str) -> bool:
    """Whether the broker takes this login, within the moment it needs to read its files again."""
    until = time.monotonic() + BACK_S
    while True:
        try:
            async with connected(settings, username=username, password=password):
                return True
        except UnreachableError:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.05)


async def hang_up(settings: Settings, client_ids: Iterable[str]) -> None:
    """End the sessions of these clients, whether they are connected or not.

    A session goes to whoever connects under its name last; a clean start ends it. The broker cuts
    those whose password is gone by itself when it reads its files again; this holds for the
    messages that wait for them, too. Raises `UnreachableError`.
    """
    for name in client_ids:
        async with connected(settings, identifier=name):
            pass


async def clear_retained(settings: Settings, filters: Sequence[str]) -> list[str]:
    """Clear what the broker keeps under `filters`; the topics under which it keeps it all the same.

    Where our user may not write, the broker takes the message and drops it without a word: hence
    the second look. Raises `UnreachableError`.
    """
    if not filters:
        return []
    async with connected(settings) as client:
        for topic in await _kept(client, filters):
            await client.publish(topic, b"", qos=1, retain=True)
    async with connected(settings) as client:
        return await _kept(client, filters)


async def _kept(client: aiomqtt.Client, filters: Sequence[str]) -> list[str]:
    """The topics of what the broker keeps under `filters`, asked for by a client's first time."""
    end = topics.echo(secrets.token_hex(8))
    for first in range(0, len(filters), AT_ONCE):
        await client.subscribe([(name, 0) for name in filters[first : first + AT_ONCE]])
    await client.subscribe(end, 1)
    await client.publish(end, b"", qos=1)  # what is kept comes before it
    heard = await _heard(client, end, BACK_S)
    if end not in heard:
        raise UnreachableError("the broker does not say in time what it keeps", "try again")
    return sorted(topic for topic, message in heard.items() if message.retain)


async def _heard(client: aiomqtt.Client, last: str, seconds: float) -> dict[str, aiomqtt.Message]:
    """The first message of each topic that comes in until `last` does, or time is up."""
    heard: dict[str, aiomqtt.Message] = {}
    try:
        async with asyncio.timeout(seconds):
            async for message in client.messages:
                heard.setdefault(str(message.topic), message)
                if str(message.topic) == last:
                    break
    except TimeoutError:
        pass
    return heard


def _text(message: aiomqtt.Message | None) -> str | None:
    payload = None if message is None else message.payload
    return (
        bytes(payload).decode(errors="replace") if isinstance(payload, bytes | bytearray) else None
    )
