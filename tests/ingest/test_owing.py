"""Owing: rounds are made ahead from the plans in force, and only what has not opened is remade."""

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from desk.acts import By
from desk.decisions import decide_round
from ingest.ledger import Ledger
from ingest.owing import HORIZON_MS, Owing
from rules.promises import Do
from store import obligations, workers
from store.database import reading, writing
from store.facts import Page
from tests.ingest.bench import NOW, Bench
from tests.ingest.school import DOCUMENT

HOUR = 3_600_000
EVERY_HOUR = [f"{hour:02}:00-{hour:02}:30" for hour in range(24)]


def planned(windows: list[str] | None, **more: Any) -> dict[str, Any]:
    """The school with one plan in these windows, or none."""
    said = copy.deepcopy(DOCUMENT)
    plans = [{"id": "day", "name": "Day", "route": ["gate"], "windows": windows}]
    said["sites"][0]["plans"] = [] if windows is None else plans
    return {**said, **more}


@pytest.fixture
async def ledger(bench: Bench) -> AsyncIterator[Ledger]:
    bench.ledger.apply(planned(EVERY_HOUR))
    made = Ledger(bench.ledger.engine)
    yield made
    made.close()


def owing(bench: Bench, ledger: Ledger, **more: Any) -> Owing:
    with writing(bench.ledger.engine) as connection:
        workers.start_worker(connection, "test", "system", NOW)
    return Owing(ledger=ledger, instance="test", **{"by_ticks": False, **more})


def opens(bench: Bench) -> list[int]:
    return [at for (at,) in bench.rows("SELECT opens FROM obligation ORDER BY opens")]


async def made(bench: Bench, ledger: Ledger, now: int, **more: Any) -> Owing:
    it = owing(bench, ledger, **more)
    await it.follow(None, bench.ledger.picture(), now)
    await it.make(now)
    return it


async def test_what_is_owed_opens_after_the_plan_was_applied(bench, ledger):
    """The first round is the first that opens strictly after the file was applied."""
    await made(bench, ledger, NOW + 2 * HOUR)
    assert opens(bench)[0] == NOW + HOUR
    assert opens(bench)[-1] == NOW + 2 * HOUR + HORIZON_MS


async def test_made_in_pieces_or_at_once_it_owes_the_same(bench, ledger):
    """Restarts in between make nothing twice and leave nothing out."""
    it = await made(bench, ledger, NOW)
    for hours in (1, 30, 31, 90):
        it = owing(bench, ledger, made_until=it.made_until)
        await it.make(NOW + hours * HOUR)
    last = NOW + 90 * HOUR + HORIZON_MS
    assert opens(bench) == list(range(NOW + HOUR, last + 1, HOUR))


async def test_by_ticks_nothing_is_owed_before_the_first(bench, ledger):
    """However late it looks, a simulator's rounds begin after the first tick, exclusive."""
    tick = NOW + 10 * HOUR
    await made(bench, ledger, tick + 5 * HOUR, by_ticks=True, first_tick=tick)
    assert opens(bench)[0] == tick + HOUR


async def test_a_changed_plan_remakes_only_what_has_not_opened(bench, ledger):
    """Rounds that are open keep what they owed; those to come follow the new version."""
    now = NOW + 2 * HOUR
    it = await made(bench, ledger, now)
    before = bench.ledger.picture()
    bench.ledger.now = now + 60_000
    bench.ledger.apply(planned([f"{hour:02}:15-{hour:02}:30" for hour in range(24)]))
    await it.follow(before, bench.ledger.picture(), now + 61_000)
    past = [NOW + HOUR, NOW + 2 * HOUR]
    assert opens(bench)[:3] == [*past, NOW + 2 * HOUR + HOUR // 4]
    assert {(at - NOW) % HOUR for at in opens(bench)[2:]} == {HOUR // 4}


async def test_an_excuse_is_of_its_round_however_often_the_plan_is_remade(bench, ledger):
    """A round to come that is excused stays so under a new version of its plan; while no plan owes
    it, the excuse is no other round's, and where one owes it again it is excused again."""
    it = await made(bench, ledger, NOW)
    excused = NOW + 9 * HOUR
    ((key,),) = bench.rows("SELECT key FROM obligation WHERE opens = :at", at=excused)
    by = By(author="chief", now=NOW)
    decide_round(bench.ledger.engine, key, Do.EXCUSE, by=by, reason="storm")
    quarters = [f"{hour:02}:15-{hour:02}:30" for hour in range(24)]
    for windows, held in (
        ([*EVERY_HOUR, *quarters], [excused]),
        (quarters, []),
        (EVERY_HOUR, [excused]),
    ):
        before = bench.ledger.picture()
        bench.ledger.apply(planned(windows))
        await it.follow(before, bench.ledger.picture(), bench.ledger.now + 1)
        assert decided(bench) == held


def decided(bench: Bench) -> list[int]:
    """When those open of which the watch would find that a person decided something."""
    with reading(bench.ledger.engine) as connection:
        rows = obligations.awake(connection, NOW + 2 * HORIZON_MS, 1_000)
        page = Page(connection, rows, obligations.Plans(), NOW)
        return [row.opens for row in rows if page.of(row).decision is not None]


async def test_a_plan_changed_while_nobody_looked_counts_from_then(bench, ledger):
    """What an ended version would have opened after its end is taken back, also at a late start."""
    it = await made(bench, ledger, NOW)
    bench.ledger.now = NOW + 2 * HOUR
    bench.ledger.apply(planned(None))
    later = owing(bench, ledger, made_until=it.made_until)
    await later.follow(None, bench.ledger.picture(), NOW + 8 * HOUR)
    assert opens(bench) == [NOW + HOUR, NOW + 2 * HOUR]


async def test_another_calendar_remakes_what_it_changes(bench, ledger):
    """When the days' classes change, rounds to come follow them, though their plan did not
    change."""
    school = planned(EVERY_HOUR, calendar="every-day")
    school["sites"][0]["plans"][0]["days"] = ["holiday"]
    bench.ledger.apply(school)
    it = await made(bench, ledger, NOW)
    assert opens(bench) == []
    before = bench.ledger.picture()
    bench.ledger.apply({**school, "calendar": "cn"})
    at = 1_790_784_000_000  # the eve of the National Day holidays
    it.made_until = at + HORIZON_MS
    await it.follow(before, bench.ledger.picture(), at)
    assert opens(bench)


async def test_one_plan_that_raises_leaves_the_others(bench, ledger):
    """A plan that the rules cannot read is named in the log; everybody else's rounds are made."""
    said = planned(EVERY_HOUR)
    said["sites"][1]["plans"] = [
        {"id": "other", "name": "Other", "route": ["hall"], "windows": ["10:00-11:00"]}
    ]
    bench.ledger.apply(said)
    with writing(bench.ledger.engine) as connection:
        connection.exec_driver_sql(
            "UPDATE plan_version SET terms = json_set(terms, '$.timezone', 'No/Where')"
            " WHERE plan_id IN (SELECT id FROM plan WHERE slug = 'other')"
        )
    await made(bench, ledger, NOW)
    assert opens(bench)[0] == NOW + HOUR
