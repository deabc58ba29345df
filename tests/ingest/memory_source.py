"""A source in memory, with a broker's manners: sessions that persist, a window, acks by
connection."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import paho.mqtt.client as mqtt

from ingest.source import Delivery, Session

matches = mqtt.topic_matches_sub


@dataclass
class Kept:
    """What the broker keeps for one session."""

    session: Session
    also: set[str] = field(default_factory=set)
    waiting: deque[tuple[str, bytes, int]] = field(default_factory=deque)
    flying: dict[int, tuple[str, bytes, int]] = field(default_factory=dict)
    next_id: int = 1

    def reads(self, topic: str) -> bool:
        """Whether a filter of the session matches."""
        return any(matches(wish, topic) for wish in (*self.session.filters, *self.also))


class MemoryBroker:
    """Sessions outlive the sources that read them, unless `forget` is called."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.sources: list[MemorySource] = []
        self.refusing = False
        self.published: list[tuple[str, bytes]] = []

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        """As some client does. With QoS 0 nothing is kept for who is not there."""
        for kept in self.kept.values():
            if kept.reads(topic) and (qos or self.sources):
                kept.waiting.append((topic, payload, qos))
        for source in self.sources:
            source.wake()

    def cut(self) -> None:
        """Every connection breaks; each source connects again."""
        for source in [*self.sources]:
            source.hang_up()
            source.connect()

    def forget(self) -> None:
        """Every session is lost, and every connection breaks."""
        self.kept.clear()
        self.cut()


class _Sent:
    def __init__(self, taken: bool) -> None:
        self._taken = taken

    async def done(self, timeout_s: float) -> bool:
        return self._taken


class MemorySource:
    """The port of `ingest.source`, without a network."""

    def __init__(
        self,
        broker: MemoryBroker,
        instance: str,
        sessions: Sequence[Session],
        *,
        on_change: Callable[[bool], None],
        on_fresh: Callable[[str], None],
    ) -> None:
        self._broker = broker
        self._instance = instance
        self._sessions = sorted(sessions, key=lambda session: not session.overtaking)
        self._on_change = on_change
        self._on_fresh = on_fresh
        self._connection = 0
        self._expected = {session.name for session in sessions if session.expected}
        self._up = False
        self._also: dict[str, tuple[set[str], set[str]]] = {}
        self._some = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._up

    async def start(self) -> None:
        self.connect()

    async def stop(self) -> None:
        self.hang_up()

    async def pause(self) -> None:
        self.hang_up()

    async def resume(self) -> None:
        self.connect()

    def connect(self) -> None:
        """Take the sessions up; what was not acknowledged comes first, in its order."""
        self._connection += 1
        for session in self._sessions:
            name = f"{self._instance}-{session.name}"
            if name not in self._broker.kept:
                self._broker.kept[name] = Kept(session)
                if session.name in self._expected:
                    self._on_fresh(session.name)
            kept = self._broker.kept[name]
            kept.waiting.extendleft(reversed(kept.flying.values()))
            kept.flying.clear()
            self._follow(session.name)
        self._expected = {session.name for session in self._sessions}
        self._up = True
        self._broker.sources.append(self)
        self._on_change(True)
        self.wake()

    def subscribe(self, session: str, filters: Iterable[str], *, gone: Iterable[str] = ()) -> None:
        self._also[session] = set(filters), set(gone)
        if self._up:
            self._follow(session)

    def _follow(self, session: str) -> None:
        filters, gone = self._also.get(session, (set(), set()))
        kept = self._broker.kept[f"{self._instance}-{session}"]
        kept.also = (kept.also | filters) - gone

    def hang_up(self) -> None:
        """Be gone."""
        if self._up:
            self._up = False
            self._broker.sources.remove(self)
            self._on_change(False)

    def wake(self) -> None:
        """There may be something to take."""
        self._some.set()

    async def take(self, limit: int) -> list[Delivery]:
        while True:
            taken = self._fly(limit)
            if taken:
                return taken
            self._some.clear()
            await self._some.wait()

    def _fly(self, limit: int) -> list[Delivery]:
        taken: list[Delivery] = []
        for session in self._sessions if self._up else ():
            kept = self._broker.kept[f"{self._instance}-{session.name}"]
            while kept.waiting and len(kept.flying) < session.window and len(taken) < limit:
                topic, payload, qos = kept.waiting.popleft()
                packet = kept.next_id if qos else 0
                if qos:
                    kept.flying[packet] = topic, payload, qos
                    kept.next_id += 1
                token = (self._connection, packet)
                taken.append(Delivery(session.name, topic, payload, False, token))
        return taken

    def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            connection, packet = delivery.token
            if connection == self._connection:
                self._broker.kept[f"{self._instance}-{delivery.session}"].flying.pop(packet, None)
        self.wake()

    @property
    def can_publish(self) -> bool:
        return self._up and not self._broker.refusing

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool = False,
        overtaking: bool = False,
    ) -> _Sent:
        if not self.can_publish:
            return _Sent(False)
        self._broker.published.append((topic, payload))
        self._broker.publish(topic, payload)
        return _Sent(True)
