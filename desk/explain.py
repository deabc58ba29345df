"""Why a round was judged as it was, in words that a guard who appeals can check."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine

from desk import answering
from desk.errors import DeskError
from desk.paper import fitted
from desk.terms import head, options, proven, times
from desk.times import aware, rfc3339
from devices.adapters.heard import TimeSource
from devices.ids import Instant
from devices.proofs import Proof
from rules.clocks import UNSET
from rules.durations import format_duration
from rules.marks import MarkKind
from rules.obligations import serves, why_waiting
from rules.oddities import mark_words
from rules.promises import Decision, Do, Gap, Read, Reason, Round, Standing, Stretch, Trust, Wait
from rules.words import (
    DAYS,
    DOINGS,
    NEVER_SET,
    PROOFS,
    REASONS,
    STANDINGS,
    TOLD_BY,
    TRUSTS,
    WAITS,
    Words,
)
from store.database import reading
from store.explanations import Arrived, Dossier, Judgement, dossier, near_keys


class Part(StrEnum):
    """What part a read plays in a verdict."""

    ON_TIME = "on-time"
    LATE = "late"
    EARLY = "early"
    AGAIN = "again"
    BEFORE = "before"
    AFTER = "after"
    ELSEWHERE = "elsewhere"
    WAITS = "waits"
    REJECTED = "rejected"
    UNPROVEN = "unproven"


PARTS = {
    Part.ON_TIME: ("按时，计入", "on time, counts"),
    Part.LATE: ("宽限内，计入（迟到）", "in the grace, counts (late)"),
    Part.EARLY: ("提前，计入", "early, counts"),
    Part.AGAIN: ("重复到访", "came again"),
    Part.BEFORE: ("时段开始之前，不计入", "before the window, does not count"),
    Part.AFTER: ("截止之后，不计入", "after the end, does not count"),
    Part.ELSEWHERE: ("计入另一轮次", "counts for another round"),
    Part.WAITS: ("等待人工复核", "waits for review"),
    Part.UNPROVEN: ("不能证明到场，不计入", "does not prove presence, does not count"),
    Part.REJECTED: ("复核未采信，不计入", "rejected, does not count"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLine:
    """A read, the part it plays, and when it waits, why."""

    read: Read
    arrived: Arrived
    part: Part
    wait: Wait | None
    marks: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """An obligation's dossier with each read put into its place."""

    file: Dossier
    reads: tuple[ReadLine, ...]


def explain(engine: Engine, key: str) -> Explanation:
    """The explanation of a round or gap. Raises `DeskError` for an id that is none."""
    with reading(engine) as connection:
        file = dossier(connection, key)
        near = near_keys(connection, key) if file is None else []
    if file is None:
        hint = f"; near: {', '.join(near)}" if near else ""
        raise DeskError(f"no round has the id {key!r}{hint}", "gridbeat round list --json has them")
    return Explanation(file=file, reads=tuple(_read_lines(file)))


def _read_lines(file: Dossier) -> Iterator[ReadLine]:
    seen: set[str] = set()
    for read in file.reads:
        part, wait = _part(file, read)
        if part in (Part.ON_TIME, Part.LATE, Part.EARLY):
            if read.checkpoint in seen and not isinstance(file.promise.terms, Gap):
                part = Part.AGAIN
            seen.add(read.checkpoint)
        arrived, marks = file.arrived[read.identity], file.marks.get(read.identity, ())
        yield ReadLine(read=read, arrived=arrived, part=part, wait=wait, marks=marks)


def _part(file: Dossier, read: Read) -> tuple[Part, Wait | None]:
    outside = _outside(file, read)
    if outside is not None:
        return outside, None
    promise = file.promise
    if not promise.proves(read):
        return Part.UNPROVEN, None
    decided = None if read.decision is None else read.decision.do
    if decided is Do.REJECT:
        return Part.REJECTED, None
    wait = why_waiting(read) if read.after >= promise.due and decided is None else None
    if wait is not None:
        return Part.WAITS, wait
    if read.at < promise.opens:
        return Part.EARLY, None
    return (Part.ON_TIME if read.at < promise.closes else Part.LATE), None


