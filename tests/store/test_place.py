"""The ledger's file, moved, replaced or back again under an open engine."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from store.database import check_place, open_engine, reading, upgrade, writing
from store.place import LedgerAway

NOW = 1_788_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gridbeat.db"


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    upgrade(f"sqlite:///{path}", now=NOW)
    engine = open_engine(f"sqlite:///{path}")
    keep(engine, "before")
    yield engine
    engine.dispose()


def put(connection: Connection, id_: str) -> None:
    words = "INSERT INTO site (slug, name, timezone, calendar) VALUES (:id, :id, 'UTC', '{}')"
    connection.execute(text(words), {"id": id_})


def keep(engine: Engine, id_: str) -> None:
    with writing(engine) as connection:
        put(connection, id_)


def kept(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as ledger:
        return [row[0] for row in ledger.execute("SELECT slug FROM site ORDER BY id")]


def refused(engine: Engine, words: str) -> None:
    """Neither read nor written: by connections that are open, and by new ones."""
    with pytest.raises(OperationalError, match=words) as error:
        keep(engine, "lost")
    assert isinstance(error.value.orig, LedgerAway)
    with pytest.raises(OperationalError, match=words), reading(engine):
        pass
    with pytest.raises(OperationalError, match=words):
        check_place(engine)


def test_a_ledger_that_was_moved_is_written_no_more_and_lacks_nothing(engine, path):
    """What was committed is in the file that was moved, though its -wal stayed behind."""
    moved = path.rename(path.with_name("moved.db"))
    refused(engine, "is gone")
    assert b"before" in moved.read_bytes()
    copy = moved.with_name("copy.db")  # SQLite knows the moved one in this process by its old name
    shutil.copy(moved, copy)
    assert kept(copy) == ["before"]


def test_once_the_same_file_is_back_it_goes_on(engine, path):
    """Nobody has to start anything anew for a move that was taken back."""
    moved = path.rename(path.with_name("moved.db"))
    refused(engine, "is gone")
    moved.rename(path)
    keep(engine, "after")
    assert kept(path) == ["before", "after"]


def test_another_file_in_its_place_gets_nothing(engine, path):
    """Not even through a connection that is opened anew; nor is the first one trusted again."""
    moved = path.rename(path.with_name("moved.db"))
    shutil.copy(moved, path)
    other = kept(path)
    with pytest.raises(OperationalError, match="is another file"), reading(engine):
        pass
    refused(engine, "is another file")
    path.unlink()
    moved.rename(path)
    refused(engine, "is another file")
    assert "lost" not in other


def test_a_log_that_was_deleted_is_noticed(engine, path):
    """Commits into it would end with the process."""
    path.with_name("gridbeat.db-wal").unlink()
    refused(engine, "gridbeat.db-wal is another file")


def test_a_file_that_is_moved_within_a_transaction_gets_no_commit(engine, path):
    """It is looked for before the commit, not only when the transaction begins."""
    with pytest.raises(OperationalError, match="is gone"), writing(engine) as connection:
        put(connection, "within")
        moved = path.rename(path.with_name("moved.db"))
    moved.rename(path)
    keep(engine, "after")
    assert kept(path) == ["before", "after"]


def test_an_engine_that_was_disposed_of_opens_what_is_there(engine, path):
    """With its last connection nothing is held any more."""
    engine.dispose()
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    copy.replace(path)
    keep(engine, "after")
    assert kept(path) == ["before", "after"]
