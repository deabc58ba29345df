"""The values of `rules.obligations`: what is owed, what a judge reads, what it answers. Frozen."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple, Self

import msgspec
from msgspec import Struct

from devices.ids import Instant
from devices.proofs import Proof

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
    TOO_FEW_VISITS = "too-few-visits"
    TOO_FEW_PEOPLE = "too-few-people"
    TOO_LONG_BETWEEN = "too-long-between"
    QUOTA_MET = "quota-met"
    QUOTA_SHORT = "quota-short"
    NOBODY_REACHABLE = "nobody-reachable"
    EXCUSED = "excused"
    CALLED_MISSED = "called-missed"


class Do(StrEnum):
    """What a person may decide: of late evidence, or of an obligation."""

    ACCEPT = "accept"
    REJECT = "reject"
    EXCUSE = "excuse"
    CALL_MISSED = "call-missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who decided what, when and why. `read`: of which read; None: of the obligation itself."""

    do: Do
    author: str
    at: Instant
    reason: str
    read: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A document of plain values; `from_json` reads it back."""
        return {name: getattr(self, name) for name in self.__slots__} | {"do": self.do.value}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The decision that `to_json` wrote."""
        return cls(**{**document, "do": Do(document["do"])})


def holding(decisions: Iterable[Decision]) -> Decision | None:
    """Which of several about one obligation, or the span it opens in, holds.

    The latest does; of those that say the same without another between them, the first: what was
    excused ahead is not excused any later because somebody said so again. Of one instant, the
    excuse: only what nobody had excused could be called missed.
    """
    holds: Decision | None = None
    for decision in sorted(decisions, key=lambda made: (made.at, made.do is Do.EXCUSE)):
        if holds is None or decision.do is not holds.do:
            holds = decision
    return holds


class Trust(StrEnum):
    """What is known of the clock that dated a read (contract §6, 'When did it arrive?')."""

    TRUSTED = "trusted"
    AHEAD = "ahead"
    SLOW = "slow"
    UPTIME = "uptime"
    UNPROVEN = "unproven"
    IMPORTED = "imported"


class Wait(StrEnum):
    """Why late evidence does not count by itself and waits for a person's review."""

    CLOCK_UNPROVEN = "clock-unproven"
    NOT_CUT_OFF = "not-cut-off"
    IMPORTED = "imported"


