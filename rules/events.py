"""What a change of verdict tells; the door to kinds and notices of events (contract §4).

`follow()` turns a flip into notices; the ledger turns a notice into the next revision of its
event. What it tells is a function of the verdict, not of the way to it (law 3): a round
has the event of its verdict at due, open for as long as the round is not kept, and, once later
evidence or a decision has changed that verdict, one `round.amended`.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from devices.ids import Instant
from devices.messages import EventState, Severity
from rules.kinds import SEVERITIES, EventKind, Notice, event_id
from rules.notices import (
    alarm_over,
    battery_low,
    calendar_known,
    calendar_unknown,
    device_gap,
    device_offline,
    gap_found,
    hazard_closed,
    hazard_opened,
    hazard_reopened,
    identity_conflict,
    service_gap,
    sos_cleared,
    sos_raised,
    unknown_tag,
)
from rules.plans import Plan, zone
from rules.promises import (
    EPOCH,
    Decision,
    Do,
    Flip,
    Gap,
    Obligation,
    Quota,
    Reason,
    Standing,
    Stretch,
    Verdict,
    utc,
)
from rules.words import REASONS, STANDINGS, Words, listed

__all__ = [
    "SEVERITIES",
    "EventKind",
    "EventState",
    "Notice",
    "Severity",
    "alarm_over",
    "battery_low",
    "calendar_known",
    "calendar_unknown",
    "device_gap",
    "device_offline",
    "event_id",
    "follow",
    "gap_found",
    "hazard_closed",
    "hazard_opened",
    "hazard_reopened",
    "identity_conflict",
    "local_time",
    "overdue_subject",
    "service_gap",
    "sos_cleared",
    "sos_raised",
    "unknown_tag",
]

_AT_DUE: Mapping[Standing, EventKind] = {
    Standing.COMPLETED: EventKind.ROUND_COMPLETED,
    Standing.INCOMPLETE: EventKind.ROUND_INCOMPLETE,
    Standing.MISSED: EventKind.ROUND_MISSED,
    Standing.UNKNOWN: EventKind.ROUND_UNKNOWN,
}
"""What the verdict at due is told as. A gap tells its stretches instead, and `unknown` alone."""

_REFUTED: Mapping[bool, Words] = {
    True: Words("后到的记录表明并非如此", "later evidence says otherwise"),
    False: Words("所有设备均不在线，无法判断", "nobody could have told"),
}
"""Why a stretch was withdrawn, by whether anybody could have told."""

_KEPT = frozenset({Standing.COMPLETED, Standing.EXCUSED})


def overdue_subject(obligation: Obligation, checkpoint: str, stretch: Stretch) -> str:
    """Plan, checkpoint and start of the stretch: which `checkpoint.overdue` it is."""
    return f"{obligation.site}/{obligation.plan}/{checkpoint}/{utc(stretch.start)}"


@lru_cache(maxsize=1_024)  # rounds that fall due together mostly opened together
def local_time(at: Instant, timezone: str, shape: str = "%Y-%m-%d %H:%M") -> str:
    """`at` on the site's own clock, to the minute, as messages tell it."""
    return (EPOCH + timedelta(milliseconds=at)).astimezone(zone(timezone)).strftime(shape)


def follow(flip: Flip, plan: Plan) -> tuple[Notice, ...]:
    """What a change of verdict tells, in the order in which it should be told."""
    verdicts = () if flip.now.standing is Standing.PENDING else tuple(_verdicts(flip, plan))
    return (*_stretches(flip, plan), *verdicts)


def _verdicts(flip: Flip, plan: Plan) -> Iterator[Notice]:
    """The event of the verdict at due, and its amendment.

    Usually `now.first` is what was judged at due. It is not where a marker never came and was
    judged without (`waited`), or where reachability was told later: then what was told falls. So
    does an amendment, where its evidence or decision was taken back and the first verdict holds.
    """
    obligation, now = flip.obligation, flip.now
    first = now.first or now.standing
    before = _told_at_due(flip.was)
    if before is not None and before is not first and (kind := _kind(obligation, before)):
        yield _withdrawn(kind, obligation, plan)
    if kind := _kind(obligation, first):
        yield _at_due(kind, obligation, now, plan)
    was = first if first is not now.standing else before
    if was is not None and was is not now.standing:
        yield _amended(was, obligation, now, plan)
    elif flip.was is not None and before is not None and before is not flip.was.standing:
        yield _amendment_withdrawn(flip.was, obligation, now, plan)


def _told_at_due(verdict: Verdict | None) -> Standing | None:
    if verdict is None or verdict.standing is Standing.PENDING:
        return None
    return verdict.first or verdict.standing


def _kind(obligation: Obligation, standing: Standing) -> EventKind | None:
    if isinstance(obligation.terms, Gap) and standing is not Standing.UNKNOWN:
        return None
    return _AT_DUE.get(standing)


