"""Day classes: a calendar, not a weekday rule."""

from datetime import date, timedelta

import pytest

from rules.calendar import Base, Calendar, DayClass, Term

CN = Calendar(base=Base.CN)
TERM = Term(since=date(2026, 9, 1), until=date(2027, 1, 22))
YEAR_2026 = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]


def test_a_weekday_rule_would_be_wrong_on_25_days_of_2026() -> None:
    """2026 has 19 weekdays off and 6 make-up workdays."""
    school = {day for day in YEAR_2026 if DayClass.SCHOOL_DAY in CN.day(day).classes}
    weekdays = {day for day in YEAR_2026 if day.weekday() < 5}
    assert len(weekdays - school) == 19
    assert len(school - weekdays) == 6


@pytest.mark.parametrize(
    "day", ["2026-01-04", "2026-02-14", "2026-02-28", "2026-05-09", "2026-09-20", "2026-10-10"]
)
def test_a_makeup_workday_is_a_school_day_and_a_makeup_day(day: str) -> None:
    """A make-up workday (调休) is both classes and says for which holiday it is worked."""
    found = CN.day(date.fromisoformat(day))
    assert found.classes == {DayClass.SCHOOL_DAY, DayClass.MAKEUP_DAY}
    assert found.known
    assert "make-up" in found.why
    assert "调休" in found.why_zh


@pytest.mark.parametrize(
    "day", ["2026-01-01", "2026-02-17", "2026-04-06", "2026-06-19", "2026-10-03"]
)
def test_a_day_off_is_a_holiday_even_on_a_saturday(day: str) -> None:
    """Every day of a public break is `holiday` alone, its Saturdays and Sundays too."""
    assert CN.day(date.fromisoformat(day)).classes == {DayClass.HOLIDAY}


def test_every_day_has_exactly_one_of_the_four_plain_classes() -> None:
    """School day, weekend, holiday and vacation never overlap, so no window is owed by two."""
    plain = {DayClass.SCHOOL_DAY, DayClass.WEEKEND, DayClass.HOLIDAY, DayClass.VACATION}
    calendar = Calendar(base=Base.CN, terms=(TERM,))
    assert all(len(calendar.day(day).classes & plain) == 1 for day in YEAR_2026)


@pytest.mark.parametrize(
    ("day", "vacation"),
    [("2026-08-31", True), ("2026-09-01", False), ("2027-01-22", False), ("2027-01-23", True)],
)
def test_both_ends_of_a_term_belong_to_it(day: str, vacation: bool) -> None:
    """Terms are closed at both ends; outside of them it is vacation and nothing else."""
    found = Calendar(base=Base.CN, terms=(TERM,)).day(date.fromisoformat(day))
    assert (found.classes == {DayClass.VACATION}) is vacation


def test_a_year_without_data_is_judged_by_weekdays_and_says_so() -> None:
    """For 2027 the classes come from weekdays, and `known` is false."""
    friday, saturday = CN.day(date(2027, 2, 5)), CN.day(date(2027, 2, 6))
    assert (friday.classes, saturday.classes) == ({DayClass.SCHOOL_DAY}, {DayClass.WEEKEND})
    assert not friday.known
    assert not saturday.known
    assert "2027" in friday.why


def test_a_vacation_day_is_known_in_any_year() -> None:
    """Outside the terms no data of the year are needed."""
    found = Calendar(base=Base.CN, terms=(TERM,)).day(date(2030, 7, 1))
    assert found.known
    assert found.classes == {DayClass.VACATION}


def test_every_day_calendar_knows_no_weekend() -> None:
    """With `every-day` each day is a school day, in any year."""
    calendar = Calendar(base=Base.EVERY_DAY)
    assert all(calendar.day(day).classes == {DayClass.SCHOOL_DAY} for day in YEAR_2026)
    assert calendar.day(date(2040, 1, 1)).known


@pytest.mark.parametrize(
    "calendar",
    [CN, Calendar(base=Base.EVERY_DAY, terms=()), Calendar(base=Base.CN, terms=(TERM,))],
)
def test_a_calendar_survives_json(calendar: Calendar) -> None:
    """What `to_json` writes, `from_json` reads back, no terms and none at all kept apart."""
    assert Calendar.from_json(calendar.to_json()) == calendar


def test_a_term_that_ends_before_it_begins_is_refused() -> None:
    """A term whose dates are swapped is refused with the remedy."""
    with pytest.raises(ValueError, match="swap the dates"):
        Term(since=date(2026, 9, 2), until=date(2026, 9, 1))
