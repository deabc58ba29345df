"""The watch: judges once everything before a due instant is in, once each, and nobody holds up
others."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from devices.ids import Instant
from ingest.clock import SystemClock, TickClock
from ingest.ledger import Ledger
from ingest.watch import GIVE_UP_MS, Watch
from store import obligations
from store.database import writing
from store.owngaps import Cause, OwnGap
from store.verdicts import flipped
from tests.ingest.bench import Bench, delivery, marker
from tests.ingest.school import GATE, LAB, checkin, owe, up
from tests.service import now_ms

MINUTE = 60_000


class Clocked(SystemClock):
    """The machine's clock, `ahead` ms on."""

    ahead = 0

    def now(self) -> Instant:
        return super().now() + self.ahead


@pytest.fixture
async def ledger(bench: Bench) -> AsyncIterator[Ledger]:
    made = Ledger(bench.ledger.engine)
    yield made
    made.close()


def a_watch(bench: Bench, ledger: Ledger, clock: Any) -> Watch:
    said: list[Any] = []
    watch = Watch(
        ledger, clock, bench.writer.judged, on_next=said.append, on_told=lambda: said.append("told")
    )
    watch.said = said
    if isinstance(clock, TickClock):  # as the pipeline does: a tick is now before it is known
        watch.advance = lambda known: (clock.advance(known), Watch.advance(watch, known))
    return watch


async def turn(watch: Watch) -> None:
    """Let it look once, until it is about to sleep again."""
    watch.said.clear()
    task = asyncio.ensure_future(watch.run())
    async with asyncio.timeout(20):
        while len([wake for wake in watch.said if wake != "told"]) < 2:
            await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()
    await asyncio.wait((task,))


def verdicts(bench: Bench) -> list[tuple[str, bool]]:
    query = "SELECT document FROM verdict ORDER BY id"
    said = [json.loads(document) for (document,) in bench.rows(query)]
    return [(each["standing"], each["waited"]) for each in said]


async def test_it_judges_at_the_marker_of_due_and_not_before(bench, ledger):
    """However late it is by our clock, nothing is judged until a marker of its due has come
    back."""
    opens = bench.at
    owe(bench.ledger.engine, opens, opens + MINUTE)
    bench.take(delivery(up("checkin"), [checkin(1, opens, GATE), checkin(2, opens, LAB)]))
    watch = a_watch(bench, ledger, TickClock(opens + 10 * MINUTE))
    watch.advance(opens + MINUTE - 1)
    await turn(watch)
    assert verdicts(bench) == []
    watch.advance(opens + MINUTE)
    await turn(watch)
    assert verdicts(bench) == [("completed", False)]


async def test_without_a_marker_it_judges_a_minute_later_and_says_so(bench, ledger):
    """Where the marker of due does not come back, the verdict comes 60 s later and says
    `waited`."""
    opens = now_ms() - 3 * MINUTE
    owe(bench.ledger.engine, opens, opens + MINUTE)
    clock = Clocked()
    watch = a_watch(bench, ledger, clock)
    watch.advance(opens)
    await turn(watch)
    assert verdicts(bench) == []  # it has only just started: what waits with the broker comes first
    clock.ahead = GIVE_UP_MS
    watch.poke()
    await turn(watch)
    assert [waited for _, waited in verdicts(bench)] == [True]


async def test_while_we_have_hung_up_a_clock_that_steps_lets_nothing_be_given_up(bench, ledger):
    """What waits with the broker because the disk is full is not missed, whatever our clock does
    meanwhile; a minute after we read again, what then is not there is."""
    opens = now_ms() - 3 * MINUTE
    owe(bench.ledger.engine, opens, opens + MINUTE)
    clock = Clocked()
    watch = a_watch(bench, ledger, clock)
    watch.advance(opens)
    watch.hold_back(hung_up=True)
    watch.pause()
    watch.resume(clock.now(), clock.now())
    clock.ahead = 2 * GIVE_UP_MS
    await turn(watch)
    assert verdicts(bench) == []
    watch.hold_back(hung_up=False)
    clock.ahead += GIVE_UP_MS
    watch.poke()
    await turn(watch)
    assert [waited for _, waited in verdicts(bench)] == [True]


