"""A naive reading of the registry file: which rounds and gaps its plans owe, and when.

Written apart from the service on purpose: no shared code, and where the service computes, this
tries out. Windows: contract section 6; the file's format: section 7. All instants are ms UTC.
"""

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import chinese_calendar  # type: ignore[import-untyped]  # ships no annotations
import yaml

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SPAN = re.compile(r"^(\d+(?:ms|s|m|h|d))+$")
_WINDOW = re.compile(r"^(\d\d):(\d\d)-(\d\d):(\d\d)$")


class PlanError(ValueError):
    """The registry file cannot be read the naive way; the message names the place."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A place and the tags that stand for it; `proof` where a bare number does not suffice."""

    id: str
    name: str
    tags: tuple[str, ...]
    proof: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a plan asks; times in ms. `every` makes it a gap plan, `per` a quota of such periods.

    `visits`: how often each place of the route must be visited; places that may be left out are
    asked 0 times. `people`: how many must have walked. `apart`: reads nearer are one visit.
    """

    id: str
    route: tuple[str, ...]
    visits: Mapping[str, int]
    people: int
    apart: int
    per: str | None
    windows: tuple[str, ...]
    days: frozenset[str] | None
    grace: int
    early: int
    every: int | None


@dataclass(frozen=True, kw_only=True)
class Site:
    """One school with its places, its own devices and its plans."""

    id: str
    name: str
    zone: ZoneInfo
    checkpoints: Mapping[str, Checkpoint]
    devices: tuple[str, ...]
    plans: tuple[Plan, ...]


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The file as far as verdicts need it. `beats`: device -> heartbeat in ms, where one is set."""

    calendar: str
    terms: tuple[tuple[dt.date, dt.date], ...]
    sites: Mapping[str, Site]
    roaming: tuple[str, ...]
    beats: Mapping[str, int]
    badges: Mapping[str, str]
    people: tuple[str, ...]

    def home(self, device: str) -> str | None:
        """The site a device belongs to; None for a roaming or an unknown one."""
        return next((s.id for s in self.sites.values() if device in s.devices), None)


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """One window of one plan on one day: `[opens, closes)`, judged at `due`."""

    site: str
    plan: Plan
    opens: int
    closes: int

    @property
    def due(self) -> int:
        """When what is not there is missed."""
        return self.closes + self.plan.grace

    @property
    def id(self) -> str:
        """The round's id, as the contract spells it."""
        return f"{self.site}/{self.plan.id}/{utc_text(self.opens)}"


def utc_text(instant: int) -> str:
    """An instant as ids show it: `2026-09-01T14:00:00Z` (with milliseconds where there are any)."""
    moment = dt.datetime.fromtimestamp(instant // 1000, dt.UTC)
    rest = f".{instant % 1000:03d}" if instant % 1000 else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{rest}Z"


def span_ms(text: object, where: str) -> int:
    """`5m`, `1h30m`, `20s` as milliseconds."""
    if not isinstance(text, str) or not _SPAN.match(text):
        raise PlanError(f"{where}: {text!r} is no length of time; write 20s, 5m, 1h30m or 1d")
    return sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)(ms|s|m|h|d)", text))


def read_registry(text: str) -> Registry:
    """Read the registry file; raises `PlanError` where a needed part is missing."""
    raw = yaml.safe_load(text)
    if not isinstance(raw, dict):
        raise PlanError("the registry file is no mapping; it starts with `calendar:` or `sites:`")
    sites = [_site(entry) for entry in raw.get("sites") or ()]
    handhelds = [d for entry in raw.get("sites") or () for d in entry.get("devices") or ()]
    roaming = list(raw.get("devices") or ())
    return Registry(
        calendar=str(raw.get("calendar", "cn")),
        terms=tuple((term["from"], term["to"]) for term in raw.get("terms") or ()),
        sites={site.id: site for site in sites},
        roaming=tuple(str(device["id"]) for device in roaming),
        beats={
            str(device["id"]): span_ms(device["heartbeat"], str(device["id"]))
            for device in [*handhelds, *roaming]
            if "heartbeat" in device
        },
        badges={p["id"]: p["tags"][0] for p in raw.get("people") or () if p.get("tags")},
        people=tuple(str(p["id"]) for p in raw.get("people") or ()),
    )


def occasions(registry: Registry, since: int, until: int) -> list[Occasion]:
    """Every window that opens in `(since, until)`, once each, by opening."""
    found: dict[str, Occasion] = {}
    for site in registry.sites.values():
        for day in _days(site.zone, since, until):
            for occasion in _of_day(registry, site, day):
                if since < occasion.opens < until:
                    found.setdefault(occasion.id, occasion)
    return sorted(found.values(), key=lambda o: (o.opens, o.id))


def day_classes(registry: Registry, day: dt.date) -> frozenset[str]:
    """What kind of day it is: make-up school days count as school days too."""
    if registry.calendar == "every-day":
        return frozenset({"school-day"})
    try:
        works = chinese_calendar.is_workday(day)
        _, feast = chinese_calendar.get_holiday_detail(day)
    except NotImplementedError as error:
        raise PlanError(f"no calendar for {day.year}: play the scenario in another year") from error
    if registry.terms and not any(first <= day <= last for first, last in registry.terms):
        return frozenset({"vacation"})
    if not works and feast:
        return frozenset({"holiday"})
    if not works:
        return frozenset({"weekend"})
    return frozenset({"school-day", "makeup-day"} if day.weekday() >= 5 else {"school-day"})


