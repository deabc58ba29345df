"""One judge for each kind of obligation: how it would stand if `clock` were its due."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from devices.ids import Instant
from rules.promises import (
    Gap,
    Obligation,
    Quota,
    Read,
    Reason,
    Round,
    Standing,
    Stretch,
    Terms,
)
from rules.visits import people_of, runs, visits_of


class Finding(Struct, frozen=True, kw_only=True):
    """What a judge sees at an instant: the standing if that instant were due."""

    standing: Standing
    reason: Reason
    evidence: Mapping[str, Read]
    missing: tuple[str, ...] = ()
    visits: Mapping[str, int] = msgspec.field(default_factory=dict)
    people: tuple[str, ...] = ()
    met_at: Instant | None = None
    stretches: tuple[Stretch, ...] = ()
    wake: Instant


Judge = Callable[[Obligation, Sequence[Read], Instant], Finding]


def judge_round(obligation: Obligation, reads: Sequence[Read], clock: Instant) -> Finding:
    """Completed when everything asked was done, missed when nobody came at all. Wakes at due."""
    terms = obligation.terms
    if not isinstance(terms, Round):
        raise TypeError(f"{obligation.key} is no round")
    evidence = _first_reads(reads)
    times = dict(terms.visits)
    visits = visits_of(reads, terms.apart) if times else {}
    missing = tuple(
        [
            name
            for name in terms.expected
            if name not in evidence or (times and len(visits.get(name, ())) < times.get(name, 1))
        ]
    )
    people = people_of(reads) if terms.people > 1 else ()
    if not evidence:
        standing, reason = Standing.MISSED, Reason.NONE_VISITED
    elif (lack := _lack(terms, missing, evidence, people, reads)) is not None:
        standing, reason = Standing.INCOMPLETE, lack
    else:
        standing, reason = Standing.COMPLETED, Reason.ALL_VISITED
    return Finding(
        standing=standing,
        reason=reason,
        evidence=evidence,
        missing=missing,
        visits={name: min(len(visits.get(name, ())), asked) for name, asked in terms.visits},
        people=people[: terms.people],
        wake=obligation.due,
    )


def judge_quota(obligation: Obligation, reads: Sequence[Read], clock: Instant) -> Finding:
    """Completed when each checkpoint was visited as often as asked, missed when none ever was."""
    terms = obligation.terms
    if not isinstance(terms, Quota):
        raise TypeError(f"{obligation.key} is no quota")
    visits = visits_of(reads, terms.apart)
    missing = tuple(name for name, asked in terms.visits if len(visits.get(name, ())) < asked)
    if not visits:
        standing, reason = Standing.MISSED, Reason.NONE_VISITED
    elif missing:
        standing, reason = Standing.INCOMPLETE, Reason.QUOTA_SHORT
    else:
        standing, reason = Standing.COMPLETED, Reason.QUOTA_MET
    met = () if missing else tuple(visits[name][asked - 1] for name, asked in terms.visits)
    return Finding(
        standing=standing,
        reason=reason,
        evidence=_first_reads(reads),
        missing=missing,
        visits={name: min(len(visits.get(name, ())), asked) for name, asked in terms.visits},
        met_at=max(met, default=None),
        wake=obligation.due,
    )


def judge_gap(obligation: Obligation, reads: Sequence[Read], clock: Instant) -> Finding:
    """Completed when no gap was passed, missed when one was and nobody ever came.

    A visit whose time has not come yet is not looked at; the judge wakes for it.
    """
    evidence = _first_reads(read for read in reads if read.at < min(obligation.due, clock + 1))
    visits = sorted({read.at for read in reads})
    stretches, wake = _stretches(obligation, [at for at in visits if at <= clock], clock)
    if not stretches:
        standing, reason = Standing.COMPLETED, Reason.GAPS_KEPT
    elif evidence:
        standing, reason = Standing.INCOMPLETE, Reason.GAP_PASSED
    else:
        standing, reason = Standing.MISSED, Reason.NEVER_VISITED
    return Finding(
        standing=standing,
        reason=reason,
        evidence=evidence,
        missing=tuple(name for name in obligation.expected if name not in evidence),
        stretches=stretches,
        wake=min([wake, *(at for at in visits if at > clock)]),
    )


JUDGES: Mapping[type[Terms], Judge] = {
    Round: judge_round,
    Gap: judge_gap,
    Quota: judge_quota,
}


def _lack(
    terms: Round,
    missing: Sequence[str],
    evidence: Mapping[str, Read],
    people: Sequence[str],
    reads: Sequence[Read],
) -> Reason | None:
    """What a walk that somebody began still lacks; None where it lacks nothing."""
    if any(name not in evidence for name in missing):
        return Reason.SOME_NOT_VISITED
    if missing:
        return Reason.TOO_FEW_VISITS
    if terms.people > 1 and len(people) < terms.people:
        return Reason.TOO_FEW_PEOPLE
    if terms.max_gap and not any(_whole(terms, run) for run in runs(reads, terms.max_gap)):
        return Reason.TOO_LONG_BETWEEN
    return None


def _whole(terms: Round, run: Sequence[Read]) -> bool:
    """Whether one run of reads is all that the round asks."""
    visits, times = visits_of(run, terms.apart), dict(terms.visits)
    owed = (name for name in terms.route if name not in terms.optional)
    enough = all(len(visits.get(name, ())) >= times.get(name, 1) for name in owed)
    return enough and (terms.people <= 1 or len(people_of(run)) >= terms.people)


def _stretches(
    obligation: Obligation, visits: Sequence[Instant], clock: Instant
) -> tuple[tuple[Stretch, ...], Instant]:
    """The stretches raised by `clock`, and when to look again.

    The clock starts at opens and at each visit; breached at last + every, if that is before
    closes; raised `grace` after, unless somebody came before; ended by the next visit.
    """
    terms = obligation.terms
    if not isinstance(terms, Gap):
        raise TypeError(f"{obligation.key} is no gap obligation")
    stretches: list[Stretch] = []
    last = obligation.opens
    for visit in (*visits, None):
        breached = last + terms.every
        if breached >= obligation.closes:
            break
        raised = breached + terms.grace
        if visit is None or visit >= raised:
            if raised > clock:
                return tuple(stretches), min(raised, obligation.due)
            stretches.append(Stretch(start=last, breached_at=breached, ended_at=visit))
        if visit is not None:
            last = visit
    return tuple(stretches), obligation.due


def _first_reads(reads: Iterable[Read]) -> dict[str, Read]:
    """The earliest read of each checkpoint; among equals the lowest identity."""
    first: dict[str, Read] = {}
    for read in reads:
        best = first.get(read.checkpoint)
        if best is None or (read.at, read.identity) < (best.at, best.identity):
            first[read.checkpoint] = read
    return first
