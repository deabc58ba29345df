"""What a measurement stands on: a real Mosquitto, a ledger with a registry, the service.

The broker runs on the project's own configuration, made by the code behind `gridbeat broker init`,
with passwords and access list; the service is the command that a user starts. Everything is stopped
by its process id.
"""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from bench.load import Handheld
from desk import broker
from desk.demo.children import free_port
from store import registry
from store.addresses import MqttAddress
from store.database import open_engine, upgrade

START_S = 30.0
PLAN_S = 0.001
"""What a plan may add to the start of the service on a busy machine; it costs some 10 µs of CPU."""
MINUTE_MS = 60_000
WINDOWS = 120
"""One-minute windows from now on: longer than any run may take."""
POINTS = 10
PER_SITE = 5


def wall() -> int:
    """Now, in ms since the epoch."""
    return time.time_ns() // 1_000_000


def wait_for(
    what: str, ready: Callable[[], bool], timeout_s: float, every_s: float = 0.005
) -> None:
    """Return once `ready`; raises TimeoutError saying `what` did not come."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(every_s)


def program(name: str) -> str:
    """The path of a program. Raises FileNotFoundError with the remedy."""
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which(name, path=places)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: run script/setup")
    return found


@contextmanager
def process(argv: Sequence[str], **how: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block runs: SIGTERM at its end, SIGKILL after 20 s."""
    running = subprocess.Popen(argv, stdin=subprocess.DEVNULL, **how)  # type: ignore[call-overload]
    try:
        yield running
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


class Stand:
    """The broker and the ledger. `fleet` are the devices that the load comes from.

    `fill(engine)` writes the registry; without it, the fleet's own is applied.
    """

    def __init__(
        self,
        folder: Path,
        fleet: Sequence[Handheld],
        fill: Callable[[Engine], None] | None = None,
    ) -> None:
        self.folder = folder
        self.fleet = tuple(fleet)
        self.database = folder / "gridbeat.db"
        made = broker.init(folder / "broker", port=free_port())
        if made.mqtt_url is None:
            raise RuntimeError("the broker's folder was there already")
        self.mqtt_url = made.mqtt_url
        self.address = MqttAddress.parse(made.mqtt_url)
        url = f"sqlite:///{self.database}"
        upgrade(url, now=wall())
        engine = open_engine(url)
        (fill or self._apply)(engine)
        engine.dispose()
        self.connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)

    def _apply(self, engine: Engine) -> None:
        now = wall() - wall() % MINUTE_MS
        document = registry.read_document(registry_text(self.fleet, now).encode())
        # as of a minute ago: rounds are owed that open after that, so the present one is
        registry.apply(engine, document, now=now - 1, author="bench", source="bench")

    @contextmanager
    def broker(self) -> Iterator[None]:
        """Run Mosquitto; `mosquitto` is it."""
        conf = self.folder / "broker" / broker.CONF
        with (self.folder / "broker.log").open("wb") as log:
            argv = (program("mosquitto"), "-c", str(conf))
            with process(argv, stdout=log, stderr=log) as running:
                self.mosquitto = Service(running.pid)
                wait_for("the broker listens", self._listens, START_S)
                yield

    @contextmanager
    def service(
        self, sampled: Path | None = None, *, ready: bool = True, **settings: str
    ) -> Iterator["Service"]:
        """Run `gridbeat ingest`; with `sampled`, a profile of it is written there.

        `ready` false: go on as soon as its process has been started. `settings`: `influx_url="…"`.
        """
        port = free_port()
        command = [str(Path(sys.executable).with_name("gridbeat")), "ingest"]
        if sampled is not None:
            wrapper = str(Path(__file__).with_name("sampled.py"))
            command = [sys.executable, wrapper, str(sampled), *command]
        env = {name: value for name, value in os.environ.items() if "GRIDBEAT" not in name}
        env |= {
            "GRIDBEAT_DATABASE_URL": f"sqlite:///{self.database}",
            "GRIDBEAT_MQTT_URL": self.mqtt_url,
            "GRIDBEAT_HTTP_ADDRESS": f"127.0.0.1:{port}",
            "GRIDBEAT_DISK_FLOOR_MB": "0",
            **{f"GRIDBEAT_{name.upper()}": value for name, value in settings.items()},
        }
        with (self.folder / "service.log").open("ab") as log:
            with process(command, env=env, cwd=self.folder, stdout=log, stderr=log) as running:
                if ready:
                    plans = self.value("SELECT count(*) FROM plan_version")
                    within = START_S + PLAN_S * plans
                    wait_for("the service is ready", lambda: _ready(running, port), within, 0.05)
                yield Service(running.pid)
            if running.returncode != 0:
                raise RuntimeError(f"the service ended with {running.returncode}: {self.tail()}")

    def tail(self) -> str:
        """The last words of the service."""
        return (self.folder / "service.log").read_text(errors="replace")[-2_000:]

    def value(self, query: str, *values: object) -> int:
        """The one number that a query of the ledger answers; 0 for none."""
        return int(self.connection.execute(query, values).fetchone()[0] or 0)

    def connected(self, client_id: str) -> int:
        """How often the broker has said that this client came in."""
        text = (self.folder / "broker.log").read_text(errors="replace")
        return text.count(f" as {client_id} ")

    def _listens(self) -> bool:
        try:
            socket.create_connection((self.address.host, self.address.port), 1).close()
        except OSError:
            return False
        return True


