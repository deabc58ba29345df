"""The verdicts that must follow from what physically happened: contract section 6, naively.

It sees every visit with its time, as `arrival` found it, and the simulated instant at which it was
first delivered, and asks the plans of the file. Nothing of it is shared with the service's rules.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from firmware_sim.plans import Occasion, Plan, Registry, occasions, utc_text


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A tag of a checkpoint was read at `at`, as far as that can be known of its clock.

    `delivered` is None if it never arrived. `counts_late`: the time is trusted. `counter`: which
    tap of its tag it tells, None for a bare number; `told`: the device's own time; `sure`: `at`
    stands on something. `person`: who held the device, as it said.
    """

    site: str
    checkpoint: str
    device: str
    at: int
    delivered: int | None
    counts_late: bool = True
    id: str = ""
    tag: str = ""
    told: int = 0
    sure: bool = True
    counter: int | None = None
    person: str | None = None


@dataclass(frozen=True, kw_only=True)
class Course:
    """What the run was, from the service's side. Times are simulated ms.

    `arrivals`: per device, every instant at which something of it arrived, ascending.
    `links`: per device, the spans `[from, to)` in which the broker held its connection.
    """

    first_tick: int
    last_tick: int
    visits: Sequence[Visit]
    arrivals: Mapping[str, Sequence[int]] = field(default_factory=dict)
    links: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RoundVerdict:
    """One round or quota: `first` is what must be said at due, `verdict` what holds in the end.

    `expected`, `visited`: places of a round, visits of a quota.
    """

    verdict: str
    first: str
    expected: int
    visited: int
    missing: tuple[str, ...]


class Stretch(NamedTuple):
    """A stretch without a visit that was too long: `{site}/{plan}/{checkpoint}/{start}`."""

    site: str
    plan: str
    checkpoint: str
    start: int

    @property
    def id(self) -> str:
        """The subject of its event."""
        return f"{self.site}/{self.plan}/{self.checkpoint}/{utc_text(self.start)}"


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """All that must follow. `withdrawn`: overdue as known then, refuted by late evidence."""

    rounds: Mapping[str, RoundVerdict]
    overdue: tuple[str, ...]
    withdrawn: tuple[str, ...]


def judge(registry: Registry, course: Course) -> Verdicts:
    """Judge every round and gap that was owed between the first and the last tick."""
    windows = occasions(registry, course.first_tick, course.last_tick)
    rounds = [o for o in windows if o.plan.every is None]
    served = _serve(registry, course)
    judged = {
        o.id: _round(registry, course, o, served.get(o.id, ()))
        for o in rounds
        if o.due <= course.last_tick
    }
    final: set[Stretch] = set()
    ever: set[Stretch] = set()
    for occasion in windows:
        if occasion.plan.every is not None:
            for checkpoint in occasion.plan.route:
                now, live = _gap(course, occasion, checkpoint)
                final |= now
                ever |= live
    return Verdicts(
        rounds=judged,
        overdue=tuple(sorted(stretch.id for stretch in final)),
        withdrawn=tuple(sorted(stretch.id for stretch in ever - final)),
    )


def _serve(registry: Registry, course: Course) -> dict[str, list[Visit]]:
    """Which round each visit serves: per plan one, on time before late before early."""
    day = 86_400_000
    around = occasions(registry, course.first_tick - 3 * day, course.last_tick + 3 * day)
    served: dict[str, list[Visit]] = {}
    for visit in course.visits:
        best: dict[str, tuple[int, int, Occasion]] = {}
        for o in around:
            if o.plan.every is not None or o.site != visit.site:
                continue
            manner = _manner(o, visit)
            if manner is not None:
                rank = (manner, o.opens, o)
                if o.plan.id not in best or rank[:2] < best[o.plan.id][:2]:
                    best[o.plan.id] = rank
        for _, _, o in best.values():
            served.setdefault(o.id, []).append(visit)
    return served


def _manner(occasion: Occasion, visit: Visit) -> int | None:
    """0 on time, 1 late, 2 early; None when the visit has nothing to do with the round."""
    if visit.checkpoint not in occasion.plan.route:
        return None
    if occasion.opens <= visit.at < occasion.closes:
        return 0
    if occasion.closes <= visit.at < occasion.due:
        return 1
    return 2 if occasion.opens - occasion.plan.early <= visit.at < occasion.opens else None


