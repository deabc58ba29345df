"""A process that starts services, one after the other, in a moment: everything is imported once.

    python -m tests.chaos.launcher NAME      NAME as in `tests.chaos.broken`; `none` is the real one

Each line on stdin is one start: `{"environment", "log", "clock", "point", "count"}`; each child is
a process of its own that runs `ingest.running.run`. Each line on stdout says `{"started": pid}` or
`{"ended": pid, "code"}`. It ends, and takes its children with it, when stdin does.
"""

import ctypes
import json
import mmap
import os
import select
import signal
import sqlite3
import struct
import sys
import time
import traceback
from contextlib import closing
from typing import Any

from store.database import ledger_path, open_engine
from store.settings import load_settings
from tests.chaos.broken import BROKEN, Broken
from tests.chaos.fuses import Fuse, fused

PR_SET_PDEATHSIG = 1


def main(name: str) -> None:
    """Start what is asked for until stdin ends."""
    broken = BROKEN[name]
    fuse = Fuse()
    run = broken.run(lambda parts: fused(fuse, parts))
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    asked = b""
    while True:
        ready, _, _ = select.select([0, ended], [], [])
        if ended in ready:
            os.read(ended, 4_096)
            _reap()
        if 0 in ready:
            some = os.read(0, 65_536)
            if not some:
                break
            asked += some
            *lines, asked = asked.split(b"\n")
            for line in lines:
                _start(json.loads(line), broken, fuse, run)


def _start(asked: dict[str, Any], broken: Broken, fuse: Fuse, run: Any) -> None:
    pid = os.fork()
    if pid:
        _tell(started=pid)
        return
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(asked["environment"])
        fuse.point, fuse.count = asked["point"], asked["count"]
        _step_by(asked["clock"])
        settings = load_settings()
        if broken.sql is not None:
            _touch(settings.database_url, broken.sql)
        run(settings)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell(ended=pid, code=os.waitstatus_to_exitcode(status))


def _tell(**said: object) -> None:
    os.write(1, json.dumps(said).encode() + b"\n")


def _step_by(path: str) -> None:
    """This process's machine clock is off by what the file says, in ns, now and later."""
    with open(path, "rb") as file:  # noqa: PTH123 - a file to map
        offset = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
    true = time.time_ns
    time.time_ns = lambda: true() + struct.unpack_from("q", offset)[0]


def _touch(url: str, sql: str) -> None:
    engine = open_engine(url)
    with closing(sqlite3.connect(ledger_path(engine), timeout=10)) as connection:
        connection.execute(sql)
        connection.commit()
    engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1])