def _of_day(registry: Registry, site: Site, day: dt.date) -> Iterator[Occasion]:
    for plan in site.plans:
        if plan.days is not None and not plan.days & day_classes(registry, day):
            continue
        if plan.per is not None and day == period(plan.per, day)[0]:
            opens, closes = (_midnight(site.zone, edge) for edge in period(plan.per, day))
            yield Occasion(site=site.id, plan=plan, opens=opens, closes=closes)
        for window in plan.windows:
            opens, closes = _window(site.zone, day, window)
            if opens < closes:  # a jump of the clock can swallow a window whole
                yield Occasion(site=site.id, plan=plan, opens=opens, closes=closes)


def period(per: str, day: dt.date) -> tuple[dt.date, dt.date]:
    """The first day of the period that `day` is in, and of the one after it.

    Found by walking: a day is in the same period as the next one until the calendar turns a leaf.
    """

    def leaf(when: dt.date) -> object:
        months = {"month": 1, "two-months": 2, "quarter": 3}
        if per == "day":
            return when
        if per == "week":
            return when.isocalendar()[:2]
        return when.year, (when.month - 1) // months[per]

    one = dt.timedelta(days=1)
    first = last = day
    while leaf(first - one) == leaf(day):
        first -= one
    while leaf(last) == leaf(day):
        last += one
    return first, last


def _midnight(zone: ZoneInfo, day: dt.date) -> int:
    return occurrences(zone, dt.datetime.combine(day, dt.time()))[0]


def _window(zone: ZoneInfo, day: dt.date, window: str) -> tuple[int, int]:
    match = _WINDOW.match(window)
    if not match:
        raise PlanError(f'{window!r} is no window; write "22:00-23:00"')
    begin, end = (int(h) * 60 + int(m) for h, m in (match.group(1, 2), match.group(3, 4)))
    if end <= begin:
        end += 24 * 60
    midnight = dt.datetime.combine(day, dt.time())
    first = occurrences(zone, midnight + dt.timedelta(minutes=begin))[0]
    last = occurrences(zone, midnight + dt.timedelta(minutes=end))[-1]
    return first, last


def occurrences(zone: ZoneInfo, wall: dt.datetime) -> list[int]:
    """Every instant (ms) at which a clock on the wall there shows `wall`.

    Found by trying every quarter of an hour around it, so that no rule about folds is needed;
    where the time does not exist, the first minute that shows a later one.
    """
    guess = round(wall.replace(tzinfo=zone).timestamp()) // 60 * 60
    around = 4 * 3600

    def face(at: int) -> dt.datetime:
        return dt.datetime.fromtimestamp(at, zone).replace(tzinfo=None)

    exact = [at for at in range(guess - around, guess + around, 15 * 60) if face(at) == wall]
    if not exact:
        exact = [next(at for at in range(guess - around, guess + around, 60) if face(at) > wall)]
    return [at * 1000 for at in exact]


def _days(zone: ZoneInfo, since: int, until: int) -> Iterator[dt.date]:
    day = dt.datetime.fromtimestamp(since / 1000, zone).date() - dt.timedelta(days=1)
    last = dt.datetime.fromtimestamp(until / 1000, zone).date() + dt.timedelta(days=1)
    while day <= last:
        yield day
        day += dt.timedelta(days=1)


def _site(raw: Mapping[str, Any]) -> Site:
    checkpoints = [
        Checkpoint(
            id=c["id"],
            name=str(c.get("name", c["id"])),
            tags=tuple(c.get("tags") or ()),
            proof=c.get("proof"),
        )
        for c in raw.get("checkpoints") or ()
    ]
    return Site(
        id=raw["id"],
        name=str(raw.get("name", raw["id"])),
        zone=ZoneInfo(raw.get("timezone", "Asia/Shanghai")),
        checkpoints={checkpoint.id: checkpoint for checkpoint in checkpoints},
        devices=tuple(str(device["id"]) for device in raw.get("devices") or ()),
        plans=tuple(_plan(plan, raw["id"]) for plan in raw.get("plans") or ()),
    )


def _plan(raw: Mapping[str, Any], site: str) -> Plan:
    where = f"{site}/{raw.get('id')}"
    days: Sequence[str] | None = raw.get("days")
    quota: Mapping[str, Any] | None = raw.get("quota")
    if quota is not None and days is not None:
        raise PlanError(f"{where}: a quota of some days only is not read here; leave `days` out")
    stops = [stop if isinstance(stop, dict) else {"checkpoint": stop} for stop in raw["route"]]
    usual = 1 if quota is None else int(quota.get("visits", 1))
    return Plan(
        id=raw["id"],
        route=tuple(stop["checkpoint"] for stop in stops),
        visits={
            stop["checkpoint"]: 0 if stop.get("optional") else int(stop.get("visits", usual))
            for stop in stops
        },
        people=int(raw.get("people", 1)),
        apart=span_ms(raw.get("apart", "1m"), where),
        per=None if quota is None else str(quota["per"]),
        windows=tuple(raw.get("windows") or ()),
        days=None if days is None else frozenset(days),
        grace=span_ms(raw.get("grace", "0s"), where),
        early=span_ms(raw.get("early", "0s"), where),
        every=span_ms(raw["every"], where) if "every" in raw else None,
    )
