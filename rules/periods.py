"""Periods in which something is owed so many times: day, ISO week, month, two months, quarter."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Self


class Per(StrEnum):
    """Periods, by the calendar of the site. Two months and quarters begin with January."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TWO_MONTHS = "two-months"
    QUARTER = "quarter"


_MONTHS = {Per.MONTH: 1, Per.TWO_MONTHS: 2, Per.QUARTER: 3}

LONGEST_DAYS = 92
"""The longest period: the third quarter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How often, in each of which period."""

    visits: int
    per: Per

    def __post_init__(self) -> None:
        if self.visits < 1:
            raise ValueError("a quota asks for one visit or more")

    def period(self, when: date) -> tuple[date, date]:
        """The period of a date: [first day, first day of the next one)."""
        if self.per is Per.DAY:
            return when, when + timedelta(days=1)
        if self.per is Per.WEEK:
            monday = when - timedelta(days=when.weekday())
            return monday, monday + timedelta(days=7)
        return _months(when, _MONTHS[self.per])

    def to_json(self) -> dict[str, Any]:
        """`{"visits", "per"}`; what `from_json` reads."""
        return {"visits": self.visits, "per": self.per.value}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """What `to_json` wrote. Raises KeyError or ValueError for anything else."""
        return cls(visits=document["visits"], per=Per(document["per"]))


def _months(when: date, count: int) -> tuple[date, date]:
    first = (when.month - 1) // count * count
    after = first + count
    return (
        date(when.year, first + 1, 1),
        date(when.year + after // 12, after % 12 + 1, 1),
    )
