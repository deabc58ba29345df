"""What really happened, as it happens: the source of `truth.jsonl` and of the verdicts."""

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from firmware_sim.arrival import Claim, Dated, How, Post, Word
from firmware_sim.guards import Act, Omission
from firmware_sim.oracle import Course, Verdicts, Visit
from firmware_sim.proofs import Marks
from firmware_sim.wire import Kind, Moment, Publication, Record


@dataclass(slots=True)
class Told:
    """A record a device made at `at` (true time), and its first delivery.

    `moment`: what the device's clocks were at that delivery. `dated`: when it happened by what was
    delivered, once all markers are known.
    """

    device: str
    record: Record
    act: Act
    at: int
    delivered: int | None = None
    moment: Moment | None = None
    dated: Dated | None = None

    @property
    def id(self) -> str:
        """Its identity as other messages refer to it."""
        return f"{self.device}/{self.record.epoch}/{self.record.seq}"

    @property
    def claim(self) -> Claim:
        """What the device says of when it happened."""
        moment = self.moment or Moment()
        age = self.record.age(moment)
        return Claim(device=self.device, at=self.record.at, sent=moment.sent, age=age)


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Anything that happened and is no record: a cut, a restart, garbage, an omission."""

    at: int
    fact: str
    members: Mapping[str, object] = field(default_factory=dict)


class Chronicle:
    """Collects; at the end it can be asked for the course of things and written down."""

    def __init__(self, zone: ZoneInfo):
        self._zone = zone
        self._told: dict[tuple[str, int, int], Told] = {}
        self._facts: list[Fact] = []
        self._arrivals: dict[str, set[int]] = {}
        self._words: dict[str, list[Word]] = {}
        self._markers: set[int] = set()
        self._links: dict[str, list[tuple[int, int | None]]] = {}
        self.quarantined = 0

    # As it happens

    def ticked(self, now: int) -> None:
        """A tick was published: with a clock by MQTT, the ticks are the markers."""
        self._markers.add(now)

    def made(self, device: str, record: Record, act: Act, now: int) -> Told:
        """A record came into being on a device."""
        told = Told(device, record, act, now)
        self._told[device, *record.identity] = told
        return told

    def arrived(self, device: str, now: int, said: Publication, epoch: int) -> None:
        """Something of a device was acknowledged by the broker; `epoch` is that of its records."""
        self._arrivals.setdefault(device, set()).add(now)
        new = [
            told for seq in said.seqs if (told := self._told[device, epoch, seq]).delivered is None
        ]
        for told in new:
            told.delivered, told.moment = now, said.moment
        if said.moment is not None and said.moment.sent is not None:
            word = Word(after=now, sent=said.moment.sent)
            # a copy is no message of its own; a status is one each time
            self._words.setdefault(device, []).extend([word] * (len(new) if said.seqs else 1))

    def joined(self, device: str, now: int) -> None:
        """The broker holds a connection of this device from now on."""
        spans = self._links.setdefault(device, [])
        if not spans or spans[-1][1] is not None:
            spans.append((now, None))

    def left(self, device: str, now: int) -> None:
        """The network of this device is gone."""
        spans = self._links.setdefault(device, [])
        if spans and spans[-1][1] is None:
            spans[-1] = (spans[-1][0], now)

    def note(self, fact: str, at: int, **members: object) -> None:
        """Anything else worth a line."""
        self._facts.append(Fact(at=at, fact=fact, members=members))

    # Afterwards

    def course(self, first_tick: int, last_tick: int) -> Course:
        """The run as the oracle wants it: what was delivered is dated by what was then known."""
        post = Post(markers=sorted(self._markers), words=self._words)
        for told in self._told.values():
            if told.delivered is not None:
                told.dated = post.date(told.claim, told.delivered)
        return Course(
            first_tick=first_tick,
            last_tick=last_tick,
            visits=[_visit(told) for told in self._told.values() if _is_visit(told)],
            arrivals={device: sorted(times) for device, times in self._arrivals.items()},
            links={
                device: [(a, last_tick + 1 if b is None else b) for a, b in spans]
                for device, spans in self._links.items()
            },
        )

    def counts(self) -> dict[str, int]:
        """How many of everything the service has to hold in the end."""
        kept = [told for told in self._told.values() if told.delivered is not None]
        kinds = Counter(_sort(told) for told in kept)
        names = ("checkin", "hazard", "hazard-step", "sos", "sos-cancel")
        plural = ("checkins", "hazards", "hazard_steps", "sos", "sos_cancelled")
        marks = Counter(told.act.what for told in kept)
        return {
            **{many: kinds[one] for one, many in zip(names, plural, strict=True)},
            "unknown_tags": marks["unknown-tag"],
            "badges": marks["badge"],
            "records": len(kept),
            "duplicates_sent": sum(told.record.copies - 1 for told in kept),
            "quarantined": self.quarantined,
            "lost": len(self._told) - len(kept),
        }

    def lines(self, omissions: Iterable[Omission]) -> list[dict[str, object]]:
        """Every fact as one JSON object, by true time; after `course`, with the times it found."""
        facts = [self._line(told) for told in self._told.values()]
        facts += [{"fact": f.fact, "at": f.at, **f.members} for f in self._facts]
        facts += [_left_out(omission) for omission in omissions]
        for fact in facts:
            fact["time"] = self._text(fact["at"])
        return sorted(facts, key=lambda f: (f["at"], str(f["fact"]), str(f.get("device"))))

    def _line(self, told: Told) -> dict[str, Any]:
        record = told.record
        members = dict(record.members)
        return {
            "fact": {"checkin": "read"}.get(record.kind, str(record.kind)),
            "at": told.at,
            "told": record.at,
            "dated": told.dated and told.dated.at,
            "how": told.dated and str(told.dated.how),
            "site": record.site,
            "device": told.device,
            "checkpoint": told.act.checkpoint,
            "epoch": record.epoch,
            "seq": record.seq,
            "delivered": told.delivered,
            "copies": record.copies,
            "what": told.act.what,
            **{name: value for name, value in members.items() if name != "checkpoint"},
        }

    def _text(self, at: Any) -> str:
        return dt.datetime.fromtimestamp(at / 1000, self._zone).isoformat(timespec="milliseconds")


def write(folder: Path, facts: Iterable[Mapping[str, object]], verdicts: object) -> None:
    """Write `truth.jsonl` and `verdicts.json` into the folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(fact, ensure_ascii=False) + "\n" for fact in facts)
    (folder / "truth.jsonl").write_text("".join(lines), encoding="utf-8")
    text = json.dumps(verdicts, ensure_ascii=False, indent=2)
    (folder / "verdicts.json").write_text(text + "\n", encoding="utf-8")


