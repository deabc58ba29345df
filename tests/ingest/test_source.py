"""The port `Source`: one suite over the source in memory, and over ours and paho's on a real
Mosquitto."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from ingest.source import MAIN, Broker, Session, Source
from ingest.sources import SOURCES
from store.addresses import MqttAddress
from store.settings import MqttSource
from tests.clients import Client
from tests.ingest.memory_source import MemoryBroker, MemorySource
from tests.servers import Server, mosquitto
from tests.wire import Wire

WINDOW = 50
SESSIONS = (
    Session(name=MAIN, filters=("patrol/v1/+/+/up/+",), window=WINDOW),
    Session(name="sos", filters=("patrol/v1/+/+/up/sos",), window=10, overtaking=True),
)
CHECKIN, SOS = "patrol/v1/s/d/up/checkin", "patrol/v1/s/d/up/sos"
FOREIGN, STRANGE = "tele/reader/SENSOR", "zigbee2mqtt/hall/button"
WITHIN_S = 20.0
MANY = 5_000


def left_by(earlier_run: bool) -> tuple[Session, ...]:
    """The sessions, as one says them who knows whether an earlier run left them there."""
    return tuple(replace(session, expected=earlier_run) for session in SESSIONS)


class World:
    """A broker, what the source under test said, and how to hurt both."""

    def __init__(self) -> None:
        self.changes: list[bool] = []
        self.fresh: list[str] = []
        self.changed = asyncio.Event()

    def heard(self) -> dict[str, Callable[..., None]]:
        def on_change(connected: bool) -> None:
            self.changes.append(connected)
            self.changed.set()

        return {"on_change": on_change, "on_fresh": self.fresh.append}

    async def connected(self, source: Source) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not source.connected:
                self.changed.clear()
                await self.changed.wait()
        assert source.can_publish

    def source(self, *, expected: bool = False) -> Source: ...

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> None: ...

    async def cut(self, source: Source) -> None: ...

    async def forget(self, source: Source) -> None: ...


class MemoryWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.broker = MemoryBroker()

    def source(self, *, expected: bool = False) -> Source:
        return MemorySource(self.broker, "test", left_by(expected), **self.heard())

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        self.broker.publish(topic, payload, qos)

    async def cut(self, source: Source) -> None:
        self.broker.cut()

    async def forget(self, source: Source) -> None:
        self.broker.forget()


class RealWorld(World):
    def __init__(self, server: Server, kind: MqttSource) -> None:
        super().__init__()
        self.server = server
        self.kind = kind

    def source(self, *, expected: bool = False) -> Source:
        broker = Broker(address=MqttAddress.parse(f"mqtt://127.0.0.1:{self.server.port}"))
        return SOURCES[self.kind](broker, "test", left_by(expected), **self.heard())

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        wire = Wire(self.server.port)
        wire.say(topic, payload, qos=qos)
        wire.close()

    async def cut(self, source: Source) -> None:
        # in good order, so that what the broker holds is on disk
        await asyncio.to_thread(self.server.stop)
        await asyncio.to_thread(self.server.start)
        await self.connected(source)

    async def forget(self, source: Source) -> None:
        await asyncio.to_thread(self.server.stop)
        for kept in self.server.folder.glob("*.db"):
            kept.unlink()
        await asyncio.to_thread(self.server.start)
        await self.connected(source)


on_mosquitto = [pytest.param(kind, marks=pytest.mark.broker) for kind in MqttSource]


@pytest.fixture(params=["memory", *on_mosquitto])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    server: Iterator[Any]
    with mosquitto(["set_tcp_nodelay true"]) as server:
        yield RealWorld(server, request.param)


@asynccontextmanager
async def running(world: World, *, expected: bool = False) -> AsyncIterator[Source]:
    source = world.source(expected=expected)
    await source.start()
    try:
        await world.connected(source)
        yield source
    finally:
        await source.stop()


async def taken(source: Source, count: int) -> list[Any]:
    """The next `count` deliveries."""
    found: list[Any] = []
    async with asyncio.timeout(WITHIN_S):
        while len(found) < count:
            found += await source.take(count - len(found))
    return found


async def heard_out(world: World, source: Source) -> None:
    """Wait until the broker has read what was acknowledged: what is said after it has come."""
    await asyncio.sleep(0)  # what is acknowledged leaves at the end of the loop's turn
    await asyncio.to_thread(world.publish, CHECKIN, b"after")
    assert bodies(await taken(source, 1)) == [b"after"]


async def quiet(source: Source) -> None:
    """Nothing more comes."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(source.take(1), 0.3)


