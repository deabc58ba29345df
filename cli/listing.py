"""What all listings have in common: open the ledger, ask, print."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from cli.options import settings
from cli.output import Column, emit_rows, table
from desk.ledger import opened, present
from desk.listing import Asked, rows
from desk.listing import as_json as row_json
from desk.names import Names, names
from desk.times import aware, short
from devices.ids import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a table needs beside its rows: names, the language, and now for its dates."""

    names: Names
    lang: str
    now: Instant

    def time(self, row: Any, name: str) -> str:
        """An instant of a row, in its site's time; of no site: in this machine's, named."""
        instant = getattr(row, name)
        if instant is None:
            return ""
        zone = "" if row.timezone is not None else f" {aware(self.now, None):%Z}"
        return short(instant, row.timezone, self.now) + zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How one kind of row is listed."""

    query: Callable[..., Iterator[Any]]
    columns: Callable[[Look], Sequence[Column]]
    empty: tuple[str, str]


def show(context: typer.Context, shape: Shape, asked: Asked, *, as_json: bool, lang: str) -> None:
    """Print a listing, as one JSON array or as a table."""
    with opened(settings(context)) as engine:
        found = rows(engine, asked, shape.query)
        if as_json:
            emit_rows(map(row_json, found))
            return
        look = Look(names=names(engine), lang=lang, now=present(engine, asked.now))
        table(shape.columns(look), found, lang, shape.empty)
