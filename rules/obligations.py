"""What is owed, and whether it was kept: obligations, evidence, judges, verdicts, flips.

    obligation + set of reads + what is known of the devices + now  ->  settle()  ->  Verdict
    last verdict + verdict  ->  flip()  ->  Flip | None  ->  events.follow()

Intervals (contract §6), to the millisecond: a read is early in [opens - early, opens), on time in
[opens, closes), late in [closes, due), and counts in all three. A verdict is pending while
now < due. Everything here is a function of the *set* of reads: neither order nor repetition
matters (law 3).

A new kind of obligation is one class of terms and one judge in `JUDGES`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import structs

from devices.ids import Instant
from rules.judges import JUDGES, Finding, Judge
from rules.promises import (
    EPOCH,
    Decision,
    Do,
    Flip,
    Gap,
    Known,
    Obligation,
    Quota,
    Read,
    Reason,
    Round,
    Standing,
    Stretch,
    Terms,
    Trust,
    Verdict,
    Wait,
    gap_key,
    round_key,
    utc,
)

__all__ = [
    "EPOCH",
    "JUDGES",
    "Decision",
    "Do",
    "Finding",
    "Flip",
    "Gap",
    "Judge",
    "Known",
    "Obligation",
    "Quota",
    "Read",
    "Reason",
    "Round",
    "Standing",
    "Stretch",
    "Terms",
    "Trust",
    "Verdict",
    "Wait",
    "flip",
    "gap_key",
    "old_news",
    "round_key",
    "serves",
    "settle",
    "unproven",
    "utc",
    "why_waiting",
]


def serves(at: Instant, rounds: Iterable[Obligation]) -> Obligation | None:
    """Which of one plan's rounds a read at `at` serves; None where it is outside all of them.

    The one in which it is on time, else late, else early; the one that opens first among equals
    (contract §6).
    """
    ranked = [(rank, r.opens, r.key, r) for r in rounds if (rank := _rank(at, r)) is not None]
    return min(ranked, key=lambda row: row[:3])[3] if ranked else None


def _rank(at: Instant, obligation: Obligation) -> int | None:
    """0 on time, 1 late, 2 early, None outside."""
    if at < obligation.opens:
        return 2 if obligation.opens - obligation.early <= at else None
    if at < obligation.closes:
        return 0
    return 1 if at < obligation.due else None


def settle(obligation: Obligation, reads: Iterable[Read], known: Known, now: Instant) -> Verdict:
    """How `obligation` stands at `now`: the one door to the judges.

    1. Time stands at the marker that has come back, not at our clock, unless that was waited for.
    2. Only reads that serve this obligation bear on it, and prove what their checkpoint asks.
    3. Evidence that arrived before due counts, whatever its clock; after due only if its clock
       is trusted and its device was cut off; else it waits for a person, who accepts or rejects it.
    4. The judge of its kind says how it would stand.
    5. Before due it is pending.
    6. Missed becomes unknown where nobody could have told; a person may call that missed, or
       excuse what was not kept in time, and an excused one stays excused.

    Pass, for a `Gap`, the reads of its checkpoint from `opens` to the first one at or after due
    (which ends an open stretch); for a `Round` those of its route in [opens - early, due).
    """
    clock = now if known.waited else min(now, known.marker)
    judge = JUDGES[type(obligation.terms)]
    bearing = _bearing(obligation, reads, known.siblings)
    counted = [read for read in bearing if _counts(read, obligation)]
    found = judge(obligation, counted, clock)
    undone = _undone(obligation, counted, found, known, clock)
    if clock < obligation.due:
        return structs.replace(_pending(obligation, found, known), withdrawn=undone)
    first = found.standing
    late = [read for read in counted if read.after >= obligation.due or read.told_late]
    if late:
        in_time = [_as_it_was(read) for read in counted if read.after < obligation.due]
        first = judge(obligation, in_time, clock).standing
    first = _fair(first, known)
    standing, why = _decided(_fair(found.standing, known), first, known)
    return _verdict(
        obligation,
        found,
        standing=standing,
        reason=why or _REASONS.get(standing, found.reason),
        at=obligation.due,
        waiting=_waiting(obligation, found, bearing),
        withdrawn=undone,
        first=Standing.EXCUSED if _excused_ahead(obligation, standing, known) else first,
        waited=known.waited,
        silent=_excused_whole(obligation, known),
        decisions=_decisions(bearing, known),
    )


def flip(obligation: Obligation, last: Verdict | None, verdict: Verdict) -> Flip | None:
    """The change from `last` to `verdict`; None where nothing changed that anybody would tell.

    While pending only stretches are told: progress is not a revision.
    """
    if last is None:
        told = verdict.standing is not Standing.PENDING or bool(
            verdict.stretches or verdict.withdrawn
        )
    else:
        told = _facts(last) != _facts(verdict)
    return Flip(obligation=obligation, was=last, now=verdict) if told else None


def old_news(flip: Flip, reads: Iterable[Read]) -> bool:
    """Whether a verdict that was given is another because of a file that was imported after due.

    What it opens is kept, and is no alarm any more: who imported it knows, and the amendment tells.
    """
    was, due = flip.was, flip.obligation.due
    judged = was is not None and was.standing is not Standing.PENDING
    return judged and any(read.trust is Trust.IMPORTED and read.after >= due for read in reads)


def why_waiting(read: Read) -> Wait | None:
    """Why late evidence does not count by itself; None where it does (contract §6)."""
    if read.trust is Trust.IMPORTED:
        return Wait.IMPORTED
    if read.trust not in (Trust.TRUSTED, Trust.UPTIME):
        return Wait.CLOCK_UNPROVEN
    return None if read.cut_off else Wait.NOT_CUT_OFF


def _bearing(
    obligation: Obligation, reads: Iterable[Read], siblings: tuple[Obligation, ...]
) -> list[Read]:
    """The reads that bear on `obligation`.

    A read serves one round only. A gap is no round to be served: whoever came, came, so every
    visit from opens on restarts it, and one after due ends it. What does not prove that somebody
    stood there, where that is asked, is no visit.
    """
    places = frozenset(obligation.places)
    here = [read for read in reads if read.checkpoint in places]
    if obligation.proof:
        here = [read for read in here if obligation.proves(read)]
    if isinstance(obligation.terms, Gap):
        return [read for read in here if read.at >= obligation.opens]
    rivals = [r for r in siblings if r.key != obligation.key]
    if not rivals:
        return [read for read in here if _rank(read.at, obligation) is not None]
    rounds = (obligation, *rivals)
    return [read for read in here if serves(read.at, rounds) is obligation]


def _undone(
    obligation: Obligation,
    counted: Sequence[Read],
    found: Finding,
    known: Known,
    clock: Instant,
) -> tuple[Stretch, ...]:
    """Stretches that whoever looked at every marker had to raise, and that are none any more.

    Between two arrivals the evidence is that of the earlier ones, up to the marker before the
    next: what was raised then is told as withdrawn, whether or not somebody looked just then, so
    that the events are a function of the evidence and not of when it was judged (law 3).
    """
    if not isinstance(obligation.terms, Gap):
        return ()
    ends = [*sorted({read.after for read in counted if read.after < clock}), clock]
    raised: dict[Instant, Stretch] = {}
    for end in ends[:-1]:
        seen = [read for read in counted if read.after < end]
        if seen or known.reachable:
            raised |= {s.start: s for s in JUDGES[Gap](obligation, seen, end).stretches}
    still = {stretch.start for stretch in found.stretches}
    return tuple(raised[start] for start in sorted(raised) if start not in still)


def _counts(read: Read, obligation: Obligation) -> bool:
    if read.after < obligation.due:
        return True
    if read.decision is not None:
        return read.decision.do is Do.ACCEPT
    return read.at >= obligation.due or why_waiting(read) is None


def _as_it_was(read: Read) -> Read:
    """A read as it was known before due: of its person, too."""
    tag = read.by_tag
    return structs.replace(read, person=tag.then) if tag and read.told_late else read


def _waiting(obligation: Obligation, found: Finding, bearing: Sequence[Read]) -> tuple[str, ...]:
    """Late reads that do not count but could change the verdict, earliest first."""
    if found.standing is Standing.COMPLETED:
        return ()
    terms = obligation.terms
    # where more is asked than one read of each checkpoint, any read may be what is lacking
    whole = isinstance(terms, Gap) or (isinstance(terms, Round) and not terms.plain)
    waiting = {
        (read.at, read.identity)
        for read in bearing
        if read.decision is None
        and not _counts(read, obligation)
        and (whole or read.checkpoint in found.missing)
    }
    if isinstance(terms, Round) and terms.people > 1:  # so may who has made one of them
        tags = ((read.at, read.by_tag.waits) for read in bearing if read.by_tag)
        waiting |= {(at, tag) for at, tag in tags if tag is not None}
    return tuple(dict.fromkeys(identity for _, identity in sorted(waiting)))


_REASONS = {Standing.UNKNOWN: Reason.NOBODY_REACHABLE, Standing.EXCUSED: Reason.EXCUSED}


def _fair(standing: Standing, known: Known) -> Standing:
    """Unknown, once for all kinds: nobody is blamed for what nobody could tell."""
    if standing is Standing.MISSED and not known.reachable:
        return Standing.UNKNOWN
    return standing


def _decided(standing: Standing, first: Standing, known: Known) -> tuple[Standing, Reason | None]:
    """What a person's decision makes of it.

    Who kept it in time needs no excuse; what was excused stays so, whatever evidence comes later.
    """
    before, decision = known.previous, known.decision
    excused = decision is not None and decision.do is Do.EXCUSE
    if excused and first is not Standing.COMPLETED:
        return Standing.EXCUSED, None
    if before is not None and before.standing is Standing.EXCUSED and decision is None:
        return Standing.EXCUSED, None
    called = decision is not None and decision.do is Do.CALL_MISSED
    if called and standing is Standing.UNKNOWN:
        return Standing.MISSED, Reason.CALLED_MISSED
    return standing, None


def _excused_ahead(obligation: Obligation, standing: Standing, known: Known) -> bool:
    """Whether it was excused before due: then nothing else was ever told."""
    ahead = known.decision is not None and known.decision.at < obligation.due
    return ahead and standing is Standing.EXCUSED


def _excused_whole(obligation: Obligation, known: Known) -> bool:
    """Whether it was excused before it opened: then no stretch of it is told either."""
    decision = known.decision
    return decision is not None and decision.do is Do.EXCUSE and decision.at <= obligation.opens


def _decisions(bearing: Iterable[Read], known: Known) -> tuple[Decision, ...]:
    """What was decided of the obligation, of the reads that bear on it, and of the persons' tags
    that say who made them."""
    reads: dict[str, Decision] = {}
    for read in bearing:
        if read.decision is not None:
            reads[read.identity] = read.decision
        if read.by_tag is not None and read.by_tag.decisions:
            reads |= {made.read: made for made in read.by_tag.decisions if made.read}
    made = [] if known.decision is None else [known.decision]
    made += [reads[identity] for identity in sorted(reads)]
    return tuple(sorted(made, key=lambda decision: decision.at)) if made else ()


def unproven(
    obligation: Obligation, reads: Iterable[Read], siblings: tuple[Obligation, ...] = ()
) -> tuple[Read, ...]:
    """The reads that came after due and bear on it by a time that nobody can vouch for."""
    late = [
        read
        for read in reads
        if read.after >= obligation.due > read.at and why_waiting(read) is Wait.CLOCK_UNPROVEN
    ]
    return tuple(_bearing(obligation, late, siblings)) if late else ()


def _pending(obligation: Obligation, found: Finding, known: Known) -> Verdict:
    return _verdict(
        obligation,
        found,
        standing=Standing.PENDING,
        reason=Reason.NOT_DUE,
        at=obligation.opens,
        silent=_fair(found.standing, known) is Standing.UNKNOWN
        or _excused_whole(obligation, known),
        wake=found.wake,
    )


def _verdict(
    obligation: Obligation, found: Finding, *, standing: Standing, silent: bool = False, **rest: Any
) -> Verdict:
    """`silent`: nobody could have told, or it was excused ahead, so no stretch is raised."""
    silent = silent or standing is Standing.UNKNOWN
    evidence = found.evidence
    seen = [(name, evidence[name]) for name in obligation.places if name in evidence]
    return Verdict(
        standing=standing,
        visited=tuple([name for name in obligation.expected if name not in found.missing]),
        late=tuple([name for name, read in seen if read.at >= obligation.closes]),
        early=tuple([name for name, read in seen if read.at < obligation.opens]),
        missing=found.missing,
        evidence={name: read.identity for name, read in seen},
        visits=found.visits,
        people=found.people,
        met_at=found.met_at,
        stretches=() if silent else found.stretches,
        **rest,
    )


def _facts(verdict: Verdict) -> tuple[object, ...]:
    """What a revision tells; how long it waited and when to wake are not part of it."""
    if verdict.standing is Standing.PENDING:
        return (verdict.standing, verdict.stretches, verdict.withdrawn)
    return (
        verdict.standing,
        verdict.reason,
        verdict.visited,
        verdict.late,
        verdict.early,
        dict(verdict.evidence),
        verdict.waiting,
        verdict.stretches,
        verdict.withdrawn,
        dict(verdict.visits),
        verdict.people,
        verdict.met_at,
        verdict.decisions,
    )
