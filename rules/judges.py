"""One judge for each kind of obligation: how it would stand if `clock` were its due."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from devices.ids import Instant
from rules.promises import Gap, Obligation, Read, Reason, Round, Standing, Stretch, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a judge sees at an instant: the standing if that instant were due."""

    standing: Standing
    reason: Reason
    evidence: Mapping[str, Read]
    stretches: tuple[Stretch, ...] = ()
    wake: Instant


Judge = Callable[[Obligation, Sequence[Read], Instant], Finding]


def judge_round(obligation: Obligation, reads: Sequence[Read], clock: Instant) -> Finding:
    """Completed when every checkpoint was visited, missed when none was. Wakes at due."""
    evidence = _first_reads(reads)
    if len(evidence) == len(obligation.expected):
        standing, reason = Standing.COMPLETED, Reason.ALL_VISITED
    elif evidence:
        standing, reason = Standing.INCOMPLETE, Reason.SOME_NOT_VISITED
    else:
        standing, reason = Standing.MISSED, Reason.NONE_VISITED
    return Finding(standing=standing, reason=reason, evidence=evidence, wake=obligation.due)


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
        stretches=stretches,
        wake=min([wake, *(at for at in visits if at > clock)]),
    )


JUDGES: Mapping[type[Terms], Judge] = {Round: judge_round, Gap: judge_gap}


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
