"""What is owed, and whether it was kept: obligations, evidence, judges, verdicts, flips.

    obligation + set of reads + what is known of the devices + now  ->  settle()  ->  Verdict
    last verdict + verdict  ->  flip()  ->  Flip | None  ->  events.follow()

Intervals (contract §6), to the millisecond: a read is early in [opens - early, opens), on time in
[opens, closes), late in [closes, due), and counts in all three. A verdict is pending while
now < due. Everything here is a function of the *set* of reads: neither order nor repetition
matters (design, law 3).

A new kind of obligation is one class of terms and one judge in `JUDGES`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from devices.ids import Instant

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Standing(StrEnum):
    """How it stands with an obligation. Pending before due; excused by a person only."""

    PENDING = "pending"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    MISSED = "missed"
    UNKNOWN = "unknown"
    EXCUSED = "excused"


class Reason(StrEnum):
    """Why a verdict stands as it does; the words for people are in `rules.words`."""

    NOT_DUE = "not-due"
    ALL_VISITED = "all-visited"
    SOME_NOT_VISITED = "some-not-visited"
    NONE_VISITED = "none-visited"
    GAPS_KEPT = "gaps-kept"
    GAP_PASSED = "gap-passed"
    NEVER_VISITED = "never-visited"
    NOBODY_REACHABLE = "nobody-reachable"
    EXCUSED = "excused"


class Trust(StrEnum):
    """What is known of the clock that dated a read (contract §6, 'When did it arrive?')."""

    TRUSTED = "trusted"
    AHEAD = "ahead"
    SLOW = "slow"
    UNPROVEN = "unproven"


class Wait(StrEnum):
    """Why late evidence does not count by itself and waits for a person's review."""

    CLOCK_UNPROVEN = "clock-unproven"
    NOT_CUT_OFF = "not-cut-off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Visit every checkpoint of `route` within the window. `min_gap` in ms."""

    route: tuple[str, ...]
    ordered: bool
    min_gap: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Never leave `checkpoint` unvisited for longer than `every`; raised `grace` later (ms)."""

    checkpoint: str
    every: int
    grace: int


Terms = Round | Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """A promise with a clock, frozen when it opens. Instants in ms; `early` a span in ms."""

    key: str
    site: str
    plan: str
    terms: Terms
    opens: Instant
    closes: Instant
    due: Instant
    early: int

    @property
    def expected(self) -> tuple[str, ...]:
        """The checkpoints that are owed, each once, in the order of the route."""
        match self.terms:
            case Round(route=route):
                return tuple(dict.fromkeys(route))
            case Gap(checkpoint=checkpoint):
                return (checkpoint,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One read of a tag at a checkpoint, as a judge sees it.

    `at`: when it happened, corrected where the device's clock was; `told_at`: the device's word.
    `after`: the last marker before its arrival; `received_at`: our clock. `cut_off`: nothing
    arrived from its device in [at, due) of the obligation that is being judged.
    """

    identity: str
    checkpoint: str
    device: str
    person: str | None
    at: Instant
    told_at: Instant
    trust: Trust
    after: Instant
    received_at: Instant
    cut_off: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A time in which the longest allowed gap was passed: [breached_at, ended_at).

    It begins at `start` (the window's opening or the visit before) and is named by it.
    `ended_at` None: nobody has come since.
    """

    start: Instant
    breached_at: Instant
    ended_at: Instant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an obligation stands, and by which evidence.

    `at`: the instant as of which it stands: `opens` while pending, `due` afterwards.
    `visited`, `missing`: checkpoints in the order of the route; `late`: those of `visited` that
    were first visited in [closes, due). `evidence`: checkpoint -> identity of its first read
    that counts. `waiting`: identities of late reads that could change the verdict, once a person
    has accepted them. `first`: the standing by what had arrived before due; None while pending.
    `waited`: the marker of due never came, so it was judged a while later (contract §6).
    `wake`: the next instant at which time alone may change it; None when there is none.
    """

    standing: Standing
    at: Instant
    reason: Reason
    visited: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    evidence: Mapping[str, str] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()
    stretches: tuple[Stretch, ...] = ()
    first: Standing | None = None
    waited: bool = False
    wake: Instant | None = None

    def to_json(self) -> dict[str, Any]:
        """A document of plain values; `from_json` reads it back to an equal verdict."""
        return {
            "standing": self.standing.value,
            "at": self.at,
            "reason": self.reason.value,
            "visited": list(self.visited),
            "late": list(self.late),
            "missing": list(self.missing),
            "evidence": dict(self.evidence),
            "waiting": list(self.waiting),
            "stretches": [[s.start, s.breached_at, s.ended_at] for s in self.stretches],
            "first": None if self.first is None else self.first.value,
            "waited": self.waited,
            "wake": self.wake,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The verdict that `to_json` wrote. Raises KeyError or ValueError for anything else."""
        lists = {name: tuple(document[name]) for name in ("visited", "late", "missing", "waiting")}
        first = document["first"]
        return cls(
            standing=Standing(document["standing"]),
            at=document["at"],
            reason=Reason(document["reason"]),
            evidence=dict(document["evidence"]),
            stretches=tuple(
                Stretch(start=start, breached_at=breached, ended_at=ended)
                for start, breached, ended in document["stretches"]
            ),
            first=None if first is None else Standing(first),
            waited=document["waited"],
            wake=document["wake"],
            **lists,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a judge must know beside the reads.

    `marker`: the latest marker whose predecessors are all committed; judging time stands there.
    `reachable`: whether any device of the site could have told in [opens, due) (while pending:
    so far). `siblings`: other rounds of the plan whose [opens - early, due) overlap.
    `waited`: the marker of due did not come in time, judge by `now` alone.
    """

    marker: Instant
    reachable: bool = True
    siblings: tuple[Obligation, ...] = ()
    waited: bool = False
    previous: Verdict | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A change of verdict that is worth a revision. `was` None: there was no verdict before."""

    obligation: Obligation
    was: Verdict | None
    now: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a judge sees at an instant: the standing if that instant were due."""

    standing: Standing
    reason: Reason
    evidence: Mapping[str, Read]
    stretches: tuple[Stretch, ...] = ()
    wake: Instant


Judge = Callable[[Obligation, Sequence[Read], Instant], Finding]


def utc(at: Instant) -> str:
    """`at` in UTC as keys print it, `2026-09-01T14:00:00Z`; milliseconds only if there are any."""
    whole, ms = divmod(at, 1000)
    text = (EPOCH + timedelta(seconds=whole)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms:03d}Z" if ms else f"{text}Z"


def round_key(site: str, plan: str, opens: Instant) -> str:
    """`{site}/{plan}/{opens in UTC}` (contract §6)."""
    return f"{site}/{plan}/{utc(opens)}"


def gap_key(site: str, plan: str, opens: Instant, checkpoint: str) -> str:
    """The key of the gap obligation of one window and checkpoint."""
    return f"{round_key(site, plan, opens)}/{checkpoint}"


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
    2. Only reads that serve this obligation bear on it.
    3. Evidence that arrived before due counts, whatever its clock; after due only if its clock
       is trusted and its device was cut off; else it waits for review.
    4. The judge of its kind says how it would stand.
    5. Before due it is pending.
    6. Missed becomes unknown where nobody could have told; an excused one stays excused.

    Pass, for a `Gap`, the reads of its checkpoint from `opens` to the first one at or after due
    (which ends an open stretch); for a `Round` those of its route in [opens - early, due).
    """
    clock = now if known.waited else min(now, known.marker)
    judge = JUDGES[type(obligation.terms)]
    bearing = _bearing(obligation, reads, known.siblings)
    counted = [read for read in bearing if _counts(read, obligation)]
    found = judge(obligation, counted, clock)
    if clock < obligation.due:
        return _pending(obligation, found, known)
    first = found.standing
    if any(read.after >= obligation.due for read in counted):
        in_time = [read for read in counted if read.after < obligation.due]
        first = judge(obligation, in_time, clock).standing
    standing = _excused(_fair(found.standing, known), known)
    return _verdict(
        obligation,
        found,
        standing=standing,
        reason=_REASONS.get(standing, found.reason),
        at=obligation.due,
        waiting=_waiting(obligation, found, bearing),
        first=_fair(first, known),
        waited=known.waited,
    )


def flip(obligation: Obligation, last: Verdict | None, verdict: Verdict) -> Flip | None:
    """The change from `last` to `verdict`; None where nothing changed that anybody would tell.

    While pending only stretches are told: progress is not a revision.
    """
    if last is None:
        told = verdict.standing is not Standing.PENDING or bool(verdict.stretches)
    else:
        told = _facts(last) != _facts(verdict)
    return Flip(obligation=obligation, was=last, now=verdict) if told else None


def why_waiting(read: Read) -> Wait | None:
    """Why late evidence does not count by itself; None where it does (contract §6)."""
    if read.trust is not Trust.TRUSTED:
        return Wait.CLOCK_UNPROVEN
    return None if read.cut_off else Wait.NOT_CUT_OFF


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


def _bearing(
    obligation: Obligation, reads: Iterable[Read], siblings: tuple[Obligation, ...]
) -> list[Read]:
    """The reads that bear on `obligation`.

    A read serves one round only. A gap is no round to be served: whoever came, came, so every
    visit from opens on restarts it, and one after due ends it.
    """
    expected = frozenset(obligation.expected)
    here = [read for read in reads if read.checkpoint in expected]
    if isinstance(obligation.terms, Gap):
        return [read for read in here if read.at >= obligation.opens]
    rivals = [r for r in siblings if r.key != obligation.key]
    if not rivals:
        return [read for read in here if _rank(read.at, obligation) is not None]
    rounds = (obligation, *rivals)
    return [read for read in here if serves(read.at, rounds) is obligation]


def _counts(read: Read, obligation: Obligation) -> bool:
    in_time = read.after < obligation.due
    return in_time or read.at >= obligation.due or why_waiting(read) is None


def _first_reads(reads: Iterable[Read]) -> dict[str, Read]:
    """The earliest read of each checkpoint; among equals the lowest identity."""
    first: dict[str, Read] = {}
    for read in reads:
        best = first.get(read.checkpoint)
        if best is None or (read.at, read.identity) < (best.at, best.identity):
            first[read.checkpoint] = read
    return first


def _waiting(obligation: Obligation, found: Finding, bearing: Sequence[Read]) -> tuple[str, ...]:
    """Late reads that do not count but could change the verdict, earliest first."""
    if found.standing is Standing.COMPLETED:
        return ()
    gap = isinstance(obligation.terms, Gap)
    waiting = {
        (read.at, read.identity)
        for read in bearing
        if not _counts(read, obligation) and (gap or read.checkpoint not in found.evidence)
    }
    return tuple(identity for _, identity in sorted(waiting))


_REASONS = {Standing.UNKNOWN: Reason.NOBODY_REACHABLE, Standing.EXCUSED: Reason.EXCUSED}


def _fair(standing: Standing, known: Known) -> Standing:
    """Unknown, once for all kinds: nobody is blamed for what nobody could tell."""
    if standing is Standing.MISSED and not known.reachable:
        return Standing.UNKNOWN
    return standing


def _excused(standing: Standing, known: Known) -> Standing:
    """What a person excused stays excused, whatever evidence comes later."""
    before = known.previous
    return (
        standing if before is None or before.standing is not Standing.EXCUSED else before.standing
    )


def _pending(obligation: Obligation, found: Finding, known: Known) -> Verdict:
    return _verdict(
        obligation,
        found,
        standing=Standing.PENDING,
        reason=Reason.NOT_DUE,
        at=obligation.opens,
        silent=_fair(found.standing, known) is Standing.UNKNOWN,
        wake=found.wake,
    )


def _verdict(
    obligation: Obligation, found: Finding, *, standing: Standing, silent: bool = False, **rest: Any
) -> Verdict:
    """`silent`: nobody could have told, so no stretch is raised."""
    silent = silent or standing is Standing.UNKNOWN
    visited = tuple(name for name in obligation.expected if name in found.evidence)
    return Verdict(
        standing=standing,
        visited=visited,
        late=tuple(name for name in visited if found.evidence[name].at >= obligation.closes),
        missing=tuple(name for name in obligation.expected if name not in found.evidence),
        evidence={name: found.evidence[name].identity for name in visited},
        stretches=() if silent else found.stretches,
        **rest,
    )


def _facts(verdict: Verdict) -> tuple[object, ...]:
    """What a revision tells; how long it waited and when to wake are not part of it."""
    if verdict.standing is Standing.PENDING:
        return (verdict.standing, verdict.stretches)
    return (
        verdict.standing,
        verdict.reason,
        verdict.visited,
        verdict.late,
        dict(verdict.evidence),
        verdict.waiting,
        verdict.stretches,
    )