def _outside(file: Dossier, read: Read) -> Part | None:
    """Why a read does not bear on the obligation; None where it does."""
    promise = file.promise
    if read.at < promise.opens - promise.early:
        return Part.BEFORE
    if read.at >= promise.due:
        return Part.AFTER
    rounds = (promise, *(other for other in file.siblings if other.key != promise.key))
    elsewhere = isinstance(promise.terms, Round) and serves(read.at, rounds) is not promise
    return Part.ELSEWHERE if elsewhere else None


# For scripts ------------------------------------------------------------------------------------


def as_json(found: Explanation) -> dict[str, Any]:
    """The whole explanation as plain values, instants in RFC 3339."""
    file, promise, zone = found.file, found.file.promise, found.file.plan.timezone
    day = file.calendar.day(aware(promise.opens, zone).date())
    return {
        "id": promise.key,
        "site": promise.site,
        "plan": {
            "id": promise.plan,
            "name": file.plan.name,
            "version": file.version,
            "applied_at": rfc3339(file.applied_at, zone),
        },
        "day": {"date": day.date.isoformat(), "classes": sorted(day.classes), "why": day.why},
        "opens_at": rfc3339(promise.opens, zone),
        "closes_at": rfc3339(promise.closes, zone),
        "due_at": rfc3339(promise.due, zone),
        **answering.as_json(file),
        "owed": [{"id": slug, "name": file.plan.name_of(slug)} for slug in promise.expected],
        "reads": [_read_json(line, zone) for line in found.reads],
        "verdicts": [_verdict_json(row, zone) for row in file.verdicts],
    }


def _read_json(line: ReadLine, zone: str) -> dict[str, Any]:
    read, arrived = line.read, line.arrived
    return {
        "id": read.identity,
        "checkpoint": read.checkpoint,
        "person": read.person,
        "person_by_tag": read.by_tag is not None and read.person is not None,
        "at": rfc3339(read.told_at, zone),
        "sent": _maybe(arrived.sent, zone),
        "time_source": arrived.time_source.value,
        "corrected_at": rfc3339(read.at, zone) if read.at != read.told_at else None,
        "clock": read.trust.value,
        "proof": read.proof.value,
        "received_at": rfc3339(read.received_at, zone),
        "arrived_after": rfc3339(arrived.after, zone),
        "arrived_before": _maybe(arrived.before, zone),
        "part": line.part.value,
        "waits": None if line.wait is None else line.wait.value,
        "decision": None if read.decision is None else _decision_json(read.decision, zone),
        "marks": [{"mark": kind, "data": data} for kind, data in line.marks],
    }


def _verdict_json(given: Judgement, zone: str) -> dict[str, Any]:
    verdict = given.verdict
    return {
        "revision": given.revision,
        "verdict": verdict.standing.value,
        "reason": verdict.reason.value,
        "at": rfc3339(verdict.at, zone),
        "judged_at": rfc3339(given.judged_at, zone),
        "missing": list(verdict.missing),
        "visits": dict(verdict.visits),
        "people": list(verdict.people),
        "late": list(verdict.late),
        "early": list(verdict.early),
        "evidence": dict(verdict.evidence),
        "waiting": list(verdict.waiting),
        "waited": verdict.waited,
        "decisions": [_decision_json(made, zone) for made in verdict.decisions],
        "stretches": [
            {
                "start_at": rfc3339(stretch.start, zone),
                "breached_at": rfc3339(stretch.breached_at, zone),
                "ended_at": _maybe(stretch.ended_at, zone),
            }
            for stretch in verdict.stretches
        ],
    }


def _decision_json(made: Decision, zone: str) -> dict[str, Any]:
    return {
        "do": made.do.value,
        "author": made.author,
        "at": rfc3339(made.at, zone),
        "reason": made.reason,
        "read": made.read,
    }


def _maybe(instant: Instant | None, zone: str) -> str | None:
    return None if instant is None else rfc3339(instant, zone)


# For people -------------------------------------------------------------------------------------


def as_lines(found: Explanation, lang: str) -> Iterator[str]:
    """The explanation as lines of plain text of a page's width, to be read or printed."""
    return fitted(_lines(found, lang))


def _lines(found: Explanation, lang: str) -> Iterator[str]:
    speak = _Speaker(file=found.file, zh=lang == "zh")
    yield from speak.owed()
    yield ""
    yield from speak.reads(found.reads)
    yield ""
    yield from speak.verdicts()