async def test_a_marker_of_before_our_clock_was_set_back_judges_nothing(bench, ledger):
    """What falls due in an hour that comes again is judged by a marker of the clock that holds."""
    opens = now_ms()
    owe(bench.ledger.engine, opens, opens + MINUTE)
    clock = Clocked()
    watch = a_watch(bench, ledger, clock)
    watch.advance(opens + 60 * MINUTE)
    await turn(watch)
    assert verdicts(bench) == []
    clock.ahead = 2 * MINUTE
    watch.set_back(opens + MINUTE)
    await turn(watch)
    assert [waited for _, waited in verdicts(bench)] == [False]


async def test_ticks_are_waited_for_as_long_as_it_takes(bench, ledger):
    """By a simulator's clock nothing is given up: now stands still until the next tick is
    committed."""
    opens = bench.at
    owe(bench.ledger.engine, opens, opens + MINUTE)
    clock = TickClock(opens + 60 * MINUTE)  # read, not yet committed
    watch = a_watch(bench, ledger, clock)
    watch.advance(opens)
    await turn(watch)
    assert verdicts(bench) == []


async def test_a_gap_is_told_behind_the_first_marker_after_it(bench, ledger):
    """Markers of before a gap, which waited with everything else, do not end it: what is due by
    them is part of it."""
    opens = bench.at
    watch = a_watch(bench, ledger, TickClock(opens + 10 * MINUTE))
    watch.make_up_for(OwnGap(since=opens, cause=Cause.DOWN))
    told = "SELECT data ->> 'until' FROM event WHERE kind = 'service.gap'"
    watch.advance(opens + MINUTE)
    await turn(watch)
    watch.end_gap(opens + 3 * MINUTE)
    watch.advance(opens + 2 * MINUTE)
    await turn(watch)
    assert bench.rows(told) == []
    watch.advance(opens + 3 * MINUTE + 1)
    await turn(watch)
    assert bench.rows(told) == [(opens + 3 * MINUTE + 1,)]


async def test_two_workers_write_one_verdict(bench, ledger):
    """Of two who judge from the same revision, one flips and the other tells nothing."""
    opens = bench.at
    owe(bench.ledger.engine, opens, opens + MINUTE)
    with writing(bench.ledger.engine) as connection:
        (row,) = obligations.awake(connection, opens + MINUTE, 10)
        watch = a_watch(bench, ledger, TickClock(opens + MINUTE))
        (look,) = watch._together(connection, [row], opens + MINUTE, waited=False)
        assert flipped(connection, [(row, look.verdict)], 1) == {row.id}
        assert flipped(connection, [(row, look.verdict)], 2) == set()
    assert len(verdicts(bench)) == 1


async def test_a_rule_that_raises_holds_up_nobody_else(bench, ledger):
    """An obligation whose judge raises is pushed back and named; the others are judged."""
    opens = bench.at
    broken = owe(bench.ledger.engine, opens, opens + MINUTE, "gap")
    owe(bench.ledger.engine, opens, opens + MINUTE)
    with writing(bench.ledger.engine) as connection:
        connection.exec_driver_sql(
            "UPDATE obligation SET plan_version_id = 999 WHERE key = ?", (broken,)
        )
    watch = a_watch(bench, ledger, TickClock(opens))
    watch.advance(opens + 2 * MINUTE)
    await turn(watch)
    assert len(verdicts(bench)) == 1
    ((wake,),) = bench.rows("SELECT wake FROM obligation WHERE key = :key", key=broken)
    assert wake > opens + 2 * MINUTE


async def test_late_evidence_has_its_round_looked_at_again(bench, ledger):
    """A read that comes after due, from a device that was cut off, amends the verdict it bears
    on."""
    opens = bench.at
    owe(bench.ledger.engine, opens, opens + MINUTE)
    bench.take(delivery(up("status", "hh-2"), {"online": True}), marker(opens))
    bench.take(marker(opens + MINUTE))
    watch = a_watch(bench, ledger, TickClock(opens + MINUTE))
    watch.advance(opens + MINUTE)
    await turn(watch)
    late = [
        {"seq": seq, "at": opens + seq, "sent": opens + 2 * MINUTE, "tag": tag}
        for seq, tag in enumerate((GATE, LAB))
    ]
    bench.take(marker(opens + 2 * MINUTE))
    bench.at = opens + 2 * MINUTE
    done = bench.take(delivery(up("checkin"), late), marker(opens + 3 * MINUTE))
    assert done.touched
    watch.advance(opens + 3 * MINUTE)
    await turn(watch)
    assert [standing for standing, _ in verdicts(bench)] == ["missed", "completed"]


