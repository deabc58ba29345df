"""Members of foreign JSON, read with suspicion: each answers None where there is no such value."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from devices import codec
from devices.adapters.heard import Foreign, TimeSource, When
from devices.codec import Bad
from devices.content import MAX_TAG
from devices.ids import Instant, normalize_tag
from devices.messages import Pos
from devices.reasons import Reason

LATEST_S = 4_102_444_800
"""2100-01-01: beyond it nothing of this is Unix time in seconds."""

MOST = 1e15
"""Beyond it no member of interest is a number; it is far from where arithmetic overflows."""

UNSET_YEAR = 2001
"""A clock that tells an earlier year was never set: readers begin at 1970 or 2000."""

REPEAT_MS = 10_000
"""Without a device's time, the same tag on the same reader within one such stretch of our clock is
one read: a tag that lies on an ESPHome reader is told each second."""

_control = re.compile(r"[\x00-\x1f\x7f]").search
_local = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d").fullmatch

Members = Mapping[str, Any]
TAG_NAMES = ("tag", "uid", "UID", "tag_id", "TagID", "card")


def an_object(heard: Foreign) -> dict[str, Any] | Bad:
    """The payload as one JSON object."""
    return codec.json_object(heard.payload)


def bad(heard: Foreign, detail: str, reason: Reason = Reason.SCHEMA) -> Bad:
    """What a reader said and nobody can read; `detail` says what is wrong with it."""
    return Bad(reason=reason, detail=detail[: codec.MAX_DETAIL], raw=heard.payload)


def words(heard: Foreign) -> str | None:
    """The payload as one line of text."""
    try:
        text = heard.payload.decode().strip()
    except UnicodeDecodeError:
        return None
    return None if _control(text) else text


def tag(value: object) -> str | None:
    """A tag as it is kept; a number becomes its digits."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64:
        value = str(value)
    if not isinstance(value, str):
        return None
    text = value.strip()
    if not 0 < len(text) <= MAX_TAG or _control(text):
        return None
    return normalize_tag(text)


def tag_within(said: Members) -> str | None:
    """The tag that an object holds under one of the usual names, itself or one level below."""
    for group in (said, *(inner for inner in said.values() if isinstance(inner, dict))):
        for name in TAG_NAMES:
            found = tag(group.get(name))
            if found is not None:
                return found
    return None


def number(value: object) -> float | None:
    """A finite number; msgspec has refused NaN and the like, but not integers of any length."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MOST:
        return None
    return value


def percent(value: object) -> int | None:
    """A battery's charge, 0 to 100; an int."""
    found = number(value)
    return round(found) if found is not None and 0 <= found <= 100 else None


def dbm(value: object) -> int | None:
    """A signal's strength in dBm, as contract §2 bounds it."""
    found = number(value)
    return round(found) if found is not None and -200 <= found <= 100 else None


def position(lat: object, lon: object, acc: object = None) -> Pos | None:
    """A WGS-84 position; an accuracy that makes no sense is left out."""
    north, east, within = number(lat), number(lon), number(acc)
    if north is None or east is None or not (-90 <= north <= 90 and -180 <= east <= 180):
        return None
    if within is not None and not 0 <= within <= 1e7:
        within = None
    return Pos(lat=float(north), lon=float(east), acc=within)


def unix(value: object) -> Instant | None:
    """Unix time in seconds, as an instant; a clock that was never set says nothing."""
    found = number(value)
    if found is None or not 0 <= found <= LATEST_S:
        return None
    at = round(found * 1_000)
    return at if at >= _UNSET else None


_UNSET = int(datetime(UNSET_YEAR, 1, 1, tzinfo=UTC).timestamp() * 1_000)


def instant(value: object) -> Instant | None:
    """A time with its offset: RFC 3339 text, or Unix time in seconds or milliseconds."""
    found = number(value)
    if found is not None:
        return unix(found / 1_000 if found > LATEST_S else found)
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    if at.tzinfo is None or at.year < UNSET_YEAR:
        return None
    return _millis(at)


def _millis(at: datetime) -> Instant | None:
    try:
        return int(at.timestamp() * 1_000)
    except (OverflowError, ValueError):  # the year 9999 in a zone west of Greenwich
        return None


def told(value: object) -> When:
    """When something happened, by a time that may or may not say its offset."""
    at = instant(value)
    if at is not None:
        return When(source=TimeSource.DEVICE, at=at, sent=at)
    if isinstance(value, str) and _local(value) and _is_date(value):
        return When(source=TimeSource.LOCAL, local=value)
    return When(source=TimeSource.RECEIPT)


def _is_date(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).year >= UNSET_YEAR
    except ValueError:
        return False


def key(heard: Foreign, when: When, *parts: str) -> str:
    """What repeats of one read have in common: its parts, and the time that its source says.

    Where it says none, the stretch of `REPEAT_MS` in which it came in.
    """
    if when.source is TimeSource.RECEIPT:
        moment = f"~{heard.received_at // REPEAT_MS}"
    else:
        moment = when.local or str(when.at)
    return "\n".join((moment, *parts))
