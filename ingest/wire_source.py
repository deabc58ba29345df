"""The source on our own connections: MQTT 5, persistent sessions, everything on the event loop.

A buffer of the socket becomes a list of deliveries, and a batch of acknowledgements one write: no
thread, no lock and no call for a single message. It holds what `ingest.source` asks for, by the
same suite as paho's (decision 15).
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence

import mqtt5
import structlog
from mqtt5 import PublishPacket

from ingest.line import Line
from ingest.source import Broker, Delivery, Sent, Session
from ingest.wire import Ears, words

log = structlog.get_logger()

FAILURE = 0x80
"""Reason codes from here on say that it did not succeed (MQTT 5, section 2.4)."""
PACKET_IDS = 65_535
"""How many there are (MQTT 5, section 2.2.1); 0 is none."""


class WireSource:
    """All sessions of one instance, and connections of their own for what it sends."""

    def __init__(
        self,
        broker: Broker,
        instance: str,
        sessions: Sequence[Session],
        *,
        on_change: Callable[[bool], None],
        on_fresh: Callable[[str], None],
    ) -> None:
        self._on_change = on_change
        self._was_connected = False
        self._some = asyncio.Event()
        self._links = {
            session.name: _Link(broker, instance, session, self._some, on_fresh, self._changed)
            for session in sorted(sessions, key=lambda session: not session.overtaking)
        }
        self._out = _Sender(broker, f"{instance}-out", self._changed)
        self._first = _Sender(broker, f"{instance}-first", self._changed)
        self._senders = (self._first, self._out)

    async def start(self) -> None:
        await self.resume()
        for sender in self._senders:
            sender.line.start()

    async def take(self, limit: int) -> Sequence[Delivery]:
        await self._some.wait()
        taken: list[Delivery] = []
        for link in self._links.values():
            taken += link.take(limit - len(taken))
        if not any(link.waiting for link in self._links.values()):
            self._some.clear()
        return taken

    def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        by_session: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for delivery in deliveries:
            by_session[delivery.session].append(delivery.token)
        for session, tokens in by_session.items():
            self._links[session].acknowledge(tokens)

    def subscribe(self, session: str, filters: Iterable[str], *, gone: Iterable[str] = ()) -> None:
        self._links[session].subscribe(tuple(filters), tuple(gone))

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool = False,
        overtaking: bool = False,
    ) -> Sent:
        sender = self._first if overtaking else self._out
        return sender.publish(topic, payload, qos, retain)

    async def pause(self) -> None:
        await asyncio.gather(*(link.line.hang_up() for link in self._links.values()))

    async def resume(self) -> None:
        for link in self._links.values():
            link.line.start()

    @property
    def can_publish(self) -> bool:
        return all(sender.ready for sender in self._senders)

    @property
    def connected(self) -> bool:
        return self.can_publish and all(link.ready for link in self._links.values())

    async def stop(self) -> None:
        await self.pause()
        await asyncio.gather(*(sender.line.hang_up() for sender in self._senders))

    def _changed(self) -> None:
        if self.connected is not self._was_connected:
            self._was_connected = self.connected
            self._on_change(self.connected)


class _Link:
    """One session on one line."""

    def __init__(
        self,
        broker: Broker,
        instance: str,
        session: Session,
        some: asyncio.Event,
        on_fresh: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.session = session
        self.ready = False
        ears = Ears(
            opened=self._opened,
            publishes=self._received,
            packet=self._answered,
            closed=self._closed,
        )
        self.line = Line(broker, f"{instance}-{session.name}", session, ears)
        self.waiting: deque[Delivery] = deque()
        self._some = some
        self._paused = False
        self._on_fresh = on_fresh
        self._changed = changed
        self._expected = session.expected
        self._also: tuple[str, ...] = ()
        self._gone: tuple[str, ...] = ()
        self._asked: dict[int, tuple[str, ...]] = {}
        self._packet_id = 0

    def acknowledge(self, tokens: Sequence[tuple[int, int]]) -> None:
        wire, now = self.line.wire, self.line.number
        if wire is not None:
            wire.acknowledge(
                [packet for connection, packet in tokens if connection == now and packet]
            )

    def subscribe(self, filters: tuple[str, ...], gone: tuple[str, ...]) -> None:
        self._also, self._gone = filters, gone
        if self._asked or self.ready:
            self._ask(filters)
            self._leave()

    def _opened(self, answer: mqtt5.ConnAckPacket) -> None:
        if answer.session_present:
            self._drop()
        elif self._expected:
            self._on_fresh(self.session.name)
        self._expected = True
        self._ask(self.session.filters)
        self._ask(self._also)
        self._leave()

    def _ask(self, filters: tuple[str, ...]) -> None:
        if not filters:
            return
        # Without Retain As Published the flag says what it must say here: this was kept by the
        # broker from before, it did not arrive just now.
        wishes = [
            mqtt5.TopicFilter(
                name,
                max_qos=mqtt5.QoS.AT_LEAST_ONCE,
                retain_as_published=False,
                retain_handling=mqtt5.RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS,
            )
            for name in filters
        ]
        self._packet_id = _after(self._packet_id)
        self._asked[self._packet_id] = filters
        self._send(mqtt5.SubscribePacket(self._packet_id, wishes))

    def _leave(self) -> None:
        if self._gone:
            self._packet_id = _after(self._packet_id)
            self._send(mqtt5.UnsubscribePacket(self._packet_id, list(self._gone)))

    def _send(self, packet: mqtt5.SubscribePacket | mqtt5.UnsubscribePacket) -> None:
        if self.line.wire is not None:
            self.line.wire.send(packet.write())

    def _answered(self, packet: mqtt5.Packet) -> None:
        if not isinstance(packet, mqtt5.SubAckPacket):
            return
        asked = self._asked.pop(packet.packet_id, ())
        answers = zip(asked, packet.reason_codes, strict=False)
        refused = {name: words(reason) for name, reason in answers if int(reason) >= FAILURE}
        if refused:
            log.error("mqtt.subscribe_refused", session=self.session.name, refused=refused)
        if asked == self.session.filters and not refused:
            self.ready = True
            self._changed()

    def take(self, limit: int) -> list[Delivery]:
        """At most `limit` of those that wait, the oldest first."""
        taken = [self.waiting.popleft() for _ in range(min(limit, len(self.waiting)))]
        if self._paused and len(self.waiting) <= self.session.window // 2:
            self._paused = False
            if self.line.wire is not None:
                self.line.wire.listen()
        return taken

    def _received(self, deliveries: Sequence[Delivery]) -> None:
        self.waiting.extend(deliveries)
        self._some.set()
        self._hold()

    def _drop(self) -> None:
        """Forget what the broker is about to send again, or each reconnect would add a window. What
        has QoS 0 is with nobody else any more."""
        kept = [delivery for delivery in self.waiting if not delivery.token[1]]
        self.waiting.clear()
        self.waiting.extend(kept)
        self._hold()

    def _hold(self) -> None:
        """More than a window waits where a broker takes its receive maximum lightly (Mosquitto
        2.0.11 does once it is acknowledged to), and of what has QoS 0: then nothing is read."""
        if not self._paused and len(self.waiting) > self.session.window and self.line.wire:
            self._paused = True
            self.line.wire.hold()

    def _closed(self, _why: str | None) -> None:
        self.ready = self._paused = False
        self._asked.clear()
        self._changed()


class _Sender:
    """A line for what the service says. Nothing waits here for the next connection: the outbox
    sends again, and a marker that comes late tells a lie about everything that came before it.
    """

    def __init__(self, broker: Broker, client_id: str, changed: Callable[[], None]) -> None:
        self.ready = False
        ears = Ears(
            opened=self._opened,
            publishes=lambda _: None,
            packet=self._answered,
            closed=self._closed,
        )
        self.line = Line(broker, client_id, None, ears)
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._packet_id = 0
        self._window = 0
        self._under_way: dict[int, Sent] = {}
        self._waiting: deque[tuple[str, bytes, bool, Sent]] = deque()
        self._written: list[bytes] = []

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> Sent:
        sent = Sent()
        if not self.ready:
            sent.settle(False)
        elif qos == 0:
            sent.settle(True)
            self._write(PublishPacket(topic, payload, retain=retain))
        else:
            self._waiting.append((topic, payload, retain, sent))
            self._send_on()
        return sent

    def _send_on(self) -> None:
        """Send what waits, as far as the broker's receive maximum goes (MQTT 5, section 4.9)."""
        while self._waiting and len(self._under_way) < self._window:
            topic, payload, retain, sent = self._waiting.popleft()
            self._packet_id = _after(self._packet_id)
            while self._packet_id in self._under_way:
                self._packet_id = _after(self._packet_id)
            self._under_way[self._packet_id] = sent
            self._write(
                PublishPacket(
                    topic,
                    payload,
                    qos=mqtt5.QoS.AT_LEAST_ONCE,
                    retain=retain,
                    packet_id=self._packet_id,
                )
            )

    def _write(self, packet: PublishPacket) -> None:
        """What is said within one turn of the loop leaves in one write."""
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(packet.write())

    def _flush(self) -> None:
        written, self._written = self._written, []
        if self.line.wire is not None:
            self.line.wire.send(b"".join(written))

    def _opened(self, answer: mqtt5.ConnAckPacket) -> None:
        self._window = min(answer.receive_max, PACKET_IDS - 1)
        self.ready = True
        self._changed()

    def _answered(self, packet: mqtt5.Packet) -> None:
        if not isinstance(packet, mqtt5.PubAckPacket):
            return
        sent = self._under_way.pop(packet.packet_id, None)
        if sent is not None:
            taken = int(packet.reason_code) < FAILURE
            if not taken:
                log.error("mqtt.publish_refused", reason=words(packet.reason_code))
            sent.settle(taken)
        self._send_on()

    def _closed(self, _why: str | None) -> None:
        """The connection is gone: what it had not acknowledged is for its sender to send again."""
        self.ready = False
        cut = [*self._under_way.values(), *(sent for *_, sent in self._waiting)]
        self._under_way.clear()
        self._waiting.clear()
        for sent in cut:
            sent.settle(False)
        self._changed()


def _after(packet_id: int) -> int:
    return packet_id % PACKET_IDS + 1
