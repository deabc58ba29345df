"""Notices of what is no verdict: check-ins, devices, hazards, sos, the service, calendars.

What is over (`device_online`, `hazard_closed`, `sos_cleared`) resolves the event that was open.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import structs

from devices.ids import Identity, Instant
from devices.messages import EventState, Grade, Severity
from rules.cases import Case
from rules.durations import format_duration
from rules.kinds import SEVERITIES, EventKind, Notice
from rules.plans import Plan
from rules.promises import Standing, utc
from rules.words import CASES, STANDINGS, Words

GRADES: Mapping[Grade, Severity] = {Grade.GENERAL: Severity.MEDIUM, Grade.MAJOR: Severity.CRITICAL}
"""How severe a hazard is by its grade: a major one needs all levels at once (domain)."""

_GRADE_WORDS: Mapping[Grade, Words] = {
    Grade.GENERAL: Words("一般隐患", "general hazard"),
    Grade.MAJOR: Words("重大隐患", "major hazard"),
}


class _Occurrence(NamedTuple):
    """Which event: its kind, where, which one of that kind, since when."""

    kind: EventKind
    site: str | None
    subject: str
    at: Instant


def unknown_tag(site: str, identity: str, at: Instant, *, device: str, tag: str) -> Notice:
    """A registered device read a tag that no checkpoint has; the check-in is kept."""
    text = Words(
        f"{device} 读到未登记的标签 {tag}，请登记或检查",
        f"{device} read the unknown tag {tag}: register it or look after it",
    )
    it = _Occurrence(EventKind.CHECKIN_UNKNOWN_TAG, site, identity, at)
    return _open(it, text, {"device": device, "tag": tag})


def identity_conflict(site: str | None, identity: str, at: Instant, *, device: str) -> Notice:
    """One identity came with two contents; the second is in quarantine."""
    text = Words(
        f"{device} 用同一编号 {identity} 发来不同内容，后者已隔离",
        f"{device} sent other content under the identity {identity}: it is in quarantine",
    )
    it = _Occurrence(EventKind.DEVICE_IDENTITY_CONFLICT, site, identity, at)
    return _open(it, text, {"device": device})


def device_gap(site: str | None, first: Identity, last: int, at: Instant) -> Notice:
    """Records of a device from `first` to the seq `last` are lost: it no longer stores them."""
    count = last - first.seq + 1
    text = Words(
        f"{first.device} 丢失 {count} 条记录（{first.seq}–{last}）",
        f"{first.device} lost {count} record{'s' * (count > 1)}, {first.seq} to {last}",
    )
    data = {"device": first.device, "epoch": first.epoch, "first": first.seq, "last": last}
    it = _Occurrence(EventKind.DEVICE_GAP, site, str(first), at)
    return _open(it, text, {**data, "count": count})


def device_offline(
    site: str | None, device: str, boot: str | None, at: Instant, *, silent: bool = False
) -> Notice:
    """The device's last will or last word, or its silence, says that it cannot be reached."""
    text = Words(f"{device} 离线", f"{device} is offline")
    if silent:
        text = Words(f"{device} 失联：未按时上报状态", f"{device} has fallen silent")
    it = _Occurrence(EventKind.DEVICE_OFFLINE, site, _boot(device, boot), at)
    return _open(it, text, {"device": device, "silent": silent})


def battery_low(
    site: str | None, device: str, boot: str | None, at: Instant, *, percent: int
) -> Notice:
    """The device's charge fell to where somebody should load it; `percent` when it was told."""
    text = Words(
        f"{device} 电量低（{percent}%），请充电",
        f"{device}'s battery is low ({percent}%): charge it",
    )
    it = _Occurrence(EventKind.DEVICE_BATTERY_LOW, site, _boot(device, boot), at)
    return _open(it, text, {"device": device, "battery": percent})


def gap_found(site: str | None, subject: str, at: Instant, data: Mapping[str, Any]) -> Notice:
    """All records of an open `device.gap` (its subject, at, data) came after all."""
    device, count = data["device"], data["count"]
    text = Words(
        f"{device} 丢失的 {count} 条记录已全部补到",
        f"the {count} record{'s' * (count > 1)} lost by {device} came after all",
    )
    it = _Occurrence(EventKind.DEVICE_GAP, site, subject, at)
    return _over(it, text, {**data, "ended": True})


