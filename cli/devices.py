"""How devices are listed and shown: with the age of what is known of them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.text import Text
from sqlalchemy import Engine

from cli.listing import Look
from cli.output import SEVERITIES, STATES, Column, Marks, emit, mark, note, say
from desk.devices import DeviceFile, deaf_since, device
from desk.ledger import opened
from desk.listing import as_json as row_json
from desk.names import Names, names
from desk.times import ago, day, rfc3339, span
from desk.words import Sent
from devices.ids import Instant

if TYPE_CHECKING:
    from store.settings import Settings

PRESENCES: Marks = {
    "online": ("✓", "green", "online", "在线"),
    "offline": ("✗", "yellow", "offline", "离线"),
    "silent": ("✗", "yellow", "silent", "失联"),
    "never": ("?", "dim", "never heard", "未曾收到"),
    "suspended": ("‖", "red", "suspended", "已暂停"),
    "retired": ("=", "dim", "retired", "已停用"),
}


def columns(look: Look) -> list[Column]:
    """The columns of `device list`."""

    def place(row: Any) -> str:
        return look.names.site(row.site) if row.site else f"({row.grid})"

    def heard(row: Any) -> str:
        return "" if row.heard_at is None else ago(row.heard_at, look.now, look.lang)

    def told(value: object, row: Any) -> str:
        if value is None:
            return ""
        return f"{value} ({ago(row.status_at, look.now, look.lang)})" if row.stale else str(value)

    return [
        Column(en="id", zh="编号", cell=lambda row: row.id),
        Column(en="site", zh="校区", cell=place),
        Column(en="now", zh="现状", cell=lambda row: standing(row, look.now, look.lang)),
        Column(en="last heard", zh="最后收到", cell=heard, right=True),
        Column(en="battery", zh="电量", cell=lambda row: told(_percent(row), row), right=True),
        Column(en="stored", zh="待发", cell=lambda row: told(row.queue, row), right=True),
        Column(en="enrolled", zh="发证", cell=lambda row: _day(look, row)),
    ]


OLD_MS = 86_400_000
"""A device without a heartbeat that was not heard for longer is no more than said to be online."""


def standing(row: Any, now: Instant, lang: str) -> Text:
    """Whether it is there; where it is away, for how long; where nobody can know, when it was."""
    if row.suspended_at is not None and row.retired_at is None:
        return mark(PRESENCES, "suspended", lang)
    found = mark(PRESENCES, row.state, lang)
    unsure = row.state == "online" and row.heartbeat_ms is None and row.heard_at is not None
    if unsure and now - row.heard_at > OLD_MS:
        when = ago(row.heard_at, now, lang)
        return Text(f"? {when}在线" if lang == "zh" else f"? online {when}", style="dim")
    if row.state in ("offline", "silent") and row.state_since_at is not None:
        found.append(f" {span(max(now - row.state_since_at, 0), lang)}")
    return found


def _percent(row: Any) -> str | None:
    return None if row.battery is None else f"{row.battery}%"


def _day(look: Look, row: Any) -> str:
    return "" if row.enrolled_at is None else day(row.enrolled_at, row.timezone, look.now)


def tell_standing(settings: "Settings", wall: Instant, lang: str) -> None:
    """On stderr: that nobody hears the devices, where that is so."""
    with opened(settings) as engine:
        since = deaf_since(engine, wall)
    if since is None:
        return
    gone = span(wall - since, lang)
    note(
        f"服务已停止 {gone}，以上为当时的情况：gridbeat ingest"
        if lang == "zh"
        else f"the service has not run for {gone}: this is how it was then; gridbeat ingest"
    )


def show_device(settings: "Settings", id_: str, wall: Instant, *, as_json: bool, lang: str) -> None:
    """Print a device with its alarms, its last turns and versions of firmware."""
    with opened(settings) as engine:
        found = device(engine, id_, wall)
        called = names(engine)
    if as_json:
        emit(row_json(found.row) | _more(found))
        return
    for name, text in _lines(found, called, lang):
        say(f"{name}{' ' * max(14 - Text(name).cell_len, 1)}{text}")
    tell_standing(settings, wall, lang)


def _more(found: DeviceFile) -> dict[str, object]:
    zone = found.row.timezone

    def dated(items: Any) -> list[dict[str, Any]]:
        return [
            {name: getattr(item, name) for name in item.__slots__} | {"at": rfc3339(item.at, zone)}
            for item in items
        ]

    return {
        "read_at": None if found.read_at is None else rfc3339(found.read_at, zone),
        "alarms": dated(found.alarms),
        "turns": dated(found.turns),
        "firmwares": dated(found.versions),
        "access": dated(found.access),
        "messages": [row_json(message) for message in found.messages],
    }


def _lines(found: DeviceFile, called: Names, lang: str) -> list[tuple[str, str]]:
    """What is known, each with its name; what is not known is left out."""
    row, now, zh = found.row, found.now, lang == "zh"

    def when(at: Instant | None) -> str | None:
        return None if at is None else f"{ago(at, now, lang)} ({rfc3339(at, row.timezone)})"

    told = f"  [{ago(row.status_at, now, lang)}]" if row.stale and row.status_at else ""
    place = called.site(row.site) if row.site else f"({row.grid})"
    known = [
        ("编号" if zh else "id", f"{row.id}  {place}  {row.protocol}"),
        ("现状" if zh else "now", standing(row, now, lang).plain),
        ("最后收到" if zh else "last heard", when(row.heard_at)),
        ("最后状态" if zh else "last status", when(row.status_at)),
        ("最后记录" if zh else "last record", when(found.read_at)),
        ("心跳" if zh else "heartbeat", _beat(row, lang)),
        ("电量" if zh else "battery", None if row.battery is None else f"{row.battery}%{told}"),
        ("信号" if zh else "signal", None if row.rssi is None else f"{row.rssi} dBm{told}"),
        ("待发" if zh else "stored", None if row.queue is None else f"{row.queue}{told}"),
        ("时钟" if zh else "clock", _clock(row, lang)),
        ("型号" if zh else "model", row.model),
        ("启动" if zh else "boot", row.boot),
        *(("固件" if zh else "firmware", f"{v.firmware}  {when(v.at)}") for v in found.versions),
        *(
            ("异常" if zh else "wrong", _alarm(alarm, when(alarm.at), lang))
            for alarm in found.alarms
        ),
        *(("连接" if zh else "connection", _turn(t.online, when(t.at), zh)) for t in found.turns),
        *(("消息" if zh else "message", _message(m, when, zh)) for m in found.messages),
        ("发证" if zh else "enrolled", when(row.enrolled_at)),
        ("暂停" if zh else "suspended", when(row.suspended_at)),
        ("停用" if zh else "retired", when(row.retired_at)),
        *(("权限" if zh else "access", _step(step, when(step.at))) for step in found.access),
    ]
    return [(name, text) for name, text in known if text is not None]


def _beat(row: Any, lang: str) -> str | None:
    if row.heartbeat_ms is not None:
        return span(row.heartbeat_ms, lang)
    return "未约定：沉默不算离线" if lang == "zh" else "none agreed: silence says nothing"


def _clock(row: Any, lang: str) -> str | None:
    if row.skew_ms is None:
        return None
    by = span(abs(row.skew_ms), lang)
    if abs(row.skew_ms) < 2_000:
        return "准确" if lang == "zh" else "right"
    if row.skew_ms > 0:
        return f"快 {by}" if lang == "zh" else f"{by} ahead"
    return f"慢或延迟 {by}" if lang == "zh" else f"{by} slow, or its words took that long"


def _alarm(alarm: Any, since: str | None, lang: str) -> str:
    severity, state = mark(SEVERITIES, alarm.severity, lang), mark(STATES, alarm.state, lang)
    return f"{severity.plain}  {alarm.message[lang]}  {state.plain}  {since}"


def _message(message: Any, when: Callable[[Instant | None], str | None], zh: bool) -> str:
    told = when(message.told_at)
    waits = "等待发送" if zh else "waits to be sent"
    return f"“{message.text}”  {message.author}  {waits if told is None else told}"


def _step(step: Any, when: str | None) -> str:
    why = "" if step.reason is None else f": {step.reason}"
    return f"{step.was} → {step.now}  {step.author}  {when}{why}"


def _turn(online: bool, when: str | None, zh: bool) -> str:
    words = ("上线" if online else "离线") if zh else ("came back" if online else "went away")
    return f"{words}  {when}"


def tell_sent(
    engine: Engine, sent: Sent, taken: Instant | None, wall: Instant, *, as_json: bool, lang: str
) -> None:
    """Say whether the broker took a message, and whether its device is there to show it."""
    row = device(engine, sent.device, wall).row
    if as_json:
        told = None if taken is None else rfc3339(taken, row.timezone)
        emit({"id": sent.id, "device": sent.device, "site": sent.site, "told_at": told})
        return
    zh = lang == "zh"
    waits = "已记录，服务运行后发送" if zh else "written: sent when the service runs"
    went = "已发送" if zh else "sent"
    say(f"{sent.id}  {waits if taken is None else went}")
    if row.state != "online":
        state = standing(row, wall, lang).plain
        later = "上线后才会看到" if zh else "it shows the message when it is back"
        note(f"{sent.device}: {state}; {later}")
