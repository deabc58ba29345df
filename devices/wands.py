"""Patrol wands (巡更棒): what their vendors' software exports, cell by cell. Pure.

A wand reads tags offline and is read out by its vendor's program, whose table of records is then
saved as CSV or a spreadsheet. Headings and ways to write a time differ from vendor to vendor. Those
known here are from Roger's Patrol Master 3.1 manual (Date, Time, Checkpoint, Guard, Reader), the
manual of 感应式智能巡逻管理系统 (巡检器, 巡逻点, 巡逻员, 刷卡时间), Dahua's evo-jpatrol interface
(swipeTime, cardNumber, userName, deviceCode), and the field's usual words; a map tells any other.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from typing import NamedTuple

from devices.adapters.heard import seq_of
from devices.ids import Instant, normalize_tag

PROTOCOL = "wand"
"""How the registry calls devices that are read from files; their address is the machine number."""
MACHINE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,31}")
EXAMPLE = "the machine number (机号) on it or in its software, as 00000123"

EARLIEST: Instant = 1_577_836_800_000
"""2020-01-01: a wand whose battery ran empty begins long before; nothing was read then."""


class Role(StrEnum):
    """What a column of an export tells."""

    DATE = "date"
    TIME = "time"
    PLACE = "place"
    TAG = "tag"
    PERSON = "person"
    DEVICE = "device"


HEADINGS: Mapping[Role, tuple[str, ...]] = {
    Role.DATE: ("日期", "巡检日期", "巡更日期", "巡逻日期", "刷卡日期", "打卡日期", "date"),
    Role.TIME: (
        "时间", "巡检时间", "巡更时间", "巡逻时间", "刷卡时间", "打卡时间", "读卡时间", "打点时间",
        "记录时间", "到达时间", "实到时间", "签到时间", "日期时间", "time", "date time", "datetime",
        "date/time", "patrol time", "visit time", "read time", "event time",
        "swipetime",
    ),
    Role.PLACE: (
        "地点", "地点名称", "巡检地点", "巡更地点", "巡逻地点", "巡检点", "巡更点", "巡逻点",
        "巡检点名称", "巡更点名称", "巡逻点名称", "点位", "点位名称", "位置", "checkpoint",
        "checkpoint name", "location", "place", "post",
    ),
    Role.TAG: (
        "卡号", "地点卡号", "地点卡", "信息钮号", "信息钮", "钮号", "标签", "标签号", "点卡号",
        "card", "card no", "card number", "card id", "cardnumber", "checkpoint id",
        "tag", "tag id", "button",
    ),
    Role.PERSON: (
        "人员", "姓名", "人员姓名", "人员名称", "巡更人", "巡逻人", "巡检人", "巡查人", "值班人",
        "巡查人员", "巡查员", "值班员", "值班人员", "打卡人", "刷卡人",
        "巡检人员", "巡更人员", "巡逻人员", "巡检员", "巡更员",
        "巡逻员", "保安", "保安员", "username", "guard", "guard name", "officer",
        "person", "personnel", "name",
    ),
    Role.DEVICE: (
        "机号", "棒号", "巡更棒", "巡更棒号", "巡更机号", "巡检器", "巡检器号", "巡检器编号",
        "巡更器", "机器号", "devicecode", "设备号", "设备编号", "reader",
        "reader no", "reader number", "reader id", "device", "device no", "device id", "wand",
    ),
}  # fmt: skip
"""Headings that are understood without being told, each by its normal form (`heading`)."""


_PERSONAL = re.compile(r"人|员|姓名|名字|guard|officer|person|staff|employee|user|watchman")


def personal(name: str) -> bool:
    """Whether a heading looks as if persons stood below it."""
    return _PERSONAL.search(heading(name)) is not None


def heading(text: str) -> str:
    """A heading in its normal form: full width and case put aside, signs around it, double gaps."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"\s+", " ", plain).strip(" .:*#\ufeff")


def machine(text: str) -> str:
    """A machine number as it is compared: spreadsheets take leading zeros away."""
    plain = unicodedata.normalize("NFKC", text).strip().casefold()
    return plain.lstrip("0") or plain


def tags_meant(text: str) -> tuple[str, ...]:
    """What tag ids a cell may mean, the likeliest first: spreadsheets take leading zeros away."""
    plain = unicodedata.normalize("NFKC", text).strip()
    padded = [plain.zfill(width) for width in (8, 10)] if plain.isdecimal() else []
    return tuple(dict.fromkeys(map(normalize_tag, (plain, *padded))))


# When ---------------------------------------------------------------------------------------------


class BadTime(ValueError):  # noqa: N818  (the operator's message)
    """A time that cannot be read, or could be two instants. The message says what to do."""


class Local(NamedTuple):
    """A time as it was written. `offset` None: it is local to wherever the wand was."""

    clock: datetime
    offset: tzinfo | None
    to_the_minute: bool


