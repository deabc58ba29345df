"""Quotas: so many visits in each period, on clocks that jump."""

import itertools
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.calendar import Base, Calendar, DayClass, Term
from rules.events import follow
from rules.obligations import (
    Known,
    Obligation,
    Quota,
    Read,
    Reason,
    Standing,
    Trust,
    flip,
    settle,
    utc,
)
from rules.periods import LONGEST_DAYS, Per, Times
from rules.plans import Plan, PlanCheckpoint, midnight, owed, window_days

HOUR, DAY = 3_600_000, 86_400_000
ANY = Calendar(base=Base.EVERY_DAY)
ROUTE = (
    PlanCheckpoint(slug="gate", name="东门"),
    PlanCheckpoint(slug="lab", name="实验楼", visits=3),
)


def plan(timezone: str, per: Per, visits: int = 2, **others: object) -> Plan:
    return Plan(
        site="school-01",
        slug="monthly",
        name="月检查",
        timezone=timezone,
        route=others.pop("route", ROUTE),
        windows=(),
        quota=Times(visits=visits, per=per),
        **others,
    )


def begun(found: Plan, day: str, days: int, calendar: Calendar = ANY) -> list[str]:
    preview = window_days(found, calendar, date.fromisoformat(day), days)
    return [f"{utc(o.opens)} {utc(o.closes)}" for seen in preview for o in seen.owed]


PERIODS = [
    ("Asia/Shanghai", Per.WEEK, "2026-09-07", "2026-09-06T16:00:00Z 2026-09-13T16:00:00Z"),
    ("Asia/Shanghai", Per.MONTH, "2026-12-01", "2026-11-30T16:00:00Z 2026-12-31T16:00:00Z"),
    ("Asia/Shanghai", Per.TWO_MONTHS, "2026-11-01", "2026-10-31T16:00:00Z 2026-12-31T16:00:00Z"),
    ("Asia/Shanghai", Per.QUARTER, "2026-07-01", "2026-06-30T16:00:00Z 2026-09-30T16:00:00Z"),
    # ISO week 53 of 2026 goes into 2027
    ("Asia/Shanghai", Per.WEEK, "2026-12-28", "2026-12-27T16:00:00Z 2027-01-03T16:00:00Z"),
    # the day of the spring jump has 23 hours, that of the autumn one 25
    ("Europe/Berlin", Per.DAY, "2026-03-29", "2026-03-28T23:00:00Z 2026-03-29T22:00:00Z"),
    ("Europe/Berlin", Per.DAY, "2026-10-25", "2026-10-24T22:00:00Z 2026-10-25T23:00:00Z"),
    # a midnight that does not exist: the day begins with the first instant after the jump
    ("Asia/Beirut", Per.DAY, "2026-03-29", "2026-03-28T22:00:00Z 2026-03-29T21:00:00Z"),
    # a midnight that comes twice: a day begins with the first
    ("America/Havana", Per.DAY, "2026-11-01", "2026-11-01T04:00:00Z 2026-11-02T05:00:00Z"),
    ("America/Sao_Paulo", Per.DAY, "2018-02-17", "2018-02-17T02:00:00Z 2018-02-18T03:00:00Z"),
]


@pytest.mark.parametrize(("zone", "per", "day", "expected"), PERIODS)
def test_a_period_is_from_midnight_to_midnight(
    zone: str, per: Per, day: str, expected: str
) -> None:
    """Whatever the clocks of the zone do that night."""
    assert begun(plan(zone, per), day, 1) == [expected]


def test_a_day_that_does_not_exist_is_not_owed() -> None:
    """Samoa skipped 30 December 2011."""
    assert begun(plan("Pacific/Apia", Per.DAY), "2011-12-30", 1) == []