def _round(
    registry: Registry, course: Course, occasion: Occasion, served: Iterable[Visit]
) -> RoundVerdict:
    plan = occasion.plan
    visits = list(served)
    known = [v for v in visits if _before(v, occasion.due)]
    final = [v for v in visits if _counts(course, v, occasion.due)]
    wanted = {place: times for place, times in plan.visits.items() if times > 0}
    came = {place: _times(plan, final, place) for place in wanted}
    dark = _dark(registry, course, occasion)
    quota = plan.per is not None
    return RoundVerdict(
        verdict=_standing(plan, final, dark),
        first=_standing(plan, known, dark),
        expected=sum(wanted.values()) if quota else len(wanted),
        visited=sum(
            min(came[place], times) if quota else came[place] >= times
            for place, times in wanted.items()
        ),
        missing=tuple(place for place, times in wanted.items() if came[place] < times),
    )


def _standing(plan: Plan, seen: Sequence[Visit], dark: bool) -> str:
    """A read of nobody in particular is no second person."""
    if not seen:
        return "unknown" if dark else "missed"
    often = all(_times(plan, seen, place) >= times for place, times in plan.visits.items())
    people = {visit.person for visit in seen} - {None}
    many = plan.people == 1 or len(people) >= plan.people
    return "completed" if often and many else "incomplete"


def _times(plan: Plan, seen: Sequence[Visit], place: str) -> int:
    """How often somebody came: who reads again too soon has not gone and come back."""
    begun: list[int] = []
    for at in sorted(visit.at for visit in seen if visit.checkpoint == place):
        if not begun or at - begun[-1] >= plan.apart:
            begun.append(at)
    return len(begun)


def _before(visit: Visit, instant: int) -> bool:
    return visit.delivered is not None and visit.delivered < instant


def _counts(course: Course, visit: Visit, due: int) -> bool:
    """In time; or late, trusted, and its device cut off: nothing of it arrived in `[at, due)`."""
    if visit.delivered is None:
        return False
    if visit.delivered < due:
        return True
    if not visit.counts_late:
        return False
    arrivals = course.arrivals.get(visit.device, ())
    place = bisect_left(arrivals, visit.at)
    return place == len(arrivals) or arrivals[place] >= due


def _dark(registry: Registry, course: Course, occasion: Occasion) -> bool:
    """Whether no device of the site was reachable at any instant of `[opens, due)`."""
    devices = registry.sites[occasion.site].devices
    spans = (span for device in devices for span in course.links.get(device, ()))
    return not any(start < occasion.due and occasion.opens < end for start, end in spans)


def _gap(course: Course, occasion: Occasion, checkpoint: str) -> tuple[set[Stretch], set[Stretch]]:
    """The stretches that hold in the end, and all that were ever to be raised."""
    visits = [
        v
        for v in course.visits
        if (v.site, v.checkpoint) == (occasion.site, checkpoint)
        and occasion.opens <= v.at < occasion.due
        and _counts(course, v, occasion.due)
    ]
    landings = sorted({v.delivered for v in visits if v.delivered is not None})
    final: set[Stretch] = set()
    ever: set[Stretch] = set()
    for until in [*landings, course.last_tick]:
        # Until this landing, what had landed before it was all that could be known.
        last = until == course.last_tick
        known = [v.at for v in visits if v.delivered is not None and (last or v.delivered < until)]
        final = set(_stretches(occasion, checkpoint, sorted(known), min(until, course.last_tick)))
        ever |= final
    return final, ever


def _stretches(
    occasion: Occasion, checkpoint: str, visits: Sequence[int], now: int
) -> Iterable[Stretch]:
    """Raised at last + every + grace, unless a visit came before; the clock starts at opens."""
    every = occasion.plan.every or 0
    last = occasion.opens
    for visit in [*visits, None]:
        breach = last + every
        raised = breach + occasion.plan.grace
        if breach < occasion.closes and raised <= now and (visit is None or raised <= visit):
            yield Stretch(occasion.site, occasion.plan.id, checkpoint, last)
        last = visit if visit is not None else last
