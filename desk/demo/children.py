"""Processes the demo starts, each in a session of its own, and stops by its process id."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from desk.errors import DeskError, UnreachableError

START_S = 20.0
STOP_S = 10.0
POLL_S = 0.02
SYSTEM_PLACES = ("/usr/sbin", "/usr/local/sbin")
"""Where Debian keeps servers; not on everybody's PATH."""


def program(name: str) -> Path | None:
    """Where a program is, or None."""
    places = os.pathsep.join((os.environ.get("PATH", ""), *SYSTEM_PLACES))
    found = shutil.which(name, path=places)
    return None if found is None else Path(found)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now, and that no client is given meanwhile:
    it is below those from which the kernel gives."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass(slots=True, kw_only=True)
class Child:
    """A process of ours and the file that holds what it said."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-1_500:].strip()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing where it has ended."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that is not heard."""
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(
    name: str,
    argv: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    output: int | None = None,
) -> Child:
    """Start a process in `folder`, where its log goes as well.

    The terminal's Ctrl-C does not reach it: we pass on what it should hear. `output`: where its
    stdout goes, `subprocess.PIPE` to be read; else into the log.
    """
    log = folder / f"{name.rpartition(' ')[2].lower()}.log"
    with log.open("ab") as file:
        process = subprocess.Popen(  # noqa: S603 - argv is ours
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=file if output is None else output,
            stderr=file,
            cwd=folder,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )
    return Child(name=name, process=process, log=log)


def wait_for(child: Child, ready: Callable[[], bool]) -> Child:
    """Wait until a child answers. Raises `UnreachableError` with its last words if it does not."""
    deadline = time.monotonic() + START_S
    while not ready():
        if child.process.poll() is not None or time.monotonic() > deadline:
            child.stop()
            raise UnreachableError(
                f"{child.name} did not start", f"its last words:\n{child.last_words}"
            )
        time.sleep(POLL_S)
    return child


def required(name: str, remedy: str) -> Path:
    """Where a program is; raises `DeskError` with the remedy where it is not."""
    found = program(name)
    if found is None:
        raise DeskError(f"{name} is not installed", remedy)
    return found
