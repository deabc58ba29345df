"""Reads of an imported file: before due as any, after due by a person's word, and no alarm."""

import pytest
from msgspec import structs

from rules.obligations import Known, flip, old_news, settle, why_waiting
from rules.promises import Decision, Do, Obligation, Read, Round, Standing, Trust, Wait

DUE = 60_000
ROUND = Obligation(
    key="s/p/1",
    site="s",
    plan="p",
    terms=Round(route=("gate",), ordered=False, min_gap=0),
    opens=0,
    closes=DUE,
    due=DUE,
    early=0,
)
NOBODY = Known(marker=DUE + 1, reachable=False)


def imported(after: int, **more: object) -> Read:
    """A read whose device, a wand, is never heard: nothing arrived from it, ever."""
    read = Read(
        identity="wand-1/0/1",
        checkpoint="gate",
        device="wand-1",
        person=None,
        at=1_000,
        told_at=1_000,
        trust=Trust.IMPORTED,
        after=after,
        received_at=after,
        cut_off=True,
    )
    return structs.replace(read, **more)


def test_before_due_it_counts_as_any_read() -> None:
    """A wand that is read out during the round."""
    verdict = settle(ROUND, [imported(DUE - 1)], NOBODY, DUE + 1)
    assert (verdict.standing, verdict.waiting) == (Standing.COMPLETED, ())


def test_after_due_it_waits_though_its_wand_was_cut_off() -> None:
    """Nobody vouches for the wand's clock, nor for the file."""
    read = imported(DUE)
    verdict = settle(ROUND, [read], NOBODY, DUE + 1)
    assert (verdict.standing, verdict.waiting) == (Standing.UNKNOWN, ("wand-1/0/1",))
    assert why_waiting(read) is Wait.IMPORTED


@pytest.mark.parametrize(
    ("do", "standing"), [(Do.ACCEPT, Standing.COMPLETED), (Do.REJECT, Standing.UNKNOWN)]
)
def test_after_due_a_persons_word_decides(do: Do, standing: Standing) -> None:
    """What was judged at due stays what it was."""
    word = Decision(do=do, author="chief", at=DUE + 5, reason="seen", read="wand-1/0/1")
    verdict = settle(ROUND, [imported(DUE, decision=word)], NOBODY, DUE + 1)
    assert (verdict.standing, verdict.first) == (standing, Standing.UNKNOWN)
    assert verdict.waiting == ()


def test_what_a_late_file_changes_is_old_news() -> None:
    """Of a verdict that was given; of one that is given for the first time, nothing is old."""
    late, early = imported(DUE), imported(DUE - 1)
    first = settle(ROUND, [], NOBODY, DUE + 1)
    waits = flip(ROUND, first, settle(ROUND, [late], NOBODY, DUE + 1))
    assert waits is not None
    assert old_news(waits, [late])
    assert not old_news(waits, [early])
    assert not old_news(waits, [structs.replace(late, trust=Trust.UNPROVEN)])
    at_once = flip(ROUND, None, settle(ROUND, [late], NOBODY, DUE + 1))
    assert at_once is not None
    assert not old_news(at_once, [late])
