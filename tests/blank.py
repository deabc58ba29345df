"""An empty ledger of today's schema: migrated once a process, then copied."""

import functools
import shutil
import tempfile
from pathlib import Path

from store.database import upgrade

_FOLDER = tempfile.TemporaryDirectory(prefix="gridbeat-blank-")


@functools.cache
def _template() -> Path:
    path = Path(_FOLDER.name) / "blank.db"
    upgrade(f"sqlite:///{path}", now=0)
    return path


def blank(path: Path) -> str:
    """Put an empty ledger at `path`, and return its URL."""
    shutil.copy(_template(), path)
    return f"sqlite:///{path}"
