"""What plans owe: windows on days of a calendar, on clocks that jump."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.calendar import Base, Calendar, DayClass, Term
from rules.obligations import Gap, Obligation, Round, utc
from rules.plans import (
    Plan,
    PlanCheckpoint,
    Window,
    owed,
    unknown_years,
    window_days,
)

DAY = 86_400_000
ANY = Calendar(base=Base.EVERY_DAY)
CN = Calendar(base=Base.CN)
ROUTE = (PlanCheckpoint(slug="gate", name="东门"), PlanCheckpoint(slug="lab", name="实验楼"))


def plan(timezone: str, *windows: str, every: int | None = None, **others: object) -> Plan:
    return Plan(
        site="school-01",
        slug="night",
        name="夜间巡更",
        timezone=timezone,
        route=ROUTE,
        windows=tuple(map(Window.parse, windows)),
        every=every,
        **others,
    )


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1000


def spans(found: Plan, day: str, days: int = 1, calendar: Calendar = ANY) -> list[str]:
    """`opens closes` in UTC of what opens on the local dates from `day` on."""
    preview = window_days(found, calendar, date.fromisoformat(day), days)
    return [f"{utc(o.opens)} {utc(o.closes)}" for seen in preview for o in seen.owed]


# zone, local date, window -> [opens, closes) in UTC, or None: not owed
JUMPS = [
    # Europe/Berlin, 29 March 2026: 02:00 CET becomes 03:00 CEST at 01:00Z
    ("Europe/Berlin", "2026-03-29", "01:30-02:00", "2026-03-29T00:30:00Z 2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-03-29", "02:00-03:00", None),
    ("Europe/Berlin", "2026-03-29", "02:15-02:45", None),
    ("Europe/Berlin", "2026-03-29", "01:00-02:30", "2026-03-29T00:00:00Z 2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-03-29", "02:30-04:00", "2026-03-29T01:00:00Z 2026-03-29T02:00:00Z"),
    ("Europe/Berlin", "2026-03-28", "22:00-06:00", "2026-03-28T21:00:00Z 2026-03-29T04:00:00Z"),
    # Europe/Berlin, 25 October 2026: 03:00 CEST becomes 02:00 CET at 01:00Z
    ("Europe/Berlin", "2026-10-25", "02:00-03:00", "2026-10-25T00:00:00Z 2026-10-25T02:00:00Z"),
    ("Europe/Berlin", "2026-10-25", "02:30-02:45", "2026-10-25T00:30:00Z 2026-10-25T01:45:00Z"),
    ("Europe/Berlin", "2026-10-25", "01:00-02:30", "2026-10-24T23:00:00Z 2026-10-25T01:30:00Z"),
    ("Europe/Berlin", "2026-10-24", "22:00-06:00", "2026-10-24T20:00:00Z 2026-10-25T05:00:00Z"),
    # America/New_York, 8 March and 1 November 2026
    ("America/New_York", "2026-03-08", "02:00-03:00", None),
    ("America/New_York", "2026-03-08", "02:30-03:30", "2026-03-08T07:00:00Z 2026-03-08T07:30:00Z"),
    ("America/New_York", "2026-11-01", "01:00-02:00", "2026-11-01T05:00:00Z 2026-11-01T07:00:00Z"),
    # Australia/Lord_Howe moves by half an hour: 4 October and 5 April 2026
    ("Australia/Lord_Howe", "2026-10-04", "02:00-02:30", None),
    (
        "Australia/Lord_Howe",
        "2026-10-04",
        "02:10-03:00",
        "2026-10-03T15:30:00Z 2026-10-03T16:00:00Z",
    ),
    (
        "Australia/Lord_Howe",
        "2026-04-05",
        "01:30-02:00",
        "2026-04-04T14:30:00Z 2026-04-04T15:30:00Z",
    ),
    # Asia/Shanghai has not moved since 1991
    ("Asia/Shanghai", "2026-03-29", "02:00-03:00", "2026-03-28T18:00:00Z 2026-03-28T19:00:00Z"),
    # Midnights that do not exist: Beirut 29 March 2026, São Paulo 4 November 2018
    ("Asia/Beirut", "2026-03-29", "00:00-01:00", None),
    ("Asia/Beirut", "2026-03-29", "00:30-02:00", "2026-03-28T22:00:00Z 2026-03-28T23:00:00Z"),
    ("Asia/Beirut", "2026-03-28", "23:00-24:00", "2026-03-28T21:00:00Z 2026-03-28T22:00:00Z"),
    ("America/Sao_Paulo", "2018-11-04", "00:00-01:00", None),
    ("America/Sao_Paulo", "2018-11-03", "22:00-00:30", "2018-11-04T01:00:00Z 2018-11-04T03:00:00Z"),
    # A midnight that comes twice: São Paulo 17 February 2018 back to 23:00
    ("America/Sao_Paulo", "2018-02-17", "23:00-24:00", "2018-02-18T01:00:00Z 2018-02-18T03:00:00Z"),
    # A day that does not exist: Samoa skipped 30 December 2011
    ("Pacific/Apia", "2011-12-30", "08:00-20:00", None),
    ("Pacific/Apia", "2011-12-29", "22:00-06:00", "2011-12-30T08:00:00Z 2011-12-30T10:00:00Z"),
]


@pytest.mark.parametrize(("zone", "day", "window", "expected"), JUMPS)
def test_opens_is_the_first_occurrence_and_closes_the_last(
    zone: str, day: str, window: str, expected: str | None
) -> None:
    """Across every kind of jump a window is what contract §6 says, and empty ones are not owed."""
    assert spans(plan(zone, window), day) == ([expected] if expected else [])


def test_two_windows_that_a_jump_puts_together_are_owed_once() -> None:
    """On the spring night 02:00-04:00 and 02:30-03:30 open together: the longer one is owed."""
    found = spans(plan("Europe/Berlin", "02:00-04:00", "02:30-03:30"), "2026-03-29")
    assert found == ["2026-03-29T01:00:00Z 2026-03-29T02:00:00Z"]


def test_a_window_across_midnight_belongs_to_the_day_on_which_it_opens() -> None:
    """Friday night into Saturday is a Friday's window: days of the opening date decide."""
    weekdays = frozenset({DayClass.SCHOOL_DAY})
    found = plan("Asia/Shanghai", "22:00-06:00", "02:00-03:00", days=weekdays)
    assert spans(found, "2026-09-04", 2, CN) == [  # a Friday and a Saturday
        "2026-09-03T18:00:00Z 2026-09-03T19:00:00Z",
        "2026-09-04T14:00:00Z 2026-09-04T22:00:00Z",
    ]


