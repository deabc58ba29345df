"""The set check: what was promised to a fleet, against what is there. After Jepsen's `set` checker.

Each question is one of sets: what must be there, what may be, what is. The ledger must hold what
devices were told and may hold what they made; the series must hold the ledger's check-ins; every
sos and hazard kept must have been told as an event; a judged round must count the reads that it
was owed. Names after Jepsen (jepsen.checker/set-full):

    lost         must be there, and is not
    duplicated   is there more than once
    unexpected   is there, and nobody made it (or with other content than it was made with)
    recovered    is there, though its device was never told
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from firmware_sim.history import History, Identity, Made, checkins, times_to_durable
from firmware_sim.wire import Kind

SHOWN = 20
"""Of what is wrong, so many are named."""


class Element(NamedTuple):
    """A record as it must be found again: who and which, and what it said."""

    device: str
    epoch: int
    seq: int
    kind: str
    at: int
    tag: str | None

    @property
    def identity(self) -> Identity:
        return (self.device, self.epoch, self.seq)

    @property
    def name(self) -> str:
        return f"{self.device}/{self.epoch}/{self.seq}"


@dataclass(frozen=True, kw_only=True)
class Differences:
    """What is wrong with one set. Times in ms, names as they stand where they were found."""

    lost: tuple[Hashable, ...] = ()
    duplicated: tuple[Hashable, ...] = ()
    unexpected: tuple[Hashable, ...] = ()

    @property
    def none(self) -> bool:
        return not (self.lost or self.duplicated or self.unexpected)

    def members(self) -> dict[str, object]:
        """Counts, and the first few of what is wrong."""
        told: dict[str, object] = {}
        for name in ("lost", "duplicated", "unexpected"):
            found = getattr(self, name)
            told[name] = len(found)
            if found:
                told[f"{name}_are"] = [_plain(one) for one in found[:SHOWN]]
        return told


def _plain(one: Hashable) -> object:
    return list(one) if isinstance(one, tuple) else one


def compare(must: Set[Hashable], may: Set[Hashable], found: Iterable[Hashable]) -> Differences:
    """One question of sets; `must` is part of `may`."""
    counted = Counter(found)
    return Differences(
        lost=_sorted(must - counted.keys()),
        duplicated=_sorted(one for one, times in counted.items() if times > 1),
        unexpected=_sorted(counted.keys() - may),
    )


def _sorted(found: Iterable[Hashable]) -> tuple[Hashable, ...]:
    return tuple(sorted(found, key=repr))


class Visit(NamedTuple):
    """A checkpoint of a round that was, or should have been, counted as visited."""

    round: str
    checkpoint: str


@dataclass(frozen=True, kw_only=True)
class Round:
    """A judged round as the ledger tells it. `[opens, closes)`, ms.

    `waiting`: late reads that wait for a person's word. `judged`: whether it has a verdict.
    """

    key: str
    site: str
    opens: int
    closes: int
    route: tuple[str, ...]
    missing: tuple[str, ...]
    waiting: int = 0
    judged: bool = True


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is there in the end.

    `entries`: the ledger's, one for each row. `points`: the names of the series' check-ins, one for
    each point, None where there was no series. `refused`: names of those it was made to refuse.
    `told`: (kind, subject, revision) of every event heard on MQTT, once for each content it
    came with; `events` are those of the ledger.
    `rounds`: those that fell due in time, `tags` the checkpoint of each tag.
    """

    entries: tuple[Element, ...]
    points: tuple[str, ...] | None = None
    refused: frozenset[str] = frozenset()
    events: frozenset[tuple[str, str, int]] = frozenset()
    told: tuple[tuple[str, str, int], ...] = ()
    rounds: tuple[Round, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


_MADE = frozenset({"sos.raised", "hazard.opened"})
"""Events that no one but a device causes: of what none made they are invented. One of what was made
may be told in another revision, as a hazard is whose clock was found wrong."""

ALARMS = {Kind.SOS: "sos.raised", Kind.HAZARD: "hazard.opened"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The answer. It is good when no set differs, no receipt ran ahead and nobody still waits."""

    sets: Mapping[str, Differences]
    ahead: tuple[object, ...]
    waiting: tuple[str, ...]
    told: Mapping[str, object]

    @property
    def good(self) -> bool:
        return not self.ahead and not self.waiting and all(d.none for d in self.sets.values())

    def members(self) -> dict[str, object]:
        """For JSON."""
        return {
            "good": self.good,
            **{name: differences.members() for name, differences in self.sets.items()},
            "receipts_ahead": len(self.ahead),
            **({"receipts_ahead_are": [repr(a) for a in self.ahead[:SHOWN]]} if self.ahead else {}),
            "never_told": len(self.waiting),
            **({"never_told_are": list(self.waiting[:SHOWN])} if self.waiting else {}),
            **self.told,
        }


def check(history: History, found: Found) -> Finding:
    """Hold what a fleet was promised against what was found."""
    kept = {element.identity for element in found.entries}
    sets = {
        "ledger": _ledger(history, found),
        "events": _events(history, found, kept),
        "verdicts": _verdicts(history, found, kept),
    }
    if found.points is not None:
        sets["series"] = _series(found)
    return Finding(
        sets=sets,
        ahead=tuple(history.ahead),
        waiting=tuple("/".join(map(str, made.identity)) for made in history.held),
        told=_told(history, found, kept),
    )


def element_of(made: Made) -> Element:
    """How a record must be found again."""
    record = made.record
    tag = record.members.get("tag")
    return Element(*made.identity, record.kind.value, record.at, None if tag is None else str(tag))


def _ledger(history: History, found: Found) -> Differences:
    made = history.made.values()
    must = {element_of(one) for one in made if one.told_at is not None}
    return compare(must, {element_of(one) for one in made}, found.entries)


def _series(found: Found) -> Differences:
    kept = {element.name for element in found.entries if element.kind == Kind.CHECKIN}
    return compare(kept - found.refused, kept, found.points or ())


def _events(history: History, found: Found, kept: Set[Identity]) -> Differences:
    """What the ledger tells was heard, and so was every sos and hazard that is kept."""
    alarms = {
        (ALARMS[one.record.kind], "/".join(map(str, one.identity)), 1)
        for one in history.made.values()
        if one.record.kind in ALARMS and one.identity in kept
    }
    must = alarms | found.events
    caused = {(kind, subject) for kind, subject, _ in alarms}
    may = {one for one in found.told if one[0] not in _MADE or one[:2] in caused}
    return compare(must, must | may, found.told)


def _verdicts(history: History, found: Found, kept: Set[Identity]) -> Differences:
    """A visit must count where an honest read of it is kept, unless one waits for a person."""
    reads: dict[tuple[str, str], list[Made]] = {}
    for one in checkins(history):
        checkpoint = found.tags.get(str(one.record.members.get("tag")))
        if checkpoint is not None and one.identity in kept:
            reads.setdefault((one.record.site, checkpoint), []).append(one)
    must, may, counted = set[Visit](), set[Visit](), list[Visit]()
    for round_ in found.rounds:
        for checkpoint in round_.route:
            visit = Visit(round_.key, checkpoint)
            there = reads.get((round_.site, checkpoint), ())
            if any(_within(one.record.at, round_) or _within(one.true_at, round_) for one in there):
                may.add(visit)
            honest = any(one.honest and _within(one.true_at, round_) for one in there)
            if honest and not round_.waiting:
                must.add(visit)
            if round_.judged and checkpoint not in round_.missing:
                counted.append(visit)
    return compare(must, may, counted)


def _within(at: int, round_: Round) -> bool:
    return round_.opens <= at < round_.closes


def _told(history: History, found: Found, kept: Set[Identity]) -> dict[str, object]:
    made = history.made.values()
    untold = [one for one in made if one.told_at is None]
    return {
        "made": len(made),
        "told": len(made) - len(untold),
        "recovered": sum(one.identity in kept for one in untold),
        "gone_with_their_flash": sum(one.identity not in kept for one in untold if one.forgotten),
        "said_again": sum(one.said > 1 for one in made),
        "receipts": history.receipts,
        "entries": len(found.entries),
        "points": None if found.points is None else len(found.points),
        "refused_by_the_series": len(found.refused),
        "events_kept": len(found.events),
        "rounds_judged": sum(one.judged for one in found.rounds),
        "rounds_due": len(found.rounds),
        "rounds_with_reads_waiting": sum(one.waiting > 0 for one in found.rounds),
        "time_to_durable_s": vars(times_to_durable(history)),
    }