def bodies(deliveries: list[Any]) -> list[bytes]:
    return [delivery.payload for delivery in deliveries]


async def test_what_was_said_in_order_comes_in_order(world):
    """Deliveries of a session come in the order of the broker, none of them changed."""
    async with running(world) as source:
        said = [b"%d" % number for number in range(20)]
        for body in said:
            world.publish(CHECKIN, body)
        assert bodies(await taken(source, 20)) == said


async def test_what_is_not_acknowledged_comes_again(world):
    """After the connection broke, what was not acknowledged comes again, in order; the rest does
    not."""
    async with running(world) as source:
        for number in range(4):
            world.publish(CHECKIN, b"%d" % number)
        found = await taken(source, 4)
        source.acknowledge([found[0], found[2]])
        await heard_out(world, source)
        await world.cut(source)
        again = await taken(source, 3)
        assert bodies(again) == [b"1", b"3", b"after"]
        await quiet(source)


async def test_another_process_takes_up_where_one_left_off(world):
    """A new source of the same name finds what came while nobody was there, and what was left."""
    async with running(world) as source:
        world.publish(CHECKIN, b"left")
        await taken(source, 1)
    world.publish(CHECKIN, b"meanwhile")
    async with running(world) as source:
        assert bodies(await taken(source, 2)) == [b"left", b"meanwhile"]


async def test_an_acknowledgement_is_bound_to_its_connection(world):
    """One that outlives its connection acknowledges nothing."""
    async with running(world) as source:
        world.publish(CHECKIN, b"old")
        (old,) = await taken(source, 1)
        await world.cut(source)
        source.acknowledge([old])
        (again,) = await taken(source, 1)
        assert again.payload == b"old"
        assert again.token != old.token
        await world.cut(source)
        assert bodies(await taken(source, 1)) == [b"old"]


async def test_the_window_holds_the_broker_back(world):
    """What is not acknowledged is not followed by more than the window."""
    async with running(world) as source:
        for number in range(WINDOW + 5):
            world.publish(CHECKIN, b"%d" % number)
        found = await taken(source, WINDOW)
        await quiet(source)
        source.acknowledge(found)
        assert len(await taken(source, 5)) == 5


async def test_calls_for_help_overtake_what_waits(world):
    """Deliveries of an overtaking session are taken before a backlog of the others."""
    async with running(world) as source:
        await source.pause()
        for number in range(20):
            world.publish(CHECKIN, b"%d" % number)
        world.publish(SOS, b"help")
        await source.resume()
        await world.connected(source)
        await asyncio.sleep(1)  # both are here, and nothing tells of either but taking it
        first = (await taken(source, 1))[0]
        assert (first.session, first.payload) == ("sos", b"help")


async def test_a_session_that_is_gone_is_told(world):
    """Where the broker has forgotten a session that was expected, the service hears which."""
    async with running(world) as source:
        assert world.fresh == []
        await world.cut(source)
        assert world.fresh == []
        await world.forget(source)
        async with asyncio.timeout(WITHIN_S):
            while len(world.fresh) < 2:
                await asyncio.sleep(0.01)
        assert sorted(world.fresh) == ["main", "sos"]