zones = st.sampled_from(
    ["Asia/Shanghai", "Europe/Berlin", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe"]
)
days_of_2026 = st.integers(0, 500).map(lambda n: date(2026, 1, 1) + timedelta(days=n))


@given(zone=zones, per=st.sampled_from(list(Per)), when=days_of_2026)
def test_every_date_is_in_one_period(zone: str, per: Per, when: date) -> None:
    """Periods follow each other without gap or overlap, and none is longer than is looked back."""
    first, after = Times(visits=1, per=per).period(when)
    assert first <= when < after
    assert Times(visits=1, per=per).period(after)[0] == after
    assert Times(visits=1, per=per).period(after - timedelta(days=1))[0] == first
    assert (after - first).days <= LONGEST_DAYS
    assert midnight(zone, first) < midnight(zone, after)


@given(cuts=st.lists(st.integers(0, 200 * 24), max_size=5), per=st.sampled_from(list(Per)))
def test_what_is_owed_is_a_function_of_the_span(cuts: list[int], per: Per) -> None:
    """Cut into pieces, it owes the same, each period once."""
    start = 1_772_000_000_000
    ends = [start, *(start + cut * HOUR for cut in sorted(cuts)), start + 200 * DAY]
    whole = [o.key for o in owed(plan("Europe/Berlin", per), ANY, ends[0], ends[-1])]
    pieces = [
        o.key
        for since, until in itertools.pairwise(ends)
        for o in owed(plan("Europe/Berlin", per), ANY, since, until)
    ]
    assert pieces == whole
    assert len(set(whole)) == len(whole)


def test_a_month_without_any_day_of_the_plan_is_not_owed() -> None:
    """A monthly inspection of school days owes nothing in August."""
    calendar = Calendar(
        base=Base.CN, terms=(Term(since=date(2026, 9, 1), until=date(2026, 12, 31)),)
    )
    found = plan("Asia/Shanghai", Per.MONTH, days=frozenset({DayClass.SCHOOL_DAY}))
    assert begun(found, "2026-08-01", 60, calendar) == ["2026-08-31T16:00:00Z 2026-09-30T16:00:00Z"]


# Judging -----------------------------------------------------------------------------------------


def quota(found: Plan) -> Obligation:
    (only,) = window_days(found, ANY, date(2026, 9, 1), 1)
    return only.owed[0]


MONTH = quota(plan("Asia/Shanghai", Per.MONTH, grace=HOUR))


def read(checkpoint: str, day: float, **others: object) -> Read:
    at = MONTH.opens + int(day * DAY)
    told = {
        "identity": f"hh/0/{checkpoint}{at}",
        "checkpoint": checkpoint,
        "device": "hh",
        "person": None,
        "at": at,
        "told_at": at,
        "trust": Trust.TRUSTED,
        "after": at,
        "received_at": at,
        "cut_off": False,
    }
    return Read(**{**told, **others})


ENOUGH = [read("gate", 1), read("gate", 9), read("lab", 2), read("lab", 3), read("lab", 20)]
AFTER = Known(marker=MONTH.due)


def test_a_quota_is_met_when_each_checkpoint_was_visited_often_enough() -> None:
    """Two of the gate as the plan says, three of the lab as its item says; when, is told."""
    verdict = settle(MONTH, ENOUGH, AFTER, MONTH.due)
    assert (verdict.standing, verdict.reason) == (Standing.COMPLETED, Reason.QUOTA_MET)
    assert verdict.visits == {"gate": 2, "lab": 3}
    assert verdict.met_at == MONTH.opens + 20 * DAY
    assert MONTH.asked == 5


def test_early_completion_is_seen_before_it_is_judged() -> None:
    """On the 25th it is still pending, but what was visited, and that it is met, is known."""
    now = MONTH.opens + 25 * DAY
    verdict = settle(MONTH, ENOUGH, Known(marker=now), now)
    assert verdict.standing is Standing.PENDING
    assert (verdict.missing, verdict.met_at) == ((), MONTH.opens + 20 * DAY)


@pytest.mark.parametrize(
    ("reads", "standing", "missing"),
    [
        (ENOUGH[1:], Standing.INCOMPLETE, ("gate",)),
        (ENOUGH[:-1], Standing.INCOMPLETE, ("lab",)),
        ([], Standing.MISSED, ("gate", "lab")),
    ],
)
def test_a_quota_that_is_not_met(
    reads: list[Read], standing: Standing, missing: tuple[str, ...]
) -> None:
    """One visit too few is incomplete; none at all is missed."""
    verdict = settle(MONTH, reads, AFTER, MONTH.due)
    assert (verdict.standing, verdict.missing) == (standing, missing)


def test_two_taps_are_one_visit() -> None:
    """Reads within a minute of the one that counted are the same visit."""
    twice = [read("gate", 1), read("gate", 1 + 59 / 86_400), *ENOUGH[2:]]
    assert settle(MONTH, twice, AFTER, MONTH.due).missing == ("gate",)
    apart = [read("gate", 1), read("gate", 1 + 60 / 86_400), *ENOUGH[2:]]
    assert settle(MONTH, apart, AFTER, MONTH.due).missing == ()


def test_an_event_says_how_many_there_were() -> None:
    """A bureau that is told of a short quota sees the numbers, and the month as dates."""
    found = plan("Asia/Shanghai", Per.MONTH, grace=HOUR)
    changed = flip(MONTH, None, settle(MONTH, ENOUGH[:-1], AFTER, MONTH.due))
    assert changed is not None
    (notice,) = follow(changed, found)
    assert notice.message_zh == (
        "月检查 2026-09-01 – 2026-09-30 未完成：未达到规定次数：实验楼 2/3"
    )


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"every": HOUR}, "make it two plans"),
        ({"early": HOUR}, "take `early` out"),
        ({"people": 2}, "knows no `people`"),
        ({"ordered": True}, "knows no `ordered`"),
    ],
)
def test_what_does_not_go_with_a_quota_is_refused(others: dict[str, object], words: str) -> None:
    """A plan that contradicts itself never owes anything by chance."""
    with pytest.raises(ValueError, match=words):
        plan("Asia/Shanghai", Per.MONTH, **others)


def test_a_plan_with_a_quota_is_its_document() -> None:
    """Written and read back it is equal; one without has the digest it always had."""
    found = plan("Asia/Shanghai", Per.MONTH)
    assert Plan.from_json(found.to_json()) == found
    assert isinstance(found.terms()[0], Quota)
