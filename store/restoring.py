"""A ledger put back from a copy, under a new name each time.

What handhelds were told since the copy was made is not in it, so that nothing of it holds any more.
"""

import sqlite3
import uuid
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from devices.ids import Instant
from store.addresses import database_path
from store.database import REVISIONS, sync
from store.lock import LedgerInUse, alone

BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database's file."""


class RestoreRefused(Exception):  # noqa: N818  (the operator's message, not a fault of the code)
    """Nothing was restored, and the ledger in place is as it was. The message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What is in place now. `aside`: where the ledger that was there went, if there was one."""

    path: Path
    ledger: str
    revision: str
    aside: Path | None

    @property
    def outdated(self) -> bool:
        """Whether it still has to be upgraded to this program's schema."""
        return self.revision != REVISIONS[-1]


def restore(url: str, file: Path, *, now: Instant) -> Restored:
    """Put a copy of `file` in the place of the ledger at `url`, under a new name.

    `file` is a backup, or a ledger copied with its `-wal` file. It is checked whole before anything
    is touched; the ledger in place is moved aside, never deleted. Raises `RestoreRefused`.
    """
    path = database_path(url, Path.cwd())
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        revision, ledger = _copied(file, partial)
        sync(partial)
        with alone(path, "gridbeat db restore"):
            aside = _set_aside(path, now)
            partial.rename(path)
            sync(path.parent)
    except LedgerInUse as cause:
        raise RestoreRefused(str(cause)) from None
    except (OSError, sqlite3.Error) as cause:
        raise RestoreRefused(f"{file} could not be restored to {path}: {cause}") from cause
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return Restored(path=path, ledger=ledger, revision=revision, aside=aside)


def _copied(file: Path, partial: Path) -> tuple[str, str]:
    """Copy, check, and name anew; returns the schema's revision and the new name."""
    if not file.is_file():
        raise RestoreRefused(f"there is no file {file}: name a copy made by gridbeat db backup")
    name = str(uuid.uuid4())
    with closing(_opened(file, "ro")) as source, closing(sqlite3.connect(partial)) as copy:
        try:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            found = [row[0] for row in copy.execute("PRAGMA integrity_check(3)")]
            revision = copy.execute("SELECT version_num FROM alembic_version").fetchone()[0]
            copy.execute("UPDATE ledger SET uuid = ?", (name,))
        except (sqlite3.DatabaseError, TypeError) as cause:
            raise RestoreRefused(
                f"{file} is no ledger ({cause}): name a copy made by gridbeat db backup"
            ) from cause
        copy.commit()
    if found != ["ok"]:
        raise RestoreRefused(f"{file} is damaged: {'; '.join(found)}: name an earlier copy")
    if revision not in REVISIONS:
        raise RestoreRefused(
            f"{file} has schema {revision}, newer than this program ({REVISIONS[-1]}): install the "
            "Gridbeat that made it, or a later one"
        )
    return str(revision), name


def _set_aside(path: Path, now: Instant) -> Path | None:
    """Move the ledger that is there out of the way, whole. It must not be in use."""
    if not path.exists():
        return None
    with closing(_opened(path, "rw")) as present:
        try:
            # folds the WAL in; SQLite refuses while anybody else has the database open
            present.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as cause:
            raise RestoreRefused(
                f"{path} is in use: stop the service, and whoever else has it open, first"
            ) from cause
        except sqlite3.DatabaseError:
            pass  # damaged: that may be why it is to be replaced
    stamp = datetime.fromtimestamp(now / 1_000, UTC)
    aside = path.with_name(f"{path.name}.{stamp:%Y%m%dT%H%M%S}")
    for tail in ("", *BESIDE):
        with suppress(FileNotFoundError):
            path.with_name(path.name + tail).rename(aside.with_name(aside.name + tail))
    return aside


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=1)
