"""The watch heeds excuses for spans, whenever they are given."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from desk.acts import By
from desk.decisions import decide_round
from ingest.clock import SystemClock
from ingest.judged import Judged
from ingest.ledger import Ledger
from ingest.watch import Watch
from rules.promises import Do
from store.database import open_engine, reading, writing
from store.events import EVENT
from store.obligations import OBLIGATION
from store.spans import Spanned, excuse
from tests.filled import NOW, at, fill

NIGHT = "school-01/night/2026-09-01T14:00:00Z"
NOON = "school-02/noon/2026-09-01T11:00:00Z"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(fill(tmp_path))
    yield engine
    engine.dispose()


async def test_a_round_that_was_unknown_is_excused_afterwards(engine: Engine) -> None:
    """The next look makes it `excused` under the author's name, and tells the amendment."""
    span = Spanned(
        since=at("2026-09-01T00:00:00+01:00"),
        until=at("2026-09-02T00:00:00+01:00"),
        author="王",
        reason="停电",
        at=NOW,
    )
    with writing(engine) as connection:
        site = connection.execute(select(OBLIGATION.c.site_id).where(OBLIGATION.c.key == NOON))
        assert excuse(connection, site.scalar_one(), None, span, "school-02") == 1
    ledger, clock = Ledger(engine), SystemClock()
    watch = Watch(ledger, clock, Judged(), on_next=lambda _: None, on_told=lambda: None)
    await watch._judge(NOW, waited=False)
    with reading(engine) as connection:
        standings = select(OBLIGATION.c.key, OBLIGATION.c.standing)
        found = {row.key: row.standing for row in connection.execute(standings)}
        amended = select(EVENT.c.data).where(EVENT.c.kind == "round.amended")
        data = connection.execute(amended).scalars().all()
    assert found[NOON] == "excused"
    assert found[NIGHT] != "excused"
    assert [one["now"] for one in data] == ["excused"]
    assert data[0]["decision"]["author"] == "王"
    ledger.close()


async def test_an_excuse_of_a_span_takes_back_what_was_called_missed(engine: Engine) -> None:
    """Of several decisions about a round the latest holds, of the round itself or of a span."""
    ledger, clock = Ledger(engine), SystemClock()
    watch = Watch(ledger, clock, Judged(), on_next=lambda _: None, on_told=lambda: None)
    by = By(author="chief", now=NOW - 2)
    decide_round(engine, NOON, Do.CALL_MISSED, by=by, reason="nobody came")
    await watch._judge(NOW, waited=False)
    whole_day = (at("2026-09-01T00:00:00+01:00"), at("2026-09-02T00:00:00+01:00"))
    span = Spanned(since=whole_day[0], until=whole_day[1], author="王", reason="停电", at=NOW - 1)
    with writing(engine) as connection:
        site = connection.execute(select(OBLIGATION.c.site_id).where(OBLIGATION.c.key == NOON))
        excuse(connection, site.scalar_one(), None, span, "school-02")
    await watch._judge(NOW, waited=False)
    ledger.close()
    with reading(engine) as connection:
        amended = select(EVENT.c.data).where(EVENT.c.kind == "round.amended")
        data = connection.execute(amended.order_by(EVENT.c.revision)).scalars().all()
    assert [(one["now"], one["decision"]["author"]) for one in data] == [
        ("missed", "chief"),
        ("excused", "王"),
    ]
