"""The source on paho-mqtt: MQTT 5, persistent sessions, manual acknowledgements.

paho runs one network thread a connection. Their callbacks only append to a queue and wake the event
loop; everything else happens on the loop.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ingest.source import SESSION_EXPIRY_S, Broker, Delivery, Sent, Session

log = structlog.get_logger()

UNBOUND = 20_000
"""Deliveries of QoS 0 that may wait to be taken: some 10 MB of a reader's usual size."""
KEEPALIVE_S = 20
RENEW_S = 1.0
"""Before connecting again, lest two services of one name throw each other out all the time."""


class PahoSource:
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
        self._loop = asyncio.get_running_loop()
        self._queues = _Queues(self._loop)
        self._on_change = on_change
        self._was_connected = False
        self._links = [
            _Link(
                broker,
                f"{instance}-{session.name}",
                session,
                self._queues,
                partial(self._forgotten, on_fresh),
                self._changed,
            )
            for session in sorted(sessions, key=lambda session: not session.overtaking)
        ]
        self._out = _Sender(broker, f"{instance}-out", self._loop, self._changed)
        self._first = _Sender(broker, f"{instance}-first", self._loop, self._changed)
        self._senders = (self._first, self._out)
        self._ends: tuple[_Link | _Sender, ...] = (*self._links, *self._senders)
        self._by_session = {link.session.name: link for link in self._links}

    async def start(self) -> None:
        for end in self._ends:
            end.start()

    async def take(self, limit: int) -> Sequence[Delivery]:
        return await self._queues.take(limit)

    def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            self._by_session[delivery.session].acknowledge(delivery.token)

    def subscribe(self, session: str, filters: Iterable[str], *, gone: Iterable[str] = ()) -> None:
        self._by_session[session].subscribe(tuple(filters), tuple(gone))

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
        for link in self._links:
            await asyncio.to_thread(link.hang_up)

    async def resume(self) -> None:
        for link in self._links:
            link.start()

    @property
    def can_publish(self) -> bool:
        return all(sender.ready for sender in self._senders)

    @property
    def connected(self) -> bool:
        return all(link.ready for link in self._links) and self.can_publish

    async def stop(self) -> None:
        for end in self._ends:
            await asyncio.to_thread(end.hang_up)

    def _forgotten(self, on_fresh: Callable[[str], None], session: str) -> None:
        self._loop.call_soon_threadsafe(lambda: on_fresh(session))

    def _changed(self) -> None:
        def tell() -> None:
            if self.connected is not self._was_connected:
                self._was_connected = self.connected
                self._on_change(self.connected)

        self._loop.call_soon_threadsafe(tell)


