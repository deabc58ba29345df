"""The rounds a plan would owe as an iCalendar file, for whoever's telephone shows the duty."""

from collections.abc import Iterable

from icalendar import Calendar, Event

from desk.plans import Previewed
from desk.times import aware
from devices.ids import Instant
from rules.daytables import DayClass
from rules.plans import WindowDay
from rules.promises import Obligation
from rules.words import DAYS


def exported(found: Previewed, days: Iterable[WindowDay], now: Instant, *, zh: bool) -> bytes:
    """One event a window, whatever it owes; a round keeps its id as the event's."""
    calendar = Calendar()
    calendar.add("prodid", "-//Gridbeat//plan preview//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", f"{found.plan.site} {found.plan.name}")
    for day in days:
        by_window: dict[Instant, list[Obligation]] = {}
        for promise in day.owed:
            by_window.setdefault(promise.opens, []).append(promise)
        for owing in by_window.values():
            calendar.add_component(_event(found, day, owing, now, zh=zh))
    return bytes(calendar.to_ical())


def _event(
    found: Previewed, day: WindowDay, owing: list[Obligation], now: Instant, *, zh: bool
) -> Event:
    first = owing[0]
    event = Event()
    event.add("uid", f"{first.key}@gridbeat")
    event.add("dtstamp", aware(now, None))
    event.add("dtstart", aware(first.opens, None))
    event.add("dtend", aware(first.closes, None))
    event.add("summary", found.plan.name)
    event.add("location", found.plan.site)
    event.add("description", "\n".join(_described(found, day, owing, zh=zh)))
    excuse = found.excuse(first)
    event.add("status", "CANCELLED" if excuse is not None else "CONFIRMED")
    event.add("categories", [DAYS[kind].zh if zh else DAYS[kind].en for kind in _classes(day)])
    return event


def _classes(day: WindowDay) -> list[DayClass]:
    return sorted(day.day.classes)


def _described(
    found: Previewed, day: WindowDay, owing: list[Obligation], *, zh: bool
) -> Iterable[str]:
    names = dict.fromkeys(found.plan.name_of(slug) for one in owing for slug in one.expected)
    yield ("、" if zh else ", ").join(names)
    yield day.day.why_zh if zh else day.day.why
    yield from (profile.name for profile in found.held(day.day.date))
    excuse = found.excuse(owing[0])
    if excuse is not None:
        words = f"已免责：{excuse.reason}（{excuse.author}）"
        yield words if zh else f"excused: {excuse.reason} ({excuse.author})"
