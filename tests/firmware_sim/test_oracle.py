"""The oracle at the boundaries of contract section 6, one law a test."""

import datetime as dt
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from firmware_sim.oracle import Course, Visit, judge
from firmware_sim.plans import (
    PlanError,
    day_classes,
    occasions,
    occurrences,
    read_registry,
    span_ms,
    utc_text,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
REGISTRY = """
calendar: cn
terms: [{from: 2026-09-01, to: 2027-01-22}]
sites:
  - id: s1
    timezone: %(zone)s
    checkpoints: [{id: a, tags: ["04AA"]}, {id: b, tags: ["04BB"]}]
    devices: [{id: d1}, {id: d2}]
    plans:
      - {id: p, route: [a, b], windows: [%(windows)s], grace: 5m%(more)s}
"""


def registry(windows='"22:00-23:00"', zone="Asia/Shanghai", more=""):
    return read_registry(REGISTRY % {"windows": windows, "zone": zone, "more": more})


def at(text: str, ms: int = 0) -> int:
    moment = dt.datetime.fromisoformat(f"2026-09-{text}").replace(tzinfo=SHANGHAI)
    return round(moment.timestamp() * 1000) + ms


ALWAYS = {"d1": [(at("15T00:00"), at("17T00:00"))]}


def visit(checkpoint: str, when: int, delivered: int | None = None, device: str = "d1") -> Visit:
    return Visit(
        site="s1",
        checkpoint=checkpoint,
        device=device,
        at=when,
        delivered=when if delivered is None else delivered,
    )


def round_of(visits, plans=None, links=ALWAYS, arrivals=None, last="15T23:55"):
    arrivals = arrivals or {"d1": sorted(v.delivered for v in visits if v.device == "d1")}
    course = Course(
        first_tick=at("15T12:00"),
        last_tick=at(last),
        visits=visits,
        links=links,
        arrivals=arrivals,
    )
    verdicts = judge(plans or registry(), course)
    return verdicts.rounds["s1/p/2026-09-15T14:00:00Z"]


@pytest.mark.parametrize(
    ("when", "counts"),
    [
        (at("15T22:00", -1), False),
        (at("15T22:00"), True),
        (at("15T23:00", -1), True),
        (at("15T23:00"), True),
        (at("15T23:05", -1), True),
        (at("15T23:05"), False),
    ],
)
def test_a_visit_counts_from_opens_to_before_due(when, counts):
    """Exactly opens counts, exactly closes is late and counts, exactly due is out."""
    verdict = round_of([visit("a", when)])
    assert verdict.missing == (("b",) if counts else ("a", "b"))
    assert verdict.verdict == ("incomplete" if counts else "missed")


@pytest.mark.parametrize(("ms", "counts"), [(-1, False), (0, True)])
def test_early_counts_within_its_tolerance(ms, counts):
    """`[opens - early, opens)` counts where the plan allows it."""
    plans = registry(more=", early: 10m")
    assert bool(round_of([visit("a", at("15T21:50", ms))], plans).visited) is counts


def test_a_visit_serves_one_round_of_a_plan_late_before_early():
    """On time, else late, else early: never two rounds of one plan."""
    plans = registry('"21:00-21:58", "22:00-23:00"', more=", early: 10m")
    course = Course(
        first_tick=at("15T12:00"), last_tick=at("15T23:55"), visits=[visit("a", at("15T21:59"))]
    )
    rounds = judge(plans, course).rounds
    assert rounds["s1/p/2026-09-15T13:00:00Z"].visited == 1
    assert rounds["s1/p/2026-09-15T14:00:00Z"].visited == 0


def test_all_visited_is_completed_some_incomplete_none_missed():
    """Completed, incomplete, missed."""
    both = [visit("a", at("15T22:10")), visit("b", at("15T22:20"))]
    assert round_of(both).verdict == "completed"
    assert round_of(both[:1]).verdict == "incomplete"
    assert round_of([]).verdict == "missed"


def test_late_evidence_counts_when_its_device_was_cut_off():
    """Nothing arrived from the device in [at, due): the visit counts and the verdict is amended."""
    late = visit("a", at("15T22:10"), delivered=at("15T23:30"))
    links = {"d1": [(at("15T12:00"), at("15T22:05")), (at("15T23:30"), at("16T00:00"))]}
    verdict = round_of([late], links=links)
    assert (verdict.first, verdict.verdict) == ("missed", "incomplete")


def test_late_evidence_waits_for_review_when_the_device_was_heard():
    """Something arrived from the device between the visit and due: it could have told."""
    late = visit("a", at("15T22:10"), delivered=at("15T23:30"))
    arrivals = {"d1": [at("15T22:10"), at("15T23:30")]}
    assert round_of([late], arrivals=arrivals).verdict == "missed"


def test_late_evidence_of_a_clock_nobody_can_vouch_for_waits_for_review():
    """Ahead, slow or unproven: it counts before due and not after."""
    links = {"d1": [(at("15T12:00"), at("15T22:05"))]}
    for delivered, verdict in ((at("15T23:04"), "incomplete"), (at("15T23:30"), "missed")):
        late = replace(visit("a", at("15T22:10"), delivered), counts_late=False)
        assert round_of([late], links=links).verdict == verdict


def test_delivered_exactly_at_due_is_late_evidence():
    """In time is what was delivered before due."""
    late = visit("a", at("15T22:10"), delivered=at("15T23:05"))
    verdict = round_of([late])
    assert (verdict.first, verdict.verdict) == ("missed", "incomplete")


@pytest.mark.parametrize(
    ("spans", "verdict"),
    [
        ([], "unknown"),
        ([(at("15T12:00"), at("15T22:00"))], "unknown"),
        ([(at("15T12:00"), at("15T22:00", 1))], "missed"),
        ([(at("15T23:05", -1), at("16T00:00"))], "missed"),
        ([(at("15T23:05"), at("16T00:00"))], "unknown"),
    ],
)
def test_unknown_when_nobody_could_have_told(spans, verdict):
    """Unknown: every device of the site unreachable through [opens, due)."""
    assert round_of([], links={"d1": spans}).verdict == verdict


def test_what_was_visited_is_not_unknown():
    """A backlog that shows some visits makes an unknown round incomplete."""
    late = visit("a", at("15T22:10"), delivered=at("15T23:30"))
    verdict = round_of([late], links={})
    assert (verdict.first, verdict.verdict) == ("unknown", "incomplete")


def test_owed_are_rounds_that_open_after_the_first_tick_and_are_due_by_the_last():
    """Opens strictly after the first tick; due at the last tick is judged."""
    for first, last, owed in [
        (at("15T22:00"), at("15T23:05"), False),
        (at("15T22:00", -1), at("15T23:05"), True),
        (at("15T22:00", -1), at("15T23:05", -1), False),
    ]:
        rounds = judge(registry(), Course(first_tick=first, last_tick=last, visits=[])).rounds
        assert bool(rounds) is owed


def gap(visits, last="16T06:30", arrivals=None):
    plans = registry('"22:00-06:00"', more=", every: 2h").sites["s1"].plans[0]
    assert plans.every == 7_200_000
    course = Course(
        first_tick=at("15T12:00"),
        last_tick=at(last),
        visits=visits,
        arrivals=arrivals or {},
        links=ALWAYS,
    )
    text = REGISTRY % {"zone": "Asia/Shanghai", "windows": '"22:00-06:00"', "more": ", every: 2h"}
    return judge(read_registry(text.replace("[a, b]", "[a]")), course)


def starts(ids) -> list[str]:
    return [subject.rsplit("/", 1)[1] for subject in ids]


def every_hour(*but: int) -> list[Visit]:
    hours = [h for h in (23, 24, 25, 26, 27, 28, 29) if h not in but]
    return [visit("a", at("15T00:00") + h * 3_600_000) for h in hours]


def test_a_gap_kept_is_no_stretch():
    """The clock starts at opens; each visit restarts it."""
    assert gap(every_hour()).overdue == ()


def test_one_stretch_however_long():
    """One event a stretch; it starts at opens when nobody ever came."""
    assert starts(gap([]).overdue) == ["2026-09-15T14:00:00Z"]


@pytest.mark.parametrize(("ms", "raised"), [(-1, 0), (0, 1)])
def test_a_visit_before_last_every_grace_prevents_the_alarm(ms, raised):
    """Raised at last + every + grace unless a visit came before that instant."""
    first = visit("a", at("16T00:05", ms))
    rest = every_hour(23, 24)
    assert len(gap([first, *rest]).overdue) == raised


def test_a_breach_at_closes_is_outside_the_window():
    """Breached only inside the window: last + every has to lie before closes."""
    visits = every_hour(28, 29)
    assert starts(gap(visits).overdue) == ["2026-09-15T19:00:00Z"]
    last = visit("a", at("16T04:00"))
    assert gap([*visits, last]).overdue == ()


def test_late_evidence_withdraws_a_stretch():
    """Overdue as known then, refuted by the backlog of a device that was cut off."""
    hidden = visit("a", at("16T01:30"), delivered=at("16T04:00"))
    seen = [*every_hour(24, 25, 26, 27, 28), visit("a", at("16T04:00"))]
    found = gap([hidden, visit("a", at("16T03:10"), delivered=at("16T04:00")), *seen])
    assert starts(found.overdue) == ["2026-09-15T15:00:00Z"]
    found = gap([visit("a", at("16T00:50"), delivered=at("16T04:00")), *seen])
    assert starts(found.overdue) == ["2026-09-15T16:50:00Z"]
    assert starts(found.withdrawn) == ["2026-09-15T15:00:00Z"]


def test_windows_cross_midnight_and_belong_to_the_day_they_open():
    """A window that ends before it begins ends on the next day; the day is that of its opening."""
    plans = registry('"23:30-00:30"', more=", days: [school-day]")
    opens = [utc_text(o.opens) for o in occasions(plans, at("15T00:00"), at("22T00:00"))]
    assert opens == [
        f"2026-09-{day}T15:30:00Z" for day in ("15", "16", "17", "18", "20", "21")
    ]  # the 19th is a Saturday, the 20th a Sunday on which school is held


@pytest.mark.parametrize(
    ("day", "classes"),
    [
        ("2026-09-15", {"school-day"}),
        ("2026-09-19", {"weekend"}),
        ("2026-09-20", {"school-day", "makeup-day"}),
        ("2026-09-25", {"holiday"}),
        ("2026-10-10", {"school-day", "makeup-day"}),
        ("2026-08-31", {"vacation"}),
        ("2026-02-17", {"vacation"}),
    ],
)
def test_day_classes(day, classes):
    """Holidays and make-up days as decreed; outside the terms it is vacation."""
    assert day_classes(registry(), dt.date.fromisoformat(day)) == classes


def test_a_year_without_calendar_is_refused():
    """Nobody guesses the holidays of a year that has not been decreed."""
    with pytest.raises(PlanError, match="2031"):
        day_classes(registry(), dt.date(2031, 1, 1))


@pytest.mark.parametrize(
    ("wall", "instants"),
    [
        ("2026-10-25T02:30", ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]),
        ("2026-03-29T02:30", ["2026-03-29T01:00:00Z"]),
        ("2026-06-01T02:30", ["2026-06-01T00:30:00Z"]),
    ],
)
def test_a_wall_time_happens_twice_once_or_at_the_jump(wall, instants):
    """DST: both occurrences; a time that does not exist is the first instant after the jump."""
    found = occurrences(ZoneInfo("Europe/Berlin"), dt.datetime.fromisoformat(wall))
    assert [utc_text(at) for at in found] == instants


