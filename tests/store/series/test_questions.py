"""The named questions: one suite over the ledger and a real InfluxDB, with equal answers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from store import tables
from store.database import reading, writing
from store.series import lines
from store.series.feeder import Feeder
from store.series.influx import InfluxV1Client, InfluxV1Writer
from store.series.ports import Permanent, Retryable
from store.series.questions import (
    DAY_MS,
    DayCoverage,
    HourCount,
    InfluxQuestions,
    LedgerQuestions,
    Questions,
)
from store.series.site_state import site_states
from store.series.sources import add_samples
from tests.servers import Server, free_port
from tests.store.series.ledgers import HOUR, MINUTE, NOON, Ledger, a_day

ALWAYS = (NOON - DAY_MS, NOON + DAY_MS)
DAY = NOON - NOON % DAY_MS
WRONG_CLOCK = NOON + 30 * HOUR


@dataclass
class Filled:
    """Somebody to ask, who knows a morning at two schools that ended at `now`."""

    questions: Questions
    ledger: Ledger
    now: int


@pytest.fixture(params=["ledger", pytest.param("influx", marks=pytest.mark.influx)])
async def filled(
    request: pytest.FixtureRequest, ledger: Ledger, database: str
) -> AsyncIterator[Filled]:
    now = a_day(ledger)
    ledger.verdict(ledger.round(NOON, site=2, scored=False), "missed")
    ledger.checkins(5, site=2, since=WRONG_CLOCK, arrival_id=1)
    for entry in range(131, 136):
        ledger.add(tables.Correction, entry_id=entry, site_id=2, at=NOON + 90 * MINUTE, how="ahead")
    if request.param == "ledger":
        yield Filled(LedgerQuestions(ledger.engine, now=lambda: now), ledger, now)
        return
    with writing(ledger.engine) as connection:
        for at in (now - MINUTE, now):
            states = site_states(connection, at)
            add_samples(connection, at, [lines.site_state(state) for state in states])
    server: Server = request.getfixturevalue("influx")
    client = InfluxV1Client(server.url)
    feeder = Feeder(ledger.engine, InfluxV1Writer(client, database), now=lambda: now)
    await feeder.step()
    questions = InfluxQuestions(client, database, now=lambda: now)
    yield Filled(questions, ledger, now)
    await questions.close()


async def test_checkins_per_hour(filled: Filled) -> None:
    """Counted in the hour in which they happened, by corrected time where there is one."""
    ask = filled.questions.checkins_per_hour
    assert await ask(None, *ALWAYS) == [
        HourCount(hour=NOON, checkins=90),
        HourCount(hour=NOON + HOUR, checkins=45),
    ]
    assert await ask("school-02", *ALWAYS) == [HourCount(hour=NOON + HOUR, checkins=45)]
    assert await ask("nowhere", *ALWAYS) == []
    assert await ask(None, WRONG_CLOCK, WRONG_CLOCK + HOUR) == []


async def test_a_span_holds_its_beginning_and_not_its_end(filled: Filled) -> None:
    """`[since, until)`: 90 check-ins a second apart, cut at both ends."""
    ask = filled.questions.checkins_per_hour
    counted = await ask("school-01", NOON + 10_000, NOON + 20_000)
    assert counted == [HourCount(hour=NOON, checkins=10)]
    assert await ask("school-01", NOON, NOON) == []


async def test_coverage_per_day(filled: Filled) -> None:
    """The mean over judged rounds; what is pending, a gap or not scored does not count."""
    filled.ledger.round(NOON)
    ask = filled.questions.coverage_per_day
    both = round((2 + 1 + 2 + 1 + 2) / 2 / 11, 6)
    assert await ask(None, *ALWAYS) == [DayCoverage(day=DAY, coverage=both, rounds=11)]
    assert await ask("school-02", *ALWAYS) == [DayCoverage(day=DAY, coverage=0.3, rounds=5)]
    first_due = NOON + 35 * MINUTE
    assert await ask("school-01", first_due, first_due + 1) == [
        DayCoverage(day=DAY, coverage=1.0, rounds=1)
    ]
    assert await ask("school-01", NOON, first_due) == []


async def test_site_state_now(filled: Filled) -> None:
    """Both answer with what the ledger counts, for one site and for all."""
    with reading(filled.ledger.engine) as connection:
        states = site_states(connection, filled.now)
    assert [state.last_seen_s for state in states] == [1_800, 1_800]
    assert [state.open_hazards for state in states] == [1, 1]
    assert await filled.questions.site_state_now(None) == states
    assert await filled.questions.site_state_now("school-02") == states[1:]
    assert await filled.questions.site_state_now("nowhere") == []


async def test_a_quoted_site_is_only_a_name(filled: Filled) -> None:
    """Nobody asks for more than he may by what he types as a site."""
    assert await filled.questions.checkins_per_hour("x' OR 'a' = 'a", *ALWAYS) == []
    assert await filled.questions.checkins_per_hour("x\\' OR 1=1 --", *ALWAYS) == []


@pytest.mark.influx
async def test_an_old_state_is_not_the_state_now(client: InfluxV1Client, database: str) -> None:
    """Where the service has been silent for minutes, InfluxDB knows no state."""
    state = f"site_state,site=school-01 due=0i {NOON}000000"
    await InfluxV1Writer(client, database).write([state])
    questions = InfluxQuestions(client, database, now=lambda: NOON + 6 * MINUTE)
    assert await questions.site_state_now(None) == []


@pytest.mark.influx
async def test_what_cannot_be_answered_is_an_error(client: InfluxV1Client) -> None:
    """A missing database or server is said to be so, and never answered with nothing."""
    nowhere = InfluxQuestions(client, "no-such-database", now=lambda: NOON)
    with pytest.raises(Permanent, match="no-such-database"):
        await nowhere.checkins_per_hour(None, *ALWAYS)
    absent = InfluxV1Client(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Retryable):
        await InfluxQuestions(absent, "gridbeat", now=lambda: NOON).site_state_now(None)
    await absent.close()
