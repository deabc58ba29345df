"""Watching a device on the broker, as an observer who may read everything, and judging it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from paho.mqtt.subscribeoptions import SubscribeOptions

from desk.errors import UsageError
from desk.notice import connected
from devices import topics
from devices.conformance.clauses import Judgement, judge
from devices.conformance.trace import Heard, read
from devices.ids import is_slug
from store.settings import Settings

LIVE = 2
"""MQTT 5 retain handling: nothing of what was retained before, only what is published now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What was heard of a device (`messages`, and of these receipts), and how it is judged."""

    device: str
    seconds: float
    messages: int
    receipts: int
    judgements: tuple[Judgement, ...]


def check(device: str, minutes: float, scale: float) -> None:
    """Raise `UsageError` for a watch that cannot be."""
    if not is_slug(device):
        raise UsageError(f"--device {device!r} is no device's id", "for example --device hh-0101")
    if minutes <= 0:
        raise UsageError(f"--minutes {minutes:g} is no time to watch", "for example --minutes 10")
    if not 0 < scale <= 1:
        raise UsageError(f"--scale {scale:g} is not above 0 and at most 1", "for example 0.1")


async def watch(  # noqa: PLR0913 - whom, how long, and who is told meanwhile
    settings: Settings,
    device: str,
    *,
    seconds: float,
    scale: float = 1.0,
    on_ready: Callable[[], None] = lambda: None,
    on_heard: Callable[[Heard], None] = lambda _: None,
    enough: asyncio.Event | None = None,
) -> Watched:
    """Listen for so long, or until `enough` is set, then judge. Raises `UnreachableError`."""
    heard: list[Heard] = []
    async with connected(settings) as client:
        # QoS 2 and Retain As Published: as it was published, not as we would have it
        options = SubscribeOptions(qos=2, retainAsPublished=True, retainHandling=LIVE)
        await client.subscribe(f"{topics.ROOT}/+/{device}/#", options=options)
        begun = _now()
        on_ready()

        async def listen() -> None:
            async for message in client.messages:
                payload = message.payload
                one = Heard(
                    at=_now(),
                    topic=str(message.topic),
                    payload=bytes(payload) if isinstance(payload, bytes | bytearray) else b"",
                    qos=message.qos,
                    retain=bool(message.retain),
                )
                heard.append(one)
                on_heard(one)

        listening = asyncio.create_task(listen())
        stop = asyncio.create_task((enough or asyncio.Event()).wait())
        done, _ = await asyncio.wait(
            (listening, stop), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        ended = _now()
        for task in (listening, stop):
            task.cancel()
        if listening in done:
            listening.result()  # the broker went away: say so
        with suppress(asyncio.CancelledError):
            await listening
    return _judged(device, heard, begun, ended, scale)


def _judged(device: str, heard: Sequence[Heard], begun: int, ended: int, scale: float) -> Watched:
    trace = read(heard, device, begun, ended, scale)
    return Watched(
        device=device,
        seconds=(ended - begun) / 1_000,
        messages=len(trace.ups),
        receipts=len(trace.receipts),
        judgements=judge(trace),
    )


def _now() -> int:
    return time.time_ns() // 1_000_000
