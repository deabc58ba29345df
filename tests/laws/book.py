"""The rules alone, over a tiny book in memory: what is kept is a list of messages and verdicts.

The book asks the rules what clocks meant, what is owed, how it stands and what is told of it; it
derives everything anew at each look, so that nothing but the list survives a restart. Whom it heard
and when, it asks the oracle: that is no rule, only what the rules are told.
"""

import copy
from typing import Any

from tests.laws import oracle
from tests.laws.copies import Modules
from tests.laws.systems import Outcome
from tests.laws.world import BERLIN, MINUTE, SITE, Planned, Said, Tick


class Book:
    """Rules over a list."""

    def __init__(self, modules: Modules) -> None:
        self._clocks = modules["rules.clocks"]
        self._events = modules["rules.events"]
        self._plans = modules["rules.plans"]
        self._rule = modules["rules.obligations"]
        calendar = modules["rules.calendar"]
        self._calendar = calendar.Calendar(base=calendar.Base.EVERY_DAY)
        self._log: list[Any] = []
        self._verdicts: dict[str, list[tuple[Any, int]]] = {}
        self._told: list[tuple[Any, ...]] = []
        self._versions: dict[str, Any] = {}
        self._timings: dict[str, Any] = {}

    def follow(self, plans: Planned) -> None:
        self._log.append(plans)

    def take(self, batch: list[Tick | Said]) -> None:
        self._log += batch
        self._look()

    def fail(self, batch: list[Tick | Said]) -> None:
        del batch  # nothing of it is kept

    def restart(self) -> None:
        self._log = copy.deepcopy(self._log)
        self._versions, self._timings = {}, {}
        stored = {
            key: [(self._rule.Verdict.from_json(v.to_json()), at) for v, at in revisions]
            for key, revisions in self._verdicts.items()
        }
        self._verdicts = stored

    def covered(self, device: str) -> None:
        del device

    def kept_aside(self) -> None:
        return None

    def close(self) -> None:
        """Nothing is open."""

    def outcome(self) -> Outcome:
        tale = oracle.read(self._log)
        found = Outcome(
            verdicts={
                key: [(verdict.to_json(), at) for verdict, at in revisions]
                for key, revisions in self._verdicts.items()
            },
            events=list(self._told),
        )
        for name, record in tale.records.items():
            said = record.said
            found.entries[name] = (said["at"], said.get("sent"), record.after)
            timing = self._timing(tale, record)
            closed = record.before is not None
            if closed and timing.trust.value not in ("trusted", "unproven"):
                found.third[name] = (timing.at, timing.trust.value)
        return found

    def _look(self) -> None:
        """Judge everything that has opened, as of the last tick."""
        tale = oracle.read(self._log)
        if tale.now is None or tale.began is None:
            return
        owed = self._owed(tale)
        timings = {name: self._timing(tale, record) for name, record in tale.records.items()}
        for plan, promise in owed:
            rivals = tuple(
                other
                for _, other in owed
                if other.plan == promise.plan and isinstance(other.terms, self._rule.Round)
            )
            revisions = self._verdicts.get(promise.key, [])
            last = revisions[-1][0] if revisions else None
            known = self._rule.Known(
                marker=tale.now,
                reachable=oracle.reachable(tale, promise.opens, min(promise.due, tale.now + 1)),
                siblings=rivals,
                previous=last,
            )
            reads = self._reads(tale, timings, promise.due)
            verdict = self._rule.settle(promise, reads, known, tale.now)
            flip = self._rule.flip(promise, last, verdict)
            if flip is None:
                continue
            self._verdicts[promise.key] = [*revisions, (verdict, tale.now)]
            for notice in self._events.follow(flip, plan):
                self._tell(notice, tale.now)

    def _tell(self, notice: Any, now: int) -> None:
        mine = [row for row in self._told if row[:2] == (notice.kind.value, notice.subject)]
        if mine and (mine[-1][3], mine[-1][6]) == (notice.state.value, notice.data):
            return
        row = (notice.kind.value, notice.subject, len(mine) + 1, notice.state.value)
        self._told.append((*row, notice.at, now, notice.data))

    def _owed(self, tale: oracle.Tale) -> list[tuple[Any, Any]]:
        found = []
        ends = [since for since, _ in tale.plans[1:]] + [tale.now]
        for (since, plans), end in zip(tale.plans, ends, strict=True):
            for said in plans:
                plan = self._plan(said)
                until = min(end, tale.now)
                owed = self._plans.owed(plan, self._calendar, since, until)
                found += [(plan, promise) for promise in owed]
        return found

    def _plan(self, said: dict[str, Any]) -> Any:
        name = repr(said)
        if name not in self._versions:
            every = said.get("every")
            self._versions[name] = self._plans.Plan(
                site=SITE,
                slug=said["id"],
                name=said["id"],
                timezone=BERLIN,
                route=tuple(self._plans.PlanCheckpoint(slug=p, name=p) for p in said["route"]),
                windows=tuple(map(self._plans.Window.parse, said["windows"])),
                grace=said["grace"] * MINUTE,
                early=said.get("early", 0) * MINUTE,
                every=None if every is None else every * MINUTE,
            )
        return self._versions[name]

    def _timing(self, tale: oracle.Tale, record: oracle.Record) -> Any:
        name = record.identity
        if name not in self._timings:
            timing = self._found(tale, record)
            if record.before is None:
                return timing
            self._timings[name] = timing  # its span has closed: nothing more can tell of its clock
        return self._timings[name]

    def _found(self, tale: oracle.Tale, record: oracle.Record) -> Any:
        said, spans = record.said, {}
        for other in [*tale.records.values(), *tale.statuses]:
            if other.device == record.device and other.sent is not None and oracle.is_live(other):
                spans.setdefault(other.after, []).append(other.after - other.sent)
        live = [
            self._clocks.Live(after, min(lags), max(lags), len(lags))
            for after, lags in sorted(spans.items())
            if record.after - self._clocks.RECENT <= after <= record.after
        ]
        age = said["sent_up"] - said["up"] if "sent_up" in said and "up" in said else None
        return self._clocks.timing(said["at"], record.sent, record.after, record.before, live, age)

    def _reads(self, tale: oracle.Tale, timings: dict[str, Any], due: int) -> list[Any]:
        found = []
        for name, record in tale.records.items():
            timing, place = timings[name], oracle.PLACES.get(record.said["tag"])
            if place is None or record.before is None:
                continue  # what its span tells of its clock is not known yet
            found.append(
                self._rule.Read(
                    identity=name,
                    checkpoint=place,
                    device=record.device,
                    person=None,
                    at=timing.at,
                    told_at=record.said["at"],
                    trust=timing.trust,
                    after=record.after,
                    received_at=record.after,
                    cut_off=oracle.cut_off(tale, record.device, timing.at, due),
                )
            )
        return found
