"""Captures what a broker passes on, as a recording."""

import asyncio
import contextlib
import secrets
import signal
import ssl
import time
from collections.abc import Callable, Sequence

import aiomqtt
from aiomqtt.exceptions import MqttConnectError

from firmware_sim.access import Access
from firmware_sim.link import REFUSED, LinkDownError, RefusedError
from firmware_sim.recording import Recorder, Said

TOPICS = ("patrol/v1/+/+/up/#", "patrol/v1/sim/clock")


async def capture(
    access: Access,
    recorder: Recorder,
    topics: Sequence[str],
    seconds: float,
    on_listening: Callable[[], None],
) -> None:
    """Write down what comes on `topics` until SIGINT or SIGTERM, or for so many seconds (0: ever).

    A message's time is when it came, by this machine's clock. Raises `LinkDownError` where the
    broker goes away, for a gap would look like silence, and `RefusedError`.
    """
    listening = asyncio.create_task(_listen(access, recorder, topics, on_listening))
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, over.set)
    waiting = asyncio.create_task(over.wait())
    await asyncio.wait(
        {listening, waiting}, timeout=seconds or None, return_when=asyncio.FIRST_COMPLETED
    )
    waiting.cancel()
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening


async def _listen(
    access: Access, recorder: Recorder, topics: Sequence[str], on_listening: Callable[[], None]
) -> None:
    broker, login, last = access.broker, access.clock, 0
    context = ssl.create_default_context(cafile=broker.ca_file) if broker.tls else None
    client = aiomqtt.Client(
        broker.host,
        broker.port,
        identifier=f"{login.client_id}-record-{secrets.token_hex(3)}",
        username=login.user,
        password=login.password,
        protocol=aiomqtt.ProtocolVersion.V311,
        tls_context=context,
    )
    try:
        async with client:
            for topic in topics:
                await client.subscribe(topic, qos=1)
            on_listening()
            async for message in client.messages:
                last = max(last, time.time_ns() // 1_000_000)  # a clock that is set back stands
                body = message.payload if isinstance(message.payload, bytes) else b""
                recorder.write(Said(last, str(message.topic), body, bool(message.retain)))
    except MqttConnectError as error:
        if getattr(error.rc, "value", error.rc) in REFUSED:
            raise RefusedError(f"{login.user or 'without a login'}: {error}") from error
        raise LinkDownError(str(error)) from error
    except aiomqtt.MqttError as error:
        raise LinkDownError(str(error)) from error
