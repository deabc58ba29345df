"""How `status` prints: one screen."""

from collections.abc import Callable, Mapping

from rich.text import Text

from cli.output import SEVERITIES, VERDICTS, Column, console, mark, table
from desk.names import Names
from desk.status import Service, Status
from desk.times import rfc3339
from store.series.lines import SiteState

LEFT_MS = 86_400_000
"""An instance that was not seen for so long is one of the past, where another has run since."""


def show(found: Status, called: Names, lang: str) -> None:
    """Print the status: the service, today's counts, then a line a site."""
    screen, zh = console(), lang == "zh"
    for line in _services(found, zh):
        screen.print(line)
    screen.print(_line("今日巡更" if zh else "rounds today", _rounds(found, lang)))
    screen.print(_line("未处理事件" if zh else "open events", _events(found, lang)))
    screen.print(_line("其他" if zh else "besides", Text(_besides(found, zh))))
    screen.print()
    table(
        _columns(called, found.tally.rounds_by_site),
        found.sites,
        lang,
        ("No sites.", "没有校区。"),
    )


def _line(name: str, value: Text) -> Text:
    width = 14 - Text(name).cell_len
    return Text(name, style="bold") + Text(" " * max(width, 1)) + value


def _services(found: Status, zh: bool) -> list[Text]:
    name = "服务" if zh else "service"
    if not found.services:
        words = "从未运行：gridbeat ingest" if zh else "never ran: gridbeat ingest"
        return [_line(name, Text(f"✗ {words}", style="bold red"))]
    shown = [service for service in found.services if not _left(service, found)]
    return [_line(name, _service(service, found, zh)) for service in shown or found.services[:1]]


def _left(service: Service, found: Status) -> bool:
    """One that ran here once, and another since: `--json` has it still."""
    seen = service.marker_at or service.started_at
    return service.alive is False and service.unready is None and found.now - seen > LEFT_MS


def _service(service: Service, found: Status, zh: bool) -> Text:
    if service.alive is None:
        tick = "" if service.marker_at is None else rfc3339(service.marker_at)
        words = "模拟时钟，最后一拍" if zh else "simulated clock, last tick"
        return Text(f"{service.instance}  . {words} {tick}")
    age = "?" if service.marker_at is None else _age((found.now - service.marker_at) // 1000)
    if service.unready is not None:
        words = (
            f"运行中，未就绪：{service.unready}" if zh else f"runs, not ready: {service.unready}"
        )
        return Text(f"{service.instance}  ! {words}", style="bold yellow")
    if service.alive:
        words = f"{age} 前有回音" if zh else f"seen {age} ago"
        return Text(f"{service.instance}  ✓ {words}", style="green")
    words = f"未运行，{age} 前最后一次" if zh else f"not running, last seen {age} ago"
    return Text(f"{service.instance}  ✗ {words}", style="bold red")


def _rounds(found: Status, lang: str) -> Text:
    rounds = found.tally.rounds_today
    if not rounds:
        return Text("0")
    marks = (
        mark(VERDICTS, verdict, lang) + Text(f" {rounds[verdict]}")
        for verdict in VERDICTS
        if rounds.get(verdict)
    )
    return Text("   ").join(marks)


def _events(found: Status, lang: str) -> Text:
    events = found.tally.open_events
    if not events:
        return Text("0")
    marks = (
        mark(SEVERITIES, severity, lang) + Text(f" {events[severity]}")
        for severity in SEVERITIES
        if events.get(severity)
    )
    return Text("   ").join(marks)


def _besides(found: Status, zh: bool) -> str:
    tally = found.tally
    told = [
        (f"今日打卡 {tally.checkins_today}", f"{tally.checkins_today} check-ins today"),
        (f"隔离 {tally.quarantined}", f"{tally.quarantined} in quarantine"),
        (f"待发事件 {tally.untold_events}", f"{tally.untold_events} events to be told"),
    ]
    if found.series:
        told.append(
            (f"时序库落后 {tally.series_behind}", f"series {tally.series_behind} rows behind")
        )
    return "，".join(word for word, _ in told) if zh else ", ".join(word for _, word in told)


OTHERS = ("incomplete", "unknown", "excused")
"""Verdicts that have no column of their own."""


def _columns(called: Names, rounds: Mapping[str, Mapping[str, int]]) -> list[Column]:
    def count(name: str) -> Callable[[SiteState], str]:
        return lambda row: str(getattr(row, name) or "-")

    def others(row: SiteState) -> str:
        mine = rounds.get(row.site, {})
        told = (f"{VERDICTS[name][0]}{mine[name]}" for name in OTHERS if mine.get(name))
        return " ".join(told) or "-"

    def heard(row: SiteState) -> str:
        return "-" if row.last_seen_s is None else _age(row.last_seen_s)

    return [
        Column(en="site", zh="校区", cell=lambda row: called.site(row.site)),
        Column(en="open", zh="进行中", cell=count("open_rounds"), right=True),
        Column(en="due now", zh="将到期", cell=count("due"), right=True),
        Column(en="done", zh="完成", cell=count("completed_today"), right=True),
        Column(en="missed", zh="漏巡", cell=count("missed_today"), right=True),
        Column(en="! ? =", zh="! ? =", cell=others, right=True),
        Column(en="hazards", zh="隐患", cell=count("open_hazards"), right=True),
        Column(en="sos", zh="求助", cell=count("sos"), right=True),
        Column(en="online", zh="在线设备", cell=count("devices_online"), right=True),
        Column(en="last heard", zh="最后收到", cell=heard, right=True),
    ]


def _age(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
