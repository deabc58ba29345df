"""A bureau's tables of days over the calendar."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.calendar import Base, Calendar, DayClass, Term
from rules.daytables import DayRow, DayTable, clashes
from rules.plans import Plan, PlanCheckpoint, Window, owed, unknown_years

CN = Calendar(base=Base.CN)
IN_TERM = Calendar(base=Base.CN, terms=(Term(since=date(2026, 9, 1), until=date(2027, 1, 22)),))


def row(kind: DayClass | None, since: str, until: str | None = None, note: str = "") -> DayRow:
    first = date.fromisoformat(since)
    last = date.fromisoformat(until) if until else first
    return DayRow(since=first, until=last, kind=kind, note=note)


def table(*rows: DayRow, name: str = "bureau", covers: tuple[int, ...] = ()) -> DayTable:
    return DayTable(name=name, version=1, rows=rows, covers=covers)


def classes(calendar: Calendar, day: str) -> set[DayClass]:
    return set(calendar.day(date.fromisoformat(day)).classes)


@pytest.mark.parametrize("kind", [DayClass.EXAM, DayClass.SENSITIVE])
def test_exams_and_sensitive_days_come_on_top(kind: DayClass) -> None:
    """An exam on a school day is both, so that plans of either fire; the note is the reason."""
    calendar = CN.with_tables([table(row(kind, "2026-09-07", "2026-09-08", note="期中考试"))])
    assert classes(calendar, "2026-09-08") == {DayClass.SCHOOL_DAY, kind}
    assert classes(calendar, "2026-09-09") == {DayClass.SCHOOL_DAY}
    assert "期中考试" in calendar.day(date(2026, 9, 7)).why_zh


def test_an_exam_makes_no_school_day() -> None:
    """On a weekend or outside the terms it is one only where a table says so beside it."""
    term = row(None, "2026-09-01", "2027-01-22")
    exams = [row(DayClass.EXAM, day) for day in ("2026-09-12", "2026-08-29")]
    bare = CN.with_tables([table(term, *exams)])
    assert classes(bare, "2026-09-12") == {DayClass.WEEKEND, DayClass.EXAM}
    assert classes(bare, "2026-08-29") == {DayClass.VACATION, DayClass.EXAM}
    made_up = [row(DayClass.MAKEUP_DAY, day) for day in ("2026-09-12", "2026-08-29")]
    told = CN.with_tables([table(term, *exams, *made_up)])
    assert DayClass.SCHOOL_DAY in classes(told, "2026-09-12")
    assert classes(told, "2026-08-29") == {DayClass.VACATION, DayClass.EXAM}
    school = CN.with_tables([table(term, *exams, row(DayClass.SCHOOL_DAY, "2026-08-29"))])
    assert classes(school, "2026-08-29") == {DayClass.SCHOOL_DAY, DayClass.EXAM}


def test_terms_of_a_table_are_terms() -> None:
    """Outside a term told by the bureau it is vacation, as with one of the registry."""
    calendar = CN.with_tables([table(row(None, "2026-09-01", "2027-01-22"))])
    assert classes(calendar, "2026-08-31") == {DayClass.VACATION}
    assert classes(calendar, "2026-09-01") == {DayClass.SCHOOL_DAY}


def test_terms_of_registry_and_table_add_up() -> None:
    """Neither takes the other's term away."""
    calendar = IN_TERM.with_tables([table(row(None, "2027-02-22", "2027-07-09"), covers=(2027,))])
    assert classes(calendar, "2026-09-01") == classes(calendar, "2027-02-22")
    assert classes(calendar, "2027-02-21") == {DayClass.VACATION}


@pytest.mark.parametrize(
    ("kind", "wins"),
    [
        (DayClass.SCHOOL_DAY, True),
        (DayClass.HOLIDAY, False),
        (DayClass.WEEKEND, False),
        (DayClass.MAKEUP_DAY, False),
    ],
)
def test_only_a_school_day_of_the_bureau_breaks_a_vacation(kind: DayClass, wins: bool) -> None:
    """National days off and on do not reach into the vacation; a school day told for it does."""
    calendar = IN_TERM.with_tables([table(row(kind, "2026-08-20"))])
    assert (classes(calendar, "2026-08-20") != {DayClass.VACATION}) is wins


def test_a_makeup_day_of_a_table_is_a_school_day_too() -> None:
    """As those of chinesecalendar are."""
    calendar = CN.with_tables([table(row(DayClass.MAKEUP_DAY, "2027-02-20"))])
    found = calendar.day(date(2027, 2, 20))
    assert (set(found.classes), found.known) == (
        {DayClass.SCHOOL_DAY, DayClass.MAKEUP_DAY},
        True,
    )


