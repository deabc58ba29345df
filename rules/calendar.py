"""What kind of day a date is: school day, make-up day, weekend, holiday, vacation.

Exactly one of `school-day weekend holiday vacation` holds for a date; a make-up workday (调休) is
a school day and a `makeup-day`. Outside the terms everything is vacation, its weekends and
holidays too, so that a plan for the term does not fire on single days of the vacation.
`exam` and `sensitive` come on top, where a bureau's table says so.

What counts, the first that has a word to say: a school day or vacation of a bureau's table; the
terms; a holiday, weekend or make-up day of a table; chinesecalendar; the weekday.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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

from rules.daytables import DayClass, DayRow, DayTable, DayTables, digest

__all__ = ["KNOWN_YEARS", "Base", "Calendar", "Day", "DayClass", "Term"]

KNOWN_YEARS = range(min(_holidays).year, max(_holidays).year + 1)
"""Years of which the State Council's notice is in chinesecalendar."""

_SATURDAY = 5
_ABOVE_TERMS = (DayClass.SCHOOL_DAY, DayClass.VACATION)
_WITHIN_TERMS = (DayClass.HOLIDAY, DayClass.WEEKEND, DayClass.MAKEUP_DAY)


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
    """Day classes of a site. `terms` None: it is always term; an empty tuple: never.

    `tables`: the bureau's own, whose terms are added to `terms`; None where there are none.
    """

    base: Base
    terms: tuple[Term, ...] | None = None
    tables: DayTables | None = None

    def day(self, when: date) -> Day:
        """The classes of `when`, a date in the site's time zone."""
        return _day(self.base, self.terms, self.tables, when)

    def knows(self, year: int) -> bool:
        """Whether the days off and make-up days of `year` are known."""
        told = self.tables is not None and year in self.tables.covers
        return told or self.base is Base.EVERY_DAY or year in KNOWN_YEARS

    def with_tables(self, tables: Iterable[DayTable]) -> Self:
        """The same calendar with a bureau's tables laid over it."""
        over = DayTables(tables)
        return replace(self, tables=over if over.tables else None)

    def digest(self) -> str:
        """SHA-256, in hex, of what `to_json` writes: equal calendars have equal digests."""
        return _digest(self)

    def to_json(self) -> dict[str, Any]:
        """`{"base", "terms"}`, `tables` where there are any; dates as ISO 8601."""
        terms = self.terms and [
            {"from": term.since.isoformat(), "to": term.until.isoformat()} for term in self.terms
        ]
        over = {} if self.tables is None else {"tables": [t.to_json() for t in self.tables.tables]}
        told = None if self.terms is None else list(terms or ())
        return {"base": self.base.value, "terms": told, **over}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The calendar that `to_json` wrote. Raises KeyError or ValueError for anything else."""
        terms = document["terms"]
        tables = tuple(map(DayTable.from_json, document.get("tables", ())))
        return cls(
            base=Base(document["base"]),
            terms=None
            if terms is None
            else tuple(
                Term(since=date.fromisoformat(term["from"]), until=date.fromisoformat(term["to"]))
                for term in terms
            ),
            tables=DayTables(tables) if tables else None,
        )


@lru_cache(maxsize=1_024)
def _digest(calendar: Calendar) -> str:
    return digest(calendar.to_json())


@lru_cache(maxsize=16_384)
def _day(base: Base, terms: tuple[Term, ...] | None, tables: DayTables | None, when: date) -> Day:
    """Cached: a district asks for the same few dates once a plan and site."""
    if tables is None:
        return _plain(base, terms, when, known=base is Base.EVERY_DAY or when.year in KNOWN_YEARS)
    found = _told(base, terms, tables, when)
    for table, row in tables.on_top(when):
        if row.kind is not None:
            found = _with(found, row.kind, table, row)
    return found


def _told(base: Base, terms: tuple[Term, ...] | None, tables: DayTables, when: date) -> Day:
    """The plain class of a date, by tables and calendar."""
    above = tables.plain(when, _ABOVE_TERMS)
    if above is not None:
        return _by_table(when, *above)
    own = tables.terms()
    bounds: Sequence[Term | DayRow] | None = (*(terms or ()), *own) if own else terms
    if not _in_term(bounds, when):
        return _one(when, DayClass.VACATION, "outside the terms", "学期之外")
    within = tables.plain(when, _WITHIN_TERMS)
    if within is not None:
        return _by_table(when, *within)
    if when.year in tables.covers and base is Base.CN:
        return _by_weekday(when, known=True)
    known = base is Base.EVERY_DAY or when.year in KNOWN_YEARS
    return _plain(base, None, when, known=known)


def _in_term(terms: Sequence[Term | DayRow] | None, when: date) -> bool:
    return terms is None or any(term.since <= when <= term.until for term in terms)


def _by_table(when: date, table: DayTable, row: DayRow) -> Day:
    kind = row.kind or DayClass.SCHOOL_DAY
    school = {DayClass.SCHOOL_DAY} if kind is DayClass.MAKEUP_DAY else set()
    told = _by(row, kind)
    return Day(
        date=when,
        classes=frozenset({kind} | school),
        known=True,
        why=f"{told}, table {table.name} v{table.version}",
        why_zh=f"{told}（校历表 {table.name} 第{table.version}版）",
    )


def _with(day: Day, kind: DayClass, table: DayTable, row: DayRow) -> Day:
    told = _by(row, kind)
    return replace(
        day,
        classes=day.classes | {kind},
        why=f"{day.why}; {told}, table {table.name} v{table.version}",
        why_zh=f"{day.why_zh}；{told}（校历表 {table.name} 第{table.version}版）",
    )


def _by(row: DayRow, kind: DayClass) -> str:
    return row.note or f"{kind.value} {row.since}–{row.until}"


def _plain(base: Base, terms: tuple[Term, ...] | None, when: date, *, known: bool) -> Day:
    """The plain class of a date without any table."""
    if not _in_term(terms, when):
        return _one(when, DayClass.VACATION, "outside the terms", "学期之外")
    if base is Base.EVERY_DAY:
        return _one(when, DayClass.SCHOOL_DAY, "every day is a school day", "每天都是上课日")
    if not known:
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
