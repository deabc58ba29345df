"""Room for the ledger: where there is too little of it, nothing more is read or acknowledged.

    disk   less is free than must stay
    log    its write-ahead log has outgrown its bound: somebody keeps reading, so that SQLite cannot
           begin it anew. Short of that bound it is only said, again and again, and who it is

Both end by themselves once there is room. Nothing is lost meanwhile: the broker keeps what comes,
and devices keep what they were not told is kept.
"""

import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

import structlog

from ingest.health import Health
from store.database import WAL_LIMIT_BYTES
from store.settings import Settings
from store.wal import Reader, log_bytes, readers, start_anew

log = structlog.get_logger()

MIB = 2**20
SAID_AGAIN_S = 60.0


class Room:
    """Looks for one instance, on the ledger at `path`."""

    def __init__(self, path: Path, settings: Settings, health: Health) -> None:
        self._path = path
        self._floor = settings.disk_floor_mb
        self._bound = settings.wal_limit_mb * MIB
        self._health = health
        self._why: Mapping[str, str | None] = {"disk": None, "log": None}
        self._there: list[Reader] = []
        self._said: float | None = None

    def short(self) -> bool:
        """Whether there is too little room now. Asked each second, in a thread: it may wait for the
        disk."""
        why = {"disk": self._disk(), "log": self._log()}
        for what, words in why.items():
            self._health.because(what, words)
            if words is not None and self._why[what] is None:
                log.error(f"{what}.short", because=words)
            elif words is None and self._why[what] is not None:
                log.info(f"{what}.enough")
        self._why = why
        return any(why.values())

    def _disk(self) -> str | None:
        free = shutil.disk_usage(self._path.parent).free // MIB
        if free >= self._floor:
            return None
        return (
            f"{free} MiB of disk are free, {self._floor} must stay: make room, it goes on by itself"
        )

    def _log(self) -> str | None:
        size = log_bytes(self._path)
        if size <= min(WAL_LIMIT_BYTES, self._bound) or self._start_anew():
            self._there, self._said = [], None
            return None
        there = readers(self._path)
        standing = [reader for reader in there if reader in self._there]
        self._there = there
        who = ", ".join(map(str, standing)) or "somebody"
        words = (
            f"the ledger's log has grown to {size // MIB} MiB, since it cannot begin anew while "
            f"{who} reads on: end that"
        )
        if size > self._bound:
            return f"{words}; it goes on by itself"
        if self._said is None or monotonic() > self._said + SAID_AGAIN_S:
            self._said = monotonic()
            log.warning(
                "log.grows", because=words, next=f"above {self._bound // MIB} MiB nothing is read"
            )
        return None

    def _start_anew(self) -> bool:
        try:
            return start_anew(self._path)
        except sqlite3.OperationalError:  # a full disk: the other word says so
            return False
