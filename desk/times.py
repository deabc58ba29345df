"""Instants as people write and read them. Inside they are milliseconds since the epoch, UTC."""

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from desk.errors import UsageError
from devices.ids import Instant
from rules.durations import parse_duration

EXAMPLES = "for example 2026-09-01, 2026-09-01T22:00+08:00, 22:00, today, yesterday, 2h, 7d"

_CLOCK = re.compile(r"(\d{1,2})(:\d{2}(?::\d{2})?)")
_WORDS = {"yesterday": -1, "today": 0, "tomorrow": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_ELSEWHERE = timezone(timedelta(hours=1))
"""What means the same in UTC and here needs no zone."""
_WHOSE = "say whose with --site ID, or write the offset, as 2026-09-01T22:00+08:00"


def rfc3339(instant: Instant, timezone: str | None = None) -> str:
    """`instant` in RFC 3339 with the zone's offset then; milliseconds only where there are some.

    A clock far out of order may tell a year no calendar reaches: that is `@` and milliseconds.
    """
    try:
        moment = aware(instant, timezone)
    except OverflowError:
        return f"@{instant}"
    return moment.isoformat(timespec="milliseconds" if instant % 1000 else "seconds")


def short(instant: Instant, timezone: str | None, now: Instant) -> str:
    """For tables: `09-01 22:00:05`, with the year where it is not this one."""
    return _written(instant, timezone, now, "%m-%d %H:%M:%S", "%Y-%m-%d %H:%M")


def day(instant: Instant, timezone: str | None, now: Instant) -> str:
    """Its day alone, for tables: `09-01`, with the year where it is not this one."""
    return _written(instant, timezone, now, "%m-%d", "%Y-%m-%d")


def clock(instant: Instant, timezone: str | None) -> str:
    """Its time of day alone, for tables, beside a column that tells the day: `22:00:05`."""
    return _written(instant, timezone, instant, "%H:%M:%S", "")


def _written(instant: Instant, timezone: str | None, now: Instant, near: str, far: str) -> str:
    """By `near` in the year of `now`, else by `far`; `@` and milliseconds where no calendar is."""
    try:
        moment = aware(instant, timezone)
    except OverflowError:
        return f"@{instant}"
    return f"{moment:{near if moment.year == aware(now, timezone).year else far}}"


def span(ms: int, lang: str) -> str:
    """How long, in its largest unit: `12s`, `5m`, `3h`, `4d`; in Chinese `12 秒`, `5 分钟` …"""
    for size, en, zh in _UNITS:
        if ms >= size:
            return f"{ms // size} {zh}" if lang == "zh" else f"{ms // size}{en}"
    return "0 秒" if lang == "zh" else "0s"


def ago(instant: Instant, now: Instant, lang: str) -> str:
    """How long ago an instant was: `5m ago`, `5 分钟前`."""
    gone = span(max(now - instant, 0), lang)
    return f"{gone}前" if lang == "zh" else f"{gone} ago"


_UNITS = (
    (86_400_000, "d", "天"),
    (3_600_000, "h", "小时"),
    (60_000, "m", "分钟"),
    (1_000, "s", "秒"),
)


def aware(instant: Instant, timezone: str | None) -> datetime:
    """The moment in a zone (UTC for None). Raises OverflowError beyond the year 9999."""
    zone: tzinfo = UTC if timezone is None else ZoneInfo(timezone)
    return (_EPOCH + instant * _MS).astimezone(zone)


def instant_of(moment: datetime) -> Instant:
    """Milliseconds since the epoch of an aware moment."""
    return (moment - _EPOCH) // _MS


def parse_since(text: str, now: Instant, zone: tzinfo | None) -> Instant:
    """The beginning of what `text` means: a day's first instant. Raises `UsageError`.

    `zone` None: nobody can say whose wall clock is meant, so that words of one are refused.
    """
    return _parse("--since", text, now, zone, whole_days=0)


def parse_until(text: str, now: Instant, zone: tzinfo | None) -> Instant:
    """The end of what `text` means, exclusive: a day's is the next one's first instant."""
    return _parse("--until", text, now, zone, whole_days=1)


def parse_end(text: str, now: Instant, zone: tzinfo | None) -> Instant:
    """When something decided now ends, exclusive: as `parse_until`, but `2h` is in two hours."""
    try:
        return now + parse_duration(text)
    except ValueError:
        return parse_until(text, now, zone)


def parse_span(option: str, text: str) -> int:
    """Milliseconds of a span as `2h` or `7d`. Raises `UsageError`."""
    try:
        return parse_duration(text)
    except ValueError as cause:
        raise UsageError(f"{option}: {cause}", "for example 2h, 7d") from None


def _parse(option: str, text: str, now: Instant, zone: tzinfo | None, whole_days: int) -> Instant:
    text = text.strip()
    today = (_EPOCH + now * _MS).astimezone(zone or UTC).date()
    try:
        found = _moment(text, now, today, zone or UTC, whole_days)
        told = zone is not None or found == _moment(text, now, today, _ELSEWHERE, whole_days)
    except (ValueError, OverflowError):
        raise UsageError(f"{option} {text!r} is no time", EXAMPLES) from None
    if not told:
        raise UsageError(f"{option} {text!r}: the sites have several time zones", _WHOSE)
    return found


def _moment(text: str, now: Instant, today: date, zone: tzinfo, whole_days: int) -> Instant:
    if text == "now":
        return now
    if text in _WORDS:
        return _midnight(today + timedelta(days=_WORDS[text] + whole_days), zone)
    if told := _CLOCK.fullmatch(text):
        hour, rest = told.groups()
        return instant_of(datetime.combine(today, time.fromisoformat(f"{hour:0>2}{rest}"), zone))
    if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text):
        return _midnight(date.fromisoformat(text) + timedelta(days=whole_days), zone)
    if re.match(r"\d{4}-?\d{2}-?\d{2}[T ]", text):
        moment = datetime.fromisoformat(text)
        return instant_of(moment if moment.tzinfo else moment.replace(tzinfo=zone))
    return now - parse_duration(text)


def _midnight(day: date, zone: tzinfo) -> Instant:
    return instant_of(datetime.combine(day, time(), zone))