APART_MS = 60_000
"""Reads of a checkpoint nearer to each other are one visit, where a plan says nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Visit every checkpoint of `route` within the window. `min_gap`, `max_gap`, `apart` in ms.

    `visits`: checkpoints that are to be visited more than once, and how often. `optional`: those
    that need not be. `people`: how many different persons must have read. `max_gap`: the longest
    pause within the walk, 0 for any. `apart`: how far apart two visits of a checkpoint are.
    """

    route: tuple[str, ...]
    ordered: bool
    min_gap: int
    max_gap: int = 0
    visits: tuple[tuple[str, int], ...] = ()
    optional: frozenset[str] = frozenset()
    people: int = 1
    apart: int = APART_MS
    places: tuple[str, ...] = field(init=False, repr=False, compare=False)
    expected: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """All rounds of a plan share their terms: `Obligation` says what these two are."""
        places = tuple(dict.fromkeys(self.route))
        expected = tuple(name for name in places if name not in self.optional)
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "expected", expected)

    @property
    def plain(self) -> bool:
        """Whether one read of each checkpoint is all it asks."""
        return not self.visits and self.people <= 1 and not self.max_gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """So many visits of each checkpoint within a period. `apart` in ms."""

    visits: tuple[tuple[str, int], ...]
    apart: int = APART_MS

    @property
    def expected(self) -> tuple[str, ...]:
        """As of `Obligation`."""
        return tuple(name for name, _ in self.visits)

    places = expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Never leave `checkpoint` unvisited for longer than `every`; raised `grace` later (ms)."""

    checkpoint: str
    every: int
    grace: int

    @property
    def expected(self) -> tuple[str, ...]:
        """As of `Obligation`."""
        return (self.checkpoint,)

    places = expected


Terms = Round | Gap | Quota


class Obligation(Struct, frozen=True, kw_only=True):
    """A promise with a clock, frozen when it opens. Instants in ms; `early` a span in ms.

    `scored` false: the class of its day was not known, so that it may not have been owed at all.
    `profiles`: the special periods that made it ask more than its plan does. `proof`: checkpoints
    where a read must prove that somebody stood there.
    """

    key: str
    site: str
    plan: str
    terms: Terms
    opens: Instant
    closes: Instant
    due: Instant
    early: int
    scored: bool = True
    profiles: tuple[str, ...] = ()
    proof: frozenset[str] = frozenset()

    @property
    def expected(self) -> tuple[str, ...]:
        """The checkpoints that are owed, each once, in the order of the route."""
        return self.terms.expected

    @property
    def places(self) -> tuple[str, ...]:
        """The checkpoints whose reads bear on it: those that are owed, and the optional ones."""
        return self.terms.places

    def proves(self, read: "Read") -> bool:
        """Whether a read proves as much as its checkpoint asks here."""
        return read.proof is Proof.PROVEN or read.checkpoint not in self.proof

    @property
    def asked(self) -> int:
        """How much is asked: checkpoints, or of a quota visits."""
        if isinstance(self.terms, Quota):
            return sum(times for _, times in self.terms.visits)
        return len(self.expected)


class ByTag(NamedTuple):
    """Who made a read was said by a person's tag before it. `then`: by those that had arrived
    before due. `waits`: the tag that came later, and waits for a person to let it count.
    `decisions`: what people decided of those that came later."""

    then: str | None
    waits: str | None = None
    decisions: tuple[Decision, ...] = ()


class Read(Struct, frozen=True, kw_only=True):
    """One read of a tag at a checkpoint, as a judge sees it.

    `at`: when it happened, corrected where the device's clock was; `told_at`: the device's word.
    `after`: the last marker before its arrival; `received_at`: our clock. `cut_off`: nothing
    arrived from its device in [at, due) of the obligation that is being judged. `decision`: what a
    person decided of it; asked only of what arrived after due. `by_tag`: where a person's tag said
    who made it; None where it said so itself, or where nobody asked. `proof`: whether its tag
    proves that somebody stood there.
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
    decision: Decision | None = None
    by_tag: ByTag | None = None
    proof: Proof = Proof.BARE

    @property
    def told_late(self) -> bool:
        """Whether only what arrived after due says who made it."""
        return self.by_tag is not None and self.by_tag.then != self.person


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A time in which the longest allowed gap was passed: [breached_at, ended_at).

    It begins at `start` (the window's opening or the visit before) and is named by it.
    `ended_at` None: nobody has come since.
    """

    start: Instant
    breached_at: Instant
    ended_at: Instant | None


class Verdict(Struct, frozen=True, kw_only=True):
    """How an obligation stands, and by which evidence.

    `at`: the instant as of which it stands: `opens` while pending, `due` afterwards.
    `visited`, `missing`: checkpoints in the order of the route; `early`: those that were first
    visited before opens; `late`: those that were first
    visited in [closes, due). `evidence`: checkpoint -> identity of its first read
    that counts. `waiting`: identities of late reads that could change the verdict, once a person
    has accepted them. `first`: the standing by what had arrived before due; None while pending.
    `withdrawn`: stretches of a gap that were right to raise by what had arrived by then, and that
    later evidence has undone.
    `waited`: the marker of due never came, so it was judged a while later (contract §6).
    `visits`: how often those were visited that must be more than once, up to what is asked.
    `people`: who walked, where several must. `met_at`: when a quota was met.
    `decisions`: what people decided that bears on it, in the order in which they did.
    `wake`: the next instant at which time alone may change it; None when there is none.
    """

    standing: Standing
    at: Instant
    reason: Reason
    visited: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    early: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    evidence: Mapping[str, str] = msgspec.field(default_factory=dict)
    waiting: tuple[str, ...] = ()
    stretches: tuple[Stretch, ...] = ()
    withdrawn: tuple[Stretch, ...] = ()
    first: Standing | None = None
    waited: bool = False
    decisions: tuple[Decision, ...] = ()
    wake: Instant | None = None
    visits: Mapping[str, int] = msgspec.field(default_factory=dict)
    people: tuple[str, ...] = ()
    met_at: Instant | None = None

    def to_json(self) -> dict[str, Any]:
        """A document of plain values; `from_json` reads it back to an equal verdict."""
        return {
            "standing": self.standing.value,
            "at": self.at,
            "reason": self.reason.value,
            "visited": list(self.visited),
            "late": list(self.late),
            **({"early": list(self.early)} if self.early else {}),
            "missing": list(self.missing),
            "evidence": dict(self.evidence),
            "waiting": list(self.waiting),
            "stretches": _told(self.stretches),
            "withdrawn": _told(self.withdrawn),
            "first": None if self.first is None else self.first.value,
            "waited": self.waited,
            "decisions": [decision.to_json() for decision in self.decisions],
            "wake": self.wake,
            **({"visits": dict(self.visits)} if self.visits else {}),
            **({"people": list(self.people)} if self.people else {}),
            **({} if self.met_at is None else {"met_at": self.met_at}),
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
            stretches=_read(document["stretches"]),
            withdrawn=_read(document["withdrawn"]),
            first=None if first is None else Standing(first),
            waited=document["waited"],
            decisions=tuple(map(Decision.from_json, document.get("decisions", ()))),
            wake=document["wake"],
            visits=dict(document.get("visits", {})),
            people=tuple(document.get("people", ())),
            met_at=document.get("met_at"),
            early=tuple(document.get("early", ())),
            **lists,
        )


def _told(stretches: Iterable[Stretch]) -> list[list[Instant | None]]:
    return [[s.start, s.breached_at, s.ended_at] for s in stretches]


def _read(stretches: Iterable[Sequence[Any]]) -> tuple[Stretch, ...]:
    return tuple(
        Stretch(start=start, breached_at=breached, ended_at=ended)
        for start, breached, ended in stretches
    )


class Known(Struct, frozen=True, kw_only=True):
    """What a judge must know beside the reads.

    `marker`: the latest marker whose predecessors are all committed; judging time stands there.
    `reachable`: whether any device of the site could have told in [opens, due) (while pending:
    so far). `siblings`: other rounds of the plan whose [opens - early, due) overlap.
    `waited`: the marker of due did not come in time, judge by `now` alone. `decision`: what a
    person decided of the obligation itself.
    """

    marker: Instant
    reachable: bool = True
    siblings: tuple[Obligation, ...] = ()
    waited: bool = False
    previous: Verdict | None = None
    decision: Decision | None = None


class Flip(Struct, frozen=True, kw_only=True):
    """A change of verdict that is worth a revision. `was` None: there was no verdict before."""

    obligation: Obligation
    was: Verdict | None
    now: Verdict


@lru_cache(maxsize=4_096)  # the rounds of many sites open together
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
