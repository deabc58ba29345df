"""Notices of what is odd: clocks that are wrong, check-ins that cannot be as they were told.

Nothing here refuses anything. What is over, or was refuted, resolves the event that was open.
"""

from collections.abc import Mapping
from typing import Any

from devices.ids import Instant
from devices.messages import EventState
from devices.proofs import Proof
from rules.durations import format_duration
from rules.kinds import SEVERITIES, EventKind, Notice
from rules.marks import Mark, MarkKind, Why
from rules.promises import Read
from rules.words import DOINGS, PROOFS, Words


def clock_wrong(
    site: str | None, device: str, boot: str | None, at: Instant, *, skew_ms: int
) -> Notice:
    """A device's clock is more than `rules.clocks.SKEWED` ahead (positive) or slow; since `at`."""
    by = format_duration(abs(skew_ms) // 1_000 * 1_000)
    text = (
        Words(f"{device} 的时钟快了 {by}，请校准", f"{device}'s clock is {by} ahead: set it")
        if skew_ms > 0
        else Words(f"{device} 的时钟慢了 {by}，请校准", f"{device}'s clock is {by} slow: set it")
    )
    return _notice(
        EventKind.DEVICE_CLOCK_SKEW,
        site,
        f"{device}/{boot}" if boot else device,
        at,
        EventState.OPEN,
        text,
        {"device": device, "skew_ms": skew_ms},
    )


def clock_right(site: str | None, subject: str, at: Instant, data: Mapping[str, Any]) -> Notice:
    """The clock of an open `device.clock-skew` (its subject, at, data) is right again."""
    device = data["device"]
    text = Words(f"{device} 的时钟已恢复正常", f"{device}'s clock is right again")
    kind, over = EventKind.DEVICE_CLOCK_SKEW, EventState.RESOLVED
    return _notice(kind, site, subject, at, over, text, {**data, "ended": True})


def unproven(site: str, read: Read) -> Notice:
    """A check-in came after due by a time nobody can vouch for; over once a person has decided."""
    over = read.decision is not None
    text = Words(
        f"{read.device} 补报的打卡时间无法核实，等待人工复核",
        f"{read.device} reported a check-in late whose time is not proven: it waits for review",
    )
    if read.decision is not None:
        done = DOINGS[read.decision.do]
        text = Words(f"{read.decision.author}：{done.zh}", f"{read.decision.author} {done.en}")
    return _notice(
        EventKind.CHECKIN_UNPROVEN,
        site,
        read.identity,
        read.at,
        EventState.RESOLVED if over else EventState.OPEN,
        text,
        {
            "device": read.device,
            "checkpoint": read.checkpoint,
            "clock": read.trust.value,
            "decision": None if read.decision is None else read.decision.to_json(),
        },
    )


def unproven_tag(
    site: str, identity: str, at: Instant, proof: Proof, data: Mapping[str, Any]
) -> Notice:
    """A checkpoint asks for proof of presence, and a read there gives none. It is kept.

    `PROVEN`: it does after all, now that the tag's key is known.
    """
    over, why = proof is Proof.PROVEN, PROOFS[proof]
    device, checkpoint = data["device"], data["checkpoint"]
    text = Words(
        f"{device} 在 {checkpoint} 的打卡不能证明到场：{why.zh}",
        f"{device} at {checkpoint} does not prove presence: {why.en}",
    )
    if over:
        text = Words(
            f"{device} 在 {checkpoint} 的打卡经补验证明到场",
            f"{device} at {checkpoint} proves presence after all",
        )
    state = EventState.RESOLVED if over else EventState.OPEN
    told = {**data, "proof": proof.value}
    return _notice(EventKind.CHECKIN_UNPROVEN, site, identity, at, state, text, told)


KINDS: Mapping[MarkKind, EventKind] = {
    MarkKind.OUT_OF_ORDER: EventKind.CHECKIN_OUT_OF_ORDER,
    MarkKind.TOO_FAST: EventKind.CHECKIN_TOO_FAST,
    MarkKind.SAME_TAG: EventKind.CHECKIN_SAME_TAG_TWO_DEVICES,
    MarkKind.REPLAYED: EventKind.CHECKIN_REPLAYED,
}


def marked(site: str, mark: Mark) -> Notice:
    """A read is odd; it is kept, and counts as it would."""
    read, why = mark.read, mark_words(mark.kind, mark.data)
    text = Words(
        f"{read.device} 在 {read.checkpoint} 的打卡：{why.zh}",
        f"{read.device} at {read.checkpoint}: {why.en}",
    )
    data = {"device": read.device, "checkpoint": read.checkpoint, "tag": read.tag, **mark.data}
    kind = KINDS[mark.kind]
    return _notice(kind, site, read.identity, read.at, EventState.OPEN, text, data)


def unmarked(
    site: str, kind: MarkKind, identity: str, at: Instant, data: Mapping[str, Any]
) -> Notice:
    """Later evidence has refuted a mark."""
    text = Words(
        f"{identity}：后到的记录表明并非如此，已撤回",
        f"{identity}: later evidence says otherwise; withdrawn",
    )
    over = EventState.RESOLVED
    return _notice(KINDS[kind], site, identity, at, over, text, {**data, "withdrawn": True})


def mark_words(kind: MarkKind, data: Mapping[str, Any]) -> Words:
    """Why a read is odd, by what its mark says of it."""
    took = _seconds(data.get("took_ms", 0))
    match kind, data.get("why"):
        case MarkKind.OUT_OF_ORDER, _:
            before = data["before"]
            return Words(f"未按顺序，之前未到 {before}", f"out of order, before {before}")
        case MarkKind.TOO_FAST, Why.TIME:
            least = _seconds(data["least_ms"])
            return Words(
                f"距上一点位仅 {took}，少于 {least}",
                f"{took} after the checkpoint before, less than {least}",
            )
        case MarkKind.TOO_FAST, Why.SPEED:
            way = data["metres"]
            return Words(f"{took} 走了 {way} 米，不可能", f"{way} m in {took}: nobody walks that")
        case MarkKind.TOO_FAST, _:
            count = data["reads"]
            return Words(f"十分钟内第 {count} 次打卡", f"{count} reads in ten minutes")
        case MarkKind.REPLAYED, _:
            return _replay_words(data, took)
        case MarkKind.SAME_TAG, _:
            return Words(
                f"{took} 前同一标签被另一台设备读取",
                f"another device read the same tag {took} before",
            )


def _replay_words(data: Mapping[str, Any], took: str) -> Words:
    ctr = data["ctr"]
    if data["why"] == Why.COUNTER:
        other, after = data["other_ctr"], data["after"]
        return Words(
            f"标签计数 {ctr}，而早 {took} 的 {after} 已计到 {other}，疑似先刷后报",
            f"the tag counted {ctr}, but {other} already in {after}, {took} earlier: "
            "tapped before that, or a clock is wrong",
        )
    first = data["first"]
    return Words(
        f"与 {first} 为同一次刷卡（标签计数 {ctr}），属重放",
        f"a copy of the tap in {first} (the tag counted {ctr})",
    )


def _seconds(ms: int) -> str:
    return format_duration(ms // 1_000 * 1_000)


def _notice(  # noqa: PLR0913, PLR0917 - one value for each part of an event
    kind: EventKind,
    site: str | None,
    subject: str,
    at: Instant,
    state: EventState,
    text: Words,
    data: Mapping[str, Any],
) -> Notice:
    return Notice(
        kind=kind,
        severity=SEVERITIES[kind],
        site=site,
        subject=subject,
        at=at,
        state=state,
        message_zh=text.zh,
        message_en=text.en,
        data=data,
    )
