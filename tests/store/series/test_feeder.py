"""The feeder keeps the series equal to the ledger, whatever happens to either in between."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from devices.proofs import Proof, Proved
from store import tables
from store.database import reading, writing
from store.series import feeder as feeding
from store.series.feeder import Feeder, FeedState, backoff_s, rebuild
from store.series.influx import InfluxV1Client, InfluxV1Writer
from store.series.ports import MAX_LINES, Permanent, Retryable
from store.series.sources import add_samples
from store.taps import Unkeyed, prove_again
from tests.servers import influxd
from tests.store.series.conftest import Series
from tests.store.series.ledgers import HOUR, MINUTE, NOON, Ledger, a_day
from tests.store.series.memory import MemoryWriter

MEASUREMENTS = ("checkin", "round", "event", "hazard", "site_state")


def feeder_of(ledger: Ledger, writer: object) -> Feeder:
    return Feeder(ledger.engine, writer, now=lambda: NOON + 2 * HOUR)  # type: ignore[arg-type]


async def drain(feeder: Feeder) -> int:
    """Steps until the feeder has caught up; returns the lines written."""
    written = await feeder.step()
    while feeder.status.behind:
        written += await feeder.step()
    return written


@asynccontextmanager
async def running(feeder: Feeder) -> AsyncIterator[asyncio.Event]:
    """The feeder's loop in the background; yields its poke."""
    stop, poke = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(feeder.run(stop, poke))
    try:
        yield poke
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


async def until(condition: object, seconds: float = 20.0) -> None:
    """Polls until the condition (maybe a coroutine function) holds."""
    async with asyncio.timeout(seconds):
        while True:
            held = condition()  # type: ignore[operator]
            if asyncio.iscoroutine(held):
                held = await held
            if held:
                return
            await asyncio.sleep(0.01)


# Over memory and a real InfluxDB -----------------------------------------------------------------


async def test_the_series_holds_what_the_ledger_holds(series: Series, ledger: Ledger) -> None:
    """One point for each check-in, judged round, event and hazard."""
    a_day(ledger)
    with writing(ledger.engine) as connection:
        add_samples(connection, NOON, [f"site_state,site=school-01 due=0i {NOON}000000"])
    await drain(feeder_of(ledger, series.writer))
    counts = {name: await series.count(name) for name in MEASUREMENTS}
    assert counts == {"checkin": 130, "round": 11, "event": 3, "hazard": 2, "site_state": 1}
    assert ledger.count(tables.Sample) == 0


async def test_an_amended_round_overwrites_its_point(series: Series, ledger: Ledger) -> None:
    """A later verdict changes the point of its round; there is never a second one."""
    owed = ledger.round(NOON)
    ledger.verdict(owed, "missed")
    feeder = feeder_of(ledger, series.writer)
    await drain(feeder)
    assert [point["missed"] for point in await series.fields("round")] == [1]
    ledger.verdict(owed, "completed", visited=2, late=1)
    await drain(feeder)
    (point,) = await series.fields("round")
    told = ("verdict", "missed", "completed", "coverage", "late", "revision")
    assert [point[name] for name in told] == ["completed", 0, 1, 1.0, 1, 2]


async def test_an_old_page_written_again_brings_no_old_verdict_back(
    series: Series, ledger: Ledger
) -> None:
    """Each page tells the latest revision, so order and repetition of pages do not matter."""
    owed = ledger.round(NOON)
    ledger.verdict(owed, "missed")
    ledger.verdict(owed, "excused")
    feeder = feeder_of(ledger, series.writer)
    await drain(feeder)
    rebuild(ledger.engine)
    await drain(feeder)
    (point,) = await series.fields("round")
    assert (point["verdict"], point["revision"]) == ("excused", 2)