def test_a_window_swallowed_by_the_jump_is_not_owed():
    """DST: an empty window is not owed."""
    plans = registry('"02:00-03:00", "02:30-03:30"', zone="Europe/Berlin")
    night = round(dt.datetime(2026, 3, 29, tzinfo=dt.UTC).timestamp() * 1000)
    found = occasions(plans, night - 3_600_000, night + 6 * 3_600_000)
    assert [(utc_text(o.opens), utc_text(o.closes)) for o in found] == [
        ("2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z")
    ]


def test_opens_is_the_first_occurrence_and_closes_the_last():
    """DST: the night on which an hour comes twice is an hour longer."""
    plans = registry('"02:00-02:30"', zone="Europe/Berlin")
    night = round(dt.datetime(2026, 10, 25, tzinfo=dt.UTC).timestamp() * 1000)
    found = occasions(plans, night - 3_600_000, night + 6 * 3_600_000)
    assert [(utc_text(o.opens), utc_text(o.closes)) for o in found] == [
        ("2026-10-25T00:00:00Z", "2026-10-25T01:30:00Z")
    ]


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 m", "5w", 300])
def test_a_length_of_time_needs_its_unit(text):
    """Lengths of time are refused in words that show how to write them."""
    with pytest.raises(PlanError, match="1h30m"):
        span_ms(text, "here")


