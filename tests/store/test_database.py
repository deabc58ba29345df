"""The ledger's database: durable, append-only where it says so, upgraded and copied whole."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.pool import StaticPool
from sqlmodel import SQLModel

import store.tables  # noqa: F401
from store import database
from store.database import (
    BackupFailed,
    SchemaOutdated,
    backup,
    check_schema,
    ledger_id,
    open_engine,
    reading,
    schema_state,
    upgrade,
    writing,
)
from tests.blank import blank

NOW = 1_788_000_000_000


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/box 100%/gridbeat.db"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    upgrade(url, now=NOW)
    engine = open_engine(url)
    yield engine
    engine.dispose()


def shape(engine: Engine) -> set[tuple[str, str, str]]:
    """Tables, columns, keys and indexes as SQLite holds them, column order aside."""
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT type, name, sql FROM sqlite_master WHERE type IN ('table', 'index')")
        )
        return {
            (kind, name, " ".join(sorted(part.strip(" )\n\t") for part in (sql or "").split(","))))
            for kind, name, sql in rows
            if name != "alembic_version" and "alembic_version" not in name
        }


def test_the_migrations_make_the_tables_of_the_code(engine: Engine) -> None:
    """A ledger that was upgraded has exactly the tables, keys and indexes of store/tables.py."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []
    fresh = create_engine("sqlite://")
    SQLModel.metadata.create_all(fresh)
    assert shape(engine) == shape(fresh)
    fresh.dispose()


def test_no_two_blank_ledgers_are_one(tmp_path: Path) -> None:
    """What a test begins with has an identity of its own, as `upgrade` gives it."""
    names = set()
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        engine = open_engine(blank(tmp_path / folder / "gridbeat.db"))
        with reading(engine) as connection:
            names.add(ledger_id(connection))
        engine.dispose()
    assert len(names) == 2


def test_the_known_revisions_are_those_of_the_migrations() -> None:
    """`REVISIONS`, which spares the service Alembic at its start, tells the truth."""
    script = ScriptDirectory(str(database.MIGRATIONS))
    newest_first = [revision.revision for revision in script.walk_revisions()]
    assert newest_first[::-1] == list(database.REVISIONS)