async def test_what_an_earlier_run_left_is_missed_at_the_first_connect(world):
    """A process that knows of an earlier one hears at once that the broker kept none of its
    sessions; after that they are there."""
    for found in (["main", "sos"], []):
        world.fresh.clear()
        async with running(world, expected=True) as source:
            world.publish(CHECKIN, b"in order")
            await taken(source, 1)
            assert sorted(world.fresh) == found


async def test_while_paused_nothing_comes(world):
    """Between `pause` and `resume` the broker keeps everything."""
    async with running(world) as source:
        await source.pause()
        world.publish(CHECKIN, b"later")
        await quiet(source)
        await source.resume()
        await world.connected(source)
        assert bodies(await taken(source, 1)) == [b"later"]


async def test_paused_while_it_connects_it_reads_nothing(world):
    """Hung up before the connection is there, it is not there; what comes meanwhile is kept."""
    async with running(world):
        pass  # the broker knows the sessions
    source = world.source()
    await source.start()
    await source.pause()
    world.publish(CHECKIN, b"meanwhile")
    await quiet(source)
    await source.resume()
    await world.connected(source)
    assert bodies(await taken(source, 1)) == [b"meanwhile"]
    await quiet(source)
    await source.stop()


async def test_what_is_published_comes_round(world):
    """What the source says itself comes back through its session once the broker has it."""
    async with running(world) as source:
        sending = source.publish(CHECKIN, b"to myself", qos=1)
        assert await sending.done(WITHIN_S)
        assert bodies(await taken(source, 1)) == [b"to myself"]


@pytest.mark.parametrize("world", on_mosquitto, indirect=True)
async def test_what_overtakes_does_not_wait_behind_receipts(world):
    """However much was said before it: a marker that waits with receipts tells a lie about all that
    arrived meanwhile."""
    ear, marker = Client(world.server.port), ("patrol/v1/s/d/down/rounds", b"a marker")
    ear.subscribe("patrol/v1/+/+/down/+")
    async with running(world) as source:
        world.server.process.send_signal(signal.SIGSTOP)  # busy: it reads what waits, in turns
        for _ in range(MANY):
            source.publish("patrol/v1/s/d/down/receipt", b"a receipt", qos=0)
        source.publish(*marker, qos=1, overtaking=True)
        await asyncio.sleep(0.2)  # what was said leaves within a turn of the loop
        world.server.process.send_signal(signal.SIGCONT)
        assert await asyncio.to_thread(ear.until, lambda: marker in ear.inbox)
    assert ear.inbox.index(marker) < MANY / 2
    ear.close()


async def reading(source: Source, world: World, topic: str) -> None:
    """Wait until what is published there comes: a subscription takes a moment."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            world.publish(topic, b"are you there")
            with suppress(TimeoutError):
                source.acknowledge(await asyncio.wait_for(source.take(1), 0.3))
                return


async def test_what_is_subscribed_later_comes_too(world):
    """Filters named while connected are read beside the session's own, in one stream."""
    async with running(world) as source:
        source.subscribe(MAIN, ("tele/+/SENSOR", "zigbee2mqtt/#"))
        await reading(source, world, FOREIGN)
        for topic in (FOREIGN, CHECKIN, STRANGE):
            world.publish(topic, topic.encode())
        found = await taken(source, 3)
        assert [each.topic for each in found] == [FOREIGN, CHECKIN, STRANGE]
        assert {each.session for each in found} == {MAIN}


async def test_what_was_subscribed_holds_after_every_connect(world):
    """After a break, and even after the broker forgot the session, the filters are read again."""
    async with running(world) as source:
        source.subscribe(MAIN, ("tele/+/SENSOR",))
        await reading(source, world, FOREIGN)
        await world.cut(source)
        await reading(source, world, FOREIGN)
        await world.forget(source)
        await reading(source, world, FOREIGN)