QUOTAS = """
calendar: every-day
sites:
  - id: s1
    timezone: Asia/Shanghai
    checkpoints: [{id: a, tags: ["04AA"]}, {id: b, tags: ["04BB"]}]
    devices: [{id: d1}, {id: d2}]
    plans:
      - {id: day, route: [a, {checkpoint: b, visits: 1}], quota: {visits: 2, per: day}, grace: 1h}
      - {id: week, route: [a], quota: {per: week}}
      - {id: month, route: [a], quota: {per: month}}
      - {id: two, route: [a], quota: {per: two-months}}
      - {id: quarter, route: [a], quota: {per: quarter}}
"""


def test_a_quota_counts_the_visits_of_its_period_a_double_tap_once():
    """So many visits a day, asked of each place; reads within a minute are one of them."""
    reads = [visit("a", at("15T08:00")), visit("a", at("15T08:00", 59_999))]
    plans = read_registry(QUOTAS)

    def judged(*visits):
        course = Course(first_tick=at("14T12:00"), last_tick=at("17T00:00"), visits=visits)
        return judge(plans, course).rounds["s1/day/2026-09-14T16:00:00Z"]

    short = judged(*reads, visit("b", at("15T09:00")))
    assert (short.verdict, short.expected, short.visited) == ("incomplete", 3, 2)
    assert short.missing == ("a",)
    met = judged(*reads, visit("b", at("15T09:00")), visit("a", at("15T08:01")))
    assert (met.verdict, met.visited, met.missing) == ("completed", 3, ())
    late = judged(*reads, visit("b", at("15T09:00")), visit("a", at("16T00:30")))
    assert late.verdict == "incomplete"  # it is in time for the day after
    assert judged().verdict == "unknown"