def test_a_year_is_known_where_a_table_covers_it() -> None:
    """Days off alone do not tell that there are no others: the table must say it has them all."""
    days_off = row(DayClass.HOLIDAY, "2027-10-01", "2027-10-07")
    partly = CN.with_tables([table(days_off)])
    whole = CN.with_tables([table(days_off, covers=(2027,))])
    assert not partly.day(date(2027, 9, 1)).known
    assert partly.day(date(2027, 10, 1)).known
    assert whole.day(date(2027, 9, 1)).known
    assert not whole.day(date(2028, 9, 1)).known


def test_the_table_imported_last_counts() -> None:
    """Two tables that contradict each other: the later word holds."""
    first = table(row(DayClass.HOLIDAY, "2026-09-10"), name="a")
    last = table(row(DayClass.WEEKEND, "2026-09-10"), name="b")
    assert classes(CN.with_tables([first, last]), "2026-09-10") == {DayClass.WEEKEND}
    assert classes(CN.with_tables([last, first]), "2026-09-10") == {DayClass.HOLIDAY}


def test_a_calendar_is_its_document() -> None:
    """A calendar with tables, written and read back, is equal and has the same digest."""
    calendar = IN_TERM.with_tables([table(row(None, "2027-02-22", "2027-07-09"), covers=(2027,))])
    again = Calendar.from_json(calendar.to_json())
    assert again == calendar
    assert again.digest() == calendar.digest() != IN_TERM.digest()


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        (row(DayClass.HOLIDAY, "2026-10-01", "2026-10-07"), row(DayClass.WEEKEND, "2026-10-07"), 1),
        (row(DayClass.HOLIDAY, "2026-10-01", "2026-10-07"), row(DayClass.EXAM, "2026-10-07"), 0),
        (row(None, "2026-09-01", "2027-01-22"), row(None, "2027-01-22", "2027-02-22"), 1),
        (row(None, "2026-09-01", "2027-01-22"), row(DayClass.HOLIDAY, "2026-10-01"), 0),
    ],
)
def test_rows_that_contradict_each_other_are_found(
    first: DayRow, second: DayRow, count: int
) -> None:
    """Two plain classes for a date, or terms that overlap, are never meant."""
    assert len(list(clashes([second, first]))) == count


kinds = st.sampled_from([None, *DayClass])
rows = st.builds(
    lambda kind, first, days: DayRow(
        since=date(2026, 12, 1) + timedelta(days=first),
        until=date(2026, 12, 1) + timedelta(days=first + days),
        kind=kind,
    ),
    kinds,
    st.integers(0, 60),
    st.integers(0, 20),
)


@given(tables=st.lists(st.lists(rows, max_size=4), max_size=3), ahead=st.integers(-5, 90))
def test_whatever_tables_say_a_date_has_one_plain_class(
    tables: list[list[DayRow]], ahead: int
) -> None:
    """No set of tables makes a date two of school day, weekend, holiday and vacation, or none."""
    made = [table(*found, name=f"t{n}") for n, found in enumerate(tables)]
    day = IN_TERM.with_tables(made).day(date(2026, 12, 1) + timedelta(days=ahead))
    plain = {DayClass.SCHOOL_DAY, DayClass.WEEKEND, DayClass.HOLIDAY, DayClass.VACATION}
    assert len(day.classes & plain) == 1


def plan(*days: DayClass) -> Plan:
    return Plan(
        site="s",
        slug="p",
        name="p",
        timezone="Asia/Shanghai",
        route=(PlanCheckpoint(slug="gate", name="东门"),),
        windows=(Window.parse("22:00-06:00"),),
        days=frozenset(days) or None,
    )


def test_rounds_of_unknown_days_are_owed_but_not_scored() -> None:
    """In a year without data a plan by day classes is not scored; one for every day is."""
    since, until = 1_798_704_000_000, 1_798_963_200_000  # from 2026-12-31T08:00Z, three days
    by_class = owed(plan(DayClass.SCHOOL_DAY), CN, since, until)
    assert [found.scored for found in by_class] == [True, False]  # a Thursday, a Friday
    every_day = owed(plan(), CN, since, until)
    assert all(found.scored for found in every_day)
    covered = CN.with_tables([table(covers=(2027,))])
    assert all(found.scored for found in owed(plan(DayClass.SCHOOL_DAY), covered, since, until))
    assert unknown_years(plan(DayClass.SCHOOL_DAY), covered, since, until) == ()
