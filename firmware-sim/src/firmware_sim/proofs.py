"""Proof of presence in the simulated world: which tap each read tells, and what follows from it.

A tag counts its taps in the order in which they truly happen; a copy of a message tells an old one
again, and a copy of a tag has its number and no message. What the service must find is said here
naively, by comparing every read with every other.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import permutations

from firmware_sim.guards import Act, Do, Doings
from firmware_sim.oracle import Visit
from firmware_sim.plans import Registry
from firmware_sim.scenario import Scenario
from firmware_sim.suntags import SunTag

APART = 60_000
"""How far two right clocks may be apart, in ms, before a tag's counter speaks against them."""

REMEMBERED = 3 * 86_400_000
"""How long, in ms, a tap speaks against those that are dated after it."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Reads by identity: told before, or against the tag's counter; or without the proof asked."""

    replayed: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()


def proving_tags(registry: Registry) -> dict[str, str]:
    """The tags of checkpoints that ask for proof, each with its checkpoint."""
    return {
        uid: f"{site.id}/{point.id}"
        for site in registry.sites.values()
        for point in site.checkpoints.values()
        if point.proof
        for uid in point.tags
    }


def sign(scenario: Scenario, doings: Doings) -> Doings:
    """The same doings, the reads of such tags with what each tag said at that tap."""
    if scenario.tag_master is None:
        return doings
    acts = doings.acts
    tags = {uid: SunTag(uid, scenario.tag_master) for uid in proving_tags(scenario.registry)}
    signed = dict(enumerate(acts))
    carrying = [n for n, act in signed.items() if act.do is Do.READ and act.members["tag"] in tags]
    fresh = [n for n in carrying if not acts[n].bare and not acts[n].again]
    for number in sorted(fresh, key=lambda n: (acts[n].tapped or acts[n].at, n)):
        tag = tags[str(acts[number].members["tag"])]
        signed[number] = _saying(acts[number], tag.tap(), tag.counter)
    for number in carrying:
        if acts[number].again:
            signed[number] = _copied(acts[number], [signed[n] for n in fresh])
    return replace(doings, acts=tuple(signed.values()))


def _saying(act: Act, sun: str, counter: int) -> Act:
    return replace(act, members={**act.members, "sun": sun}, counter=counter)


def _copied(act: Act, told: Iterable[Act]) -> Act:
    """The last message that was told of this tag before."""
    before = [one for one in told if one.at < act.at and one.members["tag"] == act.members["tag"]]
    last = max(before, key=lambda one: one.at)
    return _saying(act, str(last.members["sun"]), last.counter or 0)


def counting(registry: Registry, visits: Iterable[Visit]) -> list[Visit]:
    """The visits that prove what their checkpoint asks; of a message told twice the first alone."""
    visits = list(visits)
    copies = {
        one.id for one, other in _pairs(visits) if _same_tap(one, other) and _after(one, other)
    }
    return [
        visit
        for visit in visits
        if not _asks(registry, visit) or (visit.counter is not None and visit.id not in copies)
    ]


def marks(registry: Registry, visits: Iterable[Visit]) -> Marks:
    """What has to be marked of all that was delivered."""
    came = [visit for visit in visits if visit.delivered is not None]
    replayed = {
        one.id
        for one, other in _pairs(came)
        if (_same_tap(one, other) and _after(one, other)) or _before_its_time(one, other)
    }
    unproven = {v.id for v in came if v.counter is None and _asks(registry, v)}
    return Marks(replayed=tuple(sorted(replayed)), unproven=tuple(sorted(unproven)))


def _pairs(visits: Iterable[Visit]) -> Iterable[tuple[Visit, Visit]]:
    told = [visit for visit in visits if visit.counter is not None and visit.delivered is not None]
    return ((one, other) for one, other in permutations(told, 2) if one.tag == other.tag)


def _same_tap(one: Visit, other: Visit) -> bool:
    return one.counter == other.counter


def _after(one: Visit, other: Visit) -> bool:
    """Whether `other` came in first; within one interval, by what the devices told."""
    return (other.delivered, other.told, other.id) < (one.delivered, one.told, one.id)


def _before_its_time(one: Visit, other: Visit) -> bool:
    """Whether `other`, earlier and by a right clock, counted higher already."""
    higher = (other.counter or 0) > (one.counter or 0)
    return higher and other.sure and APART < one.at - other.at <= REMEMBERED


def _asks(registry: Registry, visit: Visit) -> bool:
    return bool(registry.sites[visit.site].checkpoints[visit.checkpoint].proof)
