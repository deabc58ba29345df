"""Whose clock is right (contract §6, 'When did it arrive?'; docs/decisions/0009)."""

import pytest

from rules.clocks import (
    JITTER,
    Live,
    Timed,
    Timing,
    at_receipt,
    had_arrived,
    odd,
    skew,
    slow,
    timing,
)
from rules.obligations import Trust

AT, AFTER, BEFORE = 1_788_000_000_000, 1_788_000_100_000, 1_788_000_101_000
MINUTE = 60_000
LAG = 5 * MINUTE
SLOW = tuple(Live(AFTER - ago, LAG, LAG, 1) for ago in (2 * MINUTE, MINUTE, 0))


@pytest.mark.parametrize(
    ("sent", "before", "trust", "by_ms"),
    [
        (None, BEFORE, Trust.UNPROVEN, 0),
        (AFTER - JITTER - 1, BEFORE, Trust.UNPROVEN, 0),
        (AFTER - JITTER, BEFORE, Trust.TRUSTED, 0),
        (AFTER, BEFORE, Trust.TRUSTED, 0),
        (BEFORE, BEFORE, Trust.TRUSTED, 0),
        (BEFORE + 1, BEFORE, Trust.AHEAD, -1),
        (BEFORE + 600_000, BEFORE, Trust.AHEAD, -600_000),
        (AFTER - JITTER - 1, None, Trust.UNPROVEN, 0),
        (AFTER, None, Trust.TRUSTED, 0),
        (BEFORE + 600_000, None, Trust.TRUSTED, 0),
    ],
)
def test_sent_against_the_arrival_interval(
    sent: int | None, before: int | None, trust: Trust, by_ms: int
) -> None:
    """Inside is trusted, after it ahead and moved back by as much, before it or absent unproven."""
    found = timing(AT, sent, AFTER, before)
    assert found == Timing(trust=trust, at=AT + by_ms, by_ms=by_ms)


def test_a_slow_clock_is_moved_forward() -> None:
    """When all live messages lag alike the clock is slow, and `at` moves forward by its lag."""
    found = timing(AT, AFTER - LAG, AFTER, BEFORE, SLOW)
    assert found == Timing(trust=Trust.SLOW, at=AT + LAG, by_ms=LAG)


@pytest.mark.parametrize(
    ("lags", "is_slow"),
    [
        ((), False),
        ((300_000, 300_000), False),  # two may agree by chance
        ((300_000, 300_000, 300_000), True),
        ((240_000, 300_000, 360_000), True),
        ((240_000, 300_000, 360_001), False),
        ((100, -100, 50), False),  # one of them was on time
    ],
)
def test_slow_means_the_same_lag_within_a_minute(lags: tuple[int, ...], is_slow: bool) -> None:
    """Lags of one slow clock lie within 60 s of their middle; delays do not."""
    live = [Live(AFTER + at * MINUTE, lag, lag, 1) for at, lag in enumerate(lags)]
    assert slow(live) is is_slow


def test_what_was_held_up_together_is_not_slow() -> None:
    """Three messages that come in at once after the same delay prove nothing of the clock."""
    assert not slow([Live(AFTER, LAG, LAG + 1_000, 3)])
    assert slow([Live(AFTER, LAG, LAG, 2), Live(AFTER + 30_000, LAG, LAG, 1)])


def test_a_clock_that_was_never_set_needs_no_company() -> None:
    """No delay explains 1970: such a clock is slow by its first message."""
    found = timing(5_000, 9_000, AFTER, BEFORE)
    assert found == Timing(trust=Trust.SLOW, at=AFTER - 4_000, by_ms=AFTER - 9_000)


