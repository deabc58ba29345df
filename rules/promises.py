"""The values of `rules.obligations`: what is owed, what a judge reads, what it answers. Frozen."""

from collections.abc import Iterable, Mapping, Sequence
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
    UPTIME = "uptime"
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
    """A promise with a clock, frozen when it opens. Instants in ms; `early` a span in ms.

    `scored` false: the class of its day was not known, so that it may not have been owed at all.
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
    `withdrawn`: stretches of a gap that were right to raise by what had arrived by then, and that
    later evidence has undone.
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
    withdrawn: tuple[Stretch, ...] = ()
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
            "stretches": _told(self.stretches),
            "withdrawn": _told(self.withdrawn),
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
            stretches=_read(document["stretches"]),
            withdrawn=_read(document["withdrawn"]),
            first=None if first is None else Standing(first),
            waited=document["waited"],
            wake=document["wake"],
            **lists,
        )


def _told(stretches: Iterable[Stretch]) -> list[list[Instant | None]]:
    return [[s.start, s.breached_at, s.ended_at] for s in stretches]


def _read(stretches: Iterable[Sequence[Any]]) -> tuple[Stretch, ...]:
    return tuple(
        Stretch(start=start, breached_at=breached, ended_at=ended)
        for start, breached, ended in stretches
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
