"""A bureau's own tables of days: terms, days off and on, exams, sensitive periods.

A table has a name and versions; a later import of the same name takes its place. Where two tables
tell different plain classes of one date, the one that was imported last counts.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Self


class DayClass(StrEnum):
    """Classes that a plan's `days` may name (contract §7)."""

    SCHOOL_DAY = "school-day"
    MAKEUP_DAY = "makeup-day"
    WEEKEND = "weekend"
    HOLIDAY = "holiday"
    VACATION = "vacation"
    EXAM = "exam"
    SENSITIVE = "sensitive"


ON_TOP = frozenset({DayClass.EXAM, DayClass.SENSITIVE})
"""Classes that come on top of the plain one: an exam day is still a school day."""

TERM = "term"
"""How a table's row writes a term, which is no class of a day but bounds the vacations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRow:
    """The dates [since, until], both of them in it. `kind` None: it is a term."""

    since: date
    until: date
    kind: DayClass | None
    note: str = ""

    def __post_init__(self) -> None:
        if self.until < self.since:
            raise ValueError(
                f"{self.since} to {self.until} ends before it begins: swap the two dates"
            )

    def __contains__(self, when: date) -> bool:
        return self.since <= when <= self.until

    def to_json(self) -> dict[str, Any]:
        """`{"from", "to", "class", "note"}`; what `from_json` reads."""
        return {
            "from": self.since.isoformat(),
            "to": self.until.isoformat(),
            "class": TERM if self.kind is None else self.kind.value,
            "note": self.note,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The row that `to_json` wrote. Raises KeyError or ValueError for anything else."""
        kind = document["class"]
        return cls(
            since=date.fromisoformat(document["from"]),
            until=date.fromisoformat(document["to"]),
            kind=None if kind == TERM else DayClass(kind),
            note=document["note"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DayTable:
    """One version of a table. `covers`: years whose days off and make-up days it tells in full."""

    name: str
    version: int
    rows: tuple[DayRow, ...]
    covers: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A document of plain values; `from_json` reads it back to an equal table."""
        return {
            "name": self.name,
            "version": self.version,
            "rows": [row.to_json() for row in self.rows],
            "covers": list(self.covers),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The table that `to_json` wrote. Raises KeyError or ValueError for anything else."""
        return cls(
            name=document["name"],
            version=document["version"],
            rows=tuple(map(DayRow.from_json, document["rows"])),
            covers=tuple(document["covers"]),
        )


class DayTables:
    """Every table that holds for a site, the one imported first first. Equal by content."""

    def __init__(self, tables: Iterable[DayTable]) -> None:
        self.tables = tuple(tables)
        self.digest = digest([table.to_json() for table in self.tables])
        self.covers = frozenset(year for table in self.tables for year in table.covers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DayTables) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def terms(self) -> tuple[DayRow, ...]:
        """Every term of every table."""
        return tuple(row for table in self.tables for row in table.rows if row.kind is None)

    def plain(self, when: date, kinds: Iterable[DayClass]) -> tuple[DayTable, DayRow] | None:
        """The row of the last table that gives `when` one of the plain classes `kinds`."""
        asked = frozenset(kinds)
        found = ((t, row) for t, row in self._on(when) if row.kind in asked)
        return next(found, None)

    def on_top(self, when: date) -> tuple[tuple[DayTable, DayRow], ...]:
        """Rows of `when` whose class comes on top of the plain one."""
        return tuple((table, row) for table, row in self._on(when) if row.kind in ON_TOP)

    def _on(self, when: date) -> Iterator[tuple[DayTable, DayRow]]:
        for table in reversed(self.tables):
            yield from ((table, row) for row in table.rows if when in row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """Two rows of one table that give a date two plain classes."""

    first: DayRow
    second: DayRow
    when: date


def clashes(rows: Iterable[DayRow]) -> Iterator[Clash]:
    """Rows that contradict each other: at most one plain class a date, and terms apart."""
    plain = sorted(
        (row for row in rows if row.kind not in ON_TOP), key=lambda row: (row.since, row.until)
    )
    last: dict[bool, DayRow] = {}
    for row in plain:
        before = last.get(row.kind is None)
        if before is not None and row.since <= before.until:
            same = row.kind is before.kind and row.kind is not None
            if not same:
                yield Clash(first=before, second=row, when=row.since)
        if before is None or row.until > before.until:
            last[row.kind is None] = row


def dates(row: DayRow) -> Iterator[date]:
    """Every date of a row."""
    when = row.since
    while when <= row.until:
        yield when
        when += timedelta(days=1)


def digest(document: Any) -> str:
    """SHA-256, in hex, of a document's canonical JSON."""
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