class Service:
    """A running process, the service's or another's, seen from outside."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def cpu_s(self) -> float:
        """CPU it has used, all threads, user and system (proc(5): utime, stime; 10 ms steps)."""
        stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def order(self, signum: signal.Signals) -> None:
        """Send it a signal, as `bench/sampled.py` takes them."""
        os.kill(self.pid, signum)

    def memory_mb(self) -> float:
        """What of it is in memory now (proc(5): statm), MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _ready(running: subprocess.Popen[bytes], port: int) -> bool:
    if running.poll() is not None:
        raise RuntimeError(f"the service ended with {running.returncode}")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def fleet(devices: int) -> tuple[Handheld, ...]:
    """`devices` handhelds, five to a site."""
    return tuple(
        Handheld(
            slug=f"hh-{number:04}",
            site=f"school-{number // PER_SITE:03}",
            person=f"p-{number:04}",
            tags=_own_tags(number),
        )
        for number in range(devices)
    )


def _own_tags(number: int) -> tuple[str, ...]:
    """Each handheld walks a part of its site: a tag that two read at once is a mark for each."""
    site, turn = divmod(number, PER_SITE)
    return tuple(_tag(site, point) for point in range(turn, POINTS, PER_SITE))


def _tag(site: int, point: int) -> str:
    return f"04{site:08X}{point:04X}"


def registry_text(handhelds: Sequence[Handheld], now: int) -> str:
    """A registry for the fleet, as YAML.

    Each site owes a round of all its checkpoints every minute from `now` (a whole minute) on; the
    graces differ from site to site, so that rounds fall due evenly through each minute of a run.
    """
    sites = sorted({handheld.site for handheld in handhelds})
    people = (f"  - {{id: {h.person}, name: {h.person}, roles: [guard]}}" for h in handhelds)
    spans = (now // MINUTE_MS + step for step in range(WINDOWS))
    windows = ", ".join(f'"{_clock(minute)}-{_clock(minute + 1)}"' for minute in spans)
    lines = ["calendar: every-day", "people:", *people, "sites:"]
    for number, site in enumerate(sites):
        grace = 2 + number * 56 // len(sites)
        points = [f"point-{point}" for point in range(POINTS)]
        lines += [
            f"  - id: {site}",
            f"    name: {site}",
            "    timezone: UTC",
            "    checkpoints:",
            *(
                f'      - {{id: {name}, name: {name}, tags: ["{_tag(number, point)}"]}}'
                for point, name in enumerate(points)
            ),
            "    devices:",
            *(f"      - {{id: {h.slug}}}" for h in handhelds if h.site == site),
            "    plans:",
            f"      - {{id: minutely, name: minutely, route: [{', '.join(points)}],",
            f"         grace: {grace}s, windows: [{windows}]}}",
        ]
    return "\n".join(lines) + "\n"


def _clock(minute: int) -> str:
    hour, rest = divmod(minute % 1_440, 60)
    return f"{hour:02}:{rest:02}"
