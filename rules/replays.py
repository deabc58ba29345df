"""Replays: what a tag's own counter tells of the reads that carry its proof. Pure.

A tag counts its taps, and no two say the same. So, over all devices that read it, and in whatever
order that is told:

    repeat    another read with the same counter came in first: this one is a copy of it
    counter   an earlier read counted higher already: tapped before that, and told as later; or one
              of the two clocks is wrong. Only a read whose clock is right bears witness

Store and forward makes the order of arrival meaningless; the order in time is compared. Two clocks
that are right may still differ by `SLACK_MS`, and a wrong one accuses no more than `REACH_MS` of
reads. Nothing is refused for the counter; a repeat proves nothing, and is marked as well.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rules.marks import Mark, MarkKind, Seen, Why

SLACK_MS = 60_000
"""How far two right clocks may be apart (the contract's tolerance for one lag, section 6)."""

REACH_MS = 3 * 86_400_000
"""How long a read bears witness against those after it. What was tapped longer ago than a weekend
is found by a nearer walk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tapped:
    """A read that carries a proof. `came`: what orders reads of one tap by who came in first.

    `sure`: its time stands on something, so that it bears witness against others.
    """

    read: Seen
    ctr: int
    came: tuple[int, ...]
    sure: bool


def replays(taps: Iterable[Tapped]) -> tuple[Mark, ...]:
    """The marks of the taps of one tag (one enrolment of it), by identity.

    Right for those of which all taps with their counter, and all within `REACH_MS`, are there.
    """
    taps = list(taps)
    found = {mark.read.identity: mark for mark in _counters(taps)}
    found |= {mark.read.identity: mark for mark in _repeats(taps)}
    return tuple(found[identity] for identity in sorted(found))


def _repeats(taps: Iterable[Tapped]) -> Iterator[Mark]:
    same: defaultdict[int, list[Tapped]] = defaultdict(list)
    for tap in taps:
        same[tap.ctr].append(tap)
    for ctr, told in same.items():
        first, *others = sorted(told, key=lambda tap: tap.came)
        for tap in others:
            yield _mark(tap, {"why": Why.REPEAT.value, "ctr": ctr, "first": first.read.identity})


def _counters(taps: list[Tapped]) -> Iterator[Mark]:
    by_time = sorted(taps, key=lambda tap: (tap.read.at, tap.read.identity))
    witnesses = deque[Tapped]()  # within reach, by falling counter: the first counted highest
    passed = 0
    for tap in by_time:
        while by_time[passed].read.at < tap.read.at - SLACK_MS:
            _call(witnesses, by_time[passed])
            passed += 1
        while witnesses and witnesses[0].read.at < tap.read.at - REACH_MS:
            witnesses.popleft()
        if witnesses and witnesses[0].ctr > tap.ctr:
            best = witnesses[0]
            data = {"after": best.read.identity, "other_ctr": best.ctr}
            took = tap.read.at - best.read.at
            yield _mark(tap, {"why": Why.COUNTER.value, "ctr": tap.ctr, **data, "took_ms": took})


def _call(witnesses: deque[Tapped], tap: Tapped) -> None:
    """Another witness: who counted less, and leaves before it, is needed no more."""
    if not tap.sure:
        return
    while witnesses and witnesses[-1].ctr <= tap.ctr:
        witnesses.pop()
    witnesses.append(tap)


def _mark(tap: Tapped, data: dict[str, Any]) -> Mark:
    return Mark(kind=MarkKind.REPLAYED, read=tap.read, data=data)
