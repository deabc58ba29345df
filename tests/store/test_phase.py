"""Due now, before missed: a round in its grace is seen, and alarms nobody."""

import pytest

from store.rows import Phase


@pytest.mark.parametrize(
    ("now", "phase"),
    [(9, Phase.UPCOMING), (10, Phase.OPEN), (19, Phase.OPEN), (20, Phase.DUE), (99, Phase.DUE)],
)
def test_a_round_is_due_from_its_closing_until_it_is_judged(now: int, phase: Phase) -> None:
    """Opens is open, closes is due; a verdict ends it."""
    assert Phase.of("pending", 10, 20, now) is phase
    assert Phase.of("missed", 10, 20, now) is Phase.JUDGED
