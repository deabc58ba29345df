"""Guards: from a scenario and a seed, everything people do to handhelds, in order of time.

Pure: same scenario, same seed, same acts. Instants are whole seconds (or a boundary asked for by
`exact`), outages fall on half seconds, so the two never meet.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from firmware_sim.plans import Occasion, occasions
from firmware_sim.scenario import OUTAGE_OFFSET, Duty, HazardCase, Scenario, Skip

SECOND = 1_000
HAZARDS = (
    ("fire", "灭火器压力不足"),
    ("electric", "插座外壳破损"),
    ("passage", "疏散通道堆放杂物"),
    ("facility", "护栏松动"),
    ("water", "地面积水易滑倒"),
)


class Do(StrEnum):
    """What is done to a handheld; at one instant the first of these comes first."""

    CUT = "cut"
    MEND = "mend"
    REBOOT = "reboot"
    RESET = "reset"
    READ = "read"
    HAZARD = "hazard"
    SOS = "sos"
    GARBAGE = "garbage"


ORDER = {do: place for place, do in enumerate(Do)}


@dataclass(frozen=True, kw_only=True)
class Act:
    """One thing done at `at` (ms). `label` names it, `refers` names an earlier one of these.

    `bare`, `again`, `tapped`: see `scenario.Read`; `counter`: which tap of its tag a read tells.
    """

    at: int
    do: Do
    device: str
    site: str | None = None
    checkpoint: str | None = None
    members: Mapping[str, object] = field(default_factory=dict)
    copies: int = 1
    label: str | None = None
    refers: str | None = None
    what: str | None = None
    bare: bool = False
    again: bool = False
    tapped: int | None = None
    counter: int | None = None

    @property
    def order(self) -> tuple[int, int, str]:
        """Time first; at one instant the network before the people."""
        return (self.at, ORDER[self.do], self.device)


@dataclass(frozen=True, kw_only=True)
class Omission:
    """A place (or, without one, a whole round) that a guard left out."""

    site: str
    plan: str
    opens: int
    checkpoint: str | None
    why: str


@dataclass(frozen=True, kw_only=True)
class Doings:
    """All acts, by time, and what was left undone."""

    acts: tuple[Act, ...]
    omissions: tuple[Omission, ...]


def walk(scenario: Scenario, seed: int) -> Doings:
    """Everything that people and faults do in this scenario under this seed."""
    rounds = _Rounds(scenario, random.Random(f"{scenario.name}/guards/{seed}"))
    walked = list(rounds.walk())
    acts = [
        *walked,
        *_outages(scenario, random.Random(f"{scenario.name}/outages/{seed}")),
        *_upsets(scenario),
        *_said(scenario),
        *_sos(scenario),
        *(act for n, case in enumerate(scenario.hazards) for act in _case(scenario, n, case)),
        *_garbage(scenario),
    ]
    return Doings(
        acts=tuple(sorted(acts, key=lambda act: act.order)), omissions=tuple(rounds.omissions)
    )


class _Rounds:
    """The guards' walks; each round has a random stream of its own."""

    def __init__(self, scenario: Scenario, rng: random.Random):
        self._scenario = scenario
        self._manners = scenario.manners
        self._rng = rng
        self._badged: set[str] = set()
        self.omissions: list[Omission] = []

    def walk(self) -> Iterator[Act]:
        scenario = self._scenario
        for occasion in occasions(scenario.registry, scenario.starts, scenario.ends):
            if occasion.plan.per is not None:
                yield from self._quota(occasion)
            elif occasion.plan.every is None:
                yield from self._round(occasion)
            else:
                for checkpoint in occasion.plan.route:
                    yield from self._gap(occasion, checkpoint)

    def _round(self, occasion: Occasion) -> Iterator[Act]:
        device = self._device(occasion)
        why = "told" if self._told(occasion, None) else None
        if self._chance(self._manners.skip_round):
            why = why or "slept"
        if why or device is None:
            self._omit(occasion, None, why or "no device")
            return
        at = self._start(occasion)
        if self._chance(self._manners.badge):
            yield from self._badge(device, occasion, at - 30 * SECOND)
        crew = self._crew(occasion)
        pause_at = self._rng.choice(occasion.plan.route) if self._dawdles() else None
        for checkpoint in occasion.plan.route:
            if checkpoint == pause_at:
                at += self._seconds(0.3, 1.0, occasion.due - occasion.opens)
            if self._told(occasion, checkpoint) or self._chance(self._manners.skip_checkpoint):
                self._omit(occasion, checkpoint, "skipped")
            else:
                yield from self._visit(
                    device, occasion, checkpoint, self._exact(occasion, at), crew
                )
            at += self._pace(occasion)
        yield from self._again(device, occasion, at, crew)

    def _again(
        self, device: str, occasion: Occasion, at: int, crew: Sequence[str]
    ) -> Iterator[Act]:
        """The visits beyond the first, of places that must be visited more than once."""
        for checkpoint, times in occasion.plan.visits.items():
            for _ in range(times - 1):
                if self._chance(self._manners.skip_checkpoint):
                    self._omit(occasion, checkpoint, "skipped")
                else:
                    yield from self._visit(device, occasion, checkpoint, at, crew)
                at += max(self._pace(occasion), occasion.plan.apart)

    def _quota(self, occasion: Occasion) -> Iterator[Act]:
        """So many visits in the period, at any time of it."""
        if self._told(occasion, None) or self._chance(self._manners.skip_round):
            self._omit(occasion, None, "slept")
            return
        for checkpoint, times in occasion.plan.visits.items():
            for _ in range(times):
                device = self._device(occasion)
                at = occasion.opens + self._seconds(0.0, 1.0, occasion.closes - occasion.opens)
                if device is None or self._chance(self._manners.skip_checkpoint):
                    self._omit(occasion, checkpoint, "skipped")
                elif at < self._scenario.ends:
                    yield from self._visit(device, occasion, checkpoint, at)

    def _crew(self, occasion: Occasion) -> Sequence[str]:
        """Who walks; one alone, now and then, where several must."""
        people = self._scenario.registry.people
        if occasion.plan.people == 1 or not people:
            return ()
        alone = self._chance(self._manners.alone)
        return self._rng.sample(people, 1 if alone else occasion.plan.people)

    def _gap(self, occasion: Occasion, checkpoint: str) -> Iterator[Act]:
        every = occasion.plan.every or 0
        at = occasion.opens
        while True:
            step = self._seconds(0.4, 0.9, every)
            if self._dawdles():
                step += self._seconds(0.3, 0.8, every)
            at += step
            if at >= occasion.closes:
                return
            device = self._device(occasion)
            told = self._told(occasion, checkpoint, at)
            if device is None or told or self._chance(self._manners.skip_checkpoint):
                self._omit(occasion, checkpoint, "skipped")
            else:
                yield from self._visit(device, occasion, checkpoint, at)

    def _visit(
        self,
        device: str,
        occasion: Occasion,
        checkpoint: str,
        at: int,
        crew: Sequence[str] = (),
    ) -> Iterator[Act]:
        """One of the crew reads the tag, who says so, as a device does that knows who holds it."""
        place = self._scenario.registry.sites[occasion.site].checkpoints[checkpoint]
        person = {"person": self._rng.choice(crew)} if crew else {}
        read = Act(
            at=at,
            do=Do.READ,
            device=device,
            site=occasion.site,
            checkpoint=checkpoint,
            members={"tag": self._rng.choice(place.tags), "via": "nfc", **person},
            copies=2 if self._chance(self._manners.send_twice) else 1,
        )
        yield read
        if occasion.plan.visits[checkpoint] > 1 and self._chance(self._manners.double_tap):
            yield replace(read, at=at + 2 * SECOND, copies=1)
        if self._chance(self._manners.unknown_tag):
            tag = f"04DEAD{self._rng.randrange(16**8):08X}"
            yield Act(
                at=at + 20 * SECOND,
                do=Do.READ,
                device=device,
                site=occasion.site,
                members={"tag": tag},
                what="unknown-tag",
            )
        if self._chance(self._manners.hazard):
            category, text = self._rng.choice(HAZARDS)
            yield Act(
                at=at + 40 * SECOND,
                do=Do.HAZARD,
                device=device,
                site=occasion.site,
                checkpoint=checkpoint,
                members=_report(category, "general", f"{place.name}:{text}", checkpoint),
            )

    def _badge(self, device: str, occasion: Occasion, at: int) -> Iterator[Act]:
        badges = list(self._scenario.registry.badges.values())
        if badges:
            yield Act(
                at=max(at, self._scenario.starts + SECOND),
                do=Do.READ,
                device=device,
                site=occasion.site,
                members={"tag": self._rng.choice(badges)},
                what="badge",
            )

    def _device(self, occasion: Occasion) -> str | None:
        here = self._scenario.registry.sites[occasion.site].devices
        able = [device for device in here if device in self._scenario.devices]
        chosen = self._rng.choice(able) if able else None
        return next((d.device for d in self._scenario.duties if _on(d, occasion)), chosen)

    def _start(self, occasion: Occasion) -> int:
        return occasion.opens + self._seconds(0.05, 0.3, occasion.closes - occasion.opens)

    def _pace(self, occasion: Occasion) -> int:
        """Quick enough to end inside the window, unless somebody dawdles."""
        room = (occasion.closes - occasion.opens) * 0.6 / max(1, len(occasion.plan.route))
        walked = self._rng.uniform(self._manners.walk_from, self._manners.walk_to)
        return max(25 * SECOND, int(min(walked, room)) // SECOND * SECOND)

    def _exact(self, occasion: Occasion, at: int) -> int:
        """Now and then a visit falls on the very edge: where rules are got wrong."""
        if not self._chance(self._manners.exact):
            return at
        edges = (occasion.opens, occasion.closes - 1, occasion.closes, occasion.due - 1)
        return self._rng.choice((*edges, occasion.due))

    def _told(self, occasion: Occasion, checkpoint: str | None, at: int | None = None) -> bool:
        when = occasion.opens if at is None else at
        return any(_fits(skip, occasion, checkpoint, when) for skip in self._scenario.skips)

    def _omit(self, occasion: Occasion, checkpoint: str | None, why: str) -> None:
        self.omissions.append(
            Omission(
                site=occasion.site,
                plan=occasion.plan.id,
                opens=occasion.opens,
                checkpoint=checkpoint,
                why=why,
            )
        )

    def _dawdles(self) -> bool:
        return self._chance(self._manners.dawdle)

    def _chance(self, chance: float) -> bool:
        return self._rng.random() < chance

    def _seconds(self, low: float, high: float, of: int) -> int:
        return int(of * self._rng.uniform(low, high)) // SECOND * SECOND


def _fits(skip: Skip, occasion: Occasion, checkpoint: str | None, when: int) -> bool:
    return (
        skip.site == occasion.site
        and skip.plan in (None, occasion.plan.id)
        and skip.checkpoint == checkpoint
        and skip.since <= when < skip.until
    )


def _on(duty: Duty, occasion: Occasion) -> bool:
    return duty.site == occasion.site and duty.since <= occasion.opens < duty.until


def _outages(scenario: Scenario, rng: random.Random) -> Iterator[Act]:
    """Outages as told and at random, merged where they touch, so that each begins and ends once."""
    spans: dict[str, list[tuple[int, int]]] = {}
    never = scenario.ends + 365 * 86_400 * SECOND
    for told in scenario.outages:
        spans.setdefault(told.device, []).append((told.since, told.until or never))
    for some in scenario.random_outages:
        for device in some.devices:
            for _ in range(some.times):
                lasting = rng.randrange(some.shortest, some.longest + 1)
                since = rng.randrange(scenario.starts, max(scenario.starts + 1, scenario.ends))
                start = since // SECOND * SECOND + OUTAGE_OFFSET
                spans.setdefault(device, []).append((start, start + lasting // SECOND * SECOND))
    for device, listed in spans.items():
        for since, until in _merged(listed):
            yield Act(at=since, do=Do.CUT, device=device)
            if until < never:
                yield Act(at=until, do=Do.MEND, device=device)


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for since, until in sorted(spans):
        if merged and since <= merged[-1][1] + SECOND:
            merged[-1] = (merged[-1][0], max(merged[-1][1], until))
        else:
            merged.append((since, until))
    return merged


def _upsets(scenario: Scenario) -> Iterator[Act]:
    for upset in scenario.upsets:
        yield Act(at=upset.at, do=Do.RESET if upset.reset else Do.REBOOT, device=upset.device)


def _said(scenario: Scenario) -> Iterator[Act]:
    for read in scenario.reads:
        yield Act(
            at=read.at,
            do=Do.READ,
            device=read.device,
            site=read.site,
            checkpoint=read.checkpoint,
            members={"tag": read.tag},
            what=None if read.checkpoint else "unknown-tag",
            bare=read.bare,
            again=read.again,
            tapped=read.tapped,
        )


def _sos(scenario: Scenario) -> Iterator[Act]:
    for number, sos in enumerate(scenario.sos):
        label = f"sos-{number}"
        members = {"silent": True} if sos.silent else {}
        yield Act(at=sos.at, do=Do.SOS, device=sos.device, members=members, label=label)
        if sos.cancel_after is not None:
            yield Act(at=sos.at + sos.cancel_after, do=Do.SOS, device=sos.device, refers=label)


def _case(scenario: Scenario, number: int, case: HazardCase) -> Iterator[Act]:
    label = f"hazard-{number}"
    site = scenario.registry.home(case.device)
    yield Act(
        at=case.at,
        do=Do.HAZARD,
        device=case.device,
        site=site,
        checkpoint=case.checkpoint,
        members=_report(case.category, case.grade, case.text, case.checkpoint),
        label=label,
    )
    for step in case.steps:
        yield Act(
            at=case.at + step.after,
            do=Do.HAZARD,
            device=step.device,
            site=site,
            checkpoint=case.checkpoint,
            members={"action": step.action, **({"text": step.text} if step.text else {})},
            refers=label,
        )


def _report(category: str, grade: str, text: str, checkpoint: str) -> dict[str, object]:
    return {
        "action": "report",
        "category": category,
        "grade": grade,
        "text": text,
        "checkpoint": checkpoint,
    }


def _garbage(scenario: Scenario) -> Iterator[Act]:
    for thing in scenario.rubbish:
        yield Act(at=thing.at, do=Do.GARBAGE, device=thing.device, site=thing.site, what=thing.what)
