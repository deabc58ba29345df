"""`gridbeat demo`: a simulated day as it happens, and its score.

On a terminal the day is a live screen; elsewhere a line at every tenth of it, on stderr. The
answer, words or with `--json` one object, is the only thing on stdout.
"""

import json
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.failure import WRONG
from cli.output import SEVERITIES, VERDICTS, emit, mark, note
from desk.acts import By
from desk.demo.board import open_rounds
from desk.demo.score import Score, score
from desk.demo.stage import Stage, staged
from desk.errors import DeskError
from desk.names import Names, names
from desk.times import rfc3339
from store.listings import events, hazards, rounds
from store.walking import Filter

REFRESH_S = 0.4
EVENTS_SHOWN = 8
TOLD_ELSEWHERE = frozenset({"round.completed", "sos.cleared", "hazard.closed"})
"""Kinds that the table of rounds, or the event they resolve, tells already."""
ROUNDS_SHOWN = 5

INTERRUPTED = 130


class Interrupted(Exception):  # noqa: N818 - not an error: somebody pressed Ctrl-C
    """Somebody asked us to stop."""


@dataclass(slots=True)
class Progress:
    """What the simulator has told of itself last."""

    told: dict[str, Any]

    @property
    def share(self) -> float:
        """How much of the day is over, 0 to 1."""
        return 1.0 if self.told.get("done") else float(self.told.get("share", 0.0))

    @property
    def now(self) -> int:
        """The simulated instant, ms."""
        return int(self.told.get("now", 0))


def run(
    *,
    scenario: str,
    seed: int | None,
    seconds: float,
    tls: bool,
    as_json: bool,
    lang: str,
    by: By,
) -> int:
    """Play the day; 0 when every verdict equals the truth, 3 when not."""
    try:
        with _stoppable(), staged(scenario, by, by_tls=tls) as stage:
            summary = _play(stage, seconds=seconds, seed=seed, lang=lang, quiet=as_json)
            result = score(stage.engine, stage.truth, summary, stage.influx_url)
            called = names(stage.engine)
    except Interrupted:
        note("stopped; nothing is left running")
        return INTERRUPTED
    if as_json:
        emit(_as_json(result))
    else:
        _tell(result, called, lang)
    return 0 if result.equal else WRONG


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal end the day in good order."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)  # the way out is not interrupted again
        raise Interrupted

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _play(
    stage: Stage, *, seconds: float, seed: int | None, lang: str, quiet: bool
) -> dict[str, Any]:
    """Let the simulator play, showing the day; returns its summary. Raises `DeskError`."""
    simulator = stage.play(seconds=seconds, seed=seed)
    progress = Progress({})
    reading = threading.Thread(target=_follow, args=(simulator.process, progress), daemon=True)
    reading.start()
    screen = Console(stderr=True, highlight=False)
    try:
        if screen.is_terminal and not quiet:
            _show_live(stage, progress, reading, screen, lang)
        else:
            _show_lines(progress, reading)
    finally:
        simulator.stop()
    if not progress.told.get("done"):
        raise DeskError(f"{simulator.name} ended early", f"its last words:\n{simulator.last_words}")
    return progress.told


def _follow(process: subprocess.Popen[bytes], progress: Progress) -> None:
    for line in process.stdout or ():
        progress.told = json.loads(line)


def _show_lines(progress: Progress, reading: threading.Thread) -> None:
    told = 0
    while reading.is_alive():
        reading.join(REFRESH_S)
        tenths = int(progress.share * 10)
        if tenths > told:
            told = tenths
            note(f"{tenths * 10:3d} %  {progress.told.get('checkins', 0)} check-ins")


