"""Load: check-ins encoded before the clock starts, published at QoS 1 as the devices would.

Each has a connection of its own, up to `MOST_LINKS`, and at most `IN_FLIGHT` messages under way on
it (contract §3); it sends the next ones when the broker has acknowledged some. Only the time is
written in as they leave: to be late for a round would be another load. All log in as one user, who
may write every device's topic. MQTT 3.1.1: the broker sends nothing back but the acknowledgements,
four bytes each.
"""

import json
import resource
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import repeat, zip_longest

from store.addresses import MqttAddress

MOST_LINKS = 1_000
"""Connections; of more devices, as many share one."""
IN_FLIGHT = 20
"""Messages the broker may owe an acknowledgement for, on each connection."""
PACE_S = 0.005
LATER = "#" * 13
"""Where the time of publishing comes: milliseconds since the epoch, as long as this."""
READ = "@" * 13
"""Where the time of the read comes: no two messages of a connection have the same."""
WALK_MS = 1_000
"""How long before it is published a read was made, at most."""
NOTE = 400
"""Letters about one item, at most."""
_READ, _LATER = READ.encode(), LATER.encode()
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
    """Encoded packets by connection, in order; `last` is each device's highest `seq`.

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
    fleet: Sequence[Handheld],
    first_seq: int,
    messages: int,
    *,
    batch: int = 1,
    note: int = 0,
    links: int = MOST_LINKS,
) -> Load:
    """Check-ins of the devices in turn, read and sent when they are published.

    `batch` of them in a message, as an array where there is more than one; with `note`, each says
    something of so many letters about items of the checkpoint. `links`: connections at most.
    """
    streams: list[list[bytes]] = [[] for _ in range(min(len(fleet), links))]
    last: dict[str, int] = {}
    size = 0
    for index in range(messages):
        turn, place = divmod(index, len(fleet))
        handheld, seq = fleet[place], first_seq + turn * batch
        said = [_check_in(handheld, seq + more, note) for more in range(batch)]
        payload = said[0] if batch == 1 else b"[" + b",".join(said) + b"]"
        stream = streams[place % len(streams)]
        topic = f"patrol/v1/{handheld.site}/{handheld.slug}/up/checkin"
        stream.append(packet(topic.encode(), payload, len(stream) % 65_535 + 1))
        last[handheld.slug] = seq + batch - 1
        size += len(payload)
    return Load(
        streams=tuple(map(tuple, streams)),
        messages=messages,
        batch=batch,
        payload_bytes=size // messages,
        last=last,
    )


def _check_in(handheld: Handheld, seq: int, note: int) -> bytes:
    said: dict[str, object] = {
        "seq": seq,
        "at": READ,
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
    text = json.dumps(said, separators=(",", ":"))
    return text.replace(f'"{READ}"', READ).replace(f'"{LATER}"', LATER).encode()


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
    """One connection, and how many of its packets were sent and acknowledged."""

    socket: socket.socket
    packets: Sequence[bytes]
    waiting: bytes = b""
    sent: int = 0
    answered: int = 0  # bytes
    read: int = 0  # when its last read was made

    @property
    def room(self) -> int:
        """How many packets may be sent now."""
        return min(IN_FLIGHT - self.sent + self.answered // 4, len(self.packets) - self.sent)

    @property
    def over(self) -> bool:
        return self.answered >= 4 * len(self.packets)

    def send(self, packets: int) -> None:
        """The next ones, and what the kernel did not take before."""
        if packets:
            now = time.time_ns() // 1_000_000
            first = max(self.read + 1, now - WALK_MS)
            said = self.packets[self.sent : self.sent + packets]
            read = (one.replace(_READ, b"%d" % at) for at, one in enumerate(said, first))
            self.waiting += b"".join(read).replace(_LATER, b"%d" % now)
            self.sent, self.read = self.sent + len(said), first + len(said) - 1
        with suppress(BlockingIOError):
            self.waiting = self.waiting[self.socket.send(self.waiting) :]

    def hear(self) -> None:
        """Count what the broker has acknowledged."""
        answer = self.socket.recv(65_536)
        if not answer:
            raise ConnectionError("the broker closed a connection of the load")
        self.answered += len(answer)


class Links:
    """The connections of a load, open; `publish` may be called once."""

    def __init__(self, links: Sequence[_Link]) -> None:
        self._links = links

    def publish(self, per_s: float | None = None) -> None:
        """Publish it all, as fast as it goes or so many a second, the devices in turn.

        Returns when the last packet is acknowledged. Raises TimeoutError when the broker says
        nothing for a minute, ConnectionError when it hangs up.
        """
        with selectors.DefaultSelector() as selector:
            for link in self._links:
                selector.register(link.socket, selectors.EVENT_READ, link)
            open_links = sum(not link.over for link in self._links)
            pace = _Pace(self._links, per_s) if per_s else None
            if pace is None:
                for link in self._links:
                    _send(selector, link, link.room)
            while open_links:
                if pace is not None:
                    pace.send(selector)
                open_links -= _turn(selector, paced=pace is not None)


class _Pace:
    """Who may send when: so many a second in all, the links in turn, a packet at a time."""

    def __init__(self, links: Sequence[_Link], per_s: float) -> None:
        self._began = time.monotonic()
        self._per_s = per_s
        turns = zip_longest(*(repeat(link, len(link.packets)) for link in links))
        self._turns = deque(link for turn in turns for link in turn if link is not None)
        self._sent = 0

    def send(self, selector: selectors.BaseSelector) -> None:
        """Whatever is due; a link that owes too many acknowledgements is waited for."""
        due = (time.monotonic() - self._began) * self._per_s
        while self._turns and self._sent <= due and self._turns[0].room:
            _send(selector, self._turns.popleft(), 1)
            self._sent += 1


def _turn(selector: selectors.BaseSelector, *, paced: bool) -> int:
    """Hear what is acknowledged and send what may follow; returns how many links are over now."""
    ready = selector.select(PACE_S if paced else STUCK_S)
    if not ready and not paced:
        raise TimeoutError("the broker has acknowledged nothing for a minute")
    over = 0
    for key, events in ready:
        link: _Link = key.data
        if events & selectors.EVENT_READ:
            link.hear()
            over += link.over
        room = 0 if paced else link.room
        if room or link.waiting:
            _send(selector, link, room)
    return over


def _send(selector: selectors.BaseSelector, link: _Link, packets: int) -> None:
    """Send; where the kernel does not take it all, have the selector say when it will."""
    was = bool(link.waiting)
    link.send(packets)
    if bool(link.waiting) != was:
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.waiting else 0)
        selector.modify(link.socket, wanted, link)


@contextmanager
def linked(address: MqttAddress, load: Load) -> Iterator[Links]:
    """Every connection of the load, before a clock starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    links: list[_Link] = []
    try:
        for number, stream in enumerate(load.streams):
            links.append(_Link(connect(address, f"load-{number}"), stream))
            links[-1].socket.setblocking(False)
        yield Links(links)
    finally:
        for link in links:
            link.socket.close()


def publish(address: MqttAddress, load: Load, per_s: float | None = None) -> None:
    """Connect and publish it all; see `Links.publish`."""
    with linked(address, load) as links:
        links.publish(per_s)


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
