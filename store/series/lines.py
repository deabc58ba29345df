"""The line protocol of the series: contract §5, one schema for InfluxDB 1, 2 and 3.

What changes is a field, never a tag, so that a revision overwrites its point. A point's time is the
event's own in nanoseconds; the digits below the millisecond are CRC-32 of its identity modulo
10⁶, so that two events of one series in one millisecond stay two points, and one event told again
stays one.

InfluxDB 1, 2, 3 and VictoriaMetrics read a backslash in a tag differently, and a line break in a
string ends the line for some: in tags both become `_`, in strings a line break becomes a space.
Absent values are left out, for the protocol has no null.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from devices.ids import Instant

VERDICTS = ("completed", "incomplete", "missed", "unknown", "excused")

EARLIEST: Instant = -9_223_372_036_853
LATEST: Instant = 9_223_372_036_853
"""The instants whose nanoseconds InfluxDB can hold: from the year 1677 to 2262."""

_TAG_LOST = re.compile(r"[\x00-\x1f\x7f\\]")
_TAG_ESCAPED = re.compile(r"([,= ])")
_TAG_PLAIN = re.compile(r"[^\x00-\x20\x7f\\,=]+").fullmatch
_STRING_LOST = re.compile(r"[\x00-\x1f\x7f]")
_STRING_ESCAPED = re.compile(r'(["\\])')
_STRING_PLAIN = re.compile(r'[^\x00-\x1f\x7f"\\]*').fullmatch


class Unwritable(ValueError):  # noqa: N818  (named by what follows)
    """A point whose time no series can hold; it goes to `series_reject` as it is."""


class CheckinPoint(NamedTuple):
    """A read tag. `at` is the event's time (corrected, if it was), `sent` the device's clock.

    A tuple, for millions of them are made: a frozen dataclass takes twice as long to make.
    """

    site: str
    device: str
    epoch: int
    seq: int
    checkpoint: str | None
    via: str | None
    person: str | None
    at: Instant
    sent: Instant | None
    received_at: Instant
    battery: int | None
    rssi: int | None
    proven: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPoint:
    """A round's latest verdict. `key` is the round's id; `late` counts late reads.

    `scored` false: nobody had told the class of its day, so it counts in no score.
    """

    site: str
    plan: str
    key: str
    due: Instant
    verdict: str
    expected: int
    visited: int
    late: int
    revision: int
    scored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPoint:
    """An event's latest revision; `site` None is an event of no site, told as `all`."""

    site: str | None
    kind: str
    event_id: str
    severity: str
    subject: str
    at: Instant
    revision: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HazardPoint:
    """A hazard as it stands. `age_ms`: from its report until it was closed, or until now.

    `reported_category` is its report's; `category` that which its steps have given it since.
    """

    site: str
    reported_category: str | None
    category: str | None
    hazard_id: str
    reported_at: Instant
    state: str
    grade: str
    is_open: bool
    is_overdue: bool
    age_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteState:
    """A site at one instant. Rounds are counted by the site's own day, by when they open.

    `due`: closed and waited for until due. `open_rounds`: between opens and closes. Both are not
    judged yet. `sos`: raised and not cleared. `last_seen_s`: seconds since any of the site's
    devices was heard; None if none ever was.
    """

    site: str
    at: Instant
    due: int
    open_rounds: int
    missed_today: int
    completed_today: int
    open_hazards: int
    sos: int
    devices_online: int
    last_seen_s: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceGauge:
    """A device's last status; `site` None for one that belongs to a grid node."""

    site: str | None
    device: str
    at: Instant
    online: bool
    battery: int | None = None
    rssi: int | None = None
    skew_ms: int | None = None
    queue: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceGauge:
    """The service's own counters since its start, its lag, and the depth of its outbox."""

    instance: str
    at: Instant
    received: int
    accepted: int
    duplicate: int
    quarantined: int
    lag_ms: int
    outbox: int


def checkin(point: CheckinPoint) -> str:
    """A check-in; `event_id` is its identity, `skew_ms` how far the device's clock was ahead."""
    identity = f"{point.device}/{point.epoch}/{point.seq}"
    skew = None if point.sent is None else point.sent - point.received_at
    return (
        f"checkin{_tag('checkpoint', point.checkpoint)}{_tag('device', point.device)}"
        f"{_tag('site', point.site)}{_tag('via', point.via)}"
        f' event_id="{_text(identity)}",seq={point.seq}i'
        f",lag_ms={point.received_at - point.at}i,proven={_flag(point.proven)}"
        f"{_string('person', point.person)}{_integer('skew_ms', skew)}"
        f"{_integer('battery', point.battery)}{_integer('rssi', point.rssi)}"
        f" {_nanoseconds(point.at, identity)}"
    )