def test_periods_turn_with_the_calendar():
    """A day, an ISO week, a month, two months and a quarter begin at a midnight of the site."""
    begin = {"week": "2026-12-27", "month": "2026-12-31", "two": "2026-12-31"}
    begin |= {"quarter": "2026-12-31", "day": "2026-12-27"}
    since = round(dt.datetime(2026, 12, 26, tzinfo=dt.UTC).timestamp() * 1_000)
    found = {}
    for occasion in occasions(read_registry(QUOTAS), since, since + 6 * 86_400_000):
        found.setdefault(occasion.plan.id, occasion)
    assert {name: found[name].id for name in begin} == {
        name: f"s1/{name}/{day}T16:00:00Z" for name, day in (begin | {"day": "2026-12-26"}).items()
    }
    days = {name: (each.closes - each.opens) // 86_400_000 for name, each in found.items()}
    assert days == {"day": 1, "week": 7, "month": 31, "two": 59, "quarter": 90}


def test_two_must_have_walked_where_two_are_asked():
    """Everything visited by one alone is incomplete; a read of nobody in particular is no second
    person."""
    plans = registry(more=", people: 2")
    first = replace(visit("a", at("15T22:10")), person="p1")
    second = visit("b", at("15T22:20"))
    standing = {
        person: round_of([first, replace(second, person=person)], plans).verdict
        for person in ("p1", "p2", None)
    }
    assert standing == {"p1": "incomplete", "p2": "completed", None: "incomplete"}


def test_a_place_may_be_asked_twice_and_another_not_at_all():
    """`visits: 2` wants two visits of the round; an optional place is never missing, but who read
    there has come."""
    route = registry().sites["s1"].plans[0]
    assert route.visits == {"a": 1, "b": 1}
    text = REGISTRY.replace(
        "[a, b]", "[{checkpoint: a, visits: 2}, {checkpoint: b, optional: true}]"
    )
    plans = read_registry(text % {"windows": '"22:00-23:00"', "zone": "Asia/Shanghai", "more": ""})
    once, again = visit("a", at("15T22:10")), visit("a", at("15T22:20"))
    assert round_of([once], plans).missing == ("a",)
    assert round_of([once, again], plans).verdict == "completed"
    seen = round_of([visit("b", at("15T22:10"))], plans)
    assert (seen.verdict, seen.missing, seen.expected) == ("incomplete", ("a",), 1)
