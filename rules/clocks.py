"""Whose clock is right: when a message was sent, set against when it arrived (contract §6).

A message arrived between two of our own markers. What its device says of the same moment
(`sent`) lies inside that interval, after it (the clock is ahead), or before it (the message was
delayed, or the clock is slow; which of the two, only the device's other messages tell).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from devices.ids import Instant
from rules.promises import Trust

SAME_LAG = 60_000
"""How far lags of one slow clock may lie from their middle, in ms (contract §6)."""

ENOUGH_LAGS = 3
"""Live messages needed to call a clock slow: one or two delayed ones agree by chance."""


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
    live_lags: Sequence[int] = (),
) -> Timing:
    """When a record happened, by its device's `at` and `sent` and its arrival in [after, before].

    `before` None: no marker has followed yet, so a clock cannot be called ahead. `live_lags`:
    `after - sent` in ms of the device's live messages of the last 10 minutes.
    """
    if sent is None:
        return Timing(trust=Trust.UNPROVEN, at=at, by_ms=0)
    if sent < after:
        lag = after - sent
        if slow([*live_lags, lag]):
            return Timing(trust=Trust.SLOW, at=at + lag, by_ms=lag)
        return Timing(trust=Trust.UNPROVEN, at=at, by_ms=0)
    if before is None or sent <= before:
        return Timing(trust=Trust.TRUSTED, at=at, by_ms=0)
    return Timing(trust=Trust.AHEAD, at=at - (sent - before), by_ms=before - sent)


def slow(lags: Sequence[int]) -> bool:
    """Whether live messages that lag by `lags` (ms) show one slow clock, not delays."""
    same = len(lags) >= ENOUGH_LAGS and max(lags) - min(lags) <= 2 * SAME_LAG
    return same and min(lags) > 0
