"""Excuses, silences and substitutions: for a span of time, by somebody, for a reason."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, select

from devices.messages import EventState
from rules.events import Notice
from rules.kinds import SEVERITIES, EventKind
from rules.promises import Do
from store.database import open_engine, reading, writing
from store.entries import ENTRY
from store.events import MQTT, OUTBOX, pending, raise_notices
from store.obligations import OBLIGATION
from store.silencing import any_ended, drop_over
from store.spans import Spanned, end_silence, excuse, excuse_of, excuses, silence
from tests.filled import NOW, at, fill

OPENS = at("2026-09-01T22:00:00+08:00")
HOUR = 3_600_000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(fill(tmp_path))
    yield engine
    engine.dispose()


def span(since: int, until: int, **others: object) -> Spanned:
    return Spanned(
        **{"since": since, "until": until, "author": "张", "reason": "停电", "at": NOW, **others}
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"until": 0},
        {"until": 367 * 24 * HOUR},
        {"reason": " "},
        {"author": ""},
    ],
)
def test_everything_has_an_end_an_author_and_a_reason(wrong: dict[str, object]) -> None:
    """No end, one beyond a year, or nobody and nothing behind it: refused."""
    with pytest.raises(ValueError, match=r": (give|say)"):
        span(**{"since": 1_000, "until": 2_000, **wrong})


def row_of(connection: Connection, key: str) -> object:
    return connection.execute(select(OBLIGATION).where(OBLIGATION.c.key == key)).one()


@pytest.mark.parametrize(
    ("since", "until", "covered"),
    [
        (OPENS, OPENS + 1, True),
        (OPENS - HOUR, OPENS, False),
        (OPENS + 1, OPENS + HOUR, False),
        (OPENS - HOUR, OPENS + HOUR, True),
    ],
)
def test_an_excuse_covers_what_opens_within(
    engine: Engine, since: int, until: int, covered: bool
) -> None:
    """[since, until), of the plan or the whole site, and nothing of another plan or site."""
    with writing(engine) as connection:
        night = row_of(connection, "school-01/night/2026-09-01T14:00:00Z")
        assert excuse_of(connection, night) is None
        excuse(connection, night.site_id, night.plan_id, span(since, until), "school-01/night")
        found = excuse_of(connection, night)
        assert (found is not None) is covered
        if found is not None:
            assert (found.do, found.author, found.reason) == (Do.EXCUSE, "张", "停电")
        gap = row_of(connection, "school-01/lab-gap/2026-09-01T12:00:00Z/lab")
        assert excuse_of(connection, gap) is None


def test_what_was_judged_is_looked_at_again(engine: Engine) -> None:
    """An excuse after the fact wakes the rounds of its span, and is an entry under its author."""
    with writing(engine) as connection:
        night = row_of(connection, "school-01/night/2026-09-01T14:00:00Z")
        assert night.wake is None
        excuse(connection, night.site_id, None, span(OPENS - 1, OPENS + HOUR), "school-01")
        assert row_of(connection, night.key).wake == night.due
        (listed,) = excuses(connection)
        assert (listed.site, listed.plan, listed.until_at) == ("school-01", None, OPENS + HOUR)
        authors = select(ENTRY.c.author).where(ENTRY.c.author.is_not(None))
        assert connection.execute(authors).scalars().all() == ["张"]


# Silences ----------------------------------------------------------------------------------------


def notice(kind: EventKind, subject: str, state: EventState = EventState.OPEN) -> Notice:
    return Notice(
        kind=kind,
        severity=SEVERITIES[kind],
        site="school-01",
        subject=subject,
        at=NOW,
        state=state,
        message_zh="",
        message_en="",
        data={"state": state.value},
    )


def told(connection: Connection, now: int) -> list[tuple[str, int]]:
    found = pending(connection, MQTT, 100, now)
    return [(item.event["subject"], item.event["revision"]) for item in found]


def test_a_silence_holds_back_and_then_tells_what_is_still_open(engine: Engine) -> None:
    """Held while it lasts; at its end what has ended is dropped, what is open told as it stands."""
    offline, cleared = EventKind.DEVICE_OFFLINE, EventState.RESOLVED
    with writing(engine) as connection:
        connection.execute(OUTBOX.delete())
        silence(connection, "device.offline", None, span(NOW - HOUR, NOW + HOUR))
        for subject, state in (("a", EventState.OPEN), ("b", EventState.OPEN), ("a", cleared)):
            raise_notices(connection, [notice(offline, subject, state)], NOW)
        raise_notices(connection, [notice(EventKind.DEVICE_GAP, "c")], NOW)
        assert told(connection, NOW) == [("c", 1)]
        assert not any_ended(connection, NOW - HOUR, NOW)
        assert any_ended(connection, NOW, NOW + HOUR)
        assert drop_over(connection, NOW + HOUR) == 2
        assert sorted(told(connection, NOW + HOUR)) == [("b", 1), ("c", 1)]


def test_what_is_critical_is_never_silenced(engine: Engine) -> None:
    """An sos is told whatever a silence of its site says."""
    with writing(engine) as connection:
        connection.execute(OUTBOX.delete())
        silence(connection, None, 1, span(NOW - HOUR, NOW + HOUR))
        events = (EventKind.SOS_RAISED, EventKind.DEVICE_OFFLINE)
        raise_notices(connection, [notice(kind, kind.value) for kind in events], NOW)
        assert told(connection, NOW) == [("sos.raised", 1)]


def test_a_silence_may_be_ended(engine: Engine) -> None:
    """Ended before its time it holds nothing any more; a second time there is none to end."""
    with writing(engine) as connection:
        number = silence(connection, "device.offline", None, span(NOW - HOUR, NOW + HOUR))
        assert end_silence(connection, number, author="李", now=NOW)
        assert not end_silence(connection, number, author="李", now=NOW)
        raise_notices(connection, [notice(EventKind.DEVICE_OFFLINE, "a")], NOW)
    with reading(engine) as connection:
        assert ("a", 1) in told(connection, NOW)
