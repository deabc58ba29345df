"""Machine words in Chinese and English, for explanations that are printed and appealed with."""

from collections.abc import Mapping
from typing import NamedTuple

from devices.adapters.heard import TimeSource
from devices.messages import HazardAction
from devices.proofs import Proof
from rules.calendar import DayClass
from rules.cases import CaseState
from rules.promises import Do, Reason, Standing, Trust, Wait


class Words(NamedTuple):
    """The same said twice."""

    zh: str
    en: str


STANDINGS: Mapping[Standing, Words] = {
    Standing.PENDING: Words("未到期", "not due yet"),
    Standing.COMPLETED: Words("完成", "completed"),
    Standing.INCOMPLETE: Words("未完成", "incomplete"),
    Standing.MISSED: Words("漏巡", "missed"),
    Standing.UNKNOWN: Words("无法判断", "unknown"),
    Standing.EXCUSED: Words("免责", "excused"),
}

REASONS: Mapping[Reason, Words] = {
    Reason.NOT_DUE: Words("还未到判定时间", "it is not due yet"),
    Reason.ALL_VISITED: Words("所有点位均已到访", "every checkpoint was visited"),
    Reason.SOME_NOT_VISITED: Words("部分点位没有到访", "some checkpoints were not visited"),
    Reason.NONE_VISITED: Words("没有任何点位到访记录", "no checkpoint was visited"),
    Reason.GAPS_KEPT: Words("到访间隔未超过规定", "no gap between visits was too long"),
    Reason.GAP_PASSED: Words("到访间隔超过规定", "a gap between visits was too long"),
    Reason.NEVER_VISITED: Words(
        "间隔超过规定，且始终无人到访", "the gap was too long and nobody ever came"
    ),
    Reason.TOO_FEW_VISITS: Words(
        "部分点位到访次数不足", "some checkpoints were not visited often enough"
    ),
    Reason.TOO_FEW_PEOPLE: Words(
        "到访点位齐全，但巡查人数不足", "every checkpoint was visited, but by too few people"
    ),
    Reason.TOO_LONG_BETWEEN: Words(
        "到访点位齐全，但途中停留超过规定",
        "every checkpoint was visited, but with too long a pause on the way",
    ),
    Reason.QUOTA_MET: Words("已达到规定次数", "visited as often as asked"),
    Reason.QUOTA_SHORT: Words("未达到规定次数", "visited less often than asked"),
    Reason.NOBODY_REACHABLE: Words(
        "该时段内所有设备都不在线，无法得知是否有人到访",
        "no device of the site could be reached all that time, so nobody could have told",
    ),
    Reason.EXCUSED: Words("已由负责人免责", "a person in charge excused it"),
    Reason.CALLED_MISSED: Words(
        "无法得知是否有人到访，由负责人判为漏巡",
        "nobody could have told; a person in charge called it missed",
    ),
}

TOLD_BY: Mapping[TimeSource, Words] = {
    TimeSource.DEVICE: Words("设备时间", "device's clock"),
    TimeSource.LOCAL: Words("设备本地时间（不带时区）", "device's local time, without offset,"),
    TimeSource.GATEWAY: Words("网关时间", "gateway's clock"),
    TimeSource.RECEIPT: Words("设备未报时间，按到达", "no time told; by its arrival"),
}

TRUSTS: Mapping[Trust, Words] = {
    Trust.TRUSTED: Words("设备时钟可信", "the device's clock is right"),
    Trust.AHEAD: Words("设备时钟偏快，时间已回调", "the device's clock is ahead; moved back"),
    Trust.SLOW: Words("设备时钟偏慢，时间已前调", "the device's clock is slow; moved forward"),
    Trust.UPTIME: Words(
        "设备时钟不准，时间按设备运行时长推算",
        "the device's clock was wrong; its time was counted by how long the device had been on",
    ),
    Trust.UNPROVEN: Words("时间无法核实", "the time is not proven"),
    Trust.IMPORTED: Words(
        "由文件导入，时间未经核对", "imported from a file; nobody compared its clock"
    ),
}

