"""What a device is told to walk (`down/rounds`, contract §3): rounds open or about to be.

A round is told from `AHEAD_MS` before it opens until it closes. A checkpoint is done once it has
been visited as often as asked; what is read late still counts, but a closed round is told no more.
"""

from collections.abc import Mapping
from typing import NamedTuple

from devices.ids import Instant
from devices.messages import CheckpointToVisit, RoundToWalk
from rules.plans import Plan
from rules.promises import Obligation, Round, Verdict

AHEAD_MS = 900_000
"""How long before it opens a round is told: time to walk to where it begins."""


class Sheet(NamedTuple):
    """One round as a device is told of it, and the checkpoints that are not done."""

    round: RoundToWalk
    left: frozenset[str]


def is_told(opens: Instant, closes: Instant, now: Instant) -> bool:
    """Whether a round is open at `now`, or about to be."""
    return opens - AHEAD_MS <= now < closes


def next_change(opens: Instant, closes: Instant, now: Instant) -> Instant | None:
    """When time alone will change whether it is told; None once it is past."""
    if now < opens - AHEAD_MS:
        return opens - AHEAD_MS
    return closes if now < closes else None


def sheet(promise: Obligation, plan: Plan, so_far: Verdict | None) -> Sheet:
    """A round's checkpoints in the order of its route, each with whether it is done.

    `so_far`: how it would stand if nobody came any more; None where nobody has come.
    """
    terms = promise.terms
    asked: Mapping[str, int] = dict(terms.visits) if isinstance(terms, Round) else {}
    seen = frozenset(so_far.visited if so_far else ())
    visits: Mapping[str, int] = so_far.visits if so_far else {}

    def done(slug: str) -> bool:
        return slug in seen and visits.get(slug, 0) >= asked.get(slug, 0)

    points = tuple(
        CheckpointToVisit(id=point.slug, name=point.name, done=done(point.slug))
        for point in plan.route
    )
    walk = RoundToWalk(
        id=promise.key,
        plan=plan.slug,
        name=plan.name,
        opens=promise.opens,
        closes=promise.closes,
        checkpoints=points,
    )
    return Sheet(walk, frozenset(point.id for point in points if not point.done))