_LISTS = (("缺", "missing", "missing"), ("提前", "early", "early"), ("迟到", "late", "late"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Speaker:
    """Says a dossier in one language."""

    file: Dossier
    zh: bool

    def say(self, zh: str, en: str) -> str:
        return zh if self.zh else en

    def either(self, words: Any) -> str:
        return str(words.zh if self.zh else words.en)

    def time(self, instant: Instant, *, day: bool = False) -> str:
        try:
            moment = aware(instant, self.file.plan.timezone)
        except OverflowError:
            return f"@{instant}"
        same = moment.date() == aware(self.file.promise.opens, self.file.plan.timezone).date()
        return f"{moment:%Y-%m-%d %H:%M:%S}" if day or not same else f"{moment:%H:%M:%S}"

    def name(self, checkpoint: str) -> str:
        return f"{self.file.plan.name_of(checkpoint)} ({checkpoint})"

    def owed(self) -> Iterator[str]:
        """What was owed, by which plan, and when."""
        file, promise = self.file, self.file.promise
        opens = aware(promise.opens, file.plan.timezone)
        day = file.calendar.day(opens.date())
        classes = ", ".join(self.either(DAYS[kind]) for kind in sorted(day.classes))
        yield f"{file.site_name} ({promise.site}) · {file.plan.name} ({promise.plan})"
        yield self.say("编号：", "id:        ") + promise.key
        yield self.say(
            f"计划：第 {file.version} 版，{self.time(file.applied_at, day=True)} 起应用",
            f"plan:      version {file.version}, applied {self.time(file.applied_at, day=True)}",
        )
        why = self.say(day.why_zh, day.why)
        yield self.say("日期：", "day:       ") + f"{day.date} · {classes} ({why})"
        yield self.say("时段：", "window:    ") + self.window()
        yield from answering.as_lines(file, zh=self.zh)
        yield from self.terms()

    def window(self) -> str:
        promise = self.file.promise
        zone = self.file.plan.timezone
        return self.say(
            f"{self.time(promise.opens, day=True)} 至 {self.time(promise.closes)}，"
            f"判定时刻 {self.time(promise.due)}（{zone}）",
            f"{self.time(promise.opens, day=True)} to {self.time(promise.closes)}, "
            f"judged at {self.time(promise.due)} ({zone})",
        )

    def terms(self) -> Iterator[str]:
        """The route, the quota, or the longest gap."""
        terms = self.file.promise.terms
        if isinstance(terms, Gap):
            every, grace = format_duration(terms.every), format_duration(terms.grace)
            place = self.name(terms.checkpoint)
            yield self.say(
                f"应到：{place}，间隔不超过 {every}，超过后宽限 {grace}",
                f"owed:      {place}, at least every {every}; told {grace} later",
            )
            return
        quota = self.file.plan.quota
        count = len(self.file.promise.expected)
        yield head(terms, count, None if quota is None else quota.per, zh=self.zh)
        for checkpoint in self.file.promise.places:
            asked = times(terms, checkpoint, zh=self.zh)
            proof = proven(self.file.promise, checkpoint, zh=self.zh)
            yield f"  - {self.name(checkpoint)}{asked}{proof}"
        yield from options(terms, zh=self.zh)

    def reads(self, lines: tuple[ReadLine, ...]) -> Iterator[str]:
        """Every read of these checkpoints in the window and an hour around it."""
        count = len(lines)
        yield self.say(
            f"打卡记录（含时段前后一小时）：{count} 条",
            f"reads (with an hour before and after): {count}",
        )
        for line in lines:
            yield from self.read(line)

    def read(self, line: ReadLine) -> Iterator[str]:
        read, arrived = line.read, line.arrived
        person = "" if read.person is None else self.file.people.get(read.person, read.person)
        if person and read.by_tag is not None:
            person += self.say("（人员卡）", " (by tag)")
        who = " · ".join(filter(None, (person, read.identity)))
        part = PARTS[line.part][0 if self.zh else 1]
        yield f"  {self.time(read.at)}  {self.name(read.checkpoint)}  [{part}]  {who}"
        by = self.either(TOLD_BY[arrived.time_source])
        told = self.say(
            f"    {by} {self.time(read.told_at)}，收到 {self.time(read.received_at)}，",
            f"    {by} {self.time(read.told_at)}, received {self.time(read.received_at)}, ",
        )
        end = (
            self.say("尚未确定", "not known yet")
            if arrived.before is None
            else self.time(arrived.before)
        )
        span = self.say(
            f"到达区间 {self.time(arrived.after)} – {end}",
            f"arrived between {self.time(arrived.after)} and {end}",
        )
        yield told + span
        if arrived.time_source is TimeSource.RECEIPT and read.trust is Trust.TRUSTED:
            yield "    " + self.say("时间以本系统时钟为准", "its time is our own clock's")
        else:
            yield "    " + self.either(_clock(read, arrived))
        if read.proof is not Proof.BARE or read.checkpoint in self.file.promise.proof:
            yield "    " + self.either(PROOFS[read.proof])
        if line.wait is not None:
            yield "    " + self.either(WAITS[line.wait])
        if read.decision is not None:
            yield "    " + self.decided(read.decision)
        for kind, data in line.marks:
            odd = self.either(mark_words(MarkKind(kind), data))
            yield self.say(f"    标记：{odd}", f"    mark: {odd}")

    def verdicts(self) -> Iterator[str]:
        """Each revision: what, when, why, by which evidence."""
        if not self.file.verdicts:
            yield self.say("结论：", "verdict:   ") + self.either(STANDINGS[Standing.PENDING])
            yield "  " + self.either(REASONS[Reason.NOT_DUE])
            return
        yield self.say("结论（不改写，只增版）：", "verdicts (revised, never rewritten):")
        for row in self.file.verdicts:
            yield from self.verdict(row)

    def verdict(self, given: Judgement) -> Iterator[str]:
        verdict = given.verdict
        standing, judged = self.either(STANDINGS[verdict.standing]), self.time(given.judged_at)
        yield self.say(
            f"  第 {given.revision} 版  {standing}  （{judged} 判定）",
            f"  revision {given.revision}  {standing}  (judged {judged})",
        )
        yield self.say("    理由：", "    why: ") + self.either(REASONS[verdict.reason])
        if verdict.waited:
            yield self.say(
                "    到期标记一分钟内未返回，按本机时钟判定",
                "    the marker of due did not come back within a minute: judged by our clock",
            )
        for zh, en, member in _LISTS:
            slugs = getattr(verdict, member)
            if slugs:
                names = self.say("、", ", ").join(map(self.name, slugs))
                yield self.say(f"    {zh}：", f"    {en}: ") + names
        for name, count in verdict.visits.items():
            yield f"    {self.name(name)} ×{count}"
        if verdict.people:
            people = (self.file.people.get(slug, slug) for slug in verdict.people)
            yield self.say("    巡查人：", "    people: ") + self.say("、", ", ").join(people)
        if verdict.evidence:
            told = ", ".join(verdict.evidence.values())
            yield self.say("    依据：", "    evidence: ") + told
        if verdict.waiting:
            yield self.say("    待复核：", "    waits for review: ") + ", ".join(verdict.waiting)
        for made in verdict.decisions:
            yield "    " + self.decided(made)
        for stretch in verdict.stretches:
            yield self.stretch(stretch)

    def decided(self, made: Decision) -> str:
        """Who decided what, when and why; of which read, where it was one."""
        done, when = self.either(DOINGS[made.do]), self.time(made.at, day=True)
        about = "" if made.read is None else f" ({made.read})"
        return self.say(
            f"{when} {made.author} 决定：{done}{about}，理由：{made.reason}",
            f"{made.author} {done}{about} at {when}: {made.reason}",
        )

    def stretch(self, stretch: Stretch) -> str:
        since, breached = self.time(stretch.start), self.time(stretch.breached_at)
        if stretch.ended_at is None:
            end = self.say("至今", "still so")
        else:
            ended = self.time(stretch.ended_at)
            end = self.say(f"{ended} 有人到访", f"until {ended}")
        return self.say(
            f"    自 {since} 起无人到访，{breached} 超时，{end}",
            f"    nobody since {since}, too long at {breached}, {end}",
        )


def _clock(read: Read, arrived: Arrived) -> Words:
    if read.trust is Trust.SLOW and arrived.sent is not None and arrived.sent < UNSET:
        return NEVER_SET
    return TRUSTS[read.trust]
