"""Whether the file behind an open ledger is still the one that its path names.

SQLite writes through the files it has open. Where somebody moves the ledger away, or puts another
in its place, it would commit on into what nobody finds again: the `-wal` file is named after the
path, and goes with whatever ledger is opened there next. So the path is looked at (two stats, some
microseconds) before each transaction and before each commit.

    the file is gone            nothing is read or written until the same one is back
    another file is there,      nothing any more, until the process starts anew: the two may have
    or another `-wal`           shared the `-shm` file, which SQLite does not expect
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class File(NamedTuple):
    """Which file it is, whatever it is called."""

    device: int
    inode: int


BESIDE = ("-wal", "-shm")


class LedgerAway(sqlite3.OperationalError):
    """The ledger's file is gone, or another one. The message says what to do."""


class Place:
    """The ledger's file, its `-wal` and its `-shm`, as the connections of one engine opened them.

    All may be called in any thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names = (str(path), *(f"{path}{tail}" for tail in BESIDE))
        self._open = 0
        self._files: list[File | None] = [None, None, None]
        self._other: str | None = None
        self._rescued = False

    def opened(self) -> None:
        """One more connection is open; raises `LedgerAway` where it is to another file."""
        if self._open:
            self.check()
        self._open += 1
        self._learn()

    def _learn(self) -> None:
        """SQLite makes the `-wal` of a new ledger with its first transaction only."""
        for index, name in enumerate(self._names):
            if self._files[index] is None:
                self._files[index] = file_at(name)

    def closed(self) -> None:
        """One connection less; with the last one nothing is held any more."""
        self._open -= 1
        if not self._open:
            self._files, self._other, self._rescued = [None, None, None], None, False

    def check(self) -> None:
        """Raises `LedgerAway` unless the files are those that were opened."""
        if not self._open:
            return
        ledger, log = file_at(self._names[0]), file_at(self._names[1])
        if self._files[1] is None and ledger == self._files[0]:
            self._learn()
            log = self._files[1]
        if (ledger, log) == (self._files[0], self._files[1]) and self._other is None:
            self._rescued = False
            return
        if ledger is None:
            raise LedgerAway(
                f"{self.path} is gone: it was moved or deleted under the running program. Nothing "
                "more is kept until that same file is back at its place (`mv` it back); to use "
                "another one, stop the service first"
            )
        if self._other is None:
            what = str(self.path) if ledger != self._files[0] else self._names[1]
            self._other = (
                f"{what} is another file than the one that was opened: it was replaced or deleted "
                "under the running program. Nothing more is kept: stop the service, put the right "
                "file at its place (or `gridbeat db restore FILE`), and start it again"
            )
        raise LedgerAway(self._other)

    def rescue(self, driver: sqlite3.Connection) -> None:
        """Copy what is only in the log into the ledger's file, wherever that lies now.

        Else a ledger that was moved without its `-wal` lacks what was committed last. Once, as soon
        as it is noticed, and only while the log is still ours: another ledger that is opened under
        our names shares our `-shm`.
        """
        found = [file_at(name) for name in self._names]
        ours = all(
            file in (None, mine) for file, mine in zip(found[1:], self._files[1:], strict=True)
        )
        if ours and not self._rescued:
            with suppress(sqlite3.Error):  # tried again with the next transaction
                busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self._rescued = not busy


def file_at(name: str | Path) -> File | None:
    """The file of that name; None where there is none, or none that can be seen."""
    try:
        found = os.stat(name)  # noqa: PTH116  (a third of what Path.stat costs)
    except OSError:
        return None
    return File(found.st_dev, found.st_ino)