NEVER_SET = Words(
    "设备时钟从未设置，时间按到达推算",
    "the device's clock was never set; its time was counted from its arrival",
)
"""Instead of `Trust.SLOW`'s, where the clock told a time before `rules.clocks.UNSET`."""

WAITS: Mapping[Wait, Words] = {
    Wait.CLOCK_UNPROVEN: Words(
        "到期后才收到，且设备时间无法核实，等待人工复核",
        "it came after due and its clock is not proven: it waits for review",
    ),
    Wait.NOT_CUT_OFF: Words(
        "到期后才收到，而设备当时可以上报，等待人工复核",
        "it came after due although its device could have told: it waits for review",
    ),
    Wait.IMPORTED: Words(
        "到期后由文件导入，等待人工复核",
        "it was imported from a file after due: it waits for review",
    ),
}

DOINGS: Mapping[Do, Words] = {
    Do.ACCEPT: Words("采信补到记录", "accepted the late evidence"),
    Do.REJECT: Words("不采信补到记录", "rejected the late evidence"),
    Do.EXCUSE: Words("免责", "excused it"),
    Do.CALL_MISSED: Words("判为漏巡", "called it missed"),
}

PROOFS: Mapping[Proof, Words] = {
    Proof.PROVEN: Words("标签证明到场", "the tag proves presence"),
    Proof.BARE: Words("只有标签编号，没有动态验证码", "a bare UID, without the tag's message"),
    Proof.UNREADABLE: Words("动态验证码无法识别", "the tag's message cannot be read"),
    Proof.NOT_ENROLLED: Words("标签未登记密钥", "the tag is not enrolled"),
    Proof.NO_KEY: Words("系统没有该标签的主密钥", "the service lacks the tag's master key"),
    Proof.OTHER_KEY: Words("标签用的是另一把密钥", "the tag was written with another key"),
    Proof.OTHER_TAG: Words("验证码属于另一个标签", "the message is another tag's"),
    Proof.BAD_MAC: Words("动态验证码不正确", "the tag's message is not right"),
    Proof.RETIRED: Words("标签已停用", "the tag is retired"),
    Proof.REPLAYED: Words("重放的验证码", "a message that was told before"),
}

DAYS: Mapping[DayClass, Words] = {
    DayClass.SCHOOL_DAY: Words("上课日", "school day"),
    DayClass.MAKEUP_DAY: Words("调休上班日", "make-up day"),
    DayClass.WEEKEND: Words("周末", "weekend"),
    DayClass.HOLIDAY: Words("法定假日", "holiday"),
    DayClass.VACATION: Words("寒暑假", "vacation"),
    DayClass.EXAM: Words("考试日", "exam"),
    DayClass.SENSITIVE: Words("敏感时段", "sensitive period"),
}

CASES: Mapping[CaseState, Words] = {
    CaseState.REPORTED: Words("已上报", "reported"),
    CaseState.ACCEPTED: Words("已受理", "accepted"),
    CaseState.IN_PROGRESS: Words("整改中", "in progress"),
    CaseState.RESOLVED: Words("已整改待查验", "put right, to be verified"),
    CaseState.CLOSED: Words("已结案", "closed"),
    CaseState.REJECTED: Words("不予受理", "rejected"),
}

ACTIONS: Mapping[HazardAction, Words] = {
    HazardAction.REPORT: Words("上报", "report"),
    HazardAction.ACCEPT: Words("受理", "accept"),
    HazardAction.PROGRESS: Words("整改", "progress"),
    HazardAction.RESOLVED: Words("整改完成", "resolved"),
    HazardAction.VERIFIED: Words("查验通过", "verified"),
    HazardAction.REJECTED: Words("退回", "rejected"),
}
"""Sent back is what is no hazard, and what is not found put right."""

_TOLD = 5
"""How many names a message tells before it counts the rest."""


def listed(names: tuple[str, ...]) -> Words:
    """Names in a row; beyond five, the first five and how many there are."""
    head, count = names[:_TOLD], len(names)
    if count > _TOLD:
        return Words(f"{'、'.join(head)}等{count}处", f"{', '.join(head)} and {count - _TOLD} more")
    return Words("、".join(head), ", ".join(head))