_NOON = {"上午": 0, "凌晨": 0, "早上": 0, "am": 0, "下午": 12, "晚上": 12, "中午": 12, "pm": 12}
_HALF = "|".join(_NOON)
_WRITTEN = re.compile(
    rf"""(?P<year>\d{{4}})[-/.年](?P<month>\d{{1,2}})[-/.月](?P<day>\d{{1,2}})日?
    (?:[t\s]|星期.|周.|\((?:星期|周).\))*
    (?P<before>{_HALF})?\s*
    (?P<hour>\d{{1,2}})\s*[:时点]\s*(?P<minute>\d{{1,2}})
    (?:\s*[:分]\s*(?P<second>\d{{1,2}})(?:[.,](?P<part>\d{{1,6}}))?\s*秒?|分)?
    \s*(?P<after>{_HALF})?
    \s*(?P<offset>z|[+-]\d{{2}}:?\d{{2}})?""",
    re.VERBOSE,
)
_COMPACT = re.compile(r"(\d{8})\s*(\d{4}(?:\d{2})?)")
_NUMBER = re.compile(r"\d{5}(?:\.\d+)?")


def read_time(text: str, shape: str | None = None) -> Local:
    """A date and time as an export writes it, or as `shape` (strptime) says. Raises BadTime."""
    plain = unicodedata.normalize("NFKC", text).strip()
    if shape is not None:
        try:
            found = datetime.strptime(plain, shape)  # noqa: DTZ007 - its zone is the site's
        except ValueError:
            raise BadTime(f"'{plain}' is not written as {shape}") from None
        minute = "%S" not in shape and not any(sign in shape for sign in ("%T", "%X", "%c"))
        return Local(found.replace(tzinfo=None), found.tzinfo, minute)
    if compact := _COMPACT.fullmatch(plain):
        date, time = compact.groups()
        clock = _clock(plain, date + time.ljust(6, "0"), "%Y%m%d%H%M%S")
        return Local(clock, None, len(time) == 4)
    found_parts = _WRITTEN.fullmatch(plain.casefold())
    if found_parts is None:
        raise BadTime(_advice(plain))
    return _written(plain, found_parts)


def _advice(plain: str) -> str:
    if _NUMBER.fullmatch(plain):
        return (
            f"'{plain}' is a spreadsheet's number: give the column a date format, and save it again"
        )
    return (
        f"'{plain}' is no date and time that can be told apart: write 2026-11-20 22:15:30, or say "
        "its order with --time-format, as '%d/%m/%Y %H:%M'"
    )


def _clock(plain: str, text: str, shape: str) -> datetime:
    try:
        return datetime.strptime(text, shape)  # noqa: DTZ007 - its zone is the site's
    except ValueError:
        raise BadTime(f"'{plain}' is no date and time there is") from None


def _written(plain: str, found: re.Match[str]) -> Local:
    hour = int(found["hour"])
    half = found["before"] or found["after"]
    if half is not None and hour <= 12:
        hour = hour % 12 + _NOON[half]
    second, part = found["second"] or "0", (found["part"] or "0").ljust(6, "0")
    date = f"{found['year']}-{found['month']}-{found['day']}"
    text = f"{date} {hour}:{found['minute']}:{second}.{part}"
    clock = _clock(plain, text, "%Y-%m-%d %H:%M:%S.%f")
    offset = None if found["offset"] is None else read_offset(found["offset"])
    return Local(clock, offset, found["second"] is None)


def read_offset(text: str) -> tzinfo:
    """`Z`, `+08:00` or `-0330`. Raises ValueError for anything else."""
    if text.casefold() == "z":
        return UTC
    found = re.fullmatch(r"([+-])(\d{2}):?(\d{2})", text)
    if found is None or int(found[2]) > 14 or int(found[3]) > 59:
        raise ValueError(f"'{text}' is no offset: write +08:00")
    span = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(-span if found[1] == "-" else span)


def instant(local: Local, zone: tzinfo) -> Instant:
    """The instant of a time as written, in `zone` where it says no offset of its own.

    Raises BadTime for a time that the zone has twice or not at all, in the nights its clocks are
    changed: which one it was nobody knows, and a wand's clock does not follow such a change.
    """
    clock = local.clock
    if not 1970 < clock.year < 9999:
        raise BadTime(f"'{clock:%Y-%m-%d}' is no day of ours")
    if local.offset is not None:
        return _ms(clock.replace(tzinfo=local.offset))
    first, second = (clock.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    offsets = first.utcoffset(), second.utcoffset()
    if offsets[0] == offsets[1]:
        return _ms(first)
    there = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == clock
    what = "is twice" if there else "does not exist"
    raise BadTime(
        f"'{clock:%Y-%m-%d %H:%M:%S}' {what} in that night's change of clocks ({zone}): if the "
        "wand's own clock was not changed, say what it keeps with --offset, as +01:00"
    )


def _ms(moment: datetime) -> Instant:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1)


# Which --------------------------------------------------------------------------------------------


def row_seq(at: Instant, what: str) -> int:
    """What makes a row one record among a wand's, in whichever file and form it comes.

    `what`: the checkpoint or person it stands for, `school-01/gate-east` or `p-017`: an export
    with tag ids and one with names tell the same.
    """
    return seq_of(PROTOCOL, f"{at}\n{what}")


def row_digest(at: Instant, what: str) -> int:
    """Of the same: two rows whose `seq` fell together by chance are told apart by it."""
    hashed = hashlib.blake2b(f"{at}\n{what}".encode(), digest_size=8, person=PROTOCOL.encode())
    return int.from_bytes(hashed.digest(), "big", signed=True)
