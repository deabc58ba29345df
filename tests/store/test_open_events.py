"""What has not ended is known without a look at what has."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from rules.events import EventKind, EventState, Notice
from rules.kinds import SEVERITIES
from store.database import open_engine, writing
from store.events import ENDING, OPEN, acknowledge, open_events, raise_notices
from tests.filled import NOW, fill
from tests.store.upgrades import run_again

_BY_LOOKING = text("""
    SELECT subject, id FROM event
     WHERE kind = :kind AND state <> 'resolved'
       AND revision = (SELECT max(revision) FROM event later
                        WHERE later.kind = event.kind AND later.subject = event.subject)
""")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(fill(tmp_path))
    yield engine
    engine.dispose()


def notice(kind: EventKind, subject: int, state: EventState, number: int) -> Notice:
    return Notice(
        kind=kind,
        severity=SEVERITIES[kind],
        site="school-01",
        subject=f"hh-0101/{subject}",
        at=NOW + number,
        state=state,
        message_zh="有事",
        message_en="something",
        data={"number": number},
    )


def happens(connection: Connection, seed: int) -> None:
    """Events begin, end, begin again in one page, and are acknowledged."""
    chance = random.Random(seed)
    states = (EventState.OPEN, EventState.OPEN, EventState.RESOLVED)
    for turn in range(20):
        page = [
            notice(kind, chance.randrange(3), chance.choice(states), 10 * turn + more)
            for more, kind in enumerate(chance.choices(sorted(ENDING), k=4))
        ]
        raise_notices(connection, page, NOW)
        known = open_events(connection, chance.choice(sorted(ENDING)))
        if known:
            id_ = chance.choice(known)["event_id"]
            acknowledge(connection, id_, author="duty", note="seen", now=NOW)


def by_looking(connection: Connection, kind: EventKind) -> dict[str, int]:
    """The same, by a look at every event there ever was."""
    return {row.subject: row.id for row in connection.execute(_BY_LOOKING, {"kind": kind.value})}


@pytest.mark.parametrize("seed", range(10))
def test_what_has_not_ended_is_what_all_events_say(engine: Engine, seed: int) -> None:
    """Whatever begins, ends, begins again and is acknowledged: an event is open while its latest
    revision is not resolved, and it is known as that revision says it."""
    with writing(engine) as connection:
        happens(connection, seed)
        for kind in ENDING:
            known = {event["subject"]: event["id"] for event in open_events(connection, kind)}
            assert known == by_looking(connection, kind)
            sites = {event["site"] for event in open_events(connection, kind)}
            assert sites <= {"school-01"}


def test_other_kinds_are_not_kept(engine: Engine) -> None:
    """A round that was missed stays open for ever: what nobody asks for is not gathered, and who
    asks for it all the same is not told that there is none."""
    with writing(engine) as connection:
        raise_notices(connection, [notice(EventKind.ROUND_MISSED, 1, EventState.OPEN, 1)], NOW)
        kinds = connection.execute(text("SELECT DISTINCT kind FROM open_event")).scalars()
        assert set(kinds) <= {kind.value for kind in ENDING}
        with pytest.raises(ValueError, match=r"round\.missed"):
            open_events(connection, EventKind.ROUND_MISSED)


def test_an_upgraded_ledger_knows_what_has_not_ended(tmp_path: Path) -> None:
    """A ledger of before has it from its events: what is open then is open afterwards."""
    url = fill(tmp_path)
    engine = open_engine(url)
    with writing(engine) as connection:
        happens(connection, 1)
        there = {kind: by_looking(connection, kind) for kind in ENDING}
        assert all(there.values())
    _upgrade_again(engine)
    with writing(engine) as connection:
        known = {kind: open_events(connection, kind) for kind in ENDING}
        found = {kind: {e["subject"]: e["id"] for e in events} for kind, events in known.items()}
        assert found == there
    engine.dispose()


def _upgrade_again(engine: Engine) -> None:
    """Make the ledger one of the schema before, and upgrade it by that one revision."""
    with writing(engine) as connection:
        OPEN.drop(connection)
        new = ("arrival_after", "arrival_open", "entry_sos", "hazard_changed", "hazard_open")
        for index in (*new, "outage_until", "device_place_device"):
            connection.exec_driver_sql(f"DROP INDEX {index}")
        run_again(connection, "0017")
