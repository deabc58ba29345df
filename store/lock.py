"""Who works on a ledger: one service at a time, by a lock on a file beside it.

The lock is the kernel's (flock(2)): it goes with its process, however that ends, so that nobody
waits for one that was killed; and it needs neither a clock nor a broker. The file is named after
the ledger's path and is never deleted: where the ledger is moved away under its service, the place
is still taken. What is written in it says who holds the lock, for people, and which file that one
has open.
"""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep

from store.place import File, file_at

PATIENCE_S = 10.0
AGAIN_S = 0.05


class LedgerInUse(Exception):  # noqa: N818  (the operator's message, not a fault of the code)
    """Somebody works on the ledger, or nobody may there. The message says who, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a ledger. `file`: the ledger as it was then, if there was one."""

    pid: int
    host: str
    what: str
    file: File | None = None

    def __str__(self) -> str:
        return f"{self.what}, process {self.pid} on {self.host}"


_SOMEBODY = Holder(pid=0, host="this machine", what="another program")


class LedgerLock:
    """The lock of one process on the ledger at `path`; `what` it is, in words."""

    def __init__(self, path: Path, what: str) -> None:
        self.path, self._what = path, what
        self._handle: int | None = None

    def take(self) -> bool:
        """Take it, or have it already; False while somebody else holds it. It waits for nobody.

        Raises `LedgerInUse` where there can be no such file.
        """
        if self._handle is not None:
            return True
        try:
            handle = _opened(self.path)
        except OSError as cause:
            raise LedgerInUse(_unwritable(self.path, cause)) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        except OSError as cause:
            os.close(handle)
            raise LedgerInUse(_unwritable(self.path, cause)) from None
        self._handle = handle
        self._sign(handle)
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _sign(self, handle: int) -> None:
        me = Holder(pid=os.getpid(), host=socket.gethostname(), what=self._what)
        words = json.dumps(asdict(me) | {"file": file_at(self.path)}).encode()
        os.ftruncate(handle, 0)
        os.pwrite(handle, words, 0)


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Work on the ledger as the only one. Raises `LedgerInUse`, saying who does already.

    For another command, which will soon be done, it waits; for a service it does not.
    """
    lock, until = LedgerLock(path, what), monotonic() + PATIENCE_S
    while not lock.take():
        by = holder(path) or _SOMEBODY
        if (by.pid and by.what != what) or monotonic() > until:
            raise LedgerInUse(in_use(path, by))
        sleep(AGAIN_S)
    try:
        yield
    finally:
        lock.release()


def holder(path: Path) -> Holder | None:
    """Who works on the ledger at `path` now; None where nobody does, or it cannot be told."""
    try:
        handle = os.open(lock_file(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(handle)
    except OSError:
        return None
    finally:
        os.close(handle)
    return None


def displaced(path: Path, by: Holder) -> bool:
    """Whether the file at `path` is not the one that its holder has open."""
    return by.file is not None and by.file != file_at(path)


def in_use(path: Path, by: Holder) -> str:
    """What to do about a ledger that somebody works on, in words."""
    if displaced(path, by):
        return (
            f"{by} runs on a ledger that was at {path} and was moved away or replaced: put that "
            "file back at its place (`mv` it back), or stop that one first"
        )
    return f"{path} is in use: stop the service first ({by})"


def lock_file(path: Path) -> Path:
    """The file that is locked."""
    return path.with_name(f"{path.name}-lock")


def _opened(path: Path) -> int:
    handle = os.open(lock_file(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if os.geteuid() == 0:  # as SQLite does with its own: the service may be another user's
        with suppress(OSError):
            owner = (path if path.exists() else path.parent).stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
    return handle


def _read(handle: int) -> Holder:
    try:
        said = json.loads(os.pread(handle, 4_096, 0))
        file = said["file"] and File(*map(int, said["file"]))
        return Holder(pid=said["pid"], host=said["host"], what=said["what"], file=file)
    except (ValueError, KeyError, TypeError, IndexError):
        return _SOMEBODY  # it writes it just now


def _unwritable(path: Path, cause: OSError) -> str:
    return (
        f"{lock_file(path)} cannot be written ({cause.strerror}): the ledger needs a folder on a "
        f"local disk in which this user may make files: make {path.parent} so, or set database_url "
        "to another one"
    )
