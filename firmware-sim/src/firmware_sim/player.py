"""Plays a recording: in real time, N times as fast, or as fast as broker and service take it.

A few connections of one login carry the whole fleet; what one device says stays on one of them, in
order. A tick leaves only when everything before it is acknowledged, and nothing follows it before
it is (contract, 7). Every so many messages the player waits until the service has receipted what
went out before: a broker drops what its queue cannot hold. So it does around what comes to the
service through a session of its own, and would overtake what is on its way.
"""

import json
import secrets
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from firmware_sim import socketry
from firmware_sim.fleet import NoReceiptsError, Patience
from firmware_sim.link import Broker, LinkDownError, Login, RefusedError
from firmware_sim.recording import Said
from firmware_sim.wire import CLOCK_TOPIC, MAX_NUMBER, BadReceiptError, encode_tick, read_receipt

LINKS = 4
IN_FLIGHT = 500
"""Packets on one connection that the broker has not acknowledged."""
CHUNK = 32_768
"""Bytes that wait before they are handed to the kernel."""
POINTS = 4
"""How many times on its way through `ahead` the player looks for a receipt."""
NEIGHBOURS = 16
"""Messages of which the last that can be receipted makes a point: strangers' cannot."""
RECEIVE = 65_536
ACKNOWLEDGE = {socketry.PUBACK, socketry.SUBACK}
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
OVERTAKES = (["sos"], ["photo"])
RECORDS = ("/up/checkin", "/up/hazard", "/up/sos")
RECEIPTS = "patrol/v1/+/+/down/receipt"


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How to play. `speed`: times real time, None for as fast as it goes.

    `ahead`: messages at most that no receipt has followed, 0 to heed none. `tick`: ms of the
    recording between two ticks, where it has none itself; 0 adds none. `patience` in real seconds.
    """

    speed: float | None = None
    ahead: int = 20_000
    tick: int = 1_000
    patience: float = 120.0


@dataclass(slots=True)
class Played:
    """What has been published so far; `seconds` is real time."""

    messages: int = 0
    ticks: int = 0
    at: int = 0
    seconds: float = 0.0


def with_ticks(said: Iterable[Said], every: int) -> Iterator[Said]:
    """The messages, with a tick before the first of each span of `every` ms, and one at the end.

    A tick tells the start of its span.
    """
    last: int | None = None
    at = 0
    for one in said:
        at = one.at // every * every
        if last is None or at > last:
            yield Said(at, CLOCK_TOPIC, encode_tick(at))
            last = at
        yield one
    if last is not None:
        yield Said(at + every, CLOCK_TOPIC, encode_tick(at + every))


class Player:
    """One recording through one broker; `watch` hears how far it is, twice a second at most."""

    def __init__(
        self, broker: Broker, login: Login, pace: Pace, watch: Callable[[Played], None]
    ) -> None:
        self._pace = pace
        self._watch = watch
        self._selector = selectors.DefaultSelector()
        self._played = Played()
        name = f"{login.client_id}-play-{secrets.token_hex(3)}"
        self._links = [
            _Link(socketry.connect(broker, replace(login, client_id=f"{name}-{number}")))
            for number in range(LINKS)
        ]
        self._ways: dict[str, tuple[_Link, bytes]] = {}
        self._points = _Points()
        self._every = max(1, pace.ahead // POINTS)
        if pace.ahead:
            ear = _Link(socketry.connect(broker, replace(login, client_id=f"{name}-ear")))
            ear.out += socketry.subscribe(RECEIPTS, 0)
            ear.owed = 1
            ear.heard = self._points.heard
            self._links.append(ear)
        for link in self._links:
            link.socket.setblocking(False)
            self._selector.register(link.socket, selectors.EVENT_READ, link)
        self._settle()  # the ear listens before anything is said
        self._began = self._shown = time.monotonic()

    def play(self, said: Iterable[Said]) -> Played:
        """Publish it all; returns when the last is acknowledged, and receipted where that is asked.

        Raises `LinkDownError`, or `NoReceiptsError` where nothing moved for as long as patience
        lasts.
        """
        first = None
        for one in said:
            first = one.at if first is None else first
            if self._pace.speed is not None:
                self._until(self._began + (one.at - first) / 1000 / self._pace.speed)
            if one.topic == CLOCK_TOPIC:
                self._tick(one)
            elif self._pace.ahead:
                self._heed(one)
            else:
                self._publish(one)
            self._played.at = one.at
        self._mark(0)
        self._show()
        return self._played

    def close(self) -> None:
        """Leave in good order."""
        self._selector.close()
        for link in self._links:
            with suppress(OSError):
                link.socket.send(socketry.LEAVE)
            link.socket.close()

    def _heed(self, said: Said) -> None:
        """Publish it when enough of what went before is receipted."""
        overtakes = said.topic.split("/")[5:6] in OVERTAKES
        if overtakes:
            self._mark(0)
        self._publish(said)
        self._points.passing(said)
        if overtakes:
            self._mark(0)
        elif self._played.messages % self._every == 0:
            self._mark(POINTS - 1)

    def _publish(self, said: Said) -> None:
        link, topic = self._ways.get(said.topic) or self._way(said.topic)
        if link.owed >= IN_FLIGHT:
            self._while(lambda: link.owed >= IN_FLIGHT // 2, "the broker acknowledges nothing")
        link.put(topic, said)
        if len(link.out) >= CHUNK:
            self._turn(0)
        self._played.messages += 1

    def _way(self, topic: str) -> tuple["_Link", bytes]:
        """The connection of a topic's device, and the topic as it stands in packets."""
        device = topic.split("/")[3:4]
        link = self._links[sum("".join(device).encode()) % LINKS]
        self._ways[topic] = link, socketry.text(topic)
        return self._ways[topic]

    def _tick(self, said: Said) -> None:
        self._settle()
        self._links[0].put(socketry.text(said.topic), said)
        self._settle()
        self._played.ticks += 1
        if time.monotonic() - self._shown > 0.5:
            self._show()

    def _settle(self) -> None:
        """Have everything acknowledged."""
        self._while(
            lambda: any(link.owed for link in self._links), "the broker acknowledges nothing"
        )

    def _mark(self, behind: int) -> None:
        """Set a point here, and wait until at most `behind` of them are not receipted."""
        if not behind:
            self._settle()
        if self._pace.ahead:
            self._points.set()
        if self._points.left > behind:
            self._while(
                lambda: self._points.left > behind,
                "nothing is receipted; is the service running on this broker and registry, and may "
                "this login write every device's topics? `--ahead 0` heeds no receipts",
            )

    def _while(self, waiting: Callable[[], bool], why: str) -> None:
        left = Patience(self._pace.patience)
        while waiting():
            if self._turn(1.0):
                left.renew()
            elif left.over:
                raise NoReceiptsError(f"{self._played.messages} messages are out: {why}")

    def _until(self, instant: float) -> None:
        while (wait := instant - time.monotonic()) > 0:
            self._turn(min(wait, 1.0))

    def _turn(self, wait: float) -> bool:
        """Write what waits, read what came, at most `wait` seconds; whether anything moved on."""
        for link in self._links:
            link.keep_alive()
            want = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.out else 0)
            if want != link.wanted:
                self._selector.modify(link.socket, want, link)
                link.wanted = want
        moved = False
        try:
            for key, events in self._selector.select(wait):
                link = key.data
                if events & selectors.EVENT_WRITE:
                    link.write()
                if events & selectors.EVENT_READ:
                    moved |= link.read()
        except (LinkDownError, RefusedError):
            raise
        except OSError as error:
            raise LinkDownError(f"the broker is gone: {error}") from error
        return moved

    def _show(self) -> None:
        self._shown = time.monotonic()
        self._played.seconds = self._shown - self._began
        self._watch(self._played)


