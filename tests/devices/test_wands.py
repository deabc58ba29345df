"""Exports of patrol wands: headings, times as people write them, what makes a row one record."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.wands import (
    HEADINGS,
    BadTime,
    Role,
    heading,
    instant,
    machine,
    read_offset,
    read_time,
    row_seq,
    tags_meant,
)

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
WHEN = datetime(2026, 11, 20, 22, 15, 30)  # noqa: DTZ001 - local, as an export writes it


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20 22:15:30",
        "2026/11/20 22:15:30",
        "2026.11.20 22:15:30",
        "2026-11-20T22:15:30",
        "2026年11月20日 22时15分30秒",
        "2026年11月20日22:15:30",
        "2026-11-20 星期五 22:15:30",
        "2026-11-20 下午 10:15:30",
        "2026/11/20 下午10:15:30",
        "2026/11/20 10:15:30 PM",
        "20261120221530",
        "20261120 221530",
        "２０２６－１１－２０　２２：１５：３０",
    ],
)
def test_a_time_is_read_however_its_vendor_writes_it(text: str) -> None:
    """The year first, a clock of 24 hours or one that says which half; signs of any width."""
    found = read_time(text)
    assert (found.clock, found.offset, found.to_the_minute) == (WHEN, None, False)


def test_a_time_to_the_minute_says_so() -> None:
    """Seconds that are not told are none that are known."""
    assert read_time("2026-11-20 22:15").to_the_minute
    assert read_time("2026年11月20日 22时15分").to_the_minute
    assert read_time("20/11/2026 22:15", "%d/%m/%Y %H:%M").to_the_minute
    assert not read_time("20/11/2026 22:15:01", "%d/%m/%Y %H:%M:%S").to_the_minute


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("11/12/2026 22:15", "told apart"),
        ("22:15:30", "told apart"),
        ("46346.9275", "spreadsheet's number"),
        ("2026-13-20 22:15", "no date and time there is"),
        ("2026-11-20 25:15", "no date and time there is"),
        ("", "told apart"),
    ],
)
def test_a_time_that_could_be_another_is_refused(text: str, why: str) -> None:
    """The message says what to write, or which option says the order."""
    with pytest.raises(BadTime, match=why):
        read_time(text)


def test_twelve_is_noon_or_midnight_as_its_half_says() -> None:
    """12:05 AM is five past midnight; 下午 12:05 five past noon."""
    hours = [read_time(f"2026-11-20 {text}").clock.hour for text in ("12:05 AM", "下午 12:05")]
    assert hours == [0, 12]


@given(
    st.text(max_size=30) | st.from_regex(r"\d{1,4}[-/]\d{1,2}[-/]\d{1,2} .{0,9}", fullmatch=True)
)
def test_reading_a_time_never_fails_otherwise(text: str) -> None:
    """Whatever a cell holds: a time, or why it is none."""
    try:
        instant(read_time(text), BERLIN)
    except BadTime as bad:
        assert str(bad)


@given(st.datetimes(datetime(2020, 1, 2), datetime(2099, 1, 1)))  # noqa: DTZ001 - local
def test_what_a_spreadsheet_shows_is_read_back(clock: datetime) -> None:
    """To the millisecond, in a zone whose clocks are not changed."""
    clock = clock.replace(microsecond=clock.microsecond // 1_000 * 1_000)
    text = f"{clock:%Y-%m-%d %H:%M:%S}.{clock.microsecond // 1_000:03}"
    at = instant(read_time(text), ZoneInfo("Etc/GMT-8"))
    there = datetime.fromtimestamp(at / 1_000, UTC).replace(tzinfo=None) + timedelta(hours=8)
    assert abs(there - clock) < timedelta(milliseconds=1)


def test_a_local_time_is_of_the_sites_zone() -> None:
    """Unless it says its own offset, which holds."""
    at = instant(read_time("2026-11-20 22:15:30"), SHANGHAI)
    assert at == 1_795_184_130_000
    assert instant(read_time("2026-11-20 14:15:30Z"), SHANGHAI) == at
    assert instant(read_time("2026-11-20T22:15:30+08:00"), BERLIN) == at


@pytest.mark.parametrize(
    ("text", "why"),
    [("2026-10-25 02:30:00", "is twice"), ("2026-03-29 02:30:00", "does not exist")],
)
def test_a_time_in_the_night_of_a_change_is_said_not_guessed(text: str, why: str) -> None:
    """It is twice or not at all; an hour later there is no doubt, nor with an offset."""
    with pytest.raises(BadTime, match=why):
        instant(read_time(text), BERLIN)
    later = instant(read_time(text.replace("02:30", "03:30")), BERLIN)
    kept = instant(read_time(text), read_offset("+01:00"))
    assert later > 0
    assert kept == instant(read_time(f"{text}+01:00"), BERLIN)


def test_no_heading_means_two_things() -> None:
    """Each stands in its normal form, under one role."""
    every = [name for names in HEADINGS.values() for name in names]
    assert len(every) == len(set(every))
    assert all(heading(name) == name for name in every)
    assert set(HEADINGS) == set(Role)
    assert heading(" ＴＩＭＥ： ") == "time"


def test_a_spreadsheet_takes_zeros_away() -> None:
    """Machine numbers and tags are known without them."""
    assert machine("00000123") == machine("123") == machine(" 123")
    assert machine("000") == "000"
    assert "0012886472" in tags_meant("12886472")
    assert tags_meant("04:a2:b3:c4") == ("04A2B3C4",)


def test_one_row_is_one_record() -> None:
    """By when and what it stands for, above every number that a handheld counts to."""
    assert row_seq(1, "s/gate") == row_seq(1, "s/gate")
    assert len({row_seq(1, "s/gate"), row_seq(2, "s/gate"), row_seq(1, "s/lab")}) == 3
    assert 2**52 <= row_seq(1, "s/gate") < 2**53