async def test_what_is_gone_comes_no_more(world):
    """What an earlier run read, and is gone now, is no longer kept for us by the broker."""
    async with running(world) as source:
        source.subscribe(MAIN, ("tele/+/SENSOR", "zigbee2mqtt/#"))
        await reading(source, world, FOREIGN)
    source = world.source()
    source.subscribe(MAIN, ("zigbee2mqtt/#",), gone=("tele/+/SENSOR",))
    await source.start()
    try:
        await world.connected(source)
        await reading(source, world, STRANGE)
        world.publish(FOREIGN, b"nobody reads this")
        await quiet(source)
    finally:
        await source.stop()


async def test_what_needs_no_acknowledgement_gets_none(world):
    """Deliveries of QoS 0 come in their order; acknowledging them does not harm the connection,
    and they do not fill the window."""
    async with running(world) as source:
        world.publish(CHECKIN, b"held")
        for number in range(WINDOW):
            world.publish(CHECKIN, b"%d" % number, qos=0)
        world.publish(CHECKIN, b"last")
        found = await taken(source, WINDOW + 2)
        assert bodies(found)[0] == b"held"
        assert bodies(found)[-1] == b"last"
        source.acknowledge(found)
        await heard_out(world, source)
        await world.cut(source)
        assert bodies(await taken(source, 1)) == [b"after"]
        await quiet(source)


async def test_what_nobody_sends_again_outlives_its_connection(world):
    """Deliveries of QoS 0 that wait when the connection breaks are taken all the same, each once;
    so is what does come again."""
    async with running(world) as source:
        world.publish(CHECKIN, b"first")
        for number in range(3):
            world.publish(CHECKIN, b"%d" % number, qos=0)
        world.publish(CHECKIN, b"last")  # once the broker has this, it has sent all on
        await world.cut(source)
        found = await taken(source, 5)
        assert sorted(bodies(found)) == [b"0", b"1", b"2", b"first", b"last"]
        assert [body for body in bodies(found) if body.isdigit()] == [b"0", b"1", b"2"]
        source.acknowledge(found)
        await quiet(source)


@pytest.mark.broker
@pytest.mark.parametrize("kind", MqttSource)
async def test_nothing_said_to_a_dead_connection_is_said_later(kind):
    """What the broker did not acknowledge is given back at once, and never sent by the client
    itself."""
    with mosquitto() as server:
        world = RealWorld(server, kind)
        async with running(world) as source:
            await asyncio.to_thread(server.kill)
            async with asyncio.timeout(WITHIN_S):
                while source.connected:
                    world.changed.clear()
                    await world.changed.wait()
            assert not await source.publish(CHECKIN, b"stale", qos=1).done(WITHIN_S)
            await asyncio.to_thread(server.start)
            await world.connected(source)
            world.publish(CHECKIN, b"fresh")
            assert bodies(await taken(source, 1)) == [b"fresh"]
            await quiet(source)


@pytest.mark.broker
async def test_what_waits_is_bounded_whatever_the_broker_sends():
    """While much comes in and is acknowledged in batches, no more waits than a window and what one
    read of the socket brings."""
    conf = ["max_inflight_messages 10000", "max_queued_messages 100000", "set_tcp_nodelay true"]
    with mosquitto(conf) as server:
        world = RealWorld(server, MqttSource.WIRE)
        async with running(world) as source:
            wire = Wire(server.port)
            saying = asyncio.to_thread(wire.say_all, CHECKIN, ["x" * 1_024] * 6_000)
            publishing = asyncio.ensure_future(saying)
            came = most = 0
            async with asyncio.timeout(WITHIN_S):
                while came < 6_000:
                    found = await source.take(WINDOW)
                    came += len(found)
                    await asyncio.sleep(0.002)  # a commit
                    source.acknowledge(found)
                    most = max(most, sum(len(link.waiting) for link in source._links.values()))
                await publishing
            wire.close()
            assert most <= WINDOW + 256  # uvloop and asyncio read 256 KiB at once