async def test_revisions_of_events_and_hazards_overwrite(series: Series, ledger: Ledger) -> None:
    """An event that is resolved and a hazard that is closed are still one point each."""
    feeder = feeder_of(ledger, series.writer)
    ledger.event("sos.raised", "hh-0101/0/7", at=NOON)
    ledger.hazard("hh-0101/0/8", reported_at=NOON)
    ledger.event("hazard.overdue", "hh-0101/0/8", at=NOON)
    await drain(feeder)
    (hazard,) = await series.fields("hazard")
    assert (hazard["open"], hazard["overdue"], hazard["age_s"]) == (1, 1, 7200.0)
    ledger.event("sos.raised", "hh-0101/0/7", at=NOON + MINUTE, state="resolved")
    ledger.event("hazard.overdue", "hh-0101/0/8", at=NOON + MINUTE, state="resolved")
    closed = {"state": "closed", "closed_at": NOON + MINUTE, "category": "exit"}
    ledger.hazard("hh-0101/0/8", reported_at=NOON, **closed)
    await drain(feeder)
    states = {point["subject"]: point["state"] for point in await series.fields("event")}
    assert set(states.values()) == {"resolved"}
    (hazard,) = await series.fields("hazard")
    assert (hazard["open"], hazard["overdue"], hazard["age_s"]) == (0, 0, 60.0)
    assert hazard["category_now"] == "exit"


async def test_feeding_twice_changes_nothing(series: Series, ledger: Ledger) -> None:
    """A crash between the write and the cursor repeats the batch, and nothing is counted twice."""
    a_day(ledger)
    feeder = feeder_of(ledger, series.writer)
    first = await drain(feeder)
    before = {name: await series.fields(name) for name in MEASUREMENTS[:-1]}
    rebuild(ledger.engine)
    assert await drain(feeder_of(ledger, series.writer)) == first
    assert {name: await series.fields(name) for name in MEASUREMENTS[:-1]} == before


async def test_a_backlog_goes_in_pages(series: Series, ledger: Ledger) -> None:
    """Days without a database are caught up in requests of at most 5,000 lines."""
    ledger.checkins(2 * MAX_LINES + 7)
    feeder = feeder_of(ledger, series.writer)
    assert [await feeder.step() for _ in range(4)] == [MAX_LINES, MAX_LINES, 7, 0]
    assert feeder.status.state is FeedState.OK
    assert feeder.status.written == 2 * MAX_LINES + 7
    assert await series.count("checkin") == 2 * MAX_LINES + 7


async def test_a_bad_line_goes_to_the_rejects(series: Series, ledger: Ledger) -> None:
    """A line the database refuses is kept with its words; the good ones are in, the cursor past."""
    ledger.checkins(20)
    with writing(ledger.engine) as connection:
        good = f"site_state,site=school-01 due=0i {NOON}000000"
        add_samples(connection, NOON, [good, "site_state,site=school-01 due= 1"])
    feeder = feeder_of(ledger, series.writer)
    assert await drain(feeder) == 21
    assert (await series.count("checkin"), await series.count("site_state")) == (20, 1)
    assert ledger.count(tables.SeriesReject) == feeder.status.rejected == 1
    assert await feeder.step() == 0


async def test_a_wild_clock_reaches_only_the_rejects(series: Series, ledger: Ledger) -> None:
    """A check-in dated in the year 287396 stops nothing and is not lost from sight."""
    ledger.checkins(1, since=2**53 - 1)
    ledger.checkins(2)
    assert await drain(feeder_of(ledger, series.writer)) == 2
    assert await series.count("checkin") == 2
    assert ledger.count(tables.SeriesReject) == 1


# What is read, and when --------------------------------------------------------------------------