def alarm_over(
    kind: EventKind,
    site: str | None,
    subject: str,
    at: Instant,
    data: Mapping[str, Any],
    *,
    retired: bool = False,
) -> Notice:
    """What an open event of a device (its subject, at, data) told has ended, or the device has."""
    words = _RETIRED if retired else _OVER[kind]
    text = Words(f"{data['device']} {words.zh}", f"{data['device']} {words.en}")
    return _over(_Occurrence(kind, site, subject, at), text, {**data, "ended": True})


_RETIRED = Words("已停用", "was taken out of service")
_OVER = {
    EventKind.DEVICE_OFFLINE: Words("恢复在线", "is online again"),
    EventKind.DEVICE_BATTERY_LOW: Words("电量已恢复", "has been charged"),
}


def hazard_opened(site: str, case: Case, *, place: str | None = None) -> Notice:
    """A hazard was reported. `place`: the name of where, if it is known."""
    it = _Occurrence(EventKind.HAZARD_OPENED, site, case.id, case.reported_at)
    text = _hazard_text(case, place, Words("上报", "reported"))
    return _open(it, text, _hazard_data(case), GRADES[case.grade])


def hazard_closed(site: str, case: Case, *, place: str | None = None) -> tuple[Notice, ...]:
    """A case has ended, by verification or rejection: that, and its opening resolved."""
    at = case.reported_at if case.closed_at is None else case.closed_at
    opened = _Occurrence(EventKind.HAZARD_OPENED, site, case.id, case.reported_at)
    closed = _Occurrence(EventKind.HAZARD_CLOSED, site, case.id, at)
    text = _hazard_text(case, place, CASES[case.state])
    data = {**_hazard_data(case), "closed_at": at}
    return tuple(_over(it, text, data, GRADES[case.grade]) for it in (opened, closed))


def hazard_reopened(site: str, case: Case, *, place: str | None = None) -> Notice:
    """A step that came late shows that the case had not ended: the closing is withdrawn.

    That is told once: where the case has gone since is said by its `hazard.opened`.
    """
    it = _Occurrence(EventKind.HAZARD_CLOSED, site, case.id, case.reported_at)
    text = _hazard_text(case, place, Words("结案已撤回", "closing withdrawn"))
    data = {name: told for name, told in _hazard_data(case).items() if name not in _MOVING}
    data["withdrawn"] = True
    return _over(it, text, data, GRADES[case.grade])


def sos_raised(
    site: str, identity: str, at: Instant, *, device: str, data: Mapping[str, Any]
) -> Notice:
    """Panic button or man down. `data`: what else is known (`person`, `pos`, `silent`)."""
    person = data.get("person")
    zh, en = (f"（{person}）", f" ({person})") if person else ("", "")
    text = Words(f"{device}{zh} 紧急求助", f"{device}{en} calls for help")
    it = _Occurrence(EventKind.SOS_RAISED, site, identity, at)
    return _open(it, text, {**data, "device": device})


def sos_cleared(
    site: str, identity: str, raised_at: Instant, at: Instant, *, device: str
) -> tuple[Notice, ...]:
    """The sos `identity` was taken back at `at`: that, and the sos itself resolved."""
    text = Words(f"{device} 已取消求助", f"{device} took back its call for help")
    raised = _Occurrence(EventKind.SOS_RAISED, site, identity, raised_at)
    cleared = _Occurrence(EventKind.SOS_CLEARED, site, identity, at)
    data = {"device": device, "cleared_at": at}
    return tuple(_over(it, text, data) for it in (raised, cleared))


