"""Whose clock is right (contract §6, 'When did it arrive?')."""

import pytest

from rules.clocks import Timing, slow, timing
from rules.obligations import Trust

AT, AFTER, BEFORE = 900_000, 1_000_000, 1_001_000


@pytest.mark.parametrize(
    ("sent", "before", "trust", "by_ms"),
    [
        (None, BEFORE, Trust.UNPROVEN, 0),
        (AFTER - 1, BEFORE, Trust.UNPROVEN, 0),
        (AFTER, BEFORE, Trust.TRUSTED, 0),
        (BEFORE, BEFORE, Trust.TRUSTED, 0),
        (BEFORE + 1, BEFORE, Trust.AHEAD, -1),
        (BEFORE + 600_000, BEFORE, Trust.AHEAD, -600_000),
        (AFTER - 1, None, Trust.UNPROVEN, 0),
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
    found = timing(AT, AFTER - 300_000, AFTER, BEFORE, live_lags=(310_000, 290_000, 300_500))
    assert found == Timing(trust=Trust.SLOW, at=AT + 300_000, by_ms=300_000)


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
    assert slow(lags) is is_slow
