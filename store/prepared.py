"""Statements compiled once and run by the driver, for the questions that are asked a million times.

SQLAlchemy spends ten times as long on a small question as SQLite does on its answer. What is
compiled here is the same statement, with the same types; only its machinery is left out.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

DIALECT = sqlite.dialect(paramstyle="named")


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

    def all(self, connection: Connection, **values: Any) -> list[Sequence[Any]]:
        """Every row."""
        rows = self._run(connection, values).fetchall()
        return [self._read(row) for row in rows] if self._from else rows

    def first(self, connection: Connection, **values: Any) -> Sequence[Any] | None:
        """The first row, or None."""
        row = self._run(connection, values).fetchone()
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

    def _read(self, row: Sequence[Any]) -> Sequence[Any]:
        if not self._from:
            return row
        read = list(row)
        for index, turn in self._from:
            read[index] = turn(read[index])
        return read


def _writes(kind: Any) -> Callable[[Any], Any] | None:
    found: Callable[[Any], Any] | None = kind.dialect_impl(DIALECT).bind_processor(DIALECT)
    return found


def _reads(kind: Any) -> Callable[[Any], Any] | None:
    found: Callable[[Any], Any] | None = kind.dialect_impl(DIALECT).result_processor(DIALECT, None)
    return found
