"""What kind of day a date is: school day, make-up day, weekend, holiday, vacation.

Exactly one of `school-day weekend holiday vacation` holds for a date; a make-up workday (调休) is
a school day and a `makeup-day`. Outside the terms everything is vacation, its weekends and
holidays too, so that a plan for the term does not fire on single days of the vacation.
`exam` and `sensitive` come on top, once a bureau's table says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Any, Self

from chinese_calendar import Holiday  # type: ignore[import-untyped]  # ships no types
from chinese_calendar.constants import (  # type: ignore[import-untyped]  # ships no types
    holidays as _holidays,
)
from chinese_calendar.constants import (
    workdays as _makeup_days,
)

KNOWN_YEARS = range(min(_holidays).year, max(_holidays).year + 1)
"""Years of which the State Council's notice is in chinesecalendar."""

_SATURDAY = 5


class DayClass(StrEnum):
    """Classes that a plan's `days` may name (contract §7)."""

    SCHOOL_DAY = "school-day"
    MAKEUP_DAY = "makeup-day"
    WEEKEND = "weekend"
    HOLIDAY = "holiday"
    VACATION = "vacation"
    EXAM = "exam"
    SENSITIVE = "sensitive"


class Base(StrEnum):
    """Where day classes come from before terms are laid over them."""

    CN = "cn"
    EVERY_DAY = "every-day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """The classes of one date, and why, in a few words of English and Chinese.

    `known` is false where the calendar has no data for the year and plain weekdays were used.
    """

    date: date
    classes: frozenset[DayClass]
    known: bool
    why: str
    why_zh: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A term: the dates [since, until], both of them in it."""

    since: date
    until: date

    def __post_init__(self) -> None:
        if self.until < self.since:
            raise ValueError(
                f"a term from {self.since} to {self.until} ends before it begins: swap the dates"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Day classes of a site. `terms` None: it is always term; an empty tuple: never."""

    base: Base
    terms: tuple[Term, ...] | None = None

    def day(self, when: date) -> Day:
        """The classes of `when`, a date in the site's time zone."""
        return _day(self.base, self.terms, when)

    def to_json(self) -> dict[str, Any]:
        """`{"base", "terms"}`, dates as ISO 8601; what `from_json` reads."""
        terms = self.terms and [
            {"from": term.since.isoformat(), "to": term.until.isoformat()} for term in self.terms
        ]
        return {"base": self.base.value, "terms": None if self.terms is None else list(terms or ())}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The calendar that `to_json` wrote. Raises KeyError or ValueError for anything else."""
        terms = document["terms"]
        return cls(
            base=Base(document["base"]),
            terms=None
            if terms is None
            else tuple(
                Term(since=date.fromisoformat(term["from"]), until=date.fromisoformat(term["to"]))
                for term in terms
            ),
        )


@lru_cache(maxsize=16_384)
def _day(base: Base, terms: tuple[Term, ...] | None, when: date) -> Day:
    """Cached: a district asks for the same few dates once a plan and site."""
    if terms is not None and not any(term.since <= when <= term.until for term in terms):
        return _one(when, DayClass.VACATION, "outside the terms", "学期之外")
    if base is Base.EVERY_DAY:
        return _one(when, DayClass.SCHOOL_DAY, "every day is a school day", "每天都是上课日")
    if when.year not in KNOWN_YEARS:
        return _by_weekday(when, known=False)
    if when in _makeup_days:
        zh, en = _names(_makeup_days[when])
        return Day(
            date=when,
            classes=frozenset({DayClass.SCHOOL_DAY, DayClass.MAKEUP_DAY}),
            known=True,
            why=f"make-up workday for {en}",
            why_zh=f"{zh}调休上班",
        )
    if when in _holidays:
        zh, en = _names(_holidays[when])
        return _one(when, DayClass.HOLIDAY, en, f"{zh}放假")
    return _by_weekday(when, known=True)


def _one(when: date, kind: DayClass, why: str, why_zh: str, *, known: bool = True) -> Day:
    return Day(date=when, classes=frozenset({kind}), known=known, why=why, why_zh=why_zh)


def _by_weekday(when: date, *, known: bool) -> Day:
    if when.weekday() >= _SATURDAY:
        kind, why, why_zh = DayClass.WEEKEND, "weekend", "周末"
    else:
        kind, why, why_zh = DayClass.SCHOOL_DAY, "workday", "工作日"
    if not known:
        why = f"{why} by the weekday alone: no holidays known for {when.year}"
        why_zh = f"仅按星期判断为{why_zh}：没有{when.year}年的放假安排"
    return _one(when, kind, why, why_zh, known=known)


def _names(english: str) -> tuple[str, str]:
    return Holiday(english).chinese, english