def _nothing(_topic: str, _payload: bytes) -> bool:
    return False


@dataclass(slots=True)
class _Link:
    """One connection. `owed`: packets not acknowledged."""

    socket: socket.socket
    out: bytearray = field(default_factory=bytearray)
    owed: int = 0
    wanted: int = selectors.EVENT_READ
    heard: Callable[[str, bytes], bool] = _nothing
    _packets: socketry.Packets = field(default_factory=socketry.Packets)
    _id: int = 0
    _spoke: float = field(default_factory=time.monotonic)

    def put(self, topic: bytes, said: Said) -> None:
        self._id = self._id % 65_535 + 1
        self.out += socketry.publish(topic, self._id, said.payload, retain=said.retain)
        self.owed += 1

    def keep_alive(self) -> None:
        if not self.out and time.monotonic() - self._spoke > socketry.KEEP_ALIVE_S / 2:
            self.out += socketry.PING

    def write(self) -> None:
        with suppress(*NOT_NOW):
            del self.out[: self.socket.send(self.out)]
            self._spoke = time.monotonic()

    def read(self) -> bool:
        """Take what came; whether anything was acknowledged or receipted."""
        moved = False
        for kind, body in self._packets.feed(self._came()):
            if kind in ACKNOWLEDGE:
                self.owed -= 1
                moved = True
                if kind == socketry.SUBACK and body[2] & 0x80:
                    raise RefusedError(f"this login may not read {RECEIPTS}: `--ahead 0`")
            elif kind == socketry.PUBLISH:
                moved |= self.heard(*socketry.parted(body))
        return moved

    def _came(self) -> bytes:
        try:
            raw = self.socket.recv(RECEIVE)
            while isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
                raw += self.socket.recv(RECEIVE)  # read by TLS already: no selector tells of it
        except NOT_NOW:
            return b""
        if not raw:
            raise LinkDownError("the broker hung up")
        return raw


