"""Notices of what is odd: clocks that are wrong, check-ins that cannot be as they were told.

Nothing here refuses anything. What is over, or was refuted, resolves the event that was open.
"""

from collections.abc import Mapping
from typing import Any

from devices.ids import Instant
from devices.messages import EventState
from rules.durations import format_duration
from rules.kinds import SEVERITIES, EventKind, Notice
from rules.promises import Read
from rules.words import DOINGS, Words


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
