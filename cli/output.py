"""How answers are printed: JSON for scripts, tables for people.

A table fits a terminal of 80 columns; words, never colours alone, tell states apart.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.plain import plain

CHUNK = 500
"""Rows of a table: a longer listing is several, so that its beginning is there at once."""

VERDICTS = {
    "completed": ("✓", "green", "completed", "完成"),
    "incomplete": ("!", "yellow", "incomplete", "未完成"),
    "missed": ("✗", "bold red", "missed", "漏巡"),
    "unknown": ("?", "magenta", "unknown", "无法判断"),
    "pending": (".", "dim", "not due yet", "未到期"),
    "open": (">", "bold", "open", "进行中"),
    "due": ("…", "bold yellow", "due now", "到期待判"),
    "excused": ("=", "cyan", "excused", "免责"),
}
SEVERITIES = {
    "critical": ("!!!", "bold white on red", "critical", "危急"),
    "high": ("!!", "bold red", "high", "高"),
    "medium": ("!", "yellow", "medium", "中"),
    "low": ("-", "cyan", "low", "低"),
    "info": (".", "dim", "info", "提示"),
}
STATES = {
    "open": ("o", "bold", "open", "未处理"),
    "acknowledged": ("a", "", "acknowledged", "已确认"),
    "resolved": ("✓", "dim", "resolved", "已结束"),
}
CHECKS = {
    "ok": ("✓", "green", "ok", "正常"),
    "warn": ("!", "yellow", "look", "注意"),
    "wrong": ("✗", "bold red", "wrong", "有误"),
    "unreachable": ("✗", "bold red", "no answer", "无应答"),
    "off": ("-", "dim", "not used", "未用"),
}

Marks = dict[str, tuple[str, str, str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: its head in both languages, and what of a row stands in it."""

    en: str
    zh: str
    cell: Callable[[Any], str | Text]
    right: bool = False
    fold: bool = False


def mark(marks: Marks, value: str, lang: str) -> Text:
    """A state as sign and word; its colour only repeats them."""
    sign, style, en, zh = marks.get(value, ("", "", value, value))
    return Text(f"{sign} {zh if lang == 'zh' else en}".strip(), style=style)


def verdict(value: str, scored: bool, lang: str) -> Text:
    """How something owed stands, and whether that counts in no score."""
    said = mark(VERDICTS, value, lang)
    return said if scored else said + Text("，不计分" if lang == "zh" else ", not scored")


def console() -> Console:
    """Where tables go: coloured on a terminal only, 100 columns wide where nobody says."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(width=100, color_system=None, highlight=False)


def harmless(cell: str | Text, *, lines: bool = True) -> Text:
    """What others wrote, as it may be printed: no markup, no control of the terminal."""
    if not isinstance(cell, Text):
        return Text(plain(cell, lines=lines))
    shown = plain(cell.plain, lines=lines)
    return cell if shown == cell.plain else Text(shown, style=cell.style)


def table(columns: Sequence[Column], rows: Iterable[Any], lang: str, empty: str) -> None:
    """Print rows as tables; `empty` where there are none."""
    screen = console()
    walk: Iterator[Any] = iter(rows)
    shown = 0
    while chunk := list(islice(walk, CHUNK)):
        made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for column in columns:
            made.add_column(
                column.zh if lang == "zh" else column.en,
                justify="right" if column.right else "left",
                no_wrap=not column.fold,
                overflow="fold" if column.fold else "ellipsis",
            )
        for row in chunk:
            made.add_row(*(harmless(column.cell(row)) for column in columns))
        screen.print(made)
        shown += len(chunk)
    if not shown:
        screen.print(Text(empty, style="dim"))


def dump(value: Any) -> str:
    """A value as one line of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def emit_rows(rows: Iterable[dict[str, Any]]) -> None:
    """One JSON array on stdout, a row a line; it is never whole in memory."""
    separator = "[\n"
    for row in rows:
        sys.stdout.write(separator + dump(row))
        separator = ",\n"
    sys.stdout.write("[]\n" if separator == "[\n" else "\n]\n")


def emit(value: Any) -> None:
    """A value as JSON on stdout."""
    sys.stdout.write(dump(value) + "\n")


def say(text: str) -> None:
    """A sentence for people on stdout."""
    sys.stdout.write(plain(text) + "\n")


def note(text: str) -> None:
    """A sentence that is not the answer, on stderr."""
    sys.stderr.write(plain(text) + "\n")