class _Points:
    """Places in the recording, each with the record just before it.

    The service commits in the order of its session, so that the receipt of one record tells that
    all before it is kept. Of devices that were never receipted, any receipt will do.
    """

    def __init__(self) -> None:
        self._passing: deque[Said] = deque(maxlen=NEIGHBOURS)
        self._set: deque[dict[str, tuple[int, int]]] = deque()
        self._receipted: set[str] = set()

    @property
    def left(self) -> int:
        """How many points no receipt has covered."""
        return len(self._set)

    def passing(self, said: Said) -> None:
        """A message goes out."""
        if said.topic.endswith(RECORDS):
            self._passing.append(said)

    def set(self) -> None:
        """A point, here. Where nothing that passed carries a record, there is none."""
        point: dict[str, tuple[int, int]] = {}
        for said in self._passing:
            records = _records(said.payload)
            if records:
                device = said.topic.split("/")[3]
                point.pop(device, None)  # the last one is to stand last
                point[device] = records[-1]
        self._passing.clear()
        if known := [device for device in point if device in self._receipted]:
            point = {known[-1]: point[known[-1]]}
        if point:
            self._set.append(point)

    def heard(self, topic: str, payload: bytes) -> bool:
        """A receipt came; whether it covers a point."""
        device = topic.split("/")[3]
        self._receipted.add(device)
        if not any(device in point for point in self._set):
            return False
        try:
            receipt = read_receipt(payload)
        except BadReceiptError:
            return False
        covered = 0
        for number, point in enumerate(self._set, start=1):
            epoch, seq = point.get(device, (0, MAX_NUMBER))
            if receipt.epoch == epoch and receipt.upto >= seq:
                covered = number
        for _ in range(covered):
            self._set.popleft()
        return covered > 0


def _records(payload: bytes) -> list[tuple[int, int]]:
    """The (epoch, seq) in a message; none where it is garbage."""
    try:
        body = json.loads(payload)
        bodies = body if isinstance(body, list) else [body]
        return [(int(one.get("epoch") or 0), int(one["seq"])) for one in bodies]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
