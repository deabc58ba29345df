"""Period profiles: for some days more is owed, and nothing else changes."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.calendar import Base, Calendar
from rules.obligations import Gap, Obligation, Quota, Round
from rules.periods import Per, Times
from rules.plans import Plan, PlanCheckpoint, Window, owed, window_days
from rules.profiles import Profile, on_days, under

HOUR, DAY = 3_600_000, 86_400_000
ANY = Calendar(base=Base.EVERY_DAY)
ROUTE = (PlanCheckpoint(slug="gate", name="东门"), PlanCheckpoint(slug="lab", name="实验楼"))


def plan(**others: object) -> Plan:
    told = {"windows": (Window.parse("22:00-06:00"),), "route": ROUTE, **others}
    return Plan(site="s", slug="p", name="p", timezone="Asia/Shanghai", **told)


def profile(**others: object) -> Profile:
    told = {"since": date(2026, 6, 1), "until": date(2026, 6, 2), **others}
    return Profile(slug="exams", name="中考", **told)


def of(found: Plan, *held: Profile, days: int = 5) -> list[Obligation]:
    preview = window_days(found, ANY, date(2026, 5, 31), days, on_days(found, held))
    return [promise for seen in preview for promise in seen.owed]


def test_visits_are_multiplied_on_its_days_alone() -> None:
    """Twice as often on the first and second of June; the last of May and the third stay."""
    asked = [promise.terms.visits for promise in of(plan(), profile(visits=2))]
    twice = (("gate", 2), ("lab", 2))
    assert asked == [(), twice, twice, (), ()]
    assert [promise.profiles for promise in of(plan(), profile(visits=2))][:2] == [(), ("exams",)]


def test_gaps_are_shortened() -> None:
    """To what the profile asks, or by as much as visits are multiplied, whichever is less."""
    gap = plan(every=4 * HOUR)
    for held, every in (
        (profile(every=HOUR), HOUR),
        (profile(visits=2), 2 * HOUR),
        (profile(every=3 * HOUR, visits=2), 2 * HOUR),
        (profile(every=5 * HOUR), 4 * HOUR),
    ):
        terms = under(gap, [held]).terms()[0]
        assert isinstance(terms, Gap)
        assert terms.every == every


def test_further_windows_are_owed_too() -> None:
    """One that opens when the plan has one already adds nothing."""
    more = profile(windows=(Window.parse("12:00-13:00"), Window.parse("22:00-23:00")))
    assert len(of(plan(), more)) == 5 + 2


def test_a_quota_asks_more_of_a_period_that_begins_within() -> None:
    """June's quota is doubled, July's is not; its optional and own numbers are kept in mind."""
    route = (ROUTE[0], PlanCheckpoint(slug="lab", name="l", visits=3))
    monthly = plan(windows=(), route=route, quota=Times(visits=1, per=Per.MONTH))
    june, july = of(monthly, profile(visits=2), days=40)
    assert june.terms == Quota(visits=(("gate", 2), ("lab", 6)))
    assert july.terms == Quota(visits=(("gate", 1), ("lab", 3)))


def test_the_strictest_of_several_counts() -> None:
    """Two that overlap do not add up: the greater number, the shorter gap."""
    held = [profile(visits=2), profile(visits=3, every=HOUR)]
    terms = under(plan(), held).terms()[0]
    assert isinstance(terms, Round)
    assert dict(terms.visits) == {"gate": 3, "lab": 3}


def test_what_changes_nothing_leaves_the_plan_as_it_is() -> None:
    """A shorter gap for a plan of rounds: no other snapshot, no other digest."""
    assert under(plan(), [profile(every=HOUR)]) == plan()


def test_a_profile_is_its_document() -> None:
    """Written and read back it is equal."""
    found = profile(visits=2, every=HOUR, windows=(Window.parse("12:00-13:00"),))
    assert Profile.from_json(found.to_json()) == found
    changed = under(plan(), [found])
    assert Plan.from_json(changed.to_json()) == changed


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({}, "changes nothing"),
        ({"visits": 2, "until": date(2026, 5, 1)}, "swap the dates"),
        ({"visits": 2, "until": date(2028, 6, 1)}, "no longer than a year"),
        ({"every": 1_000}, "a gap is 1m or longer"),
    ],
)
def test_what_makes_no_sense_is_refused(others: dict[str, object], words: str) -> None:
    """With the remedy."""
    with pytest.raises(ValueError, match=words):
        profile(**others)


@given(cuts=st.lists(st.integers(0, 12 * 24), max_size=4))
def test_with_profiles_too_what_is_owed_is_a_function_of_the_span(cuts: list[int]) -> None:
    """Cut into pieces, it owes the same."""
    start = 1_780_000_000_000
    ends = [start, *(start + cut * HOUR for cut in sorted(cuts)), start + 12 * DAY]
    on = on_days(plan(), [profile(visits=2, windows=(Window.parse("12:00-13:00"),))])
    whole = list(owed(plan(), ANY, ends[0], ends[-1], on))
    pieces = [
        found
        for number in range(len(ends) - 1)
        for found in owed(plan(), ANY, ends[number], ends[number + 1], on)
    ]
    assert pieces == whole