@pytest.mark.parametrize(
    ("day", "classes", "fires"),
    [
        ("2026-10-01", {DayClass.SCHOOL_DAY}, False),
        ("2026-10-10", {DayClass.SCHOOL_DAY}, True),
        ("2026-10-10", {DayClass.WEEKEND}, False),
        ("2026-10-10", {DayClass.MAKEUP_DAY}, True),
        ("2026-10-09", {DayClass.MAKEUP_DAY}, False),
        ("2026-10-01", {DayClass.HOLIDAY}, True),
        ("2026-09-05", {DayClass.WEEKEND}, True),
    ],
)
def test_a_plan_fires_on_its_day_classes_alone(
    day: str, classes: set[DayClass], fires: bool
) -> None:
    """Days off owe nothing to a plan for school days, make-up Saturdays do."""
    found = spans(plan("Asia/Shanghai", "22:00-23:00", days=frozenset(classes)), day, 1, CN)
    assert bool(found) is fires


def test_a_round_carries_what_it_owes() -> None:
    """A round has the contract's key, its route, and a due that is closes + grace."""
    found = plan("Asia/Shanghai", "22:00-23:00", grace=300_000, early=60_000, min_gap=20_000)
    [round_] = owed(found, ANY, ms("2026-09-01T00:00+08:00"), ms("2026-09-02T00:00+08:00"))
    assert round_ == Obligation(
        key="school-01/night/2026-09-01T14:00:00Z",
        site="school-01",
        plan="night",
        terms=Round(route=("gate", "lab"), ordered=False, min_gap=20_000),
        opens=ms("2026-09-01T22:00+08:00"),
        closes=ms("2026-09-01T23:00+08:00"),
        due=ms("2026-09-01T23:05+08:00"),
        early=60_000,
    )


def test_a_plan_with_every_owes_one_gap_for_each_checkpoint_and_window() -> None:
    """With `every` each checkpoint of the route has an obligation of its own."""
    found = plan("Asia/Shanghai", "22:00-06:00", every=7_200_000, grace=300_000)
    gaps = list(owed(found, ANY, ms("2026-09-01T00:00+08:00"), ms("2026-09-02T00:00+08:00")))
    assert [gap.key for gap in gaps] == [
        "school-01/night/2026-09-01T14:00:00Z/gate",
        "school-01/night/2026-09-01T14:00:00Z/lab",
    ]
    assert gaps[1].terms == Gap(checkpoint="lab", every=7_200_000, grace=300_000)
    assert gaps[1].expected == ("lab",)


