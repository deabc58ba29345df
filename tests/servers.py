"""Real servers for tests: Mosquitto, InfluxDB 1.6 and VictoriaMetrics on free loopback ports.

Each is a context manager that yields a running `Server` in a temporary folder and stops it by its
process id. A server that cannot be had fails the test under `CI=true`; elsewhere the test is
skipped, and the reason names what is missing.

    with mosquitto() as broker:
        connect("127.0.0.1", broker.port)
        broker.kill()      # SIGKILL; `broker.start()` brings it back on its port, with its data
"""

import fcntl
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

START_S = 30.0
STOP_S = 15.0
POLL_S = 0.02


PORTS = Path(tempfile.gettempdir()) / "gridbeat-test-ports"
CLAIMS = 200
"""Ports that a process keeps for itself: more than a test has servers."""
_claims: deque[int] = deque()


def free_port() -> int:
    """A free port of 127.0.0.1 below the range from which the kernel gives ports to clients.

    A lock keeps it from every other process of tests until a server listens on it, and longer.
    """
    PORTS.mkdir(exist_ok=True)
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        claim = os.open(PORTS / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with closing(socket.socket()) as probe:
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                probe.bind(("127.0.0.1", port))
            except OSError:
                os.close(claim)
                continue
        _claims.append(claim)
        if len(_claims) > CLAIMS:
            os.close(_claims.popleft())
        return port


def missing(what: str) -> NoReturn:
    """Fails the test where everything has to be there (`CI=true`), skips it elsewhere."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and CI=true allows no skipping: run script/setup")
    pytest.skip(f"{what}: run script/setup")


def binary(name: str, package: str) -> Path:
    """The path of a server's program; Debian keeps some of them outside a user's PATH."""
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which(name, path=places)
    if found is None:
        missing(f"{name} (Debian package {package}) is not installed")
    return Path(found)


@dataclass(kw_only=True)
class Server:
    """A server's process, startable again on the same port and folder."""

    name: str
    argv: Sequence[str]
    port: int
    folder: Path
    ready: Callable[[], bool]
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has printed so far, over all its starts."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Starts it and waits until it answers; fails with the end of its log if it does not."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_S
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"{self.name} did not start; its last words:\n{self.log[-2000:]}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL when it does not listen; nothing when it is not running."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def kill(self) -> None:
        """SIGKILL, at once."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.process = None


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own loopback
            return bool(answer.status < 300)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def _folder(prefix: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"gridbeat-{prefix}-", ignore_cleanup_errors=True) as f:
        yield Path(f)


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


LOOPBACK_BROKER = """\
listener {port} 127.0.0.1
allow_anonymous true
user root
persistence true
persistence_location {folder}/
autosave_interval 1
max_inflight_messages 1000
max_queued_messages 1000000
log_dest stdout
"""


@contextmanager
def mosquitto(extra: Sequence[str] = (), *, conf: str | None = None) -> Iterator[Server]:
    """A broker on loopback, anonymous and persistent, or with a whole configuration of your own.

    `extra` are lines appended to the default; `conf` replaces it, and may say `{port}` and
    `{folder}`. `user root` keeps Mosquitto, when the tests run as root, from becoming another user
    who cannot write into the temporary folder.
    """
    program = binary("mosquitto", "mosquitto")
    port = free_port()
    with _folder("mosquitto") as folder:
        text = (conf or LOOPBACK_BROKER).replace("{port}", str(port))
        text = text.replace("{folder}", str(folder)) + "".join(f"{line}\n" for line in extra)
        path = folder / "mosquitto.conf"
        path.write_text(text)
        server = Server(
            name="mosquitto",
            argv=(str(program), "-c", str(path)),
            port=port,
            folder=folder,
            ready=lambda: _listens(port),
        )
        with _running(server):
            yield server


INFLUXD_CONF = """\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
  logging-enabled = false
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
  {data}
[monitor]
  store-enabled = false
[subscriber]
  enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
  auth-enabled = {auth}
"""


@contextmanager
def influxd(*, auth: bool = False, data: str = "") -> Iterator[Server]:
    """An InfluxDB 1.6; with `auth`, the first user must be made before anything else works.

    `data`: a line more for the section of that name, as `max-series-per-database = 2`.
    """
    program = binary("influxd", "influxdb")
    port = free_port()
    with _folder("influxd") as folder:
        path = folder / "influxdb.conf"
        text = INFLUXD_CONF.format(
            rpc=free_port(), port=port, folder=folder, auth="true" if auth else "false", data=data
        )
        path.write_text(text)
        server = Server(
            name="influxd",
            argv=(str(program), "run", "-config", str(path)),
            port=port,
            folder=folder,
            ready=lambda: _answers(f"http://127.0.0.1:{port}/ping"),
        )
        with _running(server):
            yield server


@contextmanager
def victoria() -> Iterator[Server]:
    """A VictoriaMetrics that keeps a century and shows what it was given at once."""
    program = binary("victoria-metrics", "victoria-metrics")
    port = free_port()
    with _folder("victoria") as folder:
        server = Server(
            name="victoria-metrics",
            argv=(
                str(program),
                f"-httpListenAddr=127.0.0.1:{port}",
                f"-storageDataPath={folder}/data",
                "-retentionPeriod=100y",
                "-search.latencyOffset=0s",
                "-dedup.minScrapeInterval=1ms",
                "-memory.allowedBytes=256MiB",
            ),
            port=port,
            folder=folder,
            ready=lambda: _answers(f"http://127.0.0.1:{port}/health"),
        )
        with _running(server):
            yield server
