"""Where messages come from: a port, so that a faster client can take the place of another.

A source hands out deliveries in the order in which the broker sent them and keeps each
unacknowledged until told otherwise. Its receive window is the back-pressure: what is not
acknowledged is not followed by more. Acknowledgements are bound to the connection that brought the
message; one that outlives its connection does nothing, and the broker sends the message again.

Readers that one can buy publish with QoS 0. Those deliveries come in their place among the others
and know neither window nor acknowledgement, so a source bounds how many of them wait; then the
newest are left out, by it or by the broker, as from any client that is too slow. Nobody sends them
again: those that wait outlive their connection.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Protocol, TypeVar

from msgspec import Struct

from devices import topics
from store.addresses import MqttAddress

T = TypeVar("T")

MAIN = "main"
SOS = "sos"
BULK = "bulk"

SESSION_EXPIRY_S = 30 * 86_400
"""How long the broker keeps for us what arrives while we are down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is, who we are there, and which authority its certificate must be of."""

    address: MqttAddress
    ca_file: Path | None = None


class Delivery(Struct, frozen=True, gc=False):
    """One message: where it was published, its bytes, and what its acknowledgement needs."""

    session: str
    topic: str
    payload: bytes
    retained: bool
    token: tuple[int, int]  # connection, packet id; 0 where it was published with QoS 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session of the service on the broker: its name, what it subscribes, its receive window.

    `expected`: an earlier run left it with the broker, so that its absence means a loss.
    """

    name: str
    filters: tuple[str, ...]
    window: int
    overtaking: bool = False
    expected: bool = False


def sessions(instance: str, *, window: int, expected: bool = False) -> tuple[Session, ...]:
    """The sessions of one instance. sos and photos have their own, so that neither waits for, nor
    holds up, the check-ins. The check-ins' session also reads markers and the simulator's clock.
    """
    up = f"{topics.ROOT}/+/+/up"
    marks = (topics.marker(instance), topics.CLOCK)
    named = (
        Session(name=MAIN, filters=(f"{up}/+", *marks), window=window),
        Session(name=SOS, filters=(f"{up}/sos",), window=100, overtaking=True),
        Session(name=BULK, filters=(f"{up}/+/+/#",), window=8, overtaking=True),
    )
    return tuple(replace(session, expected=expected) for session in named)


class Source(Protocol):
    """What the pipeline needs of a client.

    Its maker hands in whom it tells, on the loop: `on_change(connected)` when the answer of
    `connected` changes, and `on_fresh(session)` when the broker had no session where one was
    expected: messages may be gone.
    """

    async def start(self) -> None:
        """Begin connecting, and keep connecting until `stop`."""

    async def take(self, limit: int) -> Sequence[Delivery]:
        """Wait for messages and return at most `limit`, the overtaking sessions' first."""

    def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        """Tell the broker that these need not be sent again; of QoS 0 there is nothing to tell."""

    def subscribe(self, session: str, filters: Iterable[str], *, gone: Iterable[str] = ()) -> None:
        """Read `filters` in that session beside its own, and `gone` no more; it replaces what an
        earlier call said, and holds for every connect from now on.

        A session on the broker outlives the process: what an earlier run read and this one does
        not must stand in `gone`. What the broker refuses is logged; the rest is read.
        """

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool = False,
        overtaking: bool = False,
    ) -> "Sending":
        """Send something; the answer says when the broker has it.

        `overtaking`: by a connection for such alone. A busy broker reads each connection packet by
        packet, in turns with all devices', so that what lies behind a hundred receipts comes late.
        """

    async def pause(self) -> None:
        """Hang up, so that nothing more is received, until `resume`."""

    async def resume(self) -> None:
        """Connect again after `pause`."""

    @property
    def connected(self) -> bool:
        """Whether every session is subscribed, and what is published leaves."""

    @property
    def can_publish(self) -> bool:
        """Whether what is published now leaves; the sessions may be subscribed before that."""

    async def stop(self) -> None:
        """Disconnect in good order. What was not acknowledged stays with the broker."""


class Sending(Protocol):
    """A publish under way."""

    async def done(self, timeout_s: float) -> bool:
        """Whether the broker took it within `timeout_s`."""


async def taken(sendings: Sequence[tuple[T, Sending]], within_s: float) -> list[T]:
    """Those that the broker took, all within one `within_s`."""
    enough = monotonic() + within_s
    return [of for of, sending in sendings if await sending.done(max(enough - monotonic(), 0))]


class Sent:
    """A publish; settled when the broker has acknowledged it, or can do so no more."""

    def __init__(self) -> None:
        self._over = asyncio.Event()
        self._taken = False

    def settle(self, taken: bool) -> None:
        self._taken = taken
        self._over.set()

    async def done(self, timeout_s: float) -> bool:
        if self._over.is_set():
            return self._taken
        try:
            async with asyncio.timeout(timeout_s):
                await self._over.wait()
        except TimeoutError:
            return False
        return self._taken