def _at_due(kind: EventKind, obligation: Obligation, now: Verdict, plan: Plan) -> Notice:
    over = now.standing in _KEPT or now.reason is Reason.CALLED_MISSED
    state = EventState.RESOLVED if over else EventState.OPEN
    data = {
        **_facts(obligation),
        "standing": now.standing.value,
        "reason": now.reason.value,
        "visited": list(now.visited),
        "missing": list(now.missing),
        "late": list(now.late),
        "early": list(now.early),
        "waiting": list(now.waiting),
        **({"visits": dict(now.visits)} if now.visits else {}),
        **({"people": list(now.people)} if now.people else {}),
    }
    return _round_notice(kind, obligation, state, _told(obligation, now, plan), data)


def _withdrawn(kind: EventKind, obligation: Obligation, plan: Plan) -> Notice:
    where = _where(obligation, plan)
    text = Words(f"{where.zh}：此前的判定已撤回", f"{where.en}: this verdict was withdrawn")
    data = {**_facts(obligation), "withdrawn": True}
    return _round_notice(kind, obligation, EventState.RESOLVED, text, data)


def _amended(was: Standing, obligation: Obligation, now: Verdict, plan: Plan) -> Notice:
    decision = _deciding(now)
    decided = decision is not None or now.standing is Standing.EXCUSED
    cause = _cause(decision, decided=decided)
    before, after, where = STANDINGS[was], STANDINGS[now.standing], _where(obligation, plan)
    text = Words(
        f"{where.zh}：{cause.zh}，由“{before.zh}”改为“{after.zh}”",
        f"{where.en}: {cause.en} changed it from {before.en} to {after.en}",
    )
    data = _change(was, obligation, now, decision, decided=decided)
    return _round_notice(EventKind.ROUND_AMENDED, obligation, EventState.RESOLVED, text, data)


def _amendment_withdrawn(
    amended: Verdict, obligation: Obligation, now: Verdict, plan: Plan
) -> Notice:
    """What had amended it was taken back: it stands as it did at due."""
    made = [decision for decision in now.decisions if decision not in amended.decisions]
    decision = made[-1] if made else None
    cause, where = _cause(decision, decided=bool(made)), _where(obligation, plan)
    before, after = STANDINGS[amended.standing], STANDINGS[now.standing]
    text = Words(
        f"{where.zh}：{cause.zh}，“{before.zh}”已撤回，仍为“{after.zh}”",
        f"{where.en}: {cause.en} withdrew {before.en}; it stays {after.en}, as at due",
    )
    data = _change(now.standing, obligation, now, decision, decided=bool(made))
    data["withdrawn"] = True
    return _round_notice(EventKind.ROUND_AMENDED, obligation, EventState.RESOLVED, text, data)


def _cause(decision: Decision | None, *, decided: bool) -> Words:
    if decision is not None:
        return Words(f"{decision.author} 决定", f"decision of {decision.author}")
    return Words("由负责人决定", "by decision") if decided else Words("补到记录", "later evidence")


def _change(
    was: Standing,
    obligation: Obligation,
    now: Verdict,
    decision: Decision | None,
    *,
    decided: bool,
) -> dict[str, Any]:
    return {
        **_facts(obligation),
        "was": was.value,
        "now": now.standing.value,
        "reason": "decision" if decided else "late-evidence",
        **({} if decision is None else {"decision": decision.to_json()}),
        "visited": list(now.visited),
        "missing": list(now.missing),
    }


def _deciding(now: Verdict) -> Decision | None:
    """The decision that made the verdict what it is; None where evidence did by itself.

    Where more is asked than one read of each checkpoint, any read or person's tag may be what did.
    """
    counted, any_may = set(now.evidence.values()), bool(now.people or now.visits)
    made = {
        Do.EXCUSE: now.standing is Standing.EXCUSED,
        Do.CALL_MISSED: now.reason is Reason.CALLED_MISSED,
    }
    bears = [
        decision
        for decision in now.decisions
        if made.get(decision.do, decision.do is Do.ACCEPT and (any_may or decision.read in counted))
    ]
    return bears[-1] if bears else None


def _round_notice(
    kind: EventKind, obligation: Obligation, state: EventState, text: Words, data: dict[str, Any]
) -> Notice:
    return Notice(
        kind=kind,
        severity=SEVERITIES[kind],
        site=obligation.site,
        subject=obligation.key,
        at=obligation.due,
        state=state,
        message_zh=text.zh,
        message_en=text.en,
        data=data,
    )


def _facts(obligation: Obligation) -> dict[str, Any]:
    return {
        "plan": obligation.plan,
        "opens": obligation.opens,
        "closes": obligation.closes,
        "due": obligation.due,
        "expected": len(obligation.expected),
        **({} if obligation.scored else {"scored": False}),
    }


