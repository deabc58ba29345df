"""Load: check-ins encoded before the clock starts, published at QoS 1 over a few sockets.

Only the time is written in as a chunk leaves: to be late for a round would be another load.

One logged-in user may write every device's topic, so that a handful of connections carries the
whole fleet; what one device says stays on one connection, in order. MQTT 3.1.1: the broker sends
nothing back but the acknowledgements, four bytes each, and sets no receive maximum of its own.
"""

import json
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from store.addresses import MqttAddress

LINKS = 4
CHUNK = 50
"""Packets handed to the kernel at once."""
PACE_S = 0.01
IN_FLIGHT = 1_000
"""Packets the broker may owe an acknowledgement for, on each connection."""
LATER = "#" * 13
"""Where the time of publishing comes: milliseconds since the epoch, as long as this."""
NOTE = 400
"""Letters about one item, at most."""
STUCK_S = 60.0
BOOT = "5f0e9c2a"
UP_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Handheld:
    """One device of the load: where it reports from, who holds it, and the tags on its way."""

    slug: str
    site: str
    person: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Encoded packets by connection, in chunks; `last` is each device's highest `seq`.

    `batch`: check-ins of a message.
    """

    streams: tuple[tuple[bytes, ...], ...]
    messages: int
    batch: int
    payload_bytes: int
    last: dict[str, int]

    @property
    def checkins(self) -> int:
        return self.messages * self.batch


def encode(
    fleet: Sequence[Handheld], first_seq: int, messages: int, *, batch: int = 1, note: int = 0
) -> Load:
    """Check-ins of the devices in turn, read and sent when they are published.

    `batch` of them in a message, as an array where there is more than one; with `note`, each says
    something of so many letters about items of the checkpoint.
    """
    packets: list[list[bytes]] = [[] for _ in range(LINKS)]
    last: dict[str, int] = {}
    size = 0
    for index in range(messages):
        turn, place = divmod(index, len(fleet))
        handheld, seq = fleet[place], first_seq + turn * batch
        said = [_check_in(handheld, seq + more, note) for more in range(batch)]
        payload = said[0] if batch == 1 else b"[" + b",".join(said) + b"]"
        stream = packets[place % LINKS]
        topic = f"patrol/v1/{handheld.site}/{handheld.slug}/up/checkin"
        stream.append(packet(topic.encode(), payload, len(stream) % 65_535 + 1))
        last[handheld.slug] = seq + batch - 1
        size += len(payload)
    streams = tuple(
        tuple(b"".join(stream[at : at + CHUNK]) for at in range(0, len(stream), CHUNK))
        for stream in packets
    )
    return Load(
        streams=streams,
        messages=messages,
        batch=batch,
        payload_bytes=size // messages,
        last=last,
    )


def _check_in(handheld: Handheld, seq: int, note: int) -> bytes:
    said: dict[str, object] = {
        "seq": seq,
        "at": LATER,
        "sent": LATER,
        "boot": BOOT,
        "up": UP_MS,
        "sent_up": UP_MS,
        "person": handheld.person,
        "tag": handheld.tags[seq % len(handheld.tags)],
        "via": "nfc",
        "bat": 87,
        "rssi": -71,
    }
    if note:
        said["items"] = [
            {"id": f"item-{start}", "ok": True, "note": "n" * min(NOTE, note - start)}
            for start in range(0, note, NOTE)
        ]
    return json.dumps(said, separators=(",", ":")).replace(f'"{LATER}"', LATER).encode()


def packet(topic: bytes, payload: bytes, packet_id: int) -> bytes:
    """A PUBLISH of QoS 1 (MQTT 3.1.1)."""
    body = struct.pack("!H", len(topic)) + topic + struct.pack("!H", packet_id) + payload
    return b"\x32" + _length(len(body)) + body


def _length(value: int) -> bytes:
    out = bytearray()
    while True:
        value, digit = divmod(value, 128)
        out.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("!H", len(raw)) + raw


def connect(address: MqttAddress, client_id: str) -> socket.socket:
    """A connection with a clean session; what the broker kept for this client id is gone."""
    flags, login = 0x02, b""
    if address.username is not None and address.password is not None:
        flags, login = 0xC2, _text(address.username) + _text(address.password)
    body = _text("MQTT") + bytes((4, flags, 0, 0)) + _text(client_id) + login
    link = socket.create_connection((address.host, address.port), timeout=10)
    link.sendall(b"\x10" + _length(len(body)) + body)
    answer = link.recv(4, socket.MSG_WAITALL)
    if answer[:1] != b"\x20" or answer[3:] != b"\x00":
        link.close()
        raise ConnectionError(f"the broker refused {client_id}: {answer!r}")
    return link


def discard_session(address: MqttAddress, client_id: str) -> None:
    """Have the broker forget the session of a client that has gone."""
    with connect(address, client_id) as link:
        link.sendall(b"\xe0\x00")


@dataclass(slots=True)
class _Link:
    socket: socket.socket
    chunks: Iterator[bytes]
    total: int
    per_s: float | None = None
    began: float = field(default_factory=time.monotonic)
    waiting: memoryview | None = None
    sent: int = 0
    answered: int = 0  # bytes

    @property
    def acknowledged(self) -> int:
        return self.answered // 4

    @property
    def may_send(self) -> bool:
        if self.waiting:
            return True
        if self.per_s is not None and self.sent > (time.monotonic() - self.began) * self.per_s:
            return False
        return self.sent < self.total and self.sent - self.acknowledged + CHUNK <= IN_FLIGHT

    @property
    def wants_to_send(self) -> bool:
        """Paced, it is asked again at each turn."""
        return self.may_send or (self.per_s is not None and self.sent < self.total)

    def send(self) -> None:
        if not self.waiting:
            now = b"%d" % (time.time_ns() // 1_000_000)
            self.waiting = memoryview(next(self.chunks).replace(LATER.encode(), now))
            self.sent = min(self.sent + CHUNK, self.total)
        self.waiting = self.waiting[self.socket.send(self.waiting) :]


def publish(address: MqttAddress, load: Load, per_s: float | None = None) -> None:
    """Publish it all, as fast as it goes or so many a second, over all connections.

    Returns when the last packet is acknowledged.
    Raises TimeoutError when the broker says nothing for a minute, ConnectionError when it hangs up.
    """
    links = [
        _Link(
            connect(address, f"load-{number}"),
            iter(stream),
            _packets(load, number),
            per_s and per_s / LINKS,
        )
        for number, stream in enumerate(load.streams)
    ]
    with selectors.DefaultSelector() as selector:
        for link in links:
            link.socket.setblocking(False)
            selector.register(link.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, link)
        while any(link.acknowledged < link.total for link in links):
            if per_s is not None:
                time.sleep(PACE_S)
            _turn(selector)
    for link in links:
        link.socket.close()


class Ear:
    """Listens to a topic at QoS 0 in a thread; what came is taken apart only when asked for."""

    def __init__(self, address: MqttAddress, client_id: str, topic: str) -> None:
        self._link = connect(address, client_id)
        body = b"\x00\x01" + _text(topic) + b"\x00"
        self._link.sendall(b"\x82" + _length(len(body)) + body)
        if self._link.recv(5, socket.MSG_WAITALL)[4:] != b"\x00":
            raise ConnectionError(f"the broker refused the subscription to {topic}")
        self._link.settimeout(None)  # nothing may be said for long
        self._heard = bytearray()
        self._came: list[tuple[int, int]] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while came := self._link.recv(65_536):
            self._heard += came
            self._came.append((len(self._heard), time.time_ns() // 1_000_000))

    def close(self) -> None:
        """Hang up."""
        self._link.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._link.close()

    def messages(self) -> Iterator[tuple[str, bytes]]:
        """What has come so far whole: topic and payload."""
        return ((topic, payload) for _, topic, payload in self.timed())

    def timed(self) -> Iterator[tuple[int, str, bytes]]:
        """The same, each with the instant at which its last byte was there (ms since the epoch)."""
        came, heard, at = iter(list(self._came)), bytes(self._heard), 0
        until, when = next(came, (0, 0))
        while at < len(heard):
            size = shift = 0
            start = at + 1
            while start < len(heard):
                size |= (heard[start] & 0x7F) << shift
                shift, start = shift + 7, start + 1
                if heard[start - 1] < 0x80:
                    break
            at = start + size
            if at <= len(heard) and heard[start - 1] < 0x80:
                end = start + 2 + int.from_bytes(heard[start : start + 2], "big")
                while until < at:
                    until, when = next(came, (at, when))
                yield when, heard[start + 2 : end].decode(), heard[end:at]


def _packets(load: Load, number: int) -> int:
    """How many packets connection `number` carries: devices take turns, and so do connections."""
    devices = len(load.last)
    turns, rest = divmod(load.messages, devices)
    mine = range(number, devices, LINKS)
    return turns * len(mine) + sum(place < rest for place in mine)


def _turn(selector: selectors.BaseSelector) -> None:
    ready = selector.select(STUCK_S)
    if not ready:
        raise TimeoutError("the broker has acknowledged nothing for a minute")
    for key, events in ready:
        link: _Link = key.data
        if events & selectors.EVENT_READ:
            answer = link.socket.recv(65_536)
            if not answer:
                raise ConnectionError("the broker closed a connection of the load")
            link.answered += len(answer)
        if events & selectors.EVENT_WRITE and link.may_send:
            link.send()
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.wants_to_send else 0)
        if wanted != key.events:
            selector.modify(key.fileobj, wanted, link)