@pytest.mark.parametrize(
    ("before", "after", "count"), [(1, 0, 1), (0, 1, 0), (0, 0, 0), (1, -1, 0)]
)
def test_owed_is_what_opens_after_since_up_to_until(before: int, after: int, count: int) -> None:
    """(since, until] is open at its begin and closed at its end, to the millisecond."""
    opens = ms("2026-09-01T22:00+08:00")
    found = plan("Asia/Shanghai", "22:00-23:00")
    assert len(list(owed(found, ANY, opens - before, opens + after))) == count


NIGHTS = [
    ("Asia/Shanghai", "2026-03-28T00:00+00:00"),
    ("Europe/Berlin", "2026-03-28T00:00+00:00"),
    ("Europe/Berlin", "2026-10-24T00:00+00:00"),
    ("America/New_York", "2026-03-07T12:00+00:00"),
    ("Australia/Lord_Howe", "2026-04-04T00:00+00:00"),
    ("Australia/Lord_Howe", "2026-10-03T00:00+00:00"),
    ("Asia/Beirut", "2026-03-28T00:00+00:00"),
    ("America/Sao_Paulo", "2018-11-03T12:00+00:00"),
    ("America/Sao_Paulo", "2018-02-17T12:00+00:00"),
    ("America/St_Johns", "2010-11-06T12:00+00:00"),  # back from 00:01 to the day before
    ("Pacific/Apia", "2011-12-29T00:00+00:00"),  # a day that does not exist
    ("Africa/Casablanca", "2026-02-14T12:00+00:00"),  # summer time ends for Ramadan
]
minutes = st.integers(0, 24 * 12 - 1).map(lambda n: time(n * 5 // 60, n * 5 % 60))
windows = (
    st.tuples(minutes, minutes)
    .filter(lambda pair: pair[0] != pair[1] or pair[0] == time(0))
    .map(lambda pair: Window(opens=pair[0], closes=pair[1]))
)
nights = st.sampled_from(NIGHTS).map(lambda night: (night[0], ms(night[1])))
choices = st.lists(windows, min_size=1, max_size=4, unique_by=lambda window: window.opens)


class Minutes(NamedTuple):
    """What clocks in a zone show at every whole minute of a span."""

    shown: dict[datetime, list[int]]
    jumps: list[tuple[datetime, datetime, int]]  # (last shown, next shown, instant of the next)


@cache
def minutes_of(zone: str, start: int, end: int) -> Minutes:
    tz = ZoneInfo(zone)
    seen = [
        (at, datetime.fromtimestamp(at // 1000, UTC).astimezone(tz).replace(tzinfo=None))
        for at in range(start, end, 60_000)
    ]
    shown: dict[datetime, list[int]] = {}
    for at, wall in seen:
        shown.setdefault(wall, []).append(at)
    minute = timedelta(minutes=1)
    jumps = [(b[1], a[1], a[0]) for b, a in pairwise(seen) if a[1] - b[1] > minute]
    return Minutes(shown, jumps)


def naive_instant(seen: Minutes, wall: datetime, *, last: bool) -> int | None:
    """By looking at every minute: the one that shows `wall`, else the first after the jump."""
    if wall in seen.shown:
        return seen.shown[wall][-1 if last else 0]
    return next((at for before, after, at in seen.jumps if before < wall < after), None)


def naive_owed(found: Plan, since: int, until: int) -> dict[int, int]:
    """opens -> closes, from the contract's sentences and a table of minutes."""
    seen = minutes_of(found.timezone, since - 3 * DAY, until + 3 * DAY)
    days = {wall.date() for wall in seen.shown} | {day.date() for day, _, _ in seen.jumps}
    days |= {day + timedelta(days=1) for day in days}  # one of them may not exist
    owing: dict[int, int] = {}
    for day in days:
        for window in found.windows:
            until_day = day if window.closes > window.opens else day + timedelta(days=1)
            opens = naive_instant(seen, datetime.combine(day, window.opens), last=False)
            closes = naive_instant(seen, datetime.combine(until_day, window.closes), last=True)
            if opens is None or closes is None or closes == opens or not since < opens <= until:
                continue
            owing[opens] = max(closes, owing.get(opens, 0))
    return owing


@settings(deadline=None)
@given(nights, choices)
def test_owed_is_what_a_look_at_every_minute_finds(
    night: tuple[str, int], chosen: list[Window]
) -> None:
    """In any zone and around any jump, owed equals a naive search through all minutes."""
    start, found = night[1], plan(night[0], *map(str, chosen))
    listed = list(owed(found, ANY, start, start + 2 * DAY))
    assert {o.opens: o.closes for o in listed} == naive_owed(found, start, start + 2 * DAY)


@settings(deadline=None)
@given(nights, choices, st.lists(st.integers(0, 72 * 60), max_size=6))
def test_a_span_cut_into_pieces_owes_the_same(
    night: tuple[str, int], chosen: list[Window], cuts: list[int]
) -> None:
    """(since, until] in pieces owes what the whole does, in order, and no key twice."""
    start, found = night[1], plan(night[0], *map(str, chosen))
    whole = list(owed(found, ANY, start, start + 3 * DAY))
    edges = [start, *sorted(start + cut * 60_000 for cut in cuts), start + 3 * DAY]
    pieces = [o for since, until in pairwise(edges) for o in owed(found, ANY, since, until)]
    assert pieces == whole
    assert len({o.key for o in whole}) == len(whole)
    assert [o.opens for o in whole] == sorted(o.opens for o in whole)


@settings(deadline=None)
@given(nights, choices)
def test_a_preview_shows_what_will_be_owed(night: tuple[str, int], chosen: list[Window]) -> None:
    """The preview of some days has the very obligations that will be made."""
    start, found = night[1], plan(night[0], *map(str, chosen))
    first = datetime.fromtimestamp(start // 1000, ZoneInfo(found.timezone)).date()
    shown = [o for seen in window_days(found, ANY, first, 2) for o in seen.owed]
    made = {o.key: o for o in owed(found, ANY, start - 2 * DAY, start + 5 * DAY)}
    assert all(made[o.key].opens == o.opens for o in shown)


@pytest.mark.parametrize("text", ["22:00-23:00", "22:00-06:00", "00:00-24:00", "09:05-24:00"])
def test_a_window_survives_being_written(text: str) -> None:
    """What a window prints is what it was read from."""
    assert str(Window.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["22:00", "22-23", "22:00-22:00", "00:00-00:00", "25:00-26:00", "24:00-01:00", "a-b", ""],
)
def test_a_window_that_is_none_is_refused(text: str) -> None:
    """What cannot be read, or is empty on every day, is refused with words."""
    with pytest.raises(ValueError, match="window"):
        Window.parse(text)


def test_a_snapshot_survives_json_and_names_its_version() -> None:
    """A plan reads back equal from its snapshot; its digest changes when anything in it does."""
    days = frozenset({DayClass.WEEKEND, DayClass.SCHOOL_DAY})
    found = plan("Asia/Shanghai", "22:00-24:00", days=days, every=7_200_000, grace=300_000)
    assert Plan.from_json(found.to_json()) == found
    assert Plan.from_json(found.to_json()).digest() == found.digest()
    assert (
        plan("Asia/Shanghai", "22:00-24:00", days=days, every=7_200_000).digest() != found.digest()
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"timezone": "Mars/Base"}, "no time zone"),
        ({"timezone": "../etc"}, "no time zone"),
        ({"route": ()}, "no route"),
        ({"windows": ()}, "no windows"),
        ({"days": frozenset()}, "no days"),
        ({"grace": -1}, "negative"),
        ({"every": 0}, "longer than nothing"),
        ({"windows": (Window.parse("22:00-23:00"), Window.parse("22:00-24:00"))}, "same time"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(change: dict[str, object], words: str) -> None:
    """A plan that could never be kept, or never be owed, is refused with words."""
    fine = plan("Asia/Shanghai", "22:00-23:00")
    members = {name: getattr(fine, name) for name in Plan.__slots__}
    with pytest.raises(ValueError, match=words):
        Plan(**{**members, **change})


def test_unknown_years_are_those_that_a_plan_really_needs() -> None:
    """A plan without day classes needs no data; one with them does, outside the vacation."""
    since, until = ms("2026-12-30T00:00+08:00"), ms("2027-01-03T00:00+08:00")
    choosy = plan("Asia/Shanghai", "22:00-23:00", days=frozenset({DayClass.SCHOOL_DAY}))
    assert unknown_years(choosy, CN, since, until) == (2027,)
    assert unknown_years(choosy, ANY, since, until) == ()
    assert unknown_years(plan("Asia/Shanghai", "22:00-23:00"), CN, since, until) == ()
    term = Term(since=date(2026, 9, 1), until=date(2026, 12, 31))
    assert unknown_years(choosy, Calendar(base=Base.CN, terms=(term,)), since, until) == ()
