"""An empty ledger of today's schema: migrated once a process, then copied."""

import functools
import shutil
import sqlite3
import tempfile
import uuid
from contextlib import closing
from pathlib import Path

from store.database import upgrade

_FOLDER = tempfile.TemporaryDirectory(prefix="gridbeat-blank-")


@functools.cache
def _template() -> Path:
    path = Path(_FOLDER.name) / "blank.db"
    upgrade(f"sqlite:///{path}", now=0)
    return path


def blank(path: Path) -> str:
    """Put an empty ledger at `path`, with an identity of its own, and return its URL."""
    shutil.copy(_template(), path)
    with closing(sqlite3.connect(path)) as ledger, ledger:
        ledger.execute("UPDATE ledger SET uuid = ?", (str(uuid.uuid4()),))
    return f"sqlite:///{path}"