class _Queues:
    """Deliveries between paho's threads and the loop; the overtaking ones in a queue of their
    own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._urgent: deque[Delivery] = deque()
        self._usual: deque[Delivery] = deque()
        self._some = asyncio.Event()
        self._lock = threading.Lock()

    def put(self, delivery: Delivery, urgent: bool) -> None:
        queue = self._urgent if urgent else self._usual
        with self._lock:
            if delivery.token[1] == 0 and len(queue) >= UNBOUND:
                log.warning("mqtt.left_out", topic=delivery.topic, waiting=len(queue))
                return
            queue.append(delivery)
            first = len(queue) == 1
        if first:
            self._loop.call_soon_threadsafe(self._some.set)

    def drop(self, session: str) -> None:
        """Forget what the broker is about to send again, or each reconnect would add a window. What
        has QoS 0 is with nobody else any more."""
        with self._lock:
            for queue in (self._urgent, self._usual):
                kept = [each for each in queue if each.session != session or not each.token[1]]
                queue.clear()
                queue.extend(kept)

    async def take(self, limit: int) -> list[Delivery]:
        await self._some.wait()
        taken: list[Delivery] = []
        with self._lock:
            for queue in (self._urgent, self._usual):
                while queue and len(taken) < limit:
                    taken.append(queue.popleft())
            if not (self._urgent or self._usual):
                self._some.clear()
        return taken


def _client(broker: Broker, client_id: str, *, manual_ack: bool) -> mqtt.Client:
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5, manual_ack=manual_ack
    )
    client.disable_logger()
    client.reconnect_delay_set(min_delay=1, max_delay=10)
    if broker.address.username is not None:
        client.username_pw_set(broker.address.username, broker.address.password)
    if broker.address.tls:
        client.tls_set(None if broker.ca_file is None else str(broker.ca_file))
    return client


class _Link:
    """One session on one connection."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        session: Session,
        queues: _Queues,
        on_fresh: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.session = session
        self.ready = False
        self._broker = broker
        self._id = client_id
        self._queues = queues
        self._on_fresh = on_fresh
        self._changed = changed
        self._connection = 0
        self._expected = session.expected
        self._also: tuple[str, ...] = ()
        self._gone: tuple[str, ...] = ()
        self._asked: dict[int, tuple[str, ...]] = {}
        self._asking = threading.Lock()  # held from asking until it is known what was asked
        self._client = self._new()

    def _new(self) -> mqtt.Client:
        client = _client(self._broker, self._id, manual_ack=True)
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        return client

    def start(self) -> None:
        self._client = self._new()  # paho leaks sockets when a client is started again
        address = self._broker.address
        wishes = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho
        wishes.SessionExpiryInterval = SESSION_EXPIRY_S
        wishes.ReceiveMaximum = self.session.window
        self._client.connect_async(
            address.host,
            address.port,
            keepalive=KEEPALIVE_S,
            clean_start=False,
            properties=wishes,
        )
        self._client.loop_start()

    def hang_up(self) -> None:
        _end(self._client)

    def acknowledge(self, token: tuple[int, int]) -> None:
        connection, packet = token
        if connection == self._connection and packet:
            self._client.ack(packet, 1)

    def subscribe(self, filters: tuple[str, ...], gone: tuple[str, ...]) -> None:
        self._also, self._gone = filters, gone
        if self._client.is_connected():
            self._ask(self._client, filters)
            self._leave(self._client)

    def _ask(self, client: mqtt.Client, filters: tuple[str, ...]) -> None:
        if not filters:
            return
        # Without Retain As Published the flag says what it must say here: this was kept by the
        # broker from before, it did not arrive just now.
        options = SubscribeOptions(qos=1, retainAsPublished=False, retainHandling=1)
        with self._asking:
            _, mid = client.subscribe([(name, options) for name in filters])
            if mid is not None:
                self._asked[mid] = filters

    def _leave(self, client: mqtt.Client) -> None:
        if self._gone:
            client.unsubscribe(list(self._gone))

    def _connected(
        self,
        client: mqtt.Client,
        _userdata: object,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            log.warning("mqtt.refused", session=self.session.name, reason=str(reason))
            return
        if flags.session_present:
            self._queues.drop(self.session.name)
        elif self._expected:
            self._on_fresh(self.session.name)
        self._expected = True
        self._ask(client, self.session.filters)
        self._ask(client, self._also)
        self._leave(client)

    def _subscribed(
        self,
        _client: mqtt.Client,
        _userdata: object,
        mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        with self._asking:
            asked = self._asked.pop(mid, ())
        answers = zip(asked, reasons, strict=False)
        refused = {name: str(reason) for name, reason in answers if reason.is_failure}
        if refused:
            log.error("mqtt.subscribe_refused", session=self.session.name, refused=refused)
        if asked == self.session.filters and not refused:
            self.ready = True
            self._changed()

    def _disconnected(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self.ready = False
        self._connection += 1  # at once: an acknowledgement must not slip into the next connection
        if reason.is_failure:
            log.warning("mqtt.disconnected", session=self.session.name, reason=str(reason))
        self._changed()

    def _received(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        delivery = Delivery(
            self.session.name,
            message.topic,
            bytes(message.payload),
            message.retain,
            (self._connection, message.mid),
        )
        self._queues.put(delivery, self.session.overtaking)


class _Sender:
    """A connection for what the service says. Nothing waits in it: the outbox sends again.

    Each connection has a client of its own: paho would send what was under way once more, and a
    marker that comes late tells a lie about everything that came before it.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        loop: asyncio.AbstractEventLoop,
        changed: Callable[[], None],
    ) -> None:
        self.ready = False
        self._loop = loop
        self._changed = changed
        self._sent: dict[int, Sent] = {}
        self._taken: deque[int] = deque()
        self._broker = broker
        self._id = client_id
        self._client = self._new()
        self._stopped = False

    def _new(self) -> mqtt.Client:
        client = _client(self._broker, self._id, manual_ack=False)
        client.max_inflight_messages_set(1_000)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        return client

    def start(self) -> None:
        address = self._broker.address
        self._client.connect_async(
            address.host, address.port, keepalive=KEEPALIVE_S, clean_start=True
        )
        self._client.loop_start()

    def hang_up(self) -> None:
        self._stopped = True
        _end(self._client)

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> Sent:
        sent = Sent()
        if not self.ready:
            sent.settle(False)
            return sent
        info = self._client.publish(topic, payload, qos, retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS or qos == 0:
            sent.settle(info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS)
        else:
            self._sent[info.mid] = sent
        return sent

    def _connected(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self.ready = not reason.is_failure
        self._changed()

    def _disconnected(
        self,
        client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.DisconnectFlags,
        _reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self.ready = False
        self._loop.call_soon_threadsafe(self._cut, client)
        self._changed()

    def _published(
        self,
        _client: mqtt.Client,
        _userdata: object,
        mid: int,
        _reason: ReasonCode,
        _properties: Properties,
    ) -> None:
        self._taken.append(mid)
        if len(self._taken) == 1:  # else the loop has been woken already
            self._loop.call_soon_threadsafe(self._confirm)

    def _confirm(self) -> None:
        while self._taken:
            sent = self._sent.pop(self._taken.popleft(), None)
            if sent is not None:
                sent.settle(True)

    def _cut(self, client: mqtt.Client) -> None:
        """The connection is gone: what it had not acknowledged is for its sender to send again."""
        cut, self._sent = self._sent, {}
        for sent in cut.values():
            sent.settle(False)
        if client is self._client and not self._stopped:
            self._client = self._new()
            self._loop.run_in_executor(None, _end, client)
            self._loop.call_later(RENEW_S, self._renewed, self._client)

    def _renewed(self, client: mqtt.Client) -> None:
        if client is self._client and not self._stopped:
            self.start()


def _end(client: mqtt.Client) -> None:
    client.disconnect()
    client.loop_stop()