def round_(point: RoundPoint) -> str:
    """A round; its time is its due, its coverage 1.0 where nothing was expected."""
    verdicts = ",".join(f"{name}={int(point.verdict == name)}i" for name in VERDICTS)
    coverage = point.visited / point.expected if point.expected else 1.0
    return (
        f"round{_tag('plan', point.plan)}{_tag('site', point.site)}"
        f' round_id="{_text(point.key)}",verdict="{_text(point.verdict)}",{verdicts}'
        f",expected={point.expected}i,visited={point.visited}i,coverage={coverage!r}"
        f",late={point.late}i,revision={point.revision}i,scored={int(point.scored)}i"
        f" {_nanoseconds(point.due, point.key)}"
    )


def event(point: EventPoint) -> str:
    """An event; told apart by kind and subject, so that all its revisions are one point."""
    return (
        f"event{_tag('kind', point.kind)}{_tag('site', point.site or 'all')}"
        f' event_id="{_text(point.event_id)}",severity="{_text(point.severity)}"'
        f',subject="{_text(point.subject)}",state="{_text(point.state)}"'
        f",revision={point.revision}i"
        f" {_nanoseconds(point.at, f'{point.kind} {point.subject}')}"
    )


def hazard(point: HazardPoint) -> str:
    """A hazard; its time and its tags are those of its report, which no step changes."""
    return (
        f"hazard{_tag('category', point.reported_category)}{_tag('site', point.site)}"
        f' hazard_id="{_text(point.hazard_id)}",state="{_text(point.state)}"'
        f',grade="{_text(point.grade)}",open={int(point.is_open)}i'
        f",overdue={int(point.is_overdue)}i,age_s={point.age_ms / 1000!r}"
        f"{_string('category_now', point.category)}"
        f" {_nanoseconds(point.reported_at, point.hazard_id)}"
    )


def site_state(point: SiteState) -> str:
    """A site's state at one minute."""
    return (
        f"site_state{_tag('site', point.site)}"
        f" due={point.due}i,open_rounds={point.open_rounds}i,missed_today={point.missed_today}i"
        f",completed_today={point.completed_today}i,open_hazards={point.open_hazards}i"
        f",sos={point.sos}i,devices_online={point.devices_online}i"
        f"{_integer('last_seen_s', point.last_seen_s)}"
        f" {_nanoseconds(point.at, point.site)}"
    )


def device(point: DeviceGauge) -> str:
    """A device's gauges."""
    return (
        f"device{_tag('device', point.device)}{_tag('site', point.site)}"
        f" online={_flag(point.online)}{_integer('battery', point.battery)}"
        f"{_integer('rssi', point.rssi)}{_integer('skew_ms', point.skew_ms)}"
        f"{_integer('queue', point.queue)}"
        f" {_nanoseconds(point.at, point.device)}"
    )


def service(point: ServiceGauge) -> str:
    """A service instance's gauges."""
    return (
        f"service{_tag('instance', point.instance)}"
        f" received={point.received}i,accepted={point.accepted}i,duplicate={point.duplicate}i"
        f",quarantined={point.quarantined}i,lag_ms={point.lag_ms}i,outbox={point.outbox}i"
        f" {_nanoseconds(point.at, point.instance)}"
    )


def _nanoseconds(at: Instant, identity: str) -> int:
    if not EARLIEST <= at <= LATEST:
        raise Unwritable(f"{identity}: {at} ms is outside the years 1677 to 2262")
    return at * 1_000_000 + crc32(identity.encode(errors="replace")) % 1_000_000


def _tag(name: str, value: str | None) -> str:
    if not value:
        return ""
    if _TAG_PLAIN(value):
        return f",{name}={value}"
    return f",{name}=" + _TAG_ESCAPED.sub(r"\\\1", _TAG_LOST.sub("_", value))


def _text(value: str) -> str:
    """The inside of a quoted string field."""
    if _STRING_PLAIN(value):
        return value
    return _STRING_ESCAPED.sub(r"\\\1", _STRING_LOST.sub(" ", value))


def _string(name: str, value: str | None) -> str:
    return "" if value is None else f',{name}="{_text(value)}"'


def _integer(name: str, value: int | None) -> str:
    return "" if value is None else f",{name}={value}i"


def _flag(value: bool) -> str:
    return "true" if value else "false"
