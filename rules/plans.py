"""Plans, and what they owe: windows on days of a calendar, in the site's own time.

A window belongs to the day on which it opens. `opens` is the first occurrence of its wall time,
`closes` the last; a wall time that does not exist is the first instant after the jump. An empty
window is not owed, and none is owed twice (contract §6).
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from devices.ids import Instant
from rules.calendar import Calendar, Day, DayClass
from rules.periods import Times
from rules.promises import (
    APART_MS,
    EPOCH,
    Gap,
    Obligation,
    Quota,
    Round,
    Terms,
    gap_key,
    round_key,
)

_MIDNIGHT = time(0, 0)
_DAY = timedelta(days=1)
_MS = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)

_window = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Wall times [opens, closes) of the site; `closes` not after `opens` is on the next day.

    Midnight as an end is 24:00 of the day, so a whole day is `00:00-24:00`.
    """

    opens: time
    closes: time

    def __post_init__(self) -> None:
        if self.opens == self.closes != _MIDNIGHT:
            raise ValueError(
                f"the window {self} is empty: write another end, or 00:00-24:00 for a whole day"
            )

    def __str__(self) -> str:
        closes = "24:00" if self.closes == _MIDNIGHT else f"{self.closes:%H:%M}"
        return f"{self.opens:%H:%M}-{closes}"

    @property
    def overnight(self) -> bool:
        """Whether it closes on the date after the one on which it opens."""
        return self.closes <= self.opens

    @classmethod
    def parse(cls, text: str) -> Self:
        """The window of `22:00-23:00`, `22:00-06:00`, `00:00-24:00`. Raises ValueError."""
        found = _window(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is no window: write 22:00-23:00, or 22:00-06:00 overnight")
        hour, minute, end_hour, end_minute = map(int, found.groups())
        if (end_hour, end_minute) == (24, 0):
            end_hour = 0
        elif (end_hour, end_minute) == (0, 0) == (hour, minute):
            raise ValueError(f"the window {text} is empty: a whole day is 00:00-24:00")
        try:
            return cls(opens=time(hour, minute), closes=time(end_hour, end_minute))
        except ValueError as error:
            raise ValueError(f"{text!r} is no window: {error}") from error


class PlanCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint as the plan knew it: the names that a verdict is explained with.

    `visits` None: once, or as often as the quota says. `optional`: it need not be visited.
    """

    slug: str
    name: str
    area: str | None = None
    leader: str | None = None
    risk: str | None = None
    proof: str | None = None
    visits: int | None = None
    optional: bool = False

    def to_json(self) -> dict[str, Any]:
        """Its values; what came later only where it is said, so that old digests stay."""
        always = ("slug", "name", "area", "leader", "risk", "proof")
        said = {"visits": self.visits, "optional": self.optional}
        return {
            **{name: getattr(self, name) for name in always},
            **{name: value for name, value in said.items() if value},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One version of a plan. Spans of time (`grace`, `early`, `min_gap`, `every`, …) in ms.

    `days` None: every day. With `every` the longest gap at each checkpoint; with `quota` so many
    visits in each period, which is its window; else rounds. `people`: how many must walk one.
    `profiles`: the special periods that made it another one for some days (`rules.profiles`).
    `max_gap`: the longest pause on the way, 0 for any. `apart`: how far apart two visits of a
    checkpoint must be to count as two.
    Raises ValueError, with the remedy, for a plan that could owe nothing or contradicts itself.
    """

    site: str
    slug: str
    name: str
    timezone: str
    route: tuple[PlanCheckpoint, ...]
    ordered: bool = False
    days: frozenset[DayClass] | None = None
    windows: tuple[Window, ...]
    grace: int = 0
    early: int = 0
    min_gap: int = 0
    every: int | None = None
    people: int = 1
    max_gap: int = 0
    apart: int = APART_MS
    quota: Times | None = None
    profiles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        zone(self.timezone)
        if all(checkpoint.optional for checkpoint in self.route):
            raise ValueError(f"plan {self.slug} has no route: name at least one checkpoint")
        if not self.windows and self.quota is None:
            raise ValueError(f"plan {self.slug} has no windows: name at least one")
        for text in contradictions(self):
            raise ValueError(f"plan {self.slug} {text}")
        if self.days is not None and not self.days:
            raise ValueError(f"plan {self.slug} has no days: name some, or leave `days` out")
        if len({window.opens for window in self.windows}) < len(self.windows):
            raise ValueError(f"two windows of plan {self.slug} open at the same time: keep one")
        if min(self.grace, self.early, self.min_gap, self.max_gap, self.apart) < 0:
            raise ValueError(f"a span of time of plan {self.slug} is negative")
        if self.every is not None and self.every <= 0:
            raise ValueError(f"`every` of plan {self.slug} must be longer than nothing")

    @property
    def proof(self) -> frozenset[str]:
        """The checkpoints where a read must prove that somebody stood there."""
        return frozenset(point.slug for point in self.route if point.proof is not None)

    def terms(self) -> tuple[Terms, ...]:
        """What one window owes: a round, a quota, or a gap for each checkpoint of the route."""
        slugs = tuple(checkpoint.slug for checkpoint in self.route)
        if self.every is not None:
            return tuple(
                Gap(checkpoint=slug, every=self.every, grace=self.grace)
                for slug in dict.fromkeys(slugs)
            )
        if self.quota is not None:
            asked = tuple((point.slug, point.visits or self.quota.visits) for point in self.route)
            return (Quota(visits=asked, apart=self.apart),)
        return (
            Round(
                route=slugs,
                ordered=self.ordered,
                min_gap=self.min_gap,
                max_gap=self.max_gap,
                visits=tuple(
                    (p.slug, p.visits) for p in self.route if p.visits is not None and p.visits > 1
                ),
                optional=frozenset(p.slug for p in self.route if p.optional),
                people=self.people,
                apart=self.apart,
            ),
        )

    def name_of(self, checkpoint: str) -> str:
        """The name of a checkpoint of the route; its slug where the route does not have it."""
        names = (found.name for found in self.route if found.slug == checkpoint)
        return next(names, checkpoint)

    def answers(self, checkpoints: Iterable[str]) -> str | None:
        """Who answers for what is owed at these: the leader of the first one that has one.

        As this version of the plan knows it: another leader is another version, and what has
        opened by then stays the former one's.
        """
        leaders = {point.slug: point.leader for point in self.route}
        return next((found for slug in checkpoints if (found := leaders.get(slug))), None)

    def applies(self, day: Day) -> bool:
        """Whether the plan has its windows on `day`."""
        return self.days is None or not self.days.isdisjoint(day.classes)

    def to_json(self) -> dict[str, Any]:
        """The snapshot that rounds owed by this version share; `from_json` reads it back."""
        return {
            "site": self.site,
            "slug": self.slug,
            "name": self.name,
            "timezone": self.timezone,
            "route": [checkpoint.to_json() for checkpoint in self.route],
            "ordered": self.ordered,
            "days": None if self.days is None else sorted(self.days),
            "windows": [str(window) for window in self.windows],
            "grace": self.grace,
            "early": self.early,
            "min_gap": self.min_gap,
            "every": self.every,
            **self._said_later(),
        }

    def _said_later(self) -> dict[str, Any]:
        """Options that the first snapshots did not know: only where they say something."""
        said: dict[str, tuple[Any, Any]] = {
            "people": (self.people, 1),
            "max_gap": (self.max_gap, 0),
            "apart": (self.apart, APART_MS),
            "quota": (self.quota and self.quota.to_json(), None),
            "profiles": (list(self.profiles), []),
        }
        return {name: value for name, (value, usual) in said.items() if value != usual}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The plan that `to_json` wrote. Raises KeyError, TypeError or ValueError otherwise."""
        days = document["days"]
        read = {
            "route": msgspec.convert(document["route"], tuple[PlanCheckpoint, ...]),
            "days": None if days is None else frozenset(map(DayClass, days)),
            "windows": tuple(map(_parsed, document["windows"])),
            "quota": Times.from_json(document["quota"]) if document.get("quota") else None,
            "profiles": tuple(document.get("profiles", ())),
        }
        return cls(**{**document, **read})

    def digest(self) -> str:
        """SHA-256, in hex, of the snapshot's canonical JSON: equal plans have equal digests."""
        text = json.dumps(self.to_json(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=4_096)
def _parsed(text: str) -> Window:
    """Cached: the schools of a district share most of their windows."""
    return Window.parse(text)


def contradictions(plan: Plan) -> Iterator[str]:
    """What a plan asks that does not go together, each with the remedy."""
    asked = [name for name in ("every", "quota") if getattr(plan, name) is not None]
    if len(asked) > 1:
        yield "has `every` and `quota`: make it two plans"
    if plan.people < 1 or any((point.visits or 1) < 1 for point in plan.route):
        yield "asks for fewer than one visit or person: write 1 or more"
    if asked:
        never = {"people": plan.people > 1, "max_gap": plan.max_gap > 0, "ordered": plan.ordered}
        never["optional"] = any(point.optional for point in plan.route)
        never["visits"] = plan.every is not None and any(point.visits for point in plan.route)
        for name, said in never.items():
            if said:
                yield f"has `{asked[0]}`, which knows no `{name}`: take it out"
    if plan.quota is not None and plan.windows:
        yield "has `quota`, whose window is its whole period: take `windows` out"
    if plan.quota is not None and plan.early:
        yield "has `quota`, whose periods follow each other: take `early` out"
    if plan.max_gap and plan.max_gap < plan.min_gap:
        yield "has a `max_gap` shorter than its `min_gap`: make it longer"


class Span(NamedTuple):
    """[opens, closes) of a window on a day, as instants; empty where they are equal.

    `scored` false: the plan asks for the class of that day, and nobody has told it.
    """

    opens: Instant
    closes: Instant
    scored: bool = True


class _Window(NamedTuple):
    """A window of a plan, the date to which it belongs, and the plan as it is on that date."""

    span: Span
    day: date
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDay:
    """One day of a preview: its class and why, and what opens on it (nothing, or in order)."""

    day: Day
    owed: tuple[Obligation, ...]


OnDate = Callable[[date], Plan]
"""The plan as it is on a date: special periods change it for some days."""


def owed(
    plan: Plan, calendar: Calendar, since: Instant, until: Instant, on: OnDate | None = None
) -> Iterator[Obligation]:
    """The obligations that open in (since, until], by opens, then by the order of the route.

    A function of the span alone: cut into pieces, it owes the same.
    """
    if until <= since:
        return
    tz = zone(plan.timezone)
    first = _local(since, tz).date()
    # One day more: where clocks are set back across midnight, a later instant has an earlier date.
    last = _local(until, tz).date() + _DAY
    found = _spans(plan, calendar, (first, last), on)
    asked: dict[int, _Asked] = {}  # by each plan that special periods make of this one
    for opens in sorted(found):
        if since < opens <= until:
            changed, span = found[opens].plan, found[opens].span
            if id(changed) not in asked:
                asked[id(changed)] = _Asked(changed.terms(), changed.proof)
            yield from _obligations(changed, span, asked[id(changed)])


def window_days(
    plan: Plan, calendar: Calendar, first: date, days: int, on: OnDate | None = None
) -> Iterator[WindowDay]:
    """What the plan would owe on `days` dates from `first` on, for a preview."""
    last = first + (days - 1) * _DAY
    found = _spans(plan, calendar, (first, last), on)
    for ahead in range(days):
        when = first + ahead * _DAY
        windows = (found[opens] for opens in sorted(found) if found[opens].day == when)
        owing = tuple(
            owed
            for window in windows
            for owed in _obligations(
                window.plan, window.span, _Asked(window.plan.terms(), window.plan.proof)
            )
        )
        yield WindowDay(day=calendar.day(when), owed=owing)


def unknown_years(
    plan: Plan, calendar: Calendar, since: Instant, until: Instant
) -> tuple[int, ...]:
    """Years of (since, until] for which the plan needs day classes and the calendar has none."""
    if plan.days is None:
        return ()
    tz = zone(plan.timezone)
    first, last = _local(since, tz).date(), _local(until, tz).date()
    days = (first + ahead * _DAY for ahead in range((last - first).days + 1))
    return tuple(sorted({when.year for when in days if not calendar.day(when).known}))


def years_asked(plan: Plan, calendar: Calendar, years: Iterable[int]) -> tuple[int, ...]:
    """Those of `years` for which the plan needs day classes and the calendar has none."""
    if plan.days is None:
        return ()
    return tuple(year for year in years if not calendar.knows(year))


def zone(name: str) -> ZoneInfo:
    """The IANA time zone of that name. Raises ValueError where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone: write one as Asia/Shanghai") from error


class _Asked(NamedTuple):
    """What each window of a plan asks."""

    terms: tuple[Terms, ...]
    proof: frozenset[str]


def _obligations(plan: Plan, span: Span, asked: _Asked) -> Iterator[Obligation]:
    for term in asked.terms:
        key = (
            gap_key(plan.site, plan.slug, span.opens, term.checkpoint)
            if isinstance(term, Gap)
            else round_key(plan.site, plan.slug, span.opens)
        )
        yield Obligation(
            key=key,
            site=plan.site,
            plan=plan.slug,
            terms=term,
            opens=span.opens,
            closes=span.closes,
            due=span.closes + plan.grace,
            early=plan.early,
            scored=span.scored,
            profiles=plan.profiles,
            proof=asked.proof,
        )


def _spans(
    plan: Plan, calendar: Calendar, days: tuple[date, date], on: OnDate | None
) -> dict[Instant, _Window]:
    """The windows, or periods of a quota, of the days [first, last], by when they open."""
    told = on or (lambda _: plan)
    if plan.quota is None:
        return _windows(plan, calendar, days, told)
    return _periods(plan, plan.quota, calendar, days, told)


def _periods(
    plan: Plan, quota: Times, calendar: Calendar, span_of: tuple[date, date], on: OnDate
) -> dict[Instant, _Window]:
    """The periods that begin on the days [first, last]: from midnight to midnight.

    Both midnights are the first of their kind, so that each instant is in one period. One of
    which no day is of the plan's is not owed.
    """
    found: dict[Instant, _Window] = {}
    first, last = span_of
    begins = quota.period(first)[0]
    while begins <= last:
        begun, begins = quota.period(begins)
        if begun < first:
            continue
        days = [] if plan.days is None else [calendar.day(when) for when in _until(begun, begins)]
        span = Span(
            midnight(plan.timezone, begun),
            midnight(plan.timezone, begins),
            all(day.known for day in days),
        )
        if span.closes > span.opens and (not days or any(plan.applies(day) for day in days)):
            found[span.opens] = _Window(span, begun, on(begun))
    return found


def _until(first: date, end: date) -> Iterator[date]:
    return (first + ahead * _DAY for ahead in range((end - first).days))


@lru_cache(maxsize=4_096)
def midnight(timezone: str, when: date) -> Instant:
    """The first instant of a date in a zone."""
    return _instant(datetime.combine(when, _MIDNIGHT), zone(timezone), fold=0)


def _windows(
    plan: Plan, calendar: Calendar, days: tuple[date, date], on: OnDate
) -> dict[Instant, _Window]:
    """The windows of the days [first, last], by when they open.

    Two wall times that a jump puts on one instant would be one round owed twice: the window that
    closes last is kept, so that nobody is late for the shorter one.
    """
    found: dict[Instant, _Window] = {}
    when, last = days
    while when <= last:
        today = on(when)
        day = None if plan.days is None else calendar.day(when)
        if day is None or plan.applies(day):
            for window in today.windows:
                opens, closes, _ = _span(plan.timezone, when, window)
                if closes > opens and (opens not in found or closes > found[opens].span.closes):
                    scored = day is None or day.known
                    found[opens] = _Window(Span(opens, closes, scored), when, today)
        when += _DAY
    return found


@lru_cache(maxsize=16_384)
def _span(timezone: str, when: date, window: Window) -> Span:
    """Cached: the schools of a district share their zone and most of their windows."""
    tz = zone(timezone)
    closes_on = when + _DAY if window.overnight else when
    return Span(
        _instant(datetime.combine(when, window.opens), tz, fold=0),
        _instant(datetime.combine(closes_on, window.closes), tz, fold=1),
    )


def _instant(wall: datetime, tz: ZoneInfo, *, fold: int) -> Instant:
    """The first (fold 0) or last (fold 1) instant at which clocks in `tz` show `wall`.

    Where they never do, the first instant after the jump. In a gap, and only there, the offset
    for fold 1 is the greater one (PEP 495).
    """
    aware = wall.replace(tzinfo=tz)
    before, after = aware.utcoffset(), aware.replace(fold=1).utcoffset()
    if before is None or after is None:
        raise ValueError(f"the zone {tz} has no offset at {wall}")
    if after > before:
        return _jump(wall, tz, before, after)
    return _ms(wall.replace(tzinfo=EPOCH.tzinfo) - (after if fold else before))


def _jump(wall: datetime, tz: ZoneInfo, before: timedelta, after: timedelta) -> Instant:
    """The instant of the jump that skips `wall`: bisected, to the second."""
    naive = wall.replace(tzinfo=EPOCH.tzinfo)
    low, high = naive - after, naive - before
    while high - low > _SECOND:
        middle = low + (high - low) // 2 // _SECOND * _SECOND
        if middle.astimezone(tz).utcoffset() == after:
            high = middle
        else:
            low = middle
    return _ms(high)


def _ms(moment: datetime) -> Instant:
    return (moment - EPOCH) // _MS


def _local(at: Instant, tz: ZoneInfo) -> datetime:
    return (EPOCH + timedelta(milliseconds=at)).astimezone(tz)
