"""Tables of days as files."""

from datetime import date
from pathlib import Path

import pytest

from desk.dayfiles import DayFileRefused, read
from rules.daytables import DayClass

CSV = """\
开始,结束,类别,说明
2027-02-22,2027-07-09,学期,第二学期
2027/5/1,2027/5/5,holiday,劳动节

2027-05-08,,调休,
2027-06-07,2027-06-09,考试,高考
"""
FOUND = [
    (date(2027, 2, 22), date(2027, 7, 9), None, "第二学期"),
    (date(2027, 5, 1), date(2027, 5, 5), DayClass.HOLIDAY, "劳动节"),
    (date(2027, 5, 8), date(2027, 5, 8), DayClass.MAKEUP_DAY, ""),
    (date(2027, 6, 7), date(2027, 6, 9), DayClass.EXAM, "高考"),
]

ICS = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//bureau//EN
BEGIN:VEVENT
UID:1
DTSTAMP:20260901T000000Z
SUMMARY:期中考试
DTSTART;VALUE=DATE:20261109
DTEND;VALUE=DATE:20261111
END:VEVENT
BEGIN:VEVENT
UID:2
DTSTAMP:20260901T000000Z
SUMMARY:Security week
CATEGORIES:sensitive
DTSTART;TZID=Asia/Shanghai:20261101T080000
DTEND;TZID=Asia/Shanghai:20261103T000000
END:VEVENT
END:VCALENDAR
"""


def file(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_spreadsheet_is_read_as_it_was_saved(tmp_path: Path, encoding: str) -> None:
    """Chinese or English headings and classes, either encoding, an end left out."""
    rows = read(file(tmp_path, "days.csv", CSV.encode(encoding)))
    assert [(row.since, row.until, row.kind, row.note) for row in rows] == FOUND


def test_an_icalendar_is_read(tmp_path: Path) -> None:
    """A category tells the class, else a word of the title; the end of an event is not in it."""
    rows = read(file(tmp_path, "days.ics", ICS.replace("\n", "\r\n")))
    assert [(row.since, row.until, row.kind) for row in rows] == [
        (date(2026, 11, 1), date(2026, 11, 2), DayClass.SENSITIVE),
        (date(2026, 11, 9), date(2026, 11, 10), DayClass.EXAM),
    ]


def test_an_event_without_a_class_needs_one(tmp_path: Path) -> None:
    """What nobody classed is refused, and taken with `--class`."""
    told = ICS.replace("CATEGORIES:sensitive\n", "").replace("\n", "\r\n")
    with pytest.raises(DayFileRefused, match=r"Security week.*is not known"):
        read(file(tmp_path, "days.ics", told))
    rows = read(file(tmp_path, "days.ics", told), DayClass.VACATION)
    assert rows[0].kind is DayClass.VACATION


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("from,to,class\n2026-13-01,,holiday\n", "line 2: '2026-13-01' is no date"),
        ("from,to,class\n2026-10-02,2026-10-01,holiday\n", "swap the two dates"),
        ("from,to,class\n2026-10-01,2028-10-01,holiday\n", "longer than 400 days"),
        ("from,to,class\n2026-10-01,,picnic\n", "'picnic' is not known"),
        ("from,to,class\n2026-10-01,,holiday\n2026-10-01,,weekend\n", "keep one"),
        ("start,end\n2026-10-01,\n", "no column is called from or class"),
        ("from,class\n", "tells of no day"),
        (ICS.replace("SUMMARY:期", "RRULE:FREQ=DAILY\nSUMMARY:期"), "repeats"),
        ("BEGIN:VCALENDAR\nnonsense", "this is no iCalendar"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    """A file with a fault imports nothing and says where it is."""
    with pytest.raises(DayFileRefused, match=words):
        read(file(tmp_path, "days.csv", text))