@pytest.mark.parametrize(
    ("at", "sent", "live", "age", "expected"),
    [
        # the clock was right when it sent, but had been set in between: the age tells
        (AT - 7_200_000, AFTER + 500, (), 600_000, (Trust.UPTIME, AFTER + 500 - 600_000)),
        (AT, AFTER + 500, (), AFTER + 500 - AT, (Trust.TRUSTED, AT)),
        (AT, AFTER + 500, (), AFTER + 500 - AT + JITTER, (Trust.TRUSTED, AT)),
        # ahead and slow: counted back from our own interval
        (AT, BEFORE + LAG, (), 600_000, (Trust.UPTIME, BEFORE - 600_000)),
        (AT, AFTER - LAG, SLOW, 600_000, (Trust.UPTIME, AFTER - 600_000)),
        # delayed or slow, nobody knows: when it was sent is not known either
        (AT, AFTER - LAG, (), 600_000, (Trust.UNPROVEN, AT)),
        (AT, None, (), 600_000, (Trust.UNPROVEN, AT)),
    ],
)
def test_the_uptime_tells_the_age_whatever_the_clock_did(
    at: int, sent: int | None, live: tuple[Live, ...], age: int, expected: tuple[Trust, int]
) -> None:
    """Where the moment of sending is known, the record happened its age before it."""
    found = timing(at, sent, AFTER, BEFORE, live, age)
    assert (found.trust, found.at, found.by_ms) == (*expected, expected[1] - at)


def test_a_long_interval_proves_no_uptime() -> None:
    """What waited for us while we were down was sent some time in hours: ahead stays ahead."""
    found = timing(AT, BEFORE + LAG, AFTER - 3_600_000, BEFORE, (), 600_000)
    assert (found.trust, found.at) == (Trust.AHEAD, BEFORE - 600_000)


def test_an_uptime_that_agrees_is_not_odd() -> None:
    """Only a clock that was moved between record and sending contradicts the uptime."""
    assert not odd(AT, AT + 5_000, 5_000 + JITTER)
    assert odd(AT, AT + 5_000, 5_001 + JITTER)
    assert not odd(AT, None, 5_000)
    assert not odd(AT, AT, None)


@pytest.mark.parametrize(
    ("heard", "live", "expected"),
    [
        ((BEFORE + LAG, BEFORE + LAG), (), LAG),
        ((AFTER, BEFORE), (), 0),
        ((AFTER - LAG, AFTER - LAG), (), None),
        ((AFTER - LAG, AFTER - LAG), SLOW, -LAG),
        ((AFTER - LAG, AFTER), (), 0),
    ],
)
def test_how_wrong_a_clock_is(
    heard: tuple[int, int], live: tuple[Live, ...], expected: int | None
) -> None:
    """Ahead by its earliest, slow by its latest where it is proven slow; a delay says nothing."""
    assert skew(heard, AFTER, BEFORE, live) == expected


def test_a_read_without_a_clock_is_as_trustworthy_as_our_own_clock() -> None:
    """Received between two markers, it happened between them, and the rules trust it."""
    for waited in (0, 1, 400, 999, 1_000, 30_000, 60_000):
        taken = at_receipt(AFTER + waited, AFTER)
        assert AFTER <= taken.at <= AFTER + 1_000
        found = timing(taken.at, taken.sent, AFTER, AFTER + 1_000)
        assert (found.trust, found.at) == (Trust.TRUSTED, taken.at)


def test_a_local_time_holds_only_where_it_agrees() -> None:
    """From two seconds before the marker up to now, both included; else ours is taken."""
    now = AFTER + 900
    for local, held in (
        (AFTER - 2_001, False),
        (AFTER - 2_000, True),
        (now, True),
        (now + 1, False),
        (now - 7 * 3_600_000, False),
    ):
        taken = at_receipt(now, AFTER, local)
        assert taken == Timed(local if held else now, AFTER, by_device=held)


def test_what_may_have_waited_is_never_trusted() -> None:
    """Longer than a minute after the last marker, or with none, nobody vouches for it."""
    now = AFTER + 60_001
    for after in (AFTER, None, now + 1):
        for local in (None, AFTER + 5_000, now + 1):
            taken = at_receipt(now, after, local)
            assert taken.sent is None
            assert taken.at == (local if local is not None and local <= now else now)
            assert timing(taken.at, None, AFTER, now).trust is Trust.UNPROVEN


@pytest.mark.parametrize(
    ("came", "by"),
    [
        (AFTER, AFTER),
        (AFTER + 700, AFTER + 700),
        (AFTER + JITTER, AFTER + JITTER),
        (AFTER + 3_600_000, AFTER + JITTER),
        (AFTER - 3_600_000, AFTER),
    ],
)
def test_what_precedes_a_marker_had_arrived_when_it_came_back(came: int, by: int) -> None:
    """Not when it left: under load it is long on its way. Where it waited for us, or our clock
    was set back meanwhile, it was on its way for no longer than a message may be."""
    assert had_arrived(AFTER, came) == by