def _where(obligation: Obligation, plan: Plan) -> Words:
    """The plan by name, its window on the site's clock, and the checkpoint of a gap."""
    terms = obligation.terms
    if isinstance(terms, Quota):
        first, last = (
            local_time(at, plan.timezone, "%Y-%m-%d")
            for at in (obligation.opens, obligation.closes - 1)
        )
        days = first if first == last else f"{first} – {last}"
        return Words(f"{plan.name} {days}", f"{plan.name} {days}")
    opens = local_time(obligation.opens, plan.timezone)
    closes = local_time(obligation.closes, plan.timezone, "%H:%M")
    spot = f" {plan.name_of(terms.checkpoint)}" if isinstance(terms, Gap) else ""
    text = f"{plan.name}{spot} {opens}–{closes}"
    return Words(text, text)


def _told(obligation: Obligation, now: Verdict, plan: Plan) -> Words:
    where, standing, reason = _where(obligation, plan), STANDINGS[now.standing], REASONS[now.reason]
    zh, en = f"{where.zh} {standing.zh}", f"{where.en} {standing.en}"
    if now.standing is Standing.INCOMPLETE and now.reason in _SHORT:
        asked = dict(_times(obligation))
        names = listed(
            tuple(
                f"{plan.name_of(slug)} {now.visits.get(slug, 0)}/{asked[slug]}"
                if slug in asked
                else plan.name_of(slug)
                for slug in now.missing
            )
        )
        return Words(f"{zh}：{reason.zh}：{names.zh}", f"{en}: {reason.en}: {names.en}")
    if now.standing is Standing.INCOMPLETE and now.missing:
        names = listed(tuple(plan.name_of(slug) for slug in now.missing))
        return Words(f"{zh}：未到{names.zh}", f"{en}: nobody came to {names.en}")
    if now.standing is Standing.COMPLETED:
        return Words(zh, en)
    return Words(f"{zh}：{reason.zh}", f"{en}: {reason.en}")


_SHORT = frozenset({Reason.TOO_FEW_VISITS, Reason.QUOTA_SHORT})
"""Where a number says more than that something is missing."""


def _times(obligation: Obligation) -> tuple[tuple[str, int], ...]:
    terms = obligation.terms
    return () if isinstance(terms, Gap) else terms.visits


def _stretches(flip: Flip, plan: Plan) -> Iterator[Notice]:
    """Stretches that are new or have changed, and those that later evidence has undone."""
    told = (*flip.now.withdrawn, *(flip.was.stretches if flip.was else ()))
    if not told and not flip.now.stretches:
        return
    was = {s.start: s for s in told}
    now = {s.start: s for s in flip.now.stretches}
    for start in sorted(was.keys() | now.keys()):
        if start not in now:
            refuted = _REFUTED[flip.now.standing is not Standing.UNKNOWN]
            yield _overdue(flip.obligation, was[start], plan, withdrawn=refuted)
        elif was.get(start) != now[start]:
            yield _overdue(flip.obligation, now[start], plan, withdrawn=None)


def _overdue(
    obligation: Obligation, stretch: Stretch, plan: Plan, *, withdrawn: Words | None
) -> Notice:
    """`withdrawn`: why the stretch is none any more; None while it stands."""
    terms = obligation.terms
    if not isinstance(terms, Gap):
        raise TypeError(f"{obligation.key} is no gap obligation and has no stretches")
    over = withdrawn is not None or stretch.ended_at is not None
    text = _overdue_text(plan.name_of(terms.checkpoint), stretch, plan.timezone, withdrawn)
    return Notice(
        kind=EventKind.CHECKPOINT_OVERDUE,
        severity=SEVERITIES[EventKind.CHECKPOINT_OVERDUE],
        site=obligation.site,
        subject=overdue_subject(obligation, terms.checkpoint, stretch),
        at=stretch.breached_at,
        state=EventState.RESOLVED if over else EventState.OPEN,
        message_zh=text.zh,
        message_en=text.en,
        data={
            "plan": obligation.plan,
            "checkpoint": terms.checkpoint,
            "every": terms.every,
            "since": stretch.start,
            "ended_at": None if withdrawn else stretch.ended_at,
            "withdrawn": withdrawn is not None,
        },
    )


def _overdue_text(name: str, stretch: Stretch, timezone: str, withdrawn: Words | None) -> Words:
    if withdrawn is not None:
        return Words(f"{name}：{withdrawn.zh}，已撤回", f"{name}: {withdrawn.en}; withdrawn")
    if stretch.ended_at is not None:
        ended = local_time(stretch.ended_at, timezone)
        return Words(f"{name} 超时后已于 {ended} 到访", f"{name} was visited again at {ended}")
    since = local_time(stretch.start, timezone)
    return Words(f"{name} 自 {since} 起无人到访", f"nobody has come to {name} since {since}")
