"""The ledger's database: opened, read, written, upgraded and backed up.

SQLite in WAL mode with `synchronous=FULL`: a committed transaction survives a power cut, which is
what acknowledgements and receipts rest on. Readers never wait for the writer.
"""

import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
    table,
)
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from devices.ids import Instant
from store.addresses import database_path
from store.lock import LedgerInUse, alone, displaced, holder, in_use
from store.place import LedgerAway, Place
from store.tables import LedgerIdentity, table_of

REVISIONS = tuple(f"{number:04}" for number in range(1, 22))
"""The schema's revisions, oldest first; the last is the one this program works with."""

BUSY_TIMEOUT_MS = 10_000
WAL_LIMIT_BYTES = 64 * 2**20
CHECKPOINT_PAGES = 4_000
"""Pages of the WAL (16 MiB) that the writer copies back together. Of thousands of devices each has
its own page in an index: a full batch with its verdicts writes about a thousand, so that with
SQLite's 1,000 each waits for such a copy, and for two more syncs of the disk."""
BACKUP_STEP_PAGES = 1_024
MIGRATIONS = Path(__file__).parent / "migrations"

PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA recursive_triggers=ON",  # else INSERT OR REPLACE deletes without the triggers' say
    f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}",  # the WAL shrinks back after a long reader
    f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}",
    "PRAGMA cache_size=-32768",  # 32 MiB
    "PRAGMA temp_store=MEMORY",
)

IDENTITY = table_of(LedgerIdentity)
STATEMENTS = 512
"""Prepared statements that a connection keeps."""


class SchemaOutdated(Exception):  # noqa: N818  (the operator's message, not a fault of the code)
    """The ledger's schema is not the one this program works with. The message says what to do."""


class BackupFailed(Exception):  # noqa: N818
    """No backup was made, or the copy is not as good as the ledger. Nothing is left behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """Which schema the ledger has, None where there is none yet, and which one is needed."""

    revision: str | None
    head: str = REVISIONS[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """What `upgrade` did: `before` is None for a new ledger; equal revisions: nothing to do."""

    path: Path
    before: str | None
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """A verified copy: rows by table, counted in the copy and in the ledger at the same instant."""

    path: Path
    size: int
    revision: str
    ledger: str
    rows: dict[str, int]


# Opening -----------------------------------------------------------------------------------------


def open_engine(url: str) -> Engine:
    """An engine on the ledger at `url`, whose file must exist. Nothing is read yet.

    Raises ValueError for a database that is not a SQLite file. Use it through `reading` and
    `writing`; each thread takes its own connection.
    """
    return _engine(database_path(url, Path.cwd()), mode="rw", foreign_keys=True)


def ledger_path(engine: Engine) -> Path:
    """The file behind the engine."""
    if engine.url.database is None:
        raise ValueError("the ledger is a file")
    return Path(engine.url.database)


_READERS: WeakKeyDictionary[Engine, Engine] = WeakKeyDictionary()
"""To each engine that writes, the one whose connections only read.

