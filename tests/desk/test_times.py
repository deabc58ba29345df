"""Times as people write and read them."""

from zoneinfo import ZoneInfo

import pytest

from desk.errors import UsageError
from desk.times import clock, day, parse_end, parse_since, parse_until, rfc3339, short
from tests.filled import at

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = at("2026-09-01T12:00:00+08:00")


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("2026-08-31", "2026-08-31T00:00:00+08:00", "2026-09-01T00:00:00+08:00"),
        ("today", "2026-09-01T00:00:00+08:00", "2026-09-02T00:00:00+08:00"),
        ("yesterday", "2026-08-31T00:00:00+08:00", "2026-09-01T00:00:00+08:00"),
        ("7:05", "2026-09-01T07:05:00+08:00", "2026-09-01T07:05:00+08:00"),
        ("7:00:30", "2026-09-01T07:00:30+08:00", "2026-09-01T07:00:30+08:00"),
        ("22:30", "2026-09-01T22:30:00+08:00", "2026-09-01T22:30:00+08:00"),
        ("2h", "2026-09-01T10:00:00+08:00", "2026-09-01T10:00:00+08:00"),
        ("1d12h", "2026-08-31T00:00:00+08:00", "2026-08-31T00:00:00+08:00"),
        ("now", "2026-09-01T12:00:00+08:00", "2026-09-01T12:00:00+08:00"),
        ("2026-09-01T22:00", "2026-09-01T22:00:00+08:00", "2026-09-01T22:00:00+08:00"),
        ("2026-09-01T14:00:00Z", "2026-09-01T22:00:00+08:00", "2026-09-01T22:00:00+08:00"),
        ("2026-09-01 14:00:00+00:00", "2026-09-01T22:00:00+08:00", "2026-09-01T22:00:00+08:00"),
    ],
)
def test_what_a_time_means(text: str, since: str, until: str) -> None:
    """`--since DAY` is its first instant, `--until DAY` the next day's; all else is an instant."""
    assert parse_since(text, NOW, SHANGHAI) == at(since)
    assert parse_until(text, NOW, SHANGHAI) == at(until)


def test_what_is_decided_now_ends_in_so_many_hours() -> None:
    """`--until 2h` of a silence or an excuse lies ahead; every other time is as ever."""
    assert parse_end("2h", NOW, SHANGHAI) == at("2026-09-01T14:00:00+08:00")
    assert parse_end("22:30", NOW, SHANGHAI) == at("2026-09-01T22:30:00+08:00")
    assert parse_end("today", NOW, SHANGHAI) == at("2026-09-02T00:00:00+08:00")


@pytest.mark.parametrize("text", ["", "foo", "25:00", "2026-13-01", "2026-09-01T", "-2h", "999d9z"])
def test_what_cannot_be_read_is_wrong_usage(text: str) -> None:
    """A time nobody can read is refused with an example of one that can."""
    with pytest.raises(UsageError) as refused:
        parse_since(text, NOW, SHANGHAI)
    assert "2026-09-01" in str(refused.value.remedy)


@pytest.mark.parametrize(
    ("instant", "zone", "printed"),
    [
        ("2026-09-01T14:00:00Z", "Asia/Shanghai", "2026-09-01T22:00:00+08:00"),
        ("2026-09-01T14:00:00.250Z", "Asia/Shanghai", "2026-09-01T22:00:00.250+08:00"),
        ("2026-09-01T14:00:00Z", None, "2026-09-01T14:00:00+00:00"),
        ("2026-10-25T00:30:00Z", "Europe/London", "2026-10-25T01:30:00+01:00"),
        ("2026-10-25T01:30:00Z", "Europe/London", "2026-10-25T01:30:00+00:00"),
    ],
)
def test_instants_are_printed_with_the_offset_of_their_moment(
    instant: str, zone: str | None, printed: str
) -> None:
    """RFC 3339 with the site's offset at that very instant, so that no hour is told twice alike."""
    assert rfc3339(at(instant), zone) == printed


def test_a_mad_clock_is_printed_all_the_same() -> None:
    """A device may tell any time up to 2^53 ms; a year beyond 9999 is shown as it was told."""
    assert rfc3339(2**53 - 1, "Asia/Shanghai") == "@9007199254740991"
    assert short(2**53 - 1, "Asia/Shanghai", NOW) == "@9007199254740991"
    assert day(2**53 - 1, "Asia/Shanghai", NOW) == "@9007199254740991"
    assert clock(2**53 - 1, "Asia/Shanghai") == "@9007199254740991"


@pytest.mark.parametrize(
    ("now", "days"), [("2026-12-31T23:00:00+08:00", "12-31"), ("2027-01-01T07:00Z", "2026-12-31")]
)
def test_a_day_tells_its_year_where_it_is_another_and_a_clock_never_a_day(
    now: str, days: str
) -> None:
    """The zone's year counts, and the time of day is the same whichever year it is."""
    evening = at("2026-12-31T22:00:05+08:00")
    assert day(evening, "Asia/Shanghai", at(now)) == days
    assert clock(evening, "Asia/Shanghai") == "22:00:05"