async def test_an_earlier_visit_that_is_told_later_ends_what_outlived_its_window(bench, ledger):
    """A stretch is ended by the visit that came first, not by the one that was known first, and a
    service that has been restarted in between knows it too (law 3)."""
    opens = bench.at
    owe(bench.ledger.engine, opens, opens + 60 * MINUTE, "gap", grace=2 * MINUTE)
    bench.take(delivery(up("status"), {"online": True}), marker(opens))
    due, visits = opens + 62 * MINUTE, [opens + after * MINUTE for after in (90, 80, 70)]
    for seq, visit in enumerate(visits):
        bench.at = visits[0] + seq * MINUTE
        bench.take(marker(bench.at), delivery(up("checkin"), checkin(seq, visit, LAB)))
        bench.take(marker(bench.at + 1_000))
        watch = a_watch(bench, ledger, TickClock(bench.at + 1_000))
        watch.advance(bench.at + 1_000)
        await turn(watch)
        ((ended,),) = bench.rows(
            "SELECT json_extract(data, '$.ended_at') FROM event WHERE kind = 'checkpoint.overdue'"
            " ORDER BY revision DESC LIMIT 1"
        )
        assert due < ended == visit
        bench.restart()
    ((overran,),) = bench.rows("SELECT overran FROM obligation WHERE kind = 'gap'")
    assert overran == visits[-1]


async def test_what_came_after_the_marker_is_looked_at_behind_the_next(bench, ledger):
    """Half a backlog amends nothing, nor does a time that a marker has still to set right."""
    opens = bench.at
    owe(bench.ledger.engine, opens, opens + MINUTE)
    bench.take(delivery(up("status", "hh-2"), {"online": True}), marker(opens))
    back = opens + 2 * MINUTE
    bench.take(marker(opens + MINUTE), marker(back))
    watch = a_watch(bench, ledger, TickClock(back))
    watch.advance(back)
    await turn(watch)
    bench.at = back
    ahead = {"seq": 0, "at": opens, "sent": back + 7 * MINUTE, "tag": GATE}
    bench.take(delivery(up("checkin"), ahead))
    watch.poke()
    await turn(watch)
    bench.take(delivery(up("checkin"), {"seq": 1, "at": opens, "sent": back, "tag": LAB}))
    watch.poke()
    await turn(watch)
    assert [standing for standing, _ in verdicts(bench)] == ["missed"]
    bench.take(marker(back + 1_000))
    watch.advance(back + 1_000)
    await turn(watch)
    assert [standing for standing, _ in verdicts(bench)] == ["missed", "incomplete"]


async def test_a_visit_ends_a_stretch_whatever_another_clock_says(bench, ledger):
    """A read dated years ahead does not put off the look at an overdue checkpoint."""
    opens = bench.at
    owe(bench.ledger.engine, opens, opens + 60 * MINUTE, "gap", grace=2 * MINUTE)
    bench.take(delivery(up("status"), {"online": True}), marker(opens))
    watch = a_watch(bench, ledger, TickClock(opens))
    bench.take(marker(opens + 13 * MINUTE))
    watch.advance(opens + 13 * MINUTE)
    await turn(watch)
    overdue = "checkpoint.overdue"
    assert [event[0] for key, event in bench.latest().items() if key[0] == overdue] == ["open"]
    bench.at = opens + 13 * MINUTE
    bench.take(delivery(up("checkin"), {"seq": 1, "at": 2**53 - 1, "tag": LAB}))
    ((wake,),) = bench.rows("SELECT wake FROM obligation WHERE kind = 'gap' AND alarm")
    assert wake <= opens + 62 * MINUTE
    visit = opens + 14 * MINUTE
    bench.take(delivery(up("checkin"), checkin(2, visit, LAB)), marker(visit + 1_000))
    watch.advance(visit + 1_000)
    await turn(watch)
    assert [event[0] for key, event in bench.latest().items() if key[0] == overdue] == ["resolved"]