@pytest.mark.parametrize("table", ["entry", "verdict", "event"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET at = 2", "DELETE FROM {}", "{}"])
def test_what_was_written_stays_as_it_was_written(
    engine: Engine, table: str, statement: str
) -> None:
    """Entries, verdicts and events refuse UPDATE, DELETE and REPLACE, and say what to do."""
    columns = SQLModel.metadata.tables[table].columns
    row = {c.name: "[]" if isinstance(c.type, JSON) else 1 for c in columns if not c.nullable}
    values = f"INTO {table} ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})"
    with writing(engine) as connection:
        connection.execute(text(f"INSERT {values}"), row)
    again = f"INSERT OR REPLACE {values}" if statement == "{}" else statement.format(table)
    with pytest.raises(IntegrityError, match=f"{table} is append-only: .*; write"):  # noqa: SIM117
        with writing(engine) as connection:
            connection.execute(text(again), row if statement == "{}" else {})
    with reading(engine) as connection:
        assert connection.scalar(text(f"SELECT at FROM {table}")) == 1  # noqa: S608


FLAGS = {
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "busy_timeout": database.BUSY_TIMEOUT_MS,
}


def test_a_commit_survives_a_power_cut(engine: Engine) -> None:
    """Every connection writes in WAL mode with synchronous=FULL and keeps foreign keys."""
    with closing(engine.raw_connection()) as one, closing(engine.raw_connection()) as two:
        for connection in (one, two):
            said = {
                name: connection.cursor().execute(f"PRAGMA {name}").fetchone()[0] for name in FLAGS
            }
            assert said == FLAGS


def add_outage(engine: Engine, what: str) -> None:
    with writing(engine) as connection:
        connection.execute(
            text("INSERT INTO outage (what, since) VALUES (:what, 1)"), {"what": what}
        )


def count_outages(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.scalar(text("SELECT count(*) FROM outage")) or 0)


def test_a_transaction_is_whole_or_not_at_all(engine: Engine) -> None:
    """An error inside `writing` leaves nothing behind."""
    with pytest.raises(ZeroDivisionError):  # noqa: SIM117
        with writing(engine) as connection:
            connection.execute(text("INSERT INTO outage (what, since) VALUES ('broker', 1)"))
            raise ZeroDivisionError
    assert count_outages(engine) == 0


def test_a_reader_sees_one_instant_and_cannot_write(engine: Engine) -> None:
    """What is committed during `reading` is not seen in it; writing through it is refused."""
    with reading(engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM outage")) == 0
        add_outage(engine, "service")
        assert connection.scalar(text("SELECT count(*) FROM outage")) == 0
        with pytest.raises(OperationalError, match="readonly"):
            connection.execute(text("DELETE FROM outage"))
    assert count_outages(engine) == 1
    add_outage(engine, "clock")
    assert count_outages(engine) == 2


def test_nothing_is_set_on_a_connection_in_use(engine: Engine) -> None:
    """A pragma that sets a flag would have SQLite prepare every statement of it anew."""
    said: list[str] = []

    def hear(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        said.append(statement)

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        for _ in range(2):
            add_outage(engine, "service")
            count_outages(engine)
    finally:
        event.remove(Engine, "before_cursor_execute", hear)
    assert {statement.split()[0] for statement in said} == {"BEGIN", "INSERT", "SELECT"}


def test_a_row_that_points_nowhere_is_refused(engine: Engine) -> None:
    """Foreign keys are kept by the database."""
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):  # noqa: SIM117
        with writing(engine) as connection:
            connection.execute(text("INSERT INTO plan (site_id, slug) VALUES (7, 'night')"))


def test_an_upgrade_makes_one_ledger_once(url: str) -> None:
    """The first upgrade makes the file and its identity; another one changes nothing."""
    first = upgrade(url, now=NOW)
    assert first.before is None
    engine = open_engine(url)
    with reading(engine) as connection:
        name = ledger_id(connection)
    second = upgrade(url, now=NOW + 1)
    assert second.before == second.after == first.after
    with reading(engine) as connection:
        assert ledger_id(connection) == name
    assert check_schema(engine).revision == database.REVISIONS[-1]
    engine.dispose()


def test_two_upgrades_at_once_make_one_ledger(url: str) -> None:
    """Whoever comes second finds the work done."""
    program = f"from store.database import upgrade; upgrade({url!r}, now={NOW})"
    running = [
        subprocess.Popen([sys.executable, "-c", program], cwd=Path(database.__file__).parents[1])
        for _ in range(3)
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    engine = open_engine(url)
    with reading(engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM ledger")) == 1
    engine.dispose()


def test_a_missing_ledger_is_not_made_by_looking(url: str) -> None:
    """Without a ledger the message names `gridbeat db upgrade`, and no empty file appears."""
    engine = open_engine(url)
    with pytest.raises(SchemaOutdated, match="gridbeat db upgrade"):
        check_schema(engine)
    assert schema_state(engine).revision is None
    assert not database.ledger_path(engine).exists()
    engine.dispose()


def test_an_upgrade_gives_excuses_back_to_their_rounds(url: str, tmp_path: Path) -> None:
    """What was decided of a round whose row was made anew is that round's again (0018)."""
    (tmp_path / "box 100%").mkdir()
    with closing(sqlite3.connect(tmp_path / "box 100%" / "gridbeat.db")) as old:
        engine = create_engine("sqlite://", creator=lambda: old, poolclass=StaticPool)
        with engine.begin() as connection:
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", str(database.MIGRATIONS))
            config.set_main_option("path_separator", "os")
            command.upgrade(config, "0017")
        for entry, about, obligation, read in ((1, "s/p/1", 7, None), (2, "hh/0/1", None, 9)):
            old.execute(
                "INSERT INTO entry (id, kind, at, received_at, author, body)"
                " VALUES (?, 4, 1, 1, 'chief', json_object('about', ?))",
                (entry, about),
            )
            old.execute(
                "INSERT INTO decision (id, do, obligation_id, entry_id, author, at, reason)"
                " VALUES (?, 'excuse', ?, ?, 'chief', 1, 'storm')",
                (entry, obligation, read),
            )
        old.commit()
    upgrade(url, now=NOW)
    engine = open_engine(url)
    with reading(engine) as connection:
        query = text("SELECT obligation_key, entry_id FROM decision ORDER BY id")
        assert connection.execute(query).all() == [("s/p/1", None), (None, 9)]
    engine.dispose()


def test_an_empty_file_is_no_ledger(url: str, tmp_path: Path) -> None:
    """A file without tables is treated as one that is not there, and can be upgraded."""
    (tmp_path / "box 100%").mkdir()
    (tmp_path / "box 100%" / "gridbeat.db").touch()
    engine = open_engine(url)
    with pytest.raises(SchemaOutdated, match="gridbeat db upgrade"):
        check_schema(engine)
    upgrade(url, now=NOW)
    check_schema(engine)
    engine.dispose()


def test_a_file_that_is_no_database_is_named(url: str, tmp_path: Path) -> None:
    """Something else at the ledger's place is neither used nor overwritten."""
    (tmp_path / "box 100%").mkdir()
    path = tmp_path / "box 100%" / "gridbeat.db"
    path.write_text("not a ledger" * 1_000)
    engine = open_engine(url)
    with pytest.raises(SchemaOutdated, match="is no ledger: correct database_url"):
        check_schema(engine)
    with pytest.raises(SchemaOutdated, match="is no ledger"):
        upgrade(url, now=NOW)
    assert path.read_text().startswith("not a ledger")
    engine.dispose()


def test_a_newer_ledger_is_left_alone(engine: Engine, url: str) -> None:
    """A ledger made by a later program is neither used nor upgraded."""
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaOutdated, match="newer than this program"):
        check_schema(engine)
    with pytest.raises(SchemaOutdated, match="newer than this program"):
        upgrade(url, now=NOW)


def test_an_older_ledger_names_the_command(engine: Engine) -> None:
    """On an older schema the service refuses to start and says how to upgrade."""
    later = (*database.REVISIONS, "9999")
    with pytest.raises(SchemaOutdated, match=r"needs 9999.*gridbeat db upgrade"):
        check_schema(engine, later)


def test_a_failed_upgrade_leaves_nothing(url: str, tmp_path: Path) -> None:
    """A migration that stops half way takes back all it made."""
    (tmp_path / "box 100%").mkdir()
    with closing(sqlite3.connect(tmp_path / "box 100%" / "gridbeat.db")) as in_the_way:
        in_the_way.execute("CREATE TABLE outbox (id)")
    with pytest.raises(OperationalError, match="outbox already exists"):
        upgrade(url, now=NOW)
    engine = open_engine(url)
    with reading(engine) as connection:
        names = connection.scalars(text("SELECT name FROM sqlite_master")).all()
    engine.dispose()
    assert names == ["outbox"]


@pytest.mark.parametrize("bad", ["postgresql://u:p@h/d", "sqlite://", "mysql://h/d"])
def test_other_databases_are_refused_in_clear_words(bad: str) -> None:
    """Only a SQLite file is taken; credentials are not repeated in the refusal."""
    with pytest.raises(ValueError, match=r"SQLite|sqlite") as refused:
        open_engine(bad)
    assert "u:p" not in str(refused.value)


# Backup ------------------------------------------------------------------------------------------


def fill(engine: Engine, rows: int) -> None:
    with writing(engine) as connection:
        connection.execute(
            text("INSERT INTO sample (at, line) VALUES (:at, :line)"),
            [{"at": at, "line": "x" * 200} for at in range(rows)],
        )


def test_a_backup_is_the_ledger_at_one_instant_while_it_is_written(
    engine: Engine, tmp_path: Path
) -> None:
    """With a writer committing throughout, the copy is whole, verified and one file."""
    fill(engine, 60_000)
    stop, started = threading.Event(), threading.Event()

    def write() -> None:
        while not stop.is_set():
            fill(engine, 10)
            started.set()

    writer = threading.Thread(target=write)
    writer.start()
    started.wait(10)
    heard: list[float] = []
    try:
        report = backup(engine, tmp_path / "copy.db", heard.append)
    finally:
        stop.set()
        writer.join()

    assert len(heard) > 1
    assert heard[-1] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["box 100%", "copy.db"]
    copy = sqlite3.connect(tmp_path / "copy.db")
    (count,) = copy.execute("SELECT count(*) FROM sample").fetchone()
    copy.close()
    assert count == report.rows["sample"] >= 60_000
    assert count % 10 == 0
    assert report.revision == database.REVISIONS[-1]


def test_a_restored_backup_is_another_ledger(engine: Engine, tmp_path: Path) -> None:
    """The copy opens as a ledger with the same rows and triggers, and its own identity."""
    add_outage(engine, "broker")
    report = backup(engine, tmp_path / "copy.db")
    restored = open_engine(f"sqlite:///{tmp_path}/copy.db")
    check_schema(restored)
    with reading(engine) as ours, reading(restored) as theirs:
        assert ledger_id(ours) != ledger_id(theirs) == report.ledger
    assert count_outages(restored) == 1
    add_outage(restored, "service")
    restored.dispose()


def test_a_backup_overwrites_nothing(engine: Engine, tmp_path: Path) -> None:
    """A file that stands there, or a folder that does not, refuses the backup."""
    target = tmp_path / "copy.db"
    target.write_text("mine")
    with pytest.raises(BackupFailed, match="exists already"):
        backup(engine, target)
    assert target.read_text() == "mine"
    with pytest.raises(BackupFailed, match="make it first"):
        backup(engine, tmp_path / "nowhere" / "copy.db")


def test_a_copy_that_differs_is_no_backup(engine: Engine, tmp_path: Path) -> None:
    """A copy that lacks rows fails its verification, which names the tables."""
    whole = backup(engine, tmp_path / "copy.db")
    with pytest.raises(BackupFailed, match="lacks rows of outage"):
        database._verified(whole.path, whole.path, whole.rows | {"outage": 5})


def test_a_damaged_ledger_makes_no_backup(engine: Engine, tmp_path: Path) -> None:
    """A copy that fails SQLite's integrity check is not kept."""
    fill(engine, 2_000)
    with writing(engine) as connection:
        page = int(
            connection.scalar(text("SELECT rootpage FROM sqlite_master WHERE name='sample'")) or 0
        )
    path = database.ledger_path(engine)
    with writing(engine) as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096 + 20)
        file.write(b"\xff" * 200)
    with pytest.raises((BackupFailed, DatabaseError)):
        backup(engine, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
