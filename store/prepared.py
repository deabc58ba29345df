"""Statements compiled once and run by the driver, for the questions that are asked a million times.

SQLAlchemy spends ten times as long on a small question as SQLite does on its answer. What is
compiled here is the same statement, with the same types; only its machinery is left out.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
from sqlalchemy import (
    CTE,
    JSON,
    Connection,
    Table,
    bindparam,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

DIALECT = sqlite.dialect(paramstyle="named")


def paged(name: str, *columns: str) -> CTE:
    """A page of rows as a table: one question for all of them, not one for each.

    A `Prepared` statement that reads from it takes the rows as its parameter `name`, each a
    sequence in the order of `columns`.
    """
    each = func.json_each(bindparam(name, type_=JSON)).table_valued("value")
    values = (
        func.json_extract(each.c.value, literal_column(f"'$[{place}]'"))
        for place in range(len(columns))
    )
    named = (value.label(column) for value, column in zip(values, columns, strict=True))
    # Taken apart once, not again for each row that it is joined with.
    return select(*named).cte(name).prefix_with("MATERIALIZED")


class Prepared:
    """A statement with named parameters; rows come as plain tuples, in the order of its columns.

    `columns`: those that it writes, each a parameter of its name. Raises what SQLAlchemy
    raises for what the database refuses.
    """

    def __init__(self, statement: Any, columns: Sequence[str] | None = None) -> None:
        keys = None if columns is None else list(columns)
        compiled = statement.compile(dialect=DIALECT, column_keys=keys)
        self._sql = str(compiled)
        binds = {name: compiled.binds[name] for name in compiled.params}
        self._into: dict[str, Callable[[Any], Any]] = {
            name: turn for name, bind in binds.items() if (turn := _writes(bind.type))
        }
        self._fixed: dict[str, Any] = {
            name: bind.effective_value
            for name, bind in binds.items()
            if not bind.required and bind.effective_value is not None
        }
        self._from: list[tuple[int, Callable[[Any], Any]]] = [
            (index, turn)
            for index, column in enumerate(getattr(statement, "selected_columns", ()))
            if (turn := _reads(column.type))
        ]

    def all(self, connection: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """Every row."""
        rows: list[tuple[Any, ...]] = self._run(connection, values).fetchall()
        return [self._read(row) for row in rows] if self._from else rows

    def first(self, connection: Connection, **values: Any) -> tuple[Any, ...] | None:
        """The first row, or None."""
        row: tuple[Any, ...] | None = self._run(connection, values).fetchone()
        return row if row is None else self._read(row)

    def run(self, connection: Connection, **values: Any) -> int:
        """How many rows it wrote."""
        return self._run(connection, values).rowcount

    def each(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> int:
        """Once for each of `rows`, which are changed into what the driver takes."""
        for name, turn in self._into.items():
            for row in rows:
                row[name] = turn(row[name])
        driver: Any = connection.connection.driver_connection
        try:
            written: int = driver.executemany(self._sql, rows).rowcount
        except sqlite3.Error as error:
            raise DBAPIError.instance(self._sql, None, error, sqlite3.Error) from error
        return written

    def _run(self, connection: Connection, values: Mapping[str, Any]) -> sqlite3.Cursor:
        driver: Any = connection.connection.driver_connection
        given = {**self._fixed, **values}
        for name, turn in self._into.items():
            given[name] = turn(given[name])
        try:
            cursor: sqlite3.Cursor = driver.execute(self._sql, given)
        except sqlite3.Error as error:
            raise DBAPIError.instance(self._sql, given, error, sqlite3.Error) from error
        return cursor

    def _read(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self._from:
            return row
        read = list(row)
        for index, turn in self._from:
            read[index] = turn(read[index])
        return tuple(read)


class Inserts:
    """Rows that go into a table together, `SIZES` of them in one statement.

    The driver lets go of the interpreter once a statement: row by row, a page would have to ask for
    it back from the event loop as often as it has rows.
    """

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self._into = [
            (place, turn)
            for place, column in enumerate(columns)
            if (turn := _writes(table.c[column].type))
        ]
        row = f"({', '.join('?' * len(columns))})"
        into = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES "  # noqa: S608  (our own names)
        self._sql = {size: into + ", ".join([row] * size) for size in SIZES}

    def write(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Insert `rows`, each in the order of the columns. Raises what SQLAlchemy raises."""
        driver: Any = connection.connection.driver_connection
        turned = [self._turned(row) for row in rows]
        for begin, size in _pieces(len(turned)):
            sql, values = self._sql[size], tuple(chain.from_iterable(turned[begin : begin + size]))
            try:
                driver.execute(sql, values)
            except sqlite3.Error as error:
                raise DBAPIError.instance(sql, values, error, sqlite3.Error) from error

    def _turned(self, row: Sequence[Any]) -> Sequence[Any]:
        turned = list(row)
        for place, turn in self._into:
            turned[place] = turn(turned[place])
        return turned


SIZES = (50, 20, 10, 5, 2, 1)


def _pieces(rows: int) -> Iterator[tuple[int, int]]:
    """Where each piece begins, and its size."""
    begin = 0
    for size in SIZES:
        while rows - begin >= size:
            yield begin, size
            begin += size


_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def _written(value: Any) -> str | None:
    return None if value is None else _encode(value).decode()


def _read(value: str | None) -> Any:
    return None if value is None else _decode(value)


def _writes(kind: Any) -> Callable[[Any], Any] | None:
    if isinstance(kind, JSON):
        return _written
    found: Callable[[Any], Any] | None = kind.dialect_impl(DIALECT).bind_processor(DIALECT)
    return found


def _reads(kind: Any) -> Callable[[Any], Any] | None:
    if isinstance(kind, JSON):
        return _read
    found: Callable[[Any], Any] | None = kind.dialect_impl(DIALECT).result_processor(DIALECT, None)
    return found
