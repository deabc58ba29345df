"""`gridbeat ingest` on a machine whose clock is the test's to set.

    stepped.py AHEAD SETTLE_MS      # AHEAD: a file that says by how many ms the clock is ahead

A process of its own, with its settings from the environment. The machine's own clock cannot be set
without being root, and without everybody else's; libfaketime would set it for one process, but
for uvloop and SQLite too, in ways of its own.
"""

import sys
from functools import partial
from pathlib import Path

from ingest.clock import SystemClock, machine
from ingest.running import run
from ingest.service import Parts
from store.settings import load_settings


def read(ahead: Path) -> int:
    """What the clock on the wall shows, in ms."""
    return machine() + int(ahead.read_text())


if __name__ == "__main__":
    ahead, settle_ms = Path(sys.argv[1]), int(sys.argv[2])
    clock = partial(SystemClock, partial(read, ahead), settle_ms=settle_ms)
    run(load_settings(), Parts(clock=clock))