def verdict_file(
    verdicts: Verdicts, marks: Marks, course: Course, about: Mapping[str, object]
) -> dict[str, Any]:
    """`verdicts.json` as a value: rounds by id, overdue stretches, marks, a summary by verdict."""
    rounds = {id_: asdict(verdict) for id_, verdict in sorted(verdicts.rounds.items())}
    summary = Counter(verdict.verdict for verdict in verdicts.rounds.values())
    names = ("completed", "incomplete", "missed", "unknown")
    return {
        **about,
        "first_tick": course.first_tick,
        "last_tick": course.last_tick,
        "rounds": rounds,
        "overdue": list(verdicts.overdue),
        "withdrawn": list(verdicts.withdrawn),
        "marks": asdict(marks),
        "summary": {
            **{name: summary[name] for name in names},
            "rounds": len(rounds),
            "amended": sum(v.first != v.verdict for v in verdicts.rounds.values()),
            "overdue": len(verdicts.overdue),
        },
    }


def _is_visit(told: Told) -> bool:
    return told.record.kind is Kind.CHECKIN and told.act.checkpoint is not None


def _visit(told: Told) -> Visit:
    dated, person = told.dated, told.record.members.get("person")
    return Visit(
        site=told.record.site,
        checkpoint=str(told.act.checkpoint),
        device=told.device,
        at=told.record.at if dated is None else dated.at,
        delivered=told.delivered,
        counts_late=dated is not None and dated.how.counts_late,
        id=told.id,
        tag=str(told.record.members.get("tag")),
        told=told.record.at,
        sure=dated is not None and dated.how is not How.UNPROVEN,
        counter=told.act.counter,
        person=None if person is None else str(person),
    )


def _sort(told: Told) -> str:
    members = told.record.members
    if told.record.kind == "hazard" and members.get("action") != "report":
        return "hazard-step"
    return "sos-cancel" if "cancel" in members else str(told.record.kind)


def _left_out(omission: Omission) -> dict[str, Any]:
    whole = omission.checkpoint is None
    return {
        "fact": "round-skipped" if whole else "checkpoint-skipped",
        "at": omission.opens,
        "site": omission.site,
        "plan": omission.plan,
        "checkpoint": omission.checkpoint,
        "why": omission.why,
    }
