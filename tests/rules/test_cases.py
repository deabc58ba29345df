"""Hazards as cases: one table of steps, and a fold that knows no order."""

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.messages import Grade, HazardAction
from rules.cases import STEPS, Case, CaseState, Step, fold

REPORT = Step(identity="hh/0/1", at=1000, action=HazardAction.REPORT, device="hh")


def step(number: int, action: HazardAction, at: int | None = None, **others: object) -> Step:
    told = {"identity": f"hh/0/{number}", "at": number * 10, "action": action, "device": "hh"}
    return Step(**{**told, "at": told["at"] if at is None else at, **others})


def walked(*actions: HazardAction) -> Case:
    return fold(REPORT, [step(n, action) for n, action in enumerate(actions, 200)])


A, P, R, V, X = (
    HazardAction.ACCEPT,
    HazardAction.PROGRESS,
    HazardAction.RESOLVED,
    HazardAction.VERIFIED,
    HazardAction.REJECTED,
)


@pytest.mark.parametrize(
    ("actions", "state", "refused"),
    [
        ((), CaseState.REPORTED, 0),
        ((A,), CaseState.ACCEPTED, 0),
        ((A, P, P, R, V), CaseState.CLOSED, 0),
        ((R, V), CaseState.CLOSED, 0),
        ((X,), CaseState.REJECTED, 0),
        ((A, R, X, R, V), CaseState.CLOSED, 0),  # not put right at first
        ((R, X), CaseState.IN_PROGRESS, 0),
        ((V,), CaseState.REPORTED, 1),  # nobody verifies what nobody put right
        ((R, V, A), CaseState.CLOSED, 1),
        ((A, A), CaseState.ACCEPTED, 1),
    ],
)
def test_steps_lead_where_the_table_says(
    actions: tuple[HazardAction, ...], state: CaseState, refused: int
) -> None:
    """A case goes through its steps by the table; a step it does not allow is kept and named."""
    case = walked(*actions)
    assert case.state is state
    assert len(case.refused) == refused
    assert len(case.taken) + len(case.refused) == len(actions)


def test_the_table_ends_where_nobody_has_to_act() -> None:
    """From closed and rejected no step leads on, and every other state has a way out."""
    ended = {state for state in CaseState if state.ended}
    assert ended == {CaseState.CLOSED, CaseState.REJECTED}
    assert {state for state, _ in STEPS} == set(CaseState) - ended


@pytest.mark.parametrize("grade", list(Grade))
def test_no_grade_is_closed_before_it_is_verified(grade: Grade) -> None:
    """A step that was not told holds no hazard open; that nobody looked whether it is put right
    does, whatever its grade."""
    report = replace(REPORT, grade=grade)
    assert fold(report, [step(2, R)]).state is CaseState.RESOLVED
    assert fold(report, [step(2, R), step(3, V)]).state is CaseState.CLOSED
    closing = {told for told, state in STEPS.items() if state is CaseState.CLOSED}
    assert closing == {(CaseState.RESOLVED, V)}


def test_the_report_comes_first_whatever_its_clock_says() -> None:
    """A step dated before its report is still a step of that report."""
    case = fold(replace(REPORT, at=9_999), [step(2, A)])
    assert (case.state, case.id, case.reported_at) == (CaseState.ACCEPTED, "hh/0/1", 9_999)


def test_a_case_ends_when_its_last_step_was_taken() -> None:
    """`closed_at` is the time of the step that ended it, and of no later refused one."""
    case = walked(R, V, A)
    assert case.closed_at == 2010
    assert walked(R).closed_at is None


def test_grade_and_category_are_those_last_stated() -> None:
    """A report without a grade is general; an applied step may grade it anew, a refused one not."""
    assert fold(REPORT, []).grade is Grade.GENERAL
    steps = [step(2, A, grade=Grade.MAJOR, category="fire"), step(3, V, grade=Grade.GENERAL)]
    case = fold(REPORT, steps)
    assert (case.grade, case.category) == (Grade.MAJOR, "fire")


@given(st.lists(st.tuples(st.integers(2, 9), st.sampled_from(list(HazardAction)))), st.randoms())
def test_a_case_is_a_function_of_the_set_of_steps(
    told: list[tuple[int, HazardAction]], random: object
) -> None:
    """Order and repetition of what is told change nothing (law 3)."""
    steps = list({n: step(n, action, at=n % 3) for n, action in told}.values())
    shuffled = [*steps, *steps, REPORT]
    random.shuffle(shuffled)
    assert fold(REPORT, steps) == fold(REPORT, shuffled)


def test_steps_of_one_instant_have_an_order() -> None:
    """Steps dated alike are taken in the order in which their device counted them, whatever order
    they come in: 10 is after 9."""
    steps = [step(8, A, at=5), step(9, R, at=5), step(10, V, at=5)]
    assert {fold(REPORT, order).state for order in permutations(steps)} == {CaseState.CLOSED}