def _show_live(
    stage: Stage, progress: Progress, reading: threading.Thread, screen: Console, lang: str
) -> None:
    called = names(stage.engine)
    view = _View(stage=stage, called=called, lang=lang)
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        while reading.is_alive():
            reading.join(REFRESH_S)
            live.update(view.render(progress), refresh=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """The live screen, made anew from the ledger each time."""

    stage: Stage
    called: Names
    lang: str

    def render(self, progress: Progress) -> Group:
        """The clock, a line a school, the rounds being walked, the latest events."""
        parts = (self._schools(progress.now), self._walking(progress.now), self._latest())
        return Group(self._head(progress), *(item for part in parts for item in ("", part)))

    def _words(self, zh: str, en: str) -> str:
        return zh if self.lang == "zh" else en

    def _head(self, progress: Progress) -> Group:
        told = progress.told
        clock = rfc3339(progress.now, "Asia/Shanghai")[:16].replace("T", " ") if told else "…"
        counts = self._words(
            f"打卡 {told.get('checkins', 0)}  已入账回执 {told.get('receipted', 0)}",
            f"{told.get('checkins', 0)} check-ins, {told.get('receipted', 0)} receipted",
        )
        offline = ", ".join(told.get("offline", ()))
        line = Text.assemble((f"Gridbeat 网格巡  {clock}  ", "bold"), counts)
        if offline:
            line.append(self._words(f"  离线：{offline}", f"  offline: {offline}"), style="yellow")
        screens = ", ".join(f"{device} {left}" for device, left in told.get("left", {}).items())
        if screens:  # what the handhelds were told on `down/rounds`
            line.append(self._words(f"\n手持机待巡：{screens}", f"\nleft to visit: {screens}"))
        return Group(line, ProgressBar(total=1.0, completed=progress.share, width=78))

    def _schools(self, now: int) -> Table:
        heads = self._words(
            "学校 进行 完成 不全 漏巡 不明 隐患", "school open done part missed unknown hazards"
        )
        shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for index, head in enumerate(heads.split()):
            shown.add_column(head, justify="left" if index == 0 else "right", no_wrap=True)
        tallies: dict[str, Counter[str]] = {site: Counter() for site in self.called.sites}
        for row in rounds(self.stage.engine, Filter(until=now)):
            tallies[row.site][row.verdict] += 1
        for hazard in hazards(self.stage.engine, Filter()):
            tallies[hazard.site]["hazards"] += hazard.closed_at is None
        for site, tally in tallies.items():
            shown.add_row(self.called.site(site), *_tally(tally))
        return shown

    def _walking(self, now: int) -> Table:
        shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        for round_ in open_rounds(self.stage.engine, now)[:ROUNDS_SHOWN]:
            opens = rfc3339(round_.opens, round_.timezone)[11:16]
            closes = rfc3339(round_.closes, round_.timezone)[11:16]
            late = self._words("宽限中", "in grace") if round_.closes <= now else ""
            shown.add_row(
                self.called.site(round_.site),
                f"{self.called.plan(round_.site, round_.plan)} {opens}–{closes}",
                Text("●" * round_.visited, style="green")
                + Text("○" * (round_.expected - round_.visited), style="dim"),
                f"{round_.visited}/{round_.expected} {late}",
            )
        return shown

    def _latest(self) -> Table:
        shown = Table(
            box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False, expand=True
        )
        shown.add_column(width=5)
        shown.add_column(width=12)
        shown.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        told = [e for e in events(self.stage.engine, Filter()) if e.kind not in TOLD_ELSEWHERE]
        for event in sorted(told, key=lambda event: event.raised_at)[-EVENTS_SHOWN:]:
            shown.add_row(
                rfc3339(event.at, event.timezone)[11:16],
                mark(SEVERITIES, event.severity, self.lang),
                Text(f"{self.called.site(event.site)} {event.message[self.lang]}"),
            )
        return shown


def _tally(tally: Counter[str]) -> Iterator[Text]:
    for name in ("pending", "completed", "incomplete", "missed", "unknown"):
        count = tally[name]
        yield Text(str(count), style=VERDICTS[name][1] if count else "dim")
    yield Text(str(tally["hazards"]), style="yellow" if tally["hazards"] else "dim")


# The score ----------------------------------------------------------------------------------------


def _as_json(result: Score) -> dict[str, Any]:
    missed = [
        {**asdict(row), "opens_at": rfc3339(row.opens_at, row.timezone)} for row in result.missed
    ]
    return {
        **asdict(result),
        "rounds": dict(result.rounds),
        "missed": missed,
        "checkins_per_s": round(result.kept / result.seconds, 1) if result.seconds else None,
        "messages_per_s": round(result.published / result.seconds, 1) if result.seconds else None,
        "equal": result.equal,
    }


def _tell(result: Score, called: Names, lang: str) -> None:
    zh = lang == "zh"
    screen = Console(highlight=False)
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in _lines(result, called, lang):
        shown.add_row(name, value)
    screen.print(shown)
    screen.print()
    if result.equal:
        words = (
            "每一项判定都与模拟器所知的事实一致。"
            if zh
            else ("Every verdict equals the simulator's own truth.")
        )
        screen.print(Text(f"✓ {words}", style="bold green"))
        return
    words = "与事实不符" if zh else "differences from the simulator's truth"
    screen.print(Text(f"✗ {len(result.differences)} {words}", style="bold red"))
    for difference in result.differences:
        screen.print(Text(f"  {difference.what}: {difference.ours} ≠ {difference.truth}"))


def _lines(result: Score, called: Names, lang: str) -> Iterator[tuple[str, Text]]:
    """The summary, a name and a value a line."""
    zh = lang == "zh"
    speed = result.published / result.seconds if result.seconds else 0.0
    verdicts = Text("   ").join(
        mark(VERDICTS, verdict, lang) + Text(f" {result.rounds[verdict]}")
        for verdict in VERDICTS
        if result.rounds.get(verdict)
    )
    missed = "\n".join(
        f"{called.site(row.site)} {called.plan(row.site, row.plan)} "
        f"{rfc3339(row.opens_at, row.timezone)[:16].replace('T', ' ')}"
        for row in result.missed
    )
    series = "没有 InfluxDB" if zh else "no InfluxDB here: answered from the ledger"
    if result.series is not None:
        series = f"{result.series} 次打卡" if zh else f"{result.series} check-ins"
    told: list[tuple[str, str, str | Text]] = [
        ("场景", "scenario", f"{result.scenario}, seed {result.seed}"),
        (
            "打卡",
            "check-ins",
            f"发出 {result.sent}，入账 {result.kept}，重复 {result.duplicates}，"
            f"隔离 {result.quarantined}"
            if zh
            else f"{result.sent} sent, {result.kept} kept, {result.duplicates} duplicates, "
            f"{result.quarantined} quarantined",
        ),
        ("巡查", "rounds", verdicts),
        ("漏巡", "missed", missed or "—"),
        (
            "更正",
            "amended",
            f"{result.amended}，超时间隔 {result.overdue}"
            if zh
            else f"{result.amended} by later evidence; {result.overdue} gaps overdue",
        ),
        ("隐患", "hazards", str(result.hazards)),
        ("紧急求助", "sos", str(result.sos)),
        ("时序库", "series", series),
        (
            "速度",
            "how fast",
            f"{result.seconds:.1f} 秒，每秒 {speed:.0f} 条消息"
            if zh
            else f"{result.seconds:.1f} s, {speed:.0f} messages a second, each one receipted",
        ),
    ]
    for name_zh, name_en, value in told:
        yield name_zh if zh else name_en, value if isinstance(value, Text) else Text(value)
