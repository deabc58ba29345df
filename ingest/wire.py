"""One MQTT 5 connection: whole buffers in, packets out. No session, no retry, no threads.

The socket's side of the protocol, as an `asyncio.Protocol`. What the broker itself says goes
through the codec of `mqtt5`. Publishes are read here: their topics and properties come from whoever
published them, and the codec refuses, or panics at, what some brokers let pass; such a message
would end every connection on which it comes, again and again. Here each becomes a delivery.
"""

import asyncio
import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from struct import Struct

import mqtt5

from ingest.source import Delivery

KEEPALIVE_S = 20
"""The broker ends a connection on which it has heard nothing for one and a half of these, or of
what it says instead (MQTT 5, section 3.2.2.3.14)."""
MOST_WAITING = 4 * 2**20
"""Bytes that may wait to be sent before something is wrong with the other side."""

_puback = Struct(">HH").pack
_PUBACK = 0x4002
"""PUBACK, two bytes long: the reason is success (MQTT 5, section 3.4.2.1)."""
_PUBLISH = 3
TOPICS = 20_000
"""Topics whose text is remembered; then it begins anew."""
_PING = mqtt5.PingReqPacket().write()
_BYE = mqtt5.DisconnectPacket().write()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ears:
    """Whom a connection tells what: all on the loop, in the order of the broker.

    `opened` hears the broker's answer; `publishes` those that came in one piece; `packet` the rest,
    but for pings; `closed` why it ended, once, whatever came before.
    """

    opened: Callable[[mqtt5.ConnAckPacket], None]
    publishes: Callable[[Sequence[Delivery]], None]
    packet: Callable[[mqtt5.Packet], None]
    closed: Callable[[str | None], None]


class Wire(asyncio.Protocol):
    """One connection, from `hello` to its end. `name` and `number` stand in its deliveries."""

    def __init__(self, hello: mqtt5.ConnectPacket, ears: Ears, name: str, number: int) -> None:
        self._hello = hello
        self._name = name
        self._number = number
        self._topics: dict[bytes, str] = {}
        self._ears = ears
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._heard = True
        self._held = False
        self._why: str | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._beat_s = KEEPALIVE_S
        self.ended = asyncio.Event()

    # What the loop tells us ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello; to one that was hung up before it was there, nothing."""
        if self.ended.is_set():
            transport.abort()  # type: ignore[attr-defined]  # TCP or TLS, as below
            return
        self._transport = transport  # type: ignore[assignment]  # TCP or TLS: it can write
        self.send(self._hello.write())
        self._plan_beat()

    def data_received(self, data: bytes) -> None:
        """Hand on every whole packet; what is left of one waits for the rest of it."""
        self._heard = True
        buffer = self._rest + data if self._rest else data
        at = 0
        deliveries: list[Delivery] = []
        try:
            while (whole := _body(buffer, at)) is not None:
                if buffer[at] >> 4 == _PUBLISH:
                    deliveries.append(self._publish(buffer, at, *whole))
                else:
                    self._tell(deliveries)
                    deliveries = []
                    self._hear(buffer[at : whole[1]])
                at = whole[1]
        except (IndexError, ValueError) as error:
            self._fail(f"the broker sent what is no MQTT 5: {error}")
        self._rest = buffer[at:]
        self._tell(deliveries)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever made it. What never began ends unheard: another may be there by now."""
        if self._transport is None:
            return
        if self._beat is not None:
            self._beat.cancel()
        self.ended.set()
        self._ears.closed(self._why or (None if exc is None else str(exc)))

    # What we say --------------------------------------------------------------------------------

    def send(self, packet: bytes) -> None:
        """Send bytes that are packets already."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(packet)
        if transport.get_write_buffer_size() > MOST_WAITING:
            self._fail("the broker takes nothing any more")

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Acknowledge publishes, in one write."""
        self.send(b"".join([_puback(_PUBACK, packet_id) for packet_id in packet_ids]))

    def hold(self) -> None:
        """Read no more, so that the broker has to keep what it would send, until `listen`."""
        if self._transport is not None and not self._held:
            self._held = True
            self._transport.pause_reading()

    def listen(self) -> None:
        """Go on reading."""
        if self._transport is not None and self._held:
            self._held, self._heard = False, True
            self._transport.resume_reading()

    def hang_up(self) -> None:
        """End in good order: what was written is sent before."""
        if self._transport is None:
            self.ended.set()
            return
        self.send(_BYE)
        self._transport.close()

    async def cut(self) -> None:
        """End without a word, however it stands; when this returns, the end has been told."""
        if self._transport is None:
            self.ended.set()
            return
        self._transport.abort()
        await self.ended.wait()

    # Inside -------------------------------------------------------------------------------------

    def _publish(self, buffer: bytes, at: int, start: int, end: int) -> Delivery:
        """MQTT 5, section 3.3: topic, packet id where the QoS has one, properties, payload."""
        first = buffer[at]
        place = start + 2 + (buffer[start] << 8 | buffer[start + 1])
        raw = buffer[start + 2 : place]
        topic = self._topics.get(raw)
        if topic is None:
            topic = self._remember(raw)
        packet_id = 0
        if first & 0x06:
            packet_id = buffer[place] << 8 | buffer[place + 1]
            place += 2
        if place >= end:
            raise ValueError("a publish that ends before its payload")
        if buffer[place]:  # properties, which begin with their length as a body does
            place = (_body(buffer, place - 1) or (0, end))[1]
        else:
            place += 1
        return Delivery(
            self._name, topic, buffer[place:end], bool(first & 1), (self._number, packet_id)
        )

    def _remember(self, raw: bytes) -> str:
        if len(self._topics) >= TOPICS:
            self._topics.clear()
        topic = self._topics[raw] = raw.decode(errors="replace")
        return topic

    def _tell(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            self._ears.publishes(deliveries)

    def _hear(self, raw: bytes) -> None:
        packet, _ = mqtt5.read(memoryview(raw))
        match packet:
            case mqtt5.ConnAckPacket():
                asked = packet.server_keep_alive
                if asked and asked < KEEPALIVE_S:  # 0: the broker ends nothing
                    self._beat_s = asked
                    self._plan_beat()
                self._ears.opened(packet)
            case mqtt5.DisconnectPacket():
                self._why = words(packet.reason_code)
            case mqtt5.PingRespPacket():
                pass
            case _:
                self._ears.packet(packet)

    def _keep_alive(self) -> None:
        if not self._heard and not self._held:
            self._fail(f"the broker has been silent for {self._beat_s} s")
            return
        self._heard = False
        self.send(_PING)
        self._plan_beat()

    def _plan_beat(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        self._beat = self._loop.call_later(self._beat_s, self._keep_alive)

    def _fail(self, why: str) -> None:
        self._why = self._why or why
        if self._transport is not None:
            self._transport.abort()


def words(reason: enum.IntEnum) -> str:
    """A reason code, for people. (The codec's are no real enums: only their repr says the name.)"""
    return repr(reason).partition(".")[2].partition(":")[0].replace("_", " ").lower()


def _body(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Where the body of the packet at `at` begins and ends; None while not all of it is there.

    A byte of type and flags, then the body's length, seven bits a byte (MQTT 5, section 1.5.5).
    """
    end = len(buffer)
    start, size, shift = at + 1, 0, 0
    while start < end:
        byte = buffer[start]
        start += 1
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (start, start + size) if start + size <= end else None
        shift += 7
    return None
