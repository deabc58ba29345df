"""Excuses for spans: what was excused before it opened raises nothing at all."""

from itertools import permutations

import pytest
from msgspec import structs

from rules.obligations import Decision, Gap, Known, Obligation, Standing, flip, settle
from rules.promises import Do, holding

HOUR = 3_600_000
GAP = Obligation(
    key="s/p/1/lab",
    site="s",
    plan="p",
    terms=Gap(checkpoint="lab", every=HOUR, grace=0),
    opens=10 * HOUR,
    closes=14 * HOUR,
    due=14 * HOUR,
    early=0,
)


def excused(at: int) -> Decision:
    return Decision(do=Do.EXCUSE, author="王", at=at, reason="停电")


def test_a_gap_excused_ahead_tells_no_stretch() -> None:
    """Neither while it is open nor at due; at due it is excused, and was nothing else before."""
    known = Known(marker=12 * HOUR, decision=excused(9 * HOUR))
    pending = settle(GAP, [], known, 12 * HOUR)
    assert (pending.standing, pending.stretches) == (Standing.PENDING, ())
    assert flip(GAP, None, pending) is None
    verdict = settle(GAP, [], structs.replace(known, marker=GAP.due), GAP.due)
    assert (verdict.standing, verdict.first, verdict.stretches) == (
        Standing.EXCUSED,
        Standing.EXCUSED,
        (),
    )


def test_what_was_raised_before_the_excuse_stays_told() -> None:
    """Excused in the middle, the stretch of the first hours stands, and so does its event."""
    known = Known(marker=GAP.due, decision=excused(12 * HOUR))
    verdict = settle(GAP, [], known, GAP.due)
    assert verdict.standing is Standing.EXCUSED
    assert [stretch.breached_at for stretch in verdict.stretches] == [11 * HOUR]


E, M = Do.EXCUSE, Do.CALL_MISSED


@pytest.mark.parametrize(
    ("made", "holds"),
    [
        ([], None),
        ([(M, 1), (E, 2)], (E, 2)),
        ([(E, 1), (M, 2)], (M, 2)),
        ([(E, 1), (E, 2)], (E, 1)),
        ([(E, 1), (M, 2), (E, 3), (E, 4)], (E, 3)),
        ([(E, 1), (M, 1)], (E, 1)),
    ],
)
def test_of_several_decisions_the_latest_holds(
    made: list[tuple[Do, int]], holds: tuple[Do, int] | None
) -> None:
    """Whichever way they were found; who says again what holds already changes nothing."""
    decisions = [Decision(do=do, author="王", at=at, reason="停电") for do, at in made]
    for found in permutations(decisions):
        one = holding(found)
        assert (one and (one.do, one.at)) == holds
