"""What is told of a round, and when."""

import pytest

from rules.handouts import AHEAD_MS, is_told, next_change, sheet
from rules.plans import Plan, PlanCheckpoint, Window
from rules.promises import Obligation, Reason, Standing, Verdict

OPENS, CLOSES = 10**9, 10**9 + 3_600_000


@pytest.mark.parametrize(
    ("now", "told", "change"),
    [
        (OPENS - AHEAD_MS - 1, False, OPENS - AHEAD_MS),
        (OPENS - AHEAD_MS, True, CLOSES),
        (OPENS, True, CLOSES),
        (CLOSES - 1, True, CLOSES),
        (CLOSES, False, None),
    ],
)
def test_a_round_is_told_until_it_closes(now: int, told: bool, change: int | None) -> None:
    """From a while before it opens; between the two only a visit changes anything."""
    assert is_told(OPENS, CLOSES, now) is told
    assert next_change(OPENS, CLOSES, now) == change


def test_a_checkpoint_is_done_when_it_was_visited_as_often_as_asked() -> None:
    """In the order of the route; what is left is what is not done."""
    plan = Plan(
        site="s",
        slug="p",
        name="Night",
        timezone="UTC",
        windows=(Window.parse("00:00-01:00"),),
        route=(
            PlanCheckpoint(slug="gate", name="Gate"),
            PlanCheckpoint(slug="lab", name="Lab", visits=2),
        ),
    )
    promise = Obligation(
        key="s/p/x",
        site="s",
        plan="p",
        terms=plan.terms()[0],
        opens=OPENS,
        closes=CLOSES,
        due=CLOSES,
        early=0,
    )

    def done(visited: tuple[str, ...], **visits: int) -> list[bool]:
        so_far = Verdict(
            standing=Standing.PENDING,
            at=OPENS,
            reason=Reason.NOT_DUE,
            visited=visited,
            visits=visits,
        )
        found = sheet(promise, plan, so_far if visited else None)
        points = found.round.checkpoints
        assert found.left == {point.id for point in points if not point.done}
        assert [point.id for point in points] == ["gate", "lab"]
        return [point.done for point in points]

    assert done(()) == [False, False]
    assert done(("gate",)) == [True, False]
    assert done(("gate", "lab"), lab=1) == [True, False]
    assert done(("gate", "lab"), lab=2) == [True, True]