None is turned from one into the other, as one pragma could: SQLite prepares every statement of a
connection anew after a pragma that sets a flag, which takes longer than most of them run.
"""
_PLACES: WeakKeyDictionary[Engine, Place] = WeakKeyDictionary()
"""To each engine that writes, the file it has open; its readers share it."""


def _engine(path: Path, *, mode: str, foreign_keys: bool) -> Engine:
    place = Place(path)

    def connect(*pragmas: str) -> sqlite3.Connection:
        place.check()
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_MS / 1_000,
            isolation_level=None,  # transactions are begun below, in plain sight
            check_same_thread=False,  # the pool hands a connection to one thread at a time
            cached_statements=STATEMENTS,
        )
        try:
            for pragma in (*PRAGMAS, *pragmas):
                connection.execute(pragma)
            place.opened()
        except BaseException:
            connection.close()
            raise
        return connection

    url, checked = URL.create("sqlite", database=str(path)), "ON" if foreign_keys else "OFF"
    engine = create_engine(url, creator=lambda: connect(f"PRAGMA foreign_keys={checked}"))
    readers = create_engine(url, creator=lambda: connect("PRAGMA query_only=ON"))
    event.listen(engine, "begin", lambda c: _begin(c, place, "BEGIN IMMEDIATE"))
    event.listen(engine, "commit", lambda _: _stay(place))
    event.listen(readers, "begin", lambda c: _begin(c, place, "BEGIN"))
    event.listen(engine, "engine_disposed", lambda _: readers.dispose())
    for each in (engine, readers):
        event.listen(each, "close", lambda *_: place.closed())
    _READERS[engine], _PLACES[engine] = readers, place
    return engine


def _begin(connection: Connection, place: Place, words: str) -> None:
    try:
        _stay(place)
    except OperationalError:
        driver: Any = connection.connection.driver_connection
        place.rescue(driver)
        raise
    connection.exec_driver_sql(words)


def _stay(place: Place) -> None:
    try:
        place.check()
    except LedgerAway as cause:
        raise OperationalError(None, None, cause) from None


def check_place(engine: Engine) -> None:
    """Raises OperationalError (`LedgerAway`) where the ledger's file is not at its place any more.

    What is to be told of a commit asks once more after it: it takes as long as the disk does.
    """
    _stay(_PLACES[engine])


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view of the ledger. Writing through it is refused by the database."""
    with _READERS[engine].begin() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction: durable when the block ends, rolled back if it raises.

    It takes the write lock at once (BEGIN IMMEDIATE), so nothing read in it can be overtaken.
    Raises sqlalchemy.exc.OperationalError when another writer keeps the lock over 10 s, or when the
    ledger's file is not at its place any more (`LedgerAway`).
    """
    with engine.begin() as connection:
        yield connection


# The schema --------------------------------------------------------------------------------------


def upgrade(url: str, *, now: Instant) -> Upgrade:
    """Bring the ledger at `url` to this program's schema, making file and folder where missing.

    All or nothing, in one transaction. A new ledger gets its identity, which receipts carry.
    Raises SchemaOutdated when the ledger is newer than this program, or is something else, and
    LedgerInUse when a service works on it, or its folder cannot be written.
    """
    path = database_path(url, Path.cwd())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        text = f"the folder {path.parent} cannot be made ({cause.strerror})"
        raise LedgerInUse(f"{text}: make it, or set database_url to another one") from None
    try:
        with alone(path, "gridbeat db upgrade"):
            before = _upgraded(path, now)
    except LedgerInUse:
        if not _is_current(path):
            raise
        before = REVISIONS[-1]
    return Upgrade(path=path, before=before, after=REVISIONS[-1])


def _is_current(path: Path) -> bool:
    """Whether whoever works on the ledger has this very file, and there is nothing to upgrade."""
    by = holder(path)
    if by is None or displaced(path, by):
        return False
    engine = open_engine(f"sqlite:///{path}")
    try:
        return schema_state(engine).revision == REVISIONS[-1]
    finally:
        engine.dispose()


def _upgraded(path: Path, now: Instant) -> str | None:
    """Returns the schema's revision before."""
    engine = _engine(path, mode="rwc", foreign_keys=False)
    try:
        with _telling_what_is_no_ledger(path), writing(engine) as connection:
            before = _revision(connection)
            if before is not None and before not in REVISIONS:
                raise SchemaOutdated(_newer(path, before))
            if before != REVISIONS[-1]:
                _migrate(connection)
            _identify(connection, now)
    except OperationalError as cause:
        if "unable to open" in str(cause.orig) or "readonly" in str(cause.orig):
            text = f"{path} cannot be opened to write ({cause.orig}): see that file and folder are "
            raise LedgerInUse(f"{text}this user's, or set database_url to another one") from None
        raise
    finally:
        engine.dispose()
    return before


def _migrate(connection: Connection) -> None:
    # Alembic takes a third of a second to import; only this command needs it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise RuntimeError(f"the migration left rows that point nowhere: {broken[:3]}")


def _identify(connection: Connection, now: Instant) -> None:
    if connection.scalar(select(func.count()).select_from(IDENTITY)) == 0:
        connection.execute(insert(IDENTITY).values(uuid=str(uuid.uuid4()), created_at=now))


def schema_state(engine: Engine) -> SchemaState:
    """Which schema the ledger has. Raises SchemaOutdated only for a file that is no database."""
    if not ledger_path(engine).exists():
        return SchemaState(revision=None)
    with _telling_what_is_no_ledger(ledger_path(engine)), reading(engine) as connection:
        return SchemaState(revision=_revision(connection))


def check_schema(engine: Engine, known: tuple[str, ...] = REVISIONS) -> SchemaState:
    """The schema, if it is the last of `known`. Raises SchemaOutdated with the command to run, and
    LedgerInUse where a service runs on another file that was at this place."""
    path = ledger_path(engine)
    by = holder(path)
    if by is not None and displaced(path, by):
        raise LedgerInUse(in_use(path, by))
    state = SchemaState(revision=schema_state(engine).revision, head=known[-1])
    if state.revision == state.head:
        return state
    if state.revision is None:
        raise SchemaOutdated(f"there is no ledger at {path} yet: run `gridbeat db upgrade`")
    if state.revision not in known:
        raise SchemaOutdated(_newer(path, state.revision))
    raise SchemaOutdated(
        f"the ledger at {path} has schema {state.revision}, this program needs {state.head}: "
        "stop the service, run `gridbeat db backup FILE`, then `gridbeat db upgrade`"
    )


