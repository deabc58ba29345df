"""After a gap of our own: one digest, and no storm (docs/decisions/0012)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, select

from rules.events import EventKind, EventState, Notice
from rules.kinds import SEVERITIES
from store.database import open_engine, writing
from store.events import EVENT, HELD, MQTT, OUTBOX, raise_notices
from store.owngaps import FEW, NAMED, Cause, OwnGap, close_gap
from tests.filled import NOW, fill

HOUR = 3_600_000
GAP = OwnGap(since=NOW - 24 * HOUR, cause=Cause.DOWN)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(fill(tmp_path))
    yield engine
    engine.dispose()


def missed(number: int) -> Notice:
    kind = EventKind.ROUND_MISSED
    return Notice(
        kind=kind,
        severity=SEVERITIES[kind],
        site="school-01",
        subject=f"school-01/many/{number}",
        at=NOW - HOUR,
        state=EventState.OPEN,
        message_zh="漏巡",
        message_en="missed",
    )


def to_tell(connection: Connection) -> list[str]:
    query = (
        select(EVENT.c.kind)
        .join(OUTBOX, OUTBOX.c.event_row == EVENT.c.id)
        .where(OUTBOX.c.channel == MQTT, EVENT.c.subject.startswith("school-01/many/"))
    )
    return list(connection.execute(query).scalars())


def digest(connection: Connection) -> dict[str, object]:
    query = select(EVENT.c.data).where(EVENT.c.kind == "service.gap").order_by(EVENT.c.id.desc())
    return dict(connection.execute(query.limit(1)).scalar_one())


@pytest.mark.parametrize("alarms", [FEW, FEW + 1, 100])
def test_a_storm_is_one_digest(engine: Engine, alarms: int) -> None:
    """Few alarms are told one by one as well; beyond that the digest is all that is told."""
    with writing(engine) as connection:
        raise_notices(connection, map(missed, range(alarms)), NOW, HELD)
        assert to_tell(connection) == []
        assert close_gap(connection, GAP, NOW, NOW) == alarms
        assert len(to_tell(connection)) == (alarms if alarms <= FEW else 0)
        assert digest(connection)["singly"] is (alarms <= FEW)
        kept = select(EVENT.c.id).where(EVENT.c.kind == "round.missed")
        assert len(connection.execute(kept).all()) == alarms
        held = select(OUTBOX.c.id).where(OUTBOX.c.channel == HELD)
        assert connection.execute(held).all() == []


def test_the_digest_counts_by_verdict_and_names_what_was_not_kept(engine: Engine) -> None:
    """One message says how many rounds came due, how they stand, and which to look at."""
    with writing(engine) as connection:
        close_gap(connection, GAP, NOW, NOW)
        told = digest(connection)
    assert told["verdicts"] == {"completed": 1, "incomplete": 1, "unknown": 1}
    assert told["rounds"] == 3
    assert "school-02/noon/2026-09-01T11:00:00Z" in told["named"]
    assert len(told["named"]) == 2 <= NAMED


def test_a_short_restart_is_no_gap(engine: Engine) -> None:
    """Below half a minute nothing is told but what came due."""
    with writing(engine) as connection:
        before = digest(connection)
        raise_notices(connection, map(missed, range(20)), NOW, HELD)
        short = OwnGap(since=NOW - 29_999, cause=Cause.DOWN)
        assert close_gap(connection, short, NOW, NOW) == 0
        assert len(to_tell(connection)) == 20
        assert digest(connection) == before
