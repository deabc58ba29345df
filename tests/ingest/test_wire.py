"""One connection: bytes in any pieces, acknowledgements in one write, and what is no MQTT."""

import asyncio
import struct
from typing import Any

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.source import Broker, Session
from ingest.wire import Ears, Wire
from ingest.wire_source import _Link
from store.addresses import MqttAddress

CONNACK = bytes((0x20, 3, 0, 0, 0))


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.ended = False
        self.reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.ended

    def abort(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.ended = True


class Heard:
    """What a connection told."""

    def __init__(self) -> None:
        self.publishes: list[tuple[str, bytes, int]] = []
        self.others: list[Any] = []
        self.transport = Transport()
        self.ears = Ears(
            opened=self.others.append,
            publishes=lambda many: self.publishes.extend(
                (each.topic, each.payload, each.token[1]) for each in many
            ),
            packet=self.others.append,
            closed=self.others.append,
        )
        self.wire = Wire(mqtt5.ConnectPacket("test"), self.ears, "main", 1)
        self.wire.connection_made(self.transport)
        self.transport.written.clear()

    def take(self, data: bytes, size: int | None = None) -> "Heard":
        size = size or max(len(data), 1)
        for at in range(0, len(data), size):
            self.wire.data_received(data[at : at + size])
        return self


def test_hung_up_before_it_is_there_it_never_speaks() -> None:
    """A connection that is made after all is closed without a word, and nobody hears of its end."""

    async def make() -> Heard:
        heard = Heard()
        late = Transport()
        wire = Wire(mqtt5.ConnectPacket("test"), heard.ears, "main", 1)
        wire.hang_up()
        wire.connection_made(late)
        assert (bytes(late.written), late.ended) == (b"", True)
        wire.connection_lost(None)
        return heard

    assert asyncio.run(make()).others == []


def publish(topic: bytes, payload: bytes, packet_id: int, properties: bytes = b"") -> bytes:
    """MQTT 5, section 3.3, written by hand: also what the codec would not write."""
    body = struct.pack("!H", len(topic)) + topic + struct.pack("!H", packet_id)
    body += bytes((len(properties),)) + properties + payload
    size, length = len(body), bytearray()
    while True:
        size, digit = divmod(size, 128)
        length.append(digit | (0x80 if size else 0))
        if not size:
            return b"\x32" + bytes(length) + body


PACKETS = [publish(b"a/b", b"x" * size, size + 1) for size in (0, 1, 100, 200, 20_000)]
CONTENT_TYPE = b"\x03\x00\x01\xff"  # a content type that is no UTF-8
UNREADABLE = {
    "topic": publish(b"a/\xff", b"kept", 7),
    "property": publish(b"a/b", b"kept", 7, CONTENT_TYPE),
    "unknown property": publish(b"a/b", b"kept", 7, b"\x7f\x00"),
}


@given(st.integers(1, 300))
async def test_packets_are_the_same_in_any_pieces(size: int) -> None:
    """However the network cuts them, publishes come whole, unchanged and in order."""
    whole = b"".join(PACKETS)
    heard = Heard().take(CONNACK + whole, size)
    sizes = [(topic, len(payload), number) for topic, payload, number in heard.publishes]
    assert sizes == [("a/b", size, size + 1) for size in (0, 1, 100, 200, 20_000)]
    assert isinstance(heard.others[0], mqtt5.ConnAckPacket)


async def test_acknowledgements_leave_in_one_write() -> None:
    """A batch of them is what the codec reads as as many PUBACKs."""
    heard = Heard()
    heard.wire.acknowledge([1, 513, 65_535])
    view, found = memoryview(bytes(heard.transport.written)), []
    while view:
        packet, size = mqtt5.read(view)
        assert isinstance(packet, mqtt5.PubAckPacket)
        found.append((packet.packet_id, int(packet.reason_code)))
        view = view[size:]
    assert found == [(1, 0), (513, 0), (65_535, 0)]


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("size", [1, 5, None])
async def test_a_publish_that_no_codec_would_read_holds_up_nothing(
    name: str, size: int | None
) -> None:
    """A topic or a property that is no UTF-8, or unknown: it comes, as do those around it."""
    heard = Heard().take(PACKETS[1] + UNREADABLE[name] + PACKETS[2], size)
    before, saved, after = heard.publishes
    assert (before[2], saved[2], after[2]) == (2, 7, 101)
    assert saved[1] == b"kept"
    assert not heard.transport.ended


CUT_SHORT = [publish(b"a/b", b"", 7)[:6], b"\x32\x00", b"\x32\x02\x00\x09", b"\x00" * 8]


@pytest.mark.parametrize("data", [bytes((each[0], len(each) - 2)) + each[2:] for each in CUT_SHORT])
async def test_what_is_no_mqtt_ends_the_connection(data: bytes) -> None:
    """A packet that contradicts its own length says that nothing after it can be trusted."""
    heard = Heard().take(data)
    assert heard.transport.ended
    assert heard.publishes == []


@given(st.sampled_from(PACKETS[:4]) | st.binary(max_size=60), st.integers(1, 50), st.randoms())
async def test_no_bytes_make_it_raise(data: bytes, size: int, chance: Any) -> None:
    """Whatever comes, and in whatever pieces."""
    damaged = bytearray(data)
    for _ in range(chance.randint(0, 3) if data else 0):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    Heard().take(bytes(damaged), size)


async def test_a_broker_that_falls_silent_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once; where nothing comes until the next time, the connection ends."""
    heard = Heard()
    beats = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda _, beat: beats.append(beat))
    heard.wire._keep_alive()
    assert bytes(heard.transport.written) == mqtt5.PingReqPacket().write()
    beats[-1]()
    assert heard.transport.ended


@pytest.mark.parametrize(("said", "beat_s"), [(None, 20), (0, 20), (5, 5), (60, 20)])
async def test_it_is_heard_as_often_as_the_broker_asks(said: int | None, beat_s: int) -> None:
    """A broker's own keep alive takes the place of ours where it is shorter (MQTT-3.2.2-21): else
    it would end every connection before its first ping."""
    heard = Heard()
    at_first, time = heard.wire._beat, asyncio.get_running_loop().time
    heard.take(mqtt5.ConnAckPacket(server_keep_alive=said).write())
    assert at_first.cancelled() is (beat_s < 20)
    for _ in range(2):
        assert beat_s - 1 < heard.wire._beat.when() - time() <= beat_s
        heard.wire._keep_alive()
        heard.take(mqtt5.PingRespPacket().write())


async def test_while_it_is_held_silence_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not read cannot be heard: the broker is given its time from then on."""
    heard = Heard()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda *_: None)
    heard.wire.hold()
    assert not heard.transport.reading
    heard.wire._keep_alive()
    heard.wire._keep_alive()
    heard.wire.listen()
    assert heard.transport.reading
    heard.wire._keep_alive()
    assert not heard.transport.ended


async def test_what_waits_holds_back_the_next_connection_too() -> None:
    """Deliveries of QoS 0 outlive their connection, so the next one is not read before they are
    taken: however often it breaks, no more wait than a window and what one read brings."""
    broker = Broker(address=MqttAddress.parse("mqtt://127.0.0.1"))
    session = Session(name="main", filters=("a",), window=10)
    link = _Link(broker, "test", session, asyncio.Event(), lambda _: None, lambda: None)
    resumed, unasked = bytes((0x20, 3, 1, 0, 0)), b"\x30\x05\x00\x01a\x00x"
    for read in (resumed + unasked * 20, resumed + PACKETS[0]):
        transport, wire = Transport(), link.line._new()
        wire.connection_made(transport)
        wire.data_received(read[:5])
        wire.data_received(read[5:])
        assert not transport.reading
        wire.connection_lost(None)
    wire = link.line._new()
    wire.connection_made(transport := Transport())
    wire.data_received(resumed)
    assert not transport.reading
    assert [each.token[1] for each in link.take(100)] == [0] * 20
    assert transport.reading