async def test_a_checkin_waits_until_its_time_is_settled(ledger: Ledger) -> None:
    """A corrected time moves no point that stands already: open arrivals are not read."""
    ledger.arrival(after=NOON - 1_000, before=NOON, first_entry=1)
    ledger.checkins(3, arrival_id=1)
    ledger.arrival(after=NOON, before=None, first_entry=4)
    ledger.checkins(2, arrival_id=2)
    memory = MemoryWriter()
    feeder = feeder_of(ledger, memory)
    assert await drain(feeder) == 3
    ledger.close_arrivals(NOON + 1_000)
    ledger.add(tables.Correction, entry_id=5, site_id=1, at=NOON - 7_000, how="ahead")
    assert await drain(feeder) == 2
    times = sorted(key[2] // 1_000_000 - NOON for key in memory.points)
    assert times == [-7_000, 0, 0, 1_000, 2_000]


@pytest.mark.parametrize(
    ("sent", "how", "proven"),
    [
        (NOON + 500, None, True),
        (NOON - 2_000, None, True),
        (NOON - 2_001, None, False),
        (None, None, False),
        (NOON + 9_000, "ahead", True),
        (NOON - 9_000, "slow", True),
        (NOON - 9_000, "unproven", False),
    ],
)
async def test_a_proven_time_stands_on_something(
    ledger: Ledger, sent: int | None, how: str | None, proven: bool
) -> None:
    """Proven is what was sent within its arrival, or was corrected on known ground."""
    ledger.arrival(after=NOON, before=NOON + 1_000, first_entry=1)
    ledger.checkins(1, arrival_id=1, sent=sent)
    if how is not None:
        ledger.add(tables.Correction, entry_id=1, site_id=1, at=NOON, how=how)
    memory = MemoryWriter()
    await drain(feeder_of(ledger, memory))
    (point,) = memory.fields("checkin")
    assert point["proven"] is proven
    assert ("skew_ms" in point) is (sent is not None)


@pytest.mark.parametrize(
    ("asked", "proof", "proven"),
    [
        (None, None, True),
        ("sun", None, False),
        ("sun", "bare", False),
        ("sun", "proven", True),
        (None, "proven", True),
        (None, "bad-mac", False),
    ],
)
async def test_a_proven_point_proves_presence_where_that_is_asked(
    ledger: Ledger, asked: str | None, proof: str | None, proven: bool
) -> None:
    """A bare UID is proven enough but where the checkpoint asks for more, or a message is wrong."""
    ledger.arrival(after=NOON, before=NOON + 1_000, first_entry=1)
    ledger.checkins(2, arrival_id=1, sent=NOON + 500)
    with writing(ledger.engine) as connection:
        connection.execute(text("UPDATE checkpoint SET proof = :proof"), {"proof": asked})
    if proof is not None:
        for entry in (1, 2):  # one tap, told twice
            ledger.add(tables.Tap, entry_id=entry, proof=proof, enrolment_id=1, ctr=7, at=NOON)
    memory = MemoryWriter()
    await drain(feeder_of(ledger, memory))
    first, second = sorted(memory.fields("checkin"), key=lambda point: point["seq"])
    assert first["proven"] is proven
    assert second["proven"] is (proven and proof is None)


async def test_what_is_told_again_during_a_write_is_told_again(ledger: Ledger) -> None:
    """A check-in that proves something else while its point is being written is written once more;
    one that was not written yet is told by its own turn alone."""

    def proves(proof: Proof) -> None:
        read = Unkeyed(1, "hh-0101", 0, 1, 1, "school-01", 1, "04", NOON, "{}", "no-key")
        with writing(ledger.engine) as connection:
            prove_again(connection, read, Proved(proof, asked=None))

    def while_writing(_: object) -> None:
        if memory.requests == 2:
            proves(Proof.PROVEN)

    ledger.arrival(after=NOON, before=NOON + 1_000, first_entry=1)
    ledger.checkins(1, arrival_id=1, sent=NOON + 500)
    ledger.add(tables.Tap, entry_id=1, proof="no-key", at=NOON)
    proves(Proof.BAD_MAC)
    memory = MemoryWriter()
    memory.before_write = while_writing
    feeder = feeder_of(ledger, memory)
    assert await drain(feeder) == 1
    proves(Proof.OTHER_KEY)
    assert [await drain(feeder), await drain(feeder), await drain(feeder)] == [1, 1, 0]
    (point,) = memory.fields("checkin")
    assert point["proven"] is True


async def test_gaps_actions_and_sos_are_no_points_of_their_own(ledger: Ledger) -> None:
    """Only check-ins and rounds have points here; what else passes still moves the cursor."""
    gap = ledger.round(NOON, kind="gap")
    ledger.verdict(gap, "completed")
    ledger.checkins(3, kind=3)
    memory = MemoryWriter()
    feeder = feeder_of(ledger, memory)
    assert await drain(feeder) == 0
    assert memory.points == {}
    assert feeder.status.behind == 0


async def test_hazards_that_changed_together_stay_together(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page never ends between two hazards of one counter, or one of them would be skipped."""
    for number in range(7):
        ledger.hazard(f"hh-0101/0/{number}", reported_at=NOON + number, changed=1 + number // 3)
    monkeypatch.setattr(feeding, "MAX_LINES", 2)
    memory = MemoryWriter()
    await drain(feeder_of(ledger, memory))
    assert memory.count("hazard") == 7


async def test_a_batch_is_shared_by_all_sources(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verdicts and events go ahead of a backlog of check-ins."""
    ledger.checkins(50)
    ledger.verdict(ledger.round(NOON), "missed")
    ledger.event("sos.raised", "hh-0101/0/7", at=NOON)
    monkeypatch.setattr(feeding, "MAX_LINES", 10)
    memory = MemoryWriter()
    feeder = feeder_of(ledger, memory)
    await feeder.step()
    assert [memory.count(name) for name in ("round", "event", "checkin")] == [1, 1, 8]
    assert feeder.status.behind == 42
    assert feeder.status.state is FeedState.BEHIND


async def test_a_sample_that_comes_during_a_write_is_not_lost(ledger: Ledger) -> None:
    """Written samples are deleted, and SQLite gives their keys to later ones: none is skipped."""

    def sample(site: str) -> None:
        with writing(ledger.engine) as connection:
            add_samples(connection, NOON, [f"site_state,site={site} due=0i {NOON}000000"])

    memory = MemoryWriter()
    memory.before_write = lambda lines: sample("school-02") if memory.requests == 1 else None
    feeder = feeder_of(ledger, memory)
    sample("school-01")
    assert await drain(feeder) == 1
    assert await drain(feeder) == 1
    sample("school-03")
    assert await drain(feeder) == 1
    assert memory.count("site_state") == 3


async def test_reading_takes_no_write_lock(ledger: Ledger) -> None:
    """While a page is read and written to the database, the ledger's writer is not held up."""
    ledger.checkins(5)
    memory = MemoryWriter()
    memory.before_write = lambda lines: ledger.checkins(1)
    assert await feeder_of(ledger, memory).step() == 5
    assert ledger.count(tables.Entry) == 6


# Outages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Retryable("down"), Permanent("no right"), OSError("bug")])
async def test_a_failure_moves_no_cursor(ledger: Ledger, error: Exception) -> None:
    """What was not accepted is written later."""
    ledger.checkins(5)
    memory = MemoryWriter()
    failing = [error]

    def fail(lines: Sequence[str]) -> None:
        if failing:
            raise failing.pop()

    memory.before_write = fail
    feeder = feeder_of(ledger, memory)
    with pytest.raises(type(error)):
        await feeder.step()
    assert feeder.status.behind == 5
    assert await feeder.step() == 5


async def test_an_outage_is_visible_and_ends_by_itself(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status says what is wrong and how much is waiting, and turns ok without a restart."""
    monkeypatch.setattr(feeding, "FIRST_PAUSE_S", 0.01)
    ledger.checkins(5)
    memory = MemoryWriter()
    down = asyncio.Event()

    def fail(lines: Sequence[str]) -> None:
        if not down.is_set():
            raise Retryable("cannot reach it")

    memory.before_write = fail
    feeder = feeder_of(ledger, memory)
    async with running(feeder):
        await until(lambda: feeder.status.state is FeedState.WAITING)
        assert (feeder.status.error, feeder.status.behind) == ("cannot reach it", 5)
        down.set()
        await until(lambda: feeder.status.state is FeedState.OK)
    assert (feeder.status.error, feeder.status.behind) == (None, 0)
    assert memory.count("checkin") == 5


async def test_a_refusal_is_shown_as_one_and_a_bug_ends_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing rights, and errors nobody thought of, are told and tried again."""
    monkeypatch.setattr(feeding, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(feeding, "LONGEST_PAUSE_S", 0.01)
    ledger.checkins(1)
    memory = MemoryWriter()
    errors: list[Exception] = [Permanent("grant it")]

    def fail(lines: Sequence[str]) -> None:
        if errors:
            raise errors[0]

    memory.before_write = fail
    feeder = feeder_of(ledger, memory)
    async with running(feeder):
        await until(lambda: feeder.status.state is FeedState.REFUSED)
        errors[0] = ZeroDivisionError("a bug")
        await until(lambda: feeder.status.state is FeedState.WAITING)
        assert feeder.status.error == "ZeroDivisionError: a bug"
        errors.clear()
        await until(lambda: feeder.status.state is FeedState.OK)


async def test_a_poke_is_answered(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a commit nobody waits for the next look at the clock."""
    monkeypatch.setattr(feeding, "REST_S", 0.01)
    monkeypatch.setattr(feeding, "IDLE_S", 3_600.0)
    memory = MemoryWriter()
    feeder = feeder_of(ledger, memory)
    async with running(feeder) as poke:
        ledger.checkins(1)
        poke.set()
        await until(lambda: memory.count("checkin") == 1)
        ledger.checkins(1)
        poke.set()
        await until(lambda: memory.count("checkin") == 2)


async def test_a_stop_gives_up_a_write_that_hangs(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that does not answer does not hold up the end of the service."""
    monkeypatch.setattr(feeding, "GRACE_S", 0.05)
    ledger.checkins(1)
    began = asyncio.Event()

    class Hanging(MemoryWriter):
        async def write(self, lines: Sequence[str]) -> None:
            began.set()
            await asyncio.Event().wait()

    feeder = feeder_of(ledger, Hanging())
    async with asyncio.timeout(5), running(feeder):
        await began.wait()
    with reading(ledger.engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM cursor")).scalar() == 0


def test_the_pause_doubles_up_to_a_minute() -> None:
    """A server that comes back is not met by everybody at once, nor left alone for long."""
    pauses = [backoff_s(failures, None, 0.0) for failures in range(1, 10)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert backoff_s(1_000, None, 0.999) == pytest.approx(30, abs=0.1)
    assert backoff_s(1, 7.5, 0.5) == 7.5


@pytest.mark.influx
async def test_influxdb_stopped_for_the_whole_run(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started afterwards, its counts become those of the ledger, retries and revisions included."""
    monkeypatch.setattr(feeding, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(feeding, "LONGEST_PAUSE_S", 0.05)
    with influxd() as server:
        server.stop()
        client = InfluxV1Client(server.url, timeout_s=5)
        feeder = feeder_of(ledger, InfluxV1Writer(client, "gridbeat"))
        series = Series(InfluxV1Writer(client, "gridbeat"), client, "gridbeat")
        async with running(feeder) as poke:
            a_day(ledger)
            poke.set()
            await until(lambda: feeder.status.state is FeedState.WAITING)
            await asyncio.to_thread(server.start)
            await until(lambda: feeder.status.state is FeedState.OK)
            assert await series.count("checkin") == 130
            await asyncio.to_thread(server.kill)
            ledger.checkins(12)
            amended = ledger.round(NOON + 90 * MINUTE)
            ledger.verdict(amended, "missed")
            poke.set()
            await until(lambda: feeder.status.state is FeedState.WAITING)
            ledger.verdict(amended, "completed", visited=2)
            await asyncio.to_thread(server.start)
            await until(lambda: feeder.status.state is FeedState.OK)
        counts = [await series.count(name) for name in MEASUREMENTS[:4]]
        assert counts == [142, 12, 3, 2]
        standings = [point["verdict"] for point in await series.fields("round")]
        assert (standings.count("completed"), standings.count("missed")) == (4, 2)
        await client.close()
