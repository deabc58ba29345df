"""Whose clock is right: when a message was sent, set against when it arrived (contract §6).

A message arrived between two of our own markers. What its device says of the same moment
(`sent`) lies inside that interval, after it (the clock is ahead), or before it (the message was
delayed, or the clock is slow; which of the two, only the device's other messages tell).

How old a record was when it was sent, a device that counts its uptime knows whatever its clock
did: then the record happened that long before the moment of sending.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from devices.ids import Instant
from rules.promises import Trust

JITTER = 2_000
"""How far before its interval, in ms, `sent` may lie and still be right: a message that is on its
way when a marker comes back, and clocks set by NTP, differ by less (docs/decisions/0009)."""

SAME_LAG = 60_000
"""How far lags of one slow clock may lie from their middle, in ms (contract §6)."""

RECENT = 600_000
"""How far back a device's live messages tell of its clock, in ms (contract §6)."""

ENOUGH_LAGS = 3
"""Live messages needed to call a clock slow: one or two delayed ones agree by chance."""

LIVE_SPREAD = 30_000
"""How far apart, in ms, they must have arrived: what was held up together comes in at once."""

LIVE_SPAN = 60_000
"""A message is live where its arrival interval is no longer, in ms: else it waited for us."""

SKEWED = 300_000
"""How wrong a clock may be, in ms, before somebody is told (domain: usual settings of products)."""

UNSET: Instant = 1_577_836_800_000
"""2020-01-01: a clock that tells less was never set; no delay explains it."""


def had_arrived(marker: Instant, came: Instant) -> Instant:
    """When everything that precedes a marker in the stream had arrived, at the latest.

    `marker`: when it was published; `came`: when it came back, by the same clock. A broker under
    load takes the marker in later than what was sent after it, so only its return tells; where
    it lay waiting for us it was on its way for no longer than a message may be (`JITTER`).
    """
    return max(marker, min(came, marker + JITTER))


class Live(NamedTuple):
    """What a device's live messages of one span said: `after - sent`, from `least` to `most` ms."""

    after: Instant
    least: int
    most: int
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """`at` as it holds, how far it was moved (`by_ms`, negative: back), and on what ground."""

    trust: Trust
    at: Instant
    by_ms: int


def timing(
    at: Instant,
    sent: Instant | None,
    after: Instant,
    before: Instant | None,
    live: Sequence[Live] = (),
    age: int | None = None,
) -> Timing:
    """When a record happened, by its device's `at` and `sent` and its arrival in [after, before].

    `before` None: no marker has followed yet, so a clock cannot be called ahead. `live`: the
    device's live messages that arrived in the last 10 minutes, this one among them. `age`: how old
    the record was when it was sent, by the device's uptime, in ms.

    The clock is set right first, at the moment of sending. Where the record's age then tells
    another time than its `at`, the clock was moved in between, and the age is right.
    """
    trust, by_ms = sending(sent, after, before, live)
    if sent is None or age is None or trust is Trust.UNPROVEN:
        return Timing(trust=trust, at=at + by_ms, by_ms=by_ms)
    by_age = sent + by_ms - age
    if trust is Trust.TRUSTED and abs(by_age - at) <= JITTER:
        return Timing(trust=trust, at=at, by_ms=0)
    if trust is not Trust.TRUSTED and (before is None or before - after > LIVE_SPAN):
        return Timing(trust=trust, at=by_age, by_ms=by_age - at)
    return Timing(trust=Trust.UPTIME, at=by_age, by_ms=by_age - at)


def right(sent: Instant | None, after: Instant, before: Instant | None) -> bool:
    """Whether the clock was right at the moment of sending, by arrival alone."""
    if sent is None or sent < after - JITTER:
        return False
    return before is None or sent <= before


def sending(
    sent: Instant | None, after: Instant, before: Instant | None, live: Sequence[Live] = ()
) -> tuple[Trust, int]:
    """What the clock was at the moment of sending, and how far it must be moved (ms)."""
    if right(sent, after, before):
        return Trust.TRUSTED, 0
    if sent is None:
        return Trust.UNPROVEN, 0
    if before is not None and sent > before:
        return Trust.AHEAD, before - sent
    if sent < UNSET <= after or slow(live):
        return Trust.SLOW, after - sent
    return Trust.UNPROVEN, 0


TELLING = 1_000
"""How far apart, in ms, our own markers are at most: what came in after one came within that."""


class Timed(NamedTuple):
    """When a read happened that tells no time that can be trusted by itself; see `at_receipt`.

    `by_device`: its own local time held.
    """

    at: Instant
    sent: Instant | None
    by_device: bool


def at_receipt(now: Instant, after: Instant | None, local: Instant | None = None) -> Timed:
    """When a reader read that keeps nothing, publishes at once, and has no clock, or one whose
    offset nobody knows.

    `now`: when it was received; `after`: the last of our markers before it, None where it may have
    lain with the broker for long; `local`: its own time as if it kept the site's. Such a read is as
    trustworthy as our own clock: it came after that marker, so `sent` is the marker, and rules and
    listings need know nothing of it. Its own time is taken where it agrees with that, and never
    else; then it happened at the latest a marker's distance after. Where it may have waited,
    nothing vouches for it (`sent` None), and its own time is the best that is left.
    """
    if after is not None and 0 <= now - after <= LIVE_SPAN:
        if local is not None and after - JITTER <= local <= now:
            return Timed(local, after, by_device=True)
        return Timed(min(now, after + TELLING), after, by_device=False)
    if local is not None and local <= now:
        return Timed(local, None, by_device=True)
    return Timed(now, None, by_device=False)


def odd(at: Instant, sent: Instant | None, age: int | None) -> bool:
    """Whether the uptime contradicts the clock: it was moved between the record and its sending."""
    return sent is not None and age is not None and abs(sent - age - at) > JITTER


def slow(live: Sequence[Live]) -> bool:
    """Whether all live messages lag alike: one slow clock, not delays."""
    if sum(heard.messages for heard in live) < ENOUGH_LAGS:
        return False
    arrived = [heard.after for heard in live]
    least, most = min(heard.least for heard in live), max(heard.most for heard in live)
    return max(arrived) - min(arrived) >= LIVE_SPREAD and 0 < least >= most - 2 * SAME_LAG


def skew(
    heard: tuple[Instant, Instant], after: Instant, before: Instant, live: Sequence[Live]
) -> int | None:
    """How wrong a device's clock is, in ms (positive: ahead), by what it sent in [after, before].

    `heard`: the earliest and the latest `sent`. None: nothing is known, it may have been delayed.
    """
    earliest, latest = heard
    if earliest > before:
        return earliest - before
    if before - after > LIVE_SPAN:
        return None
    if latest < after - JITTER:
        return latest - after if latest < UNSET <= after or slow(live) else None
    return 0