def service_gap(  # noqa: PLR0913 - a digest says all of it
    since: Instant,
    until: Instant,
    *,
    rounds: int = 0,
    cause: str = "",
    verdicts: Mapping[str, int] | None = None,
    named: Sequence[str] = (),
    singly: bool = True,
    offline: Sequence[str] = (),
) -> Notice:
    """We were down or cut off in [since, until); `rounds` came due meanwhile: one digest.

    `cause` is a machine word (a key of `_GAP_WORDS`). `verdicts` counts by standing; `named`:
    rounds that were not kept, as many as a message bears. `singly`: they are told one by one too.
    `offline`: devices that did not come back with us and are not told of one by one.
    """
    span = format_duration(round((until - since) / 1000) * 1000)
    counts = {Standing(name): count for name, count in (verdicts or {}).items()}
    zh = "，".join(f"{STANDINGS[name].zh} {count}" for name, count in counts.items())
    en = ", ".join(f"{count} {STANDINGS[name].en}" for name, count in counts.items())
    what = _GAP_WORDS.get(cause, _GAP_WORDS[""])
    text = Words(
        f"{what.zh} {span}，其间到期 {rounds} 个巡查任务，已补判{f'：{zh}' if zh else ''}",
        f"{what.en} for {span}; {rounds} rounds came due meanwhile and were judged"
        f"{f': {en}' if en else ''}",
    )
    data = {
        "since": since,
        "until": until,
        "rounds": rounds,
        "cause": cause,
        "verdicts": dict(verdicts or {}),
        "named": list(named),
        "singly": singly,
        **({"offline": list(offline)} if offline else {}),
    }
    if offline:
        away = Words(
            f"；{len(offline)} 台设备此后仍未上线", f"; {len(offline)} devices have not come back"
        )
        text = Words(text.zh + away.zh, text.en + away.en)
    it = _Occurrence(EventKind.SERVICE_GAP, None, f"service/{utc(since)}", since)
    return _over(it, text, data)


_GAP_WORDS = {
    "": Words("服务中断", "the service was cut off"),
    "down": Words("服务停止运行", "the service was down"),
    "broker": Words("与消息服务器断开", "the broker could not be reached"),
    "clock": Words("本机时钟不稳", "our own clock could not be relied on"),
    "session": Words(
        "消息服务器未为本服务保留消息，历时", "the broker kept nothing for the service"
    ),
    "overflow": Words(
        "消息服务器队列已满、丢弃消息，历时", "the broker's queue was full: it dropped messages"
    ),
    "restored": Words(
        "数据库由副本恢复，缺失", "the database was restored from a copy and lacks what came"
    ),
}


def calendar_unknown(plan: Plan, year: int, at: Instant) -> Notice:
    """A plan needs day classes of a year of which the calendar has no data."""
    text = Words(
        f"{plan.name}：没有{year}年的放假安排，暂按星期判断",
        f"{plan.name}: no holidays are known for {year}; weekdays are used",
    )
    subject = f"{plan.site}/{plan.slug}/{year}"
    it = _Occurrence(EventKind.CALENDAR_UNKNOWN, plan.site, subject, at)
    return _open(it, text, {"plan": plan.slug, "year": year})


def calendar_known(plan: Plan, year: int, at: Instant) -> Notice:
    """The day classes of a year were told: resolves the `calendar.unknown` of `at`."""
    text = Words(
        f"{plan.name}：{year}年的放假安排已导入",
        f"{plan.name}: the holidays of {year} are known now",
    )
    subject = f"{plan.site}/{plan.slug}/{year}"
    it = _Occurrence(EventKind.CALENDAR_UNKNOWN, plan.site, subject, at)
    return _over(it, text, {"plan": plan.slug, "year": year})


def _open(
    it: _Occurrence, text: Words, data: Mapping[str, Any], severity: Severity | None = None
) -> Notice:
    return Notice(
        **it._asdict(),
        severity=severity or SEVERITIES[it.kind],
        state=EventState.OPEN,
        message_zh=text.zh,
        message_en=text.en,
        data=data,
    )


def _over(
    it: _Occurrence, text: Words, data: Mapping[str, Any], severity: Severity | None = None
) -> Notice:
    return structs.replace(_open(it, text, data, severity), state=EventState.RESOLVED)


def _boot(device: str, boot: str | None) -> str:
    return f"{device}/{boot}" if boot else device


def _hazard_text(case: Case, place: str | None, done: Words) -> Words:
    grade = _GRADE_WORDS[case.grade]
    where = f" {place}" if place else ""
    what = f" {case.report.text}" if case.report.text else ""
    return Words(f"{grade.zh}{where}{what}：{done.zh}", f"{grade.en}{where}{what}: {done.en}")


_MOVING = frozenset({"state", "category"})
"""Of a hazard's data, what its steps change beside its grade, which is the event's severity."""


def _hazard_data(case: Case) -> dict[str, Any]:
    return {
        "hazard": case.id,
        "state": case.state.value,
        "grade": case.grade.value,
        "category": case.category,
        "checkpoint": case.report.checkpoint,
        "device": case.report.device,
        "reported_at": case.reported_at,
    }
