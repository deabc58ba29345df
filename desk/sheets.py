"""A table as somebody saved it: CSV in whatever encoding, or a spreadsheet; rows of text cells.

What was detected is said (`Sheet.said`), never silently assumed.
"""

import codecs
import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from desk.errors import DeskError

MOST_BYTES = 64 * 2**20
MOST_ROWS = 200_000

BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8 (BOM)"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16 (BOM)"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16 (BOM)"),
)
GUESSES = (("utf-8", "UTF-8"), ("gb18030", "GBK"))
"""Tried in this order where no mark at the beginning says which; GBK is a part of GB 18030. Chinese
text in GBK is all but never valid UTF-8, and the other way round it is mojibake."""
SEPARATORS = ",\t;|"

Row = tuple[int, tuple[str, ...]]
"""A row's number, counted from 1 as a spreadsheet shows it, and its cells, stripped."""


class FileRefused(DeskError):  # noqa: N818  (the operator's message, not a fault of the code)
    """The file cannot be read as a table; the remedy says how to save it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table's rows, and what it was found to be: `kind`, `encoding`, `separator`, `sheet`."""

    rows: tuple[Row, ...]
    kind: str
    encoding: str | None = None
    separator: str | None = None
    sheet: str | None = None
    detected: bool = True


def read_sheet(path: Path, encoding: str | None = None, sheet: str | None = None) -> Sheet:
    """Read a CSV or xlsx file. Raises FileRefused, and OSError."""
    data = path.read_bytes()
    if len(data) > MOST_BYTES:
        raise FileRefused(
            f"{path.name} has {len(data) // 2**20} MiB, more than {MOST_BYTES // 2**20}",
            "export a shorter span of time",
        )
    if data.startswith(b"PK"):
        return _workbook(path.name, data, sheet)
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise FileRefused(
            f"{path.name} is an old Excel file (.xls)", "save it as .xlsx, or as CSV, and try again"
        )
    if data.lstrip()[:200].lower().startswith((b"<html", b"<!doctype", b"<?xml", b"<table")):
        raise FileRefused(
            f"{path.name} is a web page, whatever its name says",
            "open it in a spreadsheet, save it as .xlsx or CSV, and try again",
        )
    return _text(path.name, data, encoding)


# Text ---------------------------------------------------------------------------------------------


def _text(name: str, data: bytes, asked: str | None) -> Sheet:
    text, called = _decoded(name, data, asked)
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows: list[Row] = []
    try:
        for cells in reader:
            rows.append((reader.line_num, tuple(cell.strip() for cell in cells)))
            _enough(name, rows)
    except csv.Error as error:
        raise FileRefused(
            f"{name}: line {reader.line_num}: {error}", "save it as CSV again, or as .xlsx"
        ) from error
    return Sheet(
        rows=tuple(rows),
        kind="csv",
        encoding=called,
        separator=separator,
        detected=asked is None,
    )


def _decoded(name: str, data: bytes, asked: str | None) -> tuple[str, str]:
    for mark, codec, called in BOMS:
        if data.startswith(mark):
            return _as(name, data, codec), called
    if asked is not None:
        try:
            codecs.lookup(asked)
        except LookupError:
            raise FileRefused(f"no encoding is called {asked!r}", "write utf-8 or gbk") from None
        return _as(name, data, asked), asked
    for codec, called in GUESSES:
        try:
            return data.decode(codec), called
        except UnicodeDecodeError:
            continue
    raise FileRefused(
        f"{name} is text in neither UTF-8 nor GBK", "say which with --encoding, as big5"
    )


def _as(name: str, data: bytes, codec: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileRefused(
            f"{name}: line {line} is not {codec}", "leave --encoding out, or name another"
        ) from error


def _separator(text: str) -> str:
    """The sign that parts the most lines into the most cells alike; a comma where none does."""
    lines = [line for line in text.splitlines()[:50] if line.strip()]
    return max(SEPARATORS, key=lambda sign: sum(line.count(sign) for line in lines))


# Spreadsheets -------------------------------------------------------------------------------------


def _workbook(name: str, data: bytes, asked: str | None) -> Sheet:
    from openpyxl import load_workbook  # noqa: PLC0415 - heavy, and only for such files

    try:
        # not read-only: merged cells are told only so
        book = load_workbook(io.BytesIO(data), data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise FileRefused(
            f"{name} is no spreadsheet that can be read", "save it as .xlsx or CSV again"
        ) from error
    names = [found.title for found in book.worksheets]
    if asked is not None and asked not in names:
        raise FileRefused(f"{name} has no sheet {asked!r}", f"it has {', '.join(names)}")
    chosen = book.worksheets[0] if asked is None else book[asked]
    if not names:
        raise FileRefused(f"{name} has no sheet", "save it as .xlsx or CSV again")
    rows = tuple(_rows(name, chosen))
    return Sheet(rows=rows, kind="xlsx", sheet=chosen.title, detected=asked is None)


def _rows(name: str, sheet: Any) -> Iterator[Row]:
    merged = {
        (row, column): (area.min_row, area.min_col)
        for area in sheet.merged_cells.ranges
        if area.size["rows"] * area.size["columns"] <= MOST_ROWS
        for row in range(area.min_row, area.max_row + 1)
        for column in range(area.min_col, area.max_col + 1)
    }
    if sheet.max_row > MOST_ROWS:
        _enough(name, range(sheet.max_row))
    for number, cells in enumerate(sheet.iter_rows(), 1):
        told = tuple(
            _cell(sheet.cell(*merged[number, column]) if (number, column) in merged else cell)
            for column, cell in enumerate(cells, 1)
        )
        yield number, told


def _cell(cell: Any) -> str:
    """A cell as its reader sees it: dates as 2026-11-20 22:15:30, whole numbers without a point."""
    value = cell.value
    match value:
        case None:
            return ""
        case datetime():
            bare = "h" not in str(cell.number_format).lower() and value.time() == time()
            text = value.strftime("%Y-%m-%d" if bare else "%Y-%m-%d %H:%M:%S")
            return text + (f".{value.microsecond // 1_000:03}" if value.microsecond else "")
        case date():
            return value.isoformat()
        case time():
            return value.strftime("%H:%M:%S")
        case float() if value.is_integer():
            return str(int(value))
    return str(value).strip()


def _enough(name: str, rows: Sequence[object]) -> None:
    if len(rows) > MOST_ROWS:
        raise FileRefused(f"{name} has more than {MOST_ROWS} rows", "export a shorter span of time")
