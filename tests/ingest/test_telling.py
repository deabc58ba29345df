"""What the service says: events from the outbox, receipts, markers to itself."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from devices import topics
from ingest import markers as marking
from ingest import outbox as box
from ingest.clock import SystemClock, TickClock
from ingest.committed import Covered
from ingest.ledger import Ledger
from ingest.markers import Markers
from ingest.outbox import Outbox
from ingest.receipts import APART_S, Receipts
from ingest.source import MAIN, Session
from store.database import writing
from store.events import acknowledge
from tests.ingest.bench import NOW, Bench, delivery
from tests.ingest.memory_source import MemoryBroker, MemorySource
from tests.ingest.school import checkin, up
from tests.ingest.waiting import until

SESSIONS = (Session(name=MAIN, filters=("patrol/v1/#",), window=10_000),)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
async def source(broker: MemoryBroker) -> AsyncIterator[MemorySource]:
    made = MemorySource(broker, "test", SESSIONS, on_change=lambda _: None, on_fresh=lambda _: None)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def ledger(bench: Bench) -> AsyncIterator[Ledger]:
    made = Ledger(bench.ledger.engine)
    yield made
    made.close()


class Running:
    """A task that is cancelled at the end of the block."""

    def __init__(self, work: Any) -> None:
        self._work = work

    async def __aenter__(self) -> None:
        self._task = asyncio.ensure_future(self._work)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))
        if not self._task.cancelled():
            self._task.result()


def told(broker: MemoryBroker, kind: str) -> list[dict[str, Any]]:
    return [json.loads(body) for topic, body in broker.published if topic.endswith(kind)]


def waiting(bench: Bench) -> int:
    return bench.rows("SELECT count(*) FROM outbox")[0][0]


async def test_the_gravest_leaves_first(bench, ledger, broker, source):
    """Of what waits, a call for help is told before a hundred unknown tags."""
    said = [checkin(seq, NOW, "04FFFF") for seq in range(100)]
    bench.take(delivery(up("checkin"), said), delivery(up("sos"), {"seq": 100, "at": NOW}))
    async with Running(Outbox(source, ledger).run()):
        await until(lambda: waiting(bench) == 0)
    kinds = [topic.rpartition("/")[2] for topic, _ in broker.published]
    assert kinds == ["sos.raised", *["checkin.unknown-tag"] * 100]


async def test_what_was_not_taken_is_told_again(bench, ledger, broker, source, monkeypatch):
    """While the broker refuses, events wait in the ledger; then each is told, with the same id."""
    monkeypatch.setattr(box, "RETRY_S", 0.05)
    broker.refusing = True
    bench.take(delivery(up("sos"), {"seq": 1, "at": NOW}))
    async with Running(Outbox(source, ledger).run()):
        await asyncio.sleep(0.2)
        assert waiting(bench) == 1
        broker.refusing = False
        await until(lambda: waiting(bench) == 0)
    ((event_id,),) = bench.rows("SELECT event_id FROM event")
    assert [event["id"] for event in told(broker, "sos.raised")] == [event_id]


async def test_events_leave_while_nothing_is_read(bench, ledger, broker, source, monkeypatch):
    """While we have hung up to read no more, as below the disk's floor, alarms are told all the
    same."""
    monkeypatch.setattr(MemorySource, "connected", False)
    bench.take(delivery(up("sos"), {"seq": 1, "at": NOW}))
    async with Running(Outbox(source, ledger).run()):
        await until(lambda: told(broker, "sos.raised"))


async def test_thousands_that_wait_all_leave(bench, ledger, broker, source):
    """A backlog of thousands leaves page by page, in its order, each event once."""
    for start in range(0, 3_000, 200):
        said = [checkin(seq, NOW, "04FFFF") for seq in range(start, start + 200)]
        bench.take(delivery(up("checkin"), said))
    async with Running(Outbox(source, ledger).run()):
        await until(lambda: waiting(bench) == 0)
    subjects = [event["subject"] for event in told(broker, "checkin.unknown-tag")]
    assert subjects == [f"hh-1/0/{seq}" for seq in range(3_000)]


async def test_events_leave_while_the_writer_is_busy(bench, ledger, broker, source):
    """What was told is forgotten once the writer has time; the pages behind it do not wait."""
    events = 3 * box.PAGE
    for start in range(0, events, 200):
        said = [checkin(seq, NOW, "04FFFF") for seq in range(start, start + 200)]
        bench.take(delivery(up("checkin"), said))
    over = threading.Event()
    busy = asyncio.ensure_future(ledger.in_writer(over.wait))
    try:
        async with Running(Outbox(source, ledger).run()):
            await until(lambda: len(broker.published) == events)
            assert waiting(bench) == events
            over.set()
            await until(lambda: waiting(bench) == 0)
    finally:
        over.set()
        await busy
    assert len(broker.published) == events


async def test_an_acknowledged_event_keeps_its_note(bench, ledger):
    """Who took notice, and what they wrote, stays in every later revision."""
    bench.take(delivery(up("sos"), {"seq": 1, "at": NOW}))
    ((event_id,),) = bench.rows("SELECT event_id FROM event")
    with writing(bench.ledger.engine) as connection:
        acknowledge(connection, event_id, author="duty", note="going", now=NOW)
    bench.take(delivery(up("sos"), {"seq": 2, "at": NOW + 1, "cancel": 1}))
    state, _, data = bench.latest()["sos.raised", "hh-1/0/1"]
    assert (state, data["acknowledged"]["note"]) == ("resolved", "going")


async def test_receipts_are_cumulative_and_apart(broker, source):
    """Who sends much is told once in a while, and the newest says all."""
    receipts = Receipts(source, SystemClock(), "ledger")
    for upto in range(50):
        receipts.tell({("hh-1", 0): Covered(site="s", upto=upto, missing=())}, {})
        await asyncio.sleep(0)
    await until(lambda: told(broker, "receipt") and told(broker, "receipt")[-1]["upto"] == 49)
    assert len(told(broker, "receipt")) <= 2 + 1 / APART_S
    receipts.tell({("hh-1", 0): Covered(site="s", upto=50, missing=((3, 4),))}, {"hh-1": ["ab"]})
    await until(lambda: told(broker, "receipt")[-1]["upto"] == 50)
    last = told(broker, "receipt")[-1]
    assert (last["ledger"], last["missing"], last["photos"]) == ("ledger", [[3, 4]], ["ab"])


async def test_receipts_wait_until_they_can_be_said(broker, source):
    """A session may be there before the connection on which we speak: then the newest receipt, and
    the photos, are told once, when it is there."""
    receipts = Receipts(source, SystemClock(), "ledger")
    await source.pause()
    receipts.tell({("hh-1", 0): Covered(site="s", upto=1, missing=())}, {"hh-1": ["ab"]})
    await asyncio.sleep(2 * APART_S)
    receipts.tell({("hh-1", 0): Covered(site="s", upto=2, missing=())}, {})
    await asyncio.sleep(2 * APART_S)
    assert told(broker, "receipt") == []
    await source.resume()
    await until(lambda: told(broker, "receipt"))
    (only,) = told(broker, "receipt")
    assert (only["upto"], only["photos"]) == (2, ["ab"])


async def test_receipts_tell_the_time_of_the_clock_in_force(broker, source):
    """`now` of a receipt is the simulator's where the clock is the simulator's."""
    Receipts(source, TickClock(NOW), "l").tell(
        {("d", 0): Covered(site="s", upto=0, missing=())}, {}
    )
    await until(lambda: told(broker, "receipt"))
    assert told(broker, "receipt")[0]["now"] == NOW


async def test_a_marker_of_before_our_clock_was_set_back_swallows_none_of_after(source):
    """What the broker has and brings later is not missed because its time is an earlier one."""
    out, hour = marking.MarkersOut(), 3_600_000
    for at in (NOW, NOW + 1_000, NOW + 1_500 - hour, NOW + 2_500 - hour):
        out.sent(at, source.publish("marker", b"", qos=1))
    await asyncio.sleep(0)
    assert out.back([NOW, NOW + 1_000, NOW + 1_500 - hour]) == 0
    out.sent(NOW + 3_500 - hour, source.publish("marker", b"", qos=1))
    await asyncio.sleep(0)
    assert out.back([NOW + 3_500 - hour]) == 1


async def marked(broker, source, *, beyond_due_ms: int) -> None:
    """Markers leave, something falls due in between, until one is so much later than that."""
    clock = SystemClock()
    markers = Markers(source, clock, "test")
    due = clock.now() + 337
    async with Running(markers.run()):
        await until(lambda: broker.published)
        markers.plan(due)
        await until(lambda: json.loads(broker.published[-1][1])["now"] >= due + beyond_due_ms)


async def test_a_marker_leaves_at_the_instant_that_is_due(broker, source, monkeypatch):
    """One leaves when something falls due, though the next of the others is far away."""
    monkeypatch.setattr(marking, "EVERY_MS", 3_600_000)
    await marked(broker, source, beyond_due_ms=0)


async def test_a_marker_leaves_each_second(broker, source):
    """Markers leave in their order, at the full second, whatever else falls due."""
    await marked(broker, source, beyond_due_ms=1_000)
    marks = [json.loads(body)["now"] for topic, body in broker.published]
    assert {topic for topic, _ in broker.published} == {topics.marker("test")}
    assert marks == sorted(marks)


async def test_no_marker_leaves_because_something_else_is_planned(broker, source, monkeypatch):
    """What falls due later than was planned before, or is past and told of, needs no marker now."""
    monkeypatch.setattr(marking, "EVERY_MS", 3_600_000)
    clock = SystemClock()
    markers = Markers(source, clock, "test")
    async with Running(markers.run()):
        await until(lambda: broker.published)
        first = json.loads(broker.published[0][1])["now"]
        for due in (first + 60_000, first, None, first - 1, first + 120_000):
            markers.plan(due)
            await asyncio.sleep(0)
        last = clock.now() + 100
        markers.plan(last)
        await until(lambda: len(broker.published) > 1)
    marks = [json.loads(body)["now"] for _, body in broker.published]
    assert len(marks) == 2
    assert marks[1] >= last