@contextmanager
def _telling_what_is_no_ledger(path: Path) -> Iterator[None]:
    try:
        yield
    except DatabaseError as cause:
        if "not a database" not in str(cause.orig):
            raise
        text = f"{path} is no ledger: correct database_url, or restore a backup to that file"
        raise SchemaOutdated(text) from cause


def _newer(path: Path, revision: str) -> str:
    return (
        f"the ledger at {path} has schema {revision}, which is newer than this program "
        f"({REVISIONS[-1]}): install the Gridbeat that made it, or a later one"
    )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.exec_driver_sql(
        "SELECT version_num FROM alembic_version"
    ).scalar()
    return found


def ledger_id(connection: Connection) -> str:
    """The name that receipts carry; a restored backup has another one."""
    found: str = connection.execute(select(IDENTITY.c.uuid)).scalar_one()
    return found


# Backup ------------------------------------------------------------------------------------------


def backup(
    engine: Engine, target: Path, progress: Callable[[float], None] | None = None
) -> BackupReport:
    """Copy the ledger to `target` while the service writes, and verify the copy.

    The copy is the ledger at one instant: a read transaction is held throughout, without which
    SQLite would start anew at every commit. It is written beside `target`, checked (integrity,
    foreign keys, rows of every table, schema) and renamed when it is good. It bears a new ledger
    id, so that handhelds, after a restore, take nothing for kept that the copy does not hold.
    `progress` hears the part copied, 0 to 1. Raises BackupFailed.
    """
    target = target.absolute()
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    _refuse_existing(target)
    if schema_state(engine).revision is None:
        raise BackupFailed(f"there is no ledger at {ledger_path(engine)} to copy")
    try:
        with reading(engine) as source:
            rows = _row_counts(source)
            _copy(source, partial, progress)
        report = _verified(partial, target, rows)
        _refuse_existing(target)
        partial.rename(target)
        sync(target.parent)
    except (OSError, sqlite3.Error, SQLAlchemyError) as cause:
        raise BackupFailed(f"the backup could not be written to {target}: {cause}") from cause
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return report


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise BackupFailed(f"{target} exists already: name another file, or move that one away")
    if not target.parent.is_dir():
        raise BackupFailed(f"there is no folder {target.parent}: make it first")


def _copy(source: Connection, partial: Path, progress: Callable[[float], None] | None) -> None:
    def told(_status: int, remaining: int, total: int) -> None:
        if progress is not None and total:
            progress(1 - remaining / total)

    driver: Any = source.connection.driver_connection
    with closing(sqlite3.connect(partial)) as copy:
        driver.backup(copy, pages=BACKUP_STEP_PAGES, progress=told)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, no -wal beside it
        copy.execute("UPDATE ledger SET uuid = ?", (str(uuid.uuid4()),))
        copy.commit()
    sync(partial)


def _verified(partial: Path, target: Path, rows: dict[str, int]) -> BackupReport:
    engine = _engine_read_only(partial)
    try:
        with engine.connect() as copy:
            found = copy.exec_driver_sql("PRAGMA integrity_check(3)").scalars().all()
            if list(found) != ["ok"]:
                raise BackupFailed(f"the copy is damaged: {'; '.join(map(str, found))}")
            copied = _row_counts(copy)
            if copied != rows:
                wrong = sorted(name for name in rows if copied.get(name) != rows[name])
                raise BackupFailed(f"the copy lacks rows of {', '.join(wrong)}: try again")
            return BackupReport(
                path=target,
                size=partial.stat().st_size,
                revision=_revision(copy) or "",
                ledger=ledger_id(copy),
                rows=rows,
            )
    finally:
        engine.dispose()


def _engine_read_only(path: Path) -> Engine:
    return create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True),
    )


def _row_counts(connection: Connection) -> dict[str, int]:
    names = sorted(inspect(connection).get_table_names())
    counts = {
        name: connection.scalar(select(func.count()).select_from(table(name))) for name in names
    }
    return {name: int(count or 0) for name, count in counts.items()}


def sync(path: Path) -> None:
    """Have the file, or the folder's entries, on disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
