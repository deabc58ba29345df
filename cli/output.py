"""How answers are printed: JSON for scripts, tables for people.

Where a terminal has no room for a table, a row is a block of lines; words, never colours alone,
tell states apart.
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

GAP = 2
"""Blanks between two columns."""

READABLE = 16
"""Columns a folded text needs at least: below that a row is better a block."""

UNBOUNDED = 100_000
"""The width of what is no terminal."""

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
    """Where tables go: coloured on a terminal only, and of no width in a file."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(width=UNBOUNDED, color_system=None, highlight=False)


def harmless(cell: str | Text, *, lines: bool = True) -> Text:
    """What others wrote, as it may be printed: no markup, no control of the terminal."""
    if not isinstance(cell, Text):
        return Text(plain(cell, lines=lines))
    shown = plain(cell.plain, lines=lines)
    return cell if shown == cell.plain else Text(shown, style=cell.style)


def table(
    columns: Sequence[Column], rows: Iterable[Any], lang: str, empty: tuple[str, str] = ("", "")
) -> None:
    """Print rows as tables, or where the width does not suffice as blocks.

    `empty`: what is said of none, in English and in Chinese.
    """
    screen = console()
    heads = [column.zh if lang == "zh" else column.en for column in columns]
    walk: Iterator[Any] = iter(rows)
    shown = 0
    while chunk := list(islice(walk, CHUNK)):
        cells = [[harmless(column.cell(row)) for column in columns] for row in chunk]
        least = _least(columns, heads, cells)
        if sum(least) + GAP * len(columns) <= screen.width:
            screen.print(_grid(columns, heads, cells, least))
        else:
            for block in cells:
                _print_block(screen, heads, block)
        shown += len(chunk)
    if not shown:
        screen.print(Text(empty[lang == "zh"], style="dim"))


def _least(columns: Sequence[Column], heads: list[str], cells: list[list[Text]]) -> list[int]:
    """The least width of each column at which nothing is cut and what folds can be read."""
    least = []
    for column, head, under in zip(columns, heads, zip(*cells, strict=True), strict=True):
        texts = (Text(head), *under)
        widest = max(map(_width, texts))
        words = max(_word(text.plain) for text in texts) if column.fold else 0
        least.append(max(min(widest, READABLE), words) if column.fold else widest)
    return least


def _word(text: str) -> int:
    """The longest word that may not be broken: Chinese may, an identity may not."""
    return max((len(word) for word in text.split() if word.isascii()), default=0)


def _width(cell: Text) -> int:
    return max((line.cell_len for line in cell.split("\n")), default=0)


def _grid(
    columns: Sequence[Column], heads: list[str], cells: list[list[Text]], least: list[int]
) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for column, head, width in zip(columns, heads, least, strict=True):
        made.add_column(
            Text(head),
            justify="right" if column.right else "left",
            no_wrap=not column.fold,
            overflow="fold",
            min_width=width,
        )
    for row in cells:
        made.add_row(*row)
    return made


def _print_block(screen: Console, heads: list[str], row: list[Text]) -> None:
    """A row as lines `name: value`, none cut: the terminal folds what is longer than it."""
    for head, cell in zip(heads, row, strict=True):
        if cell.plain:
            said = Text(f"{head}: ", style="bold").append_text(Text("\n  ").join(cell.split("\n")))
            screen.print(said, soft_wrap=True)
    screen.print()


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
