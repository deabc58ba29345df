"""The ledger's write-ahead log: how large it has grown, and who keeps it from starting anew.

SQLite writes into the log and copies it back into the database (a checkpoint), but never past what
a reader still looks at: one transaction that is left open somewhere, in an operator's `sqlite3`
say, and the log grows with every commit.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

READ_LOCKS = range(123, 128)
"""Bytes of the `-shm` file whose locks say that somebody reads (SQLite, "WAL-mode file format")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Another process that looks at the ledger."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


def log_bytes(path: Path) -> int:
    """How large the log of the ledger at `path` is; 0 where there is none."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def start_anew(path: Path) -> bool:
    """Copy the log back and cut it to nothing; False while a reader or a writer is in the way.

    It waits for nobody. Raises sqlite3.OperationalError where the disk does not bear it.
    """
    name = f"file:{quote(str(path))}?mode=rw"
    with closing(sqlite3.connect(name, uri=True, timeout=0)) as connection:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy


def readers(path: Path) -> list[Reader]:
    """Who reads the ledger at this instant, by the kernel's table of locks; [] where it has none.

    Ask twice: who is there both times stands still.
    """
    try:
        inode = path.with_name(f"{path.name}-shm").stat().st_ino
        table = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return []
    pids = {pid for pid, of, first in _locks(table) if of == inode and first in READ_LOCKS}
    return [Reader(pid=pid, command=_command(pid)) for pid in sorted(pids - {os.getpid()})]


def _locks(table: str) -> Iterator[tuple[int, int, int]]:
    """Process, inode and first byte of each POSIX lock (proc(5))."""
    for line in table.splitlines():
        match line.split():
            case [_, "POSIX", _, _, pid, where, first, _]:
                yield int(pid), int(where.rpartition(":")[2]), int(first)


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "gone"
    return " ".join(word.decode(errors="replace") for word in words[:3] if word)[:80]
