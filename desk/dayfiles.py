"""A bureau's tables of days as files: CSV, as a spreadsheet saves it, or iCalendar.

CSV has a heading line with `from`, `to`, `class`, `note` (or 开始, 结束, 类别, 说明); `to` may be
left out. iCalendar tells the class by an event's category, else by words of its title.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from desk.errors import DeskError
from rules.daytables import TERM, DayClass, DayRow, clashes
from rules.words import DAYS

MOST_ROWS = 5_000
LONGEST_DAYS = 400

HEADINGS: Mapping[str, tuple[str, ...]] = {
    "from": ("from", "date", "since", "开始", "开始日期", "起", "日期"),
    "to": ("to", "until", "结束", "结束日期", "止"),
    "class": ("class", "类别", "日别", "类型"),
    "note": ("note", "说明", "备注", "名称", "事项"),
}
WORDS: Mapping[str, DayClass | None] = {
    **{kind.value: kind for kind in DayClass},
    **{words.zh: kind for kind, words in DAYS.items()},
    TERM: None,
    "学期": None,
    "调休": DayClass.MAKEUP_DAY,
    "补班": DayClass.MAKEUP_DAY,
    "补课": DayClass.MAKEUP_DAY,
    "寒假": DayClass.VACATION,
    "暑假": DayClass.VACATION,
    "放假": DayClass.HOLIDAY,
    "假日": DayClass.HOLIDAY,
    "节假日": DayClass.HOLIDAY,
    "考试": DayClass.EXAM,
    "敏感": DayClass.SENSITIVE,
    "特殊时期": DayClass.SENSITIVE,
    "上课": DayClass.SCHOOL_DAY,
}
"""What a file may call a class. In a title the first that occurs counts, in this order."""


class DayFileRefused(DeskError):  # noqa: N818  (the operator's message, not a fault of the code)
    """Nothing was imported. The message lists what is wrong, by line or event."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems), "correct the file, or see docs/calendar.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """A row as the file has it. `where` names it in problems."""

    where: str
    since: str | date
    until: str | date | None
    kind: str
    note: str


def read(path: Path, fallback: DayClass | None = None) -> tuple[DayRow, ...]:
    """The rows of a file, by date. `fallback`: the class of iCalendar events that tell none.

    Raises OSError, and `DayFileRefused` with everything that is wrong.
    """
    data = path.read_bytes()
    calendar = path.suffix.lower() in (".ics", ".ical") or data.lstrip().startswith(b"BEGIN:VCAL")
    told = list(_events(data, fallback) if calendar else _lines(data))
    problems: list[str] = []
    if not told:
        problems.append("the file tells of no day")
    if len(told) > MOST_ROWS:
        problems.append(f"{len(told)} rows are more than {MOST_ROWS}: import them in parts")
    rows = []
    for row in told[:MOST_ROWS]:
        try:
            rows.append(_row(row))
        except ValueError as cause:
            problems.append(f"{row.where}: {cause}")
    problems += [
        f"{clash.when} is {_name(clash.first)} and {_name(clash.second)}: keep one"
        for clash in clashes(rows)
    ]
    if problems:
        raise DayFileRefused(problems)
    return tuple(sorted(rows, key=lambda row: (row.since, row.until, _name(row))))


def _name(row: DayRow) -> str:
    return f"{TERM if row.kind is None else row.kind.value}{f' ({row.note})' if row.note else ''}"


def _row(told: _Told) -> DayRow:
    if told.kind not in WORDS:
        raise ValueError(f"the class {told.kind!r} is not known: write one of {_known()}")
    since, until = _date(told.since), _date(told.until or told.since)
    if until - since > timedelta(days=LONGEST_DAYS):
        raise ValueError(f"{since} to {until} is longer than {LONGEST_DAYS} days")
    return DayRow(since=since, until=until, kind=WORDS[told.kind], note=told.note)


def _known() -> str:
    return ", ".join((TERM, *(kind.value for kind in DayClass)))


def _date(text: str | date) -> date:
    if isinstance(text, date):
        return text
    parts = text.replace("/", "-").replace(".", "-").split("-")
    try:
        year, month, day = map(int, parts)
        return date(year, month, day)
    except ValueError:
        raise ValueError(f"{text!r} is no date: write it as 2026-09-01") from None


# CSV ---------------------------------------------------------------------------------------------


def _lines(data: bytes) -> Iterator[_Told]:
    table = csv.reader(io.StringIO(_text(data)))
    heading = _heading(next(table, []))
    for cells in table:
        if not any(cell.strip() for cell in cells):
            continue
        value = {name: cells[at].strip() if at < len(cells) else "" for name, at in heading.items()}
        yield _Told(
            where=f"line {table.line_num}",
            since=value["from"],
            until=value.get("to") or None,
            kind=value["class"],
            note=value.get("note", ""),
        )


def _heading(cells: Sequence[str]) -> dict[str, int]:
    names = [cell.strip().lower() for cell in cells]
    found = {
        name: names.index(known)
        for name, words in HEADINGS.items()
        for known in reversed(words)
        if known in names
    }
    missing = [name for name in ("from", "class") if name not in found]
    if missing:
        raise DayFileRefused(
            [f"line 1: no column is called {' or '.join(missing)}: begin with from,to,class,note"]
        )
    return found


def _text(data: bytes) -> str:
    """UTF-8, else what Excel in China saves."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            return data.decode("gb18030")
        except UnicodeDecodeError:
            raise DayFileRefused(["the file is neither UTF-8 nor GBK: save it as UTF-8"]) from None


# iCalendar ---------------------------------------------------------------------------------------


def _events(data: bytes, fallback: DayClass | None) -> Iterator[_Told]:
    from icalendar import Calendar  # noqa: PLC0415 - heavy, and wanted here alone

    try:
        calendar: Any = Calendar.from_ical(data)
    except ValueError as cause:
        raise DayFileRefused([f"this is no iCalendar: {cause}"]) from None
    for event in calendar.walk("VEVENT"):
        title = str(event.get("SUMMARY", "")).strip()
        where = f"event {title or event.get('UID', '?')!s}"
        if event.get("RRULE") is not None or event.get("RDATE") is not None:
            raise DayFileRefused([f"{where} repeats: write each occurrence as an event"])
        if event.get("DTSTART") is None:
            raise DayFileRefused([f"{where} has no DTSTART"])
        since, until = _span(event)
        kind = _told_kind(event, title) or (fallback.value if fallback else title)
        yield _Told(where=where, since=since, until=until, kind=kind, note=title)


def _span(event: Any) -> tuple[date, date]:
    """The first and the last date of an event; its DTEND is exclusive where it is a date."""
    start = event.decoded("DTSTART")
    end = event.decoded("DTEND") if event.get("DTEND") is not None else None
    if end is None and event.get("DURATION") is not None:
        end = start + event.decoded("DURATION")
    first = _day(start)
    if end is None:
        return first, first
    moment = timedelta(microseconds=1) if isinstance(end, datetime) else timedelta(days=1)
    return first, max(first, _day(end - moment))


def _day(moment: date | datetime) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _told_kind(event: Any, title: str) -> str | None:
    categories = event.get("CATEGORIES")
    every = categories if isinstance(categories, list) else [categories] if categories else []
    named = (str(name).strip() for group in every for name in group.cats)
    known = next((name for name in named if name in WORDS), None)
    return known or next((word for word in WORDS if word in title), None)
