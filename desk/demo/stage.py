"""The stage: real parts in a temporary folder, on free ports of 127.0.0.1, gone when it closes."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from desk import broker, tls
from desk.access import enroll
from desk.accesslist import SERVICE_USER
from desk.acts import By
from desk.demo.children import Child, free_port, listens, program, required, start, wait_for
from desk.errors import DeskError
from desk.settling import write_files
from store import enrolments, registry
from store.database import open_engine, upgrade, writing
from store.settings import PREFIX

INFLUXD_CONF = """\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/influx/meta"
[data]
  dir = "{folder}/influx/data"
  wal-dir = "{folder}/influx/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
"""
INFLUX_DATABASE = "gridbeat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is running, and where. `influx_url` is None where there is no InfluxDB."""

    folder: Path
    engine: Engine
    influx_url: str | None
    service: Child
    simulator: Path
    scenario: str
    credentials: Path
    environment: Mapping[str, str]

    @property
    def truth(self) -> Path:
        """Where the simulator writes what really happened."""
        return self.folder / "truth"

    def play(self, *, seconds: float, seed: int | None) -> Child:
        """Start the simulator; its progress comes as lines of JSON on its stdout."""
        argv = [
            *(str(self.simulator), "run", self.scenario),
            *("--credentials", str(self.credentials)),
            *("--out", str(self.truth), "--seconds", str(seconds), "--progress", "json"),
        ]
        if seed is not None:
            argv += ["--seed", str(seed)]
        return start(
            "the simulator",
            argv,
            self.folder,
            environment=_environment(**self.environment),
            output=subprocess.PIPE,
        )


@contextmanager
def staged(scenario: str, by: By, *, by_tls: bool = False) -> Iterator[Stage]:
    """Set the stage for a scenario; everything is stopped and removed at the end.

    `by_tls`: with a private authority, and all that is said on MQTT by TLS.

    Raises `DeskError` where a program is missing, `UnreachableError` where one does not start.
    """
    mosquitto = required("mosquitto", "install Mosquitto 2: apt-get install mosquitto")
    simulator = _simulator()
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="gridbeat-demo-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(temporary))
        made, way = (_by_tls if by_tls else _in_the_clear)(folder / "broker", by)
        engine = _ledger(folder, _asked(simulator, "registry", scenario), scenario, by)
        stack.callback(engine.dispose)
        devices = _asked(simulator, "devices", scenario).split()
        credentials = _enrolled(engine, made, devices, by)
        _run(stack, _broker(mosquitto, made.folder, made.port))
        influx_url = _influx(stack, folder)
        keys = _tags(engine, json.loads(_asked(simulator, "tags", scenario)), by)
        service = _run(stack, _service(folder, {**way.service, **keys}, influx_url))
        yield Stage(
            folder=folder,
            engine=engine,
            influx_url=influx_url,
            service=service,
            simulator=simulator,
            scenario=scenario,
            credentials=credentials,
            environment=way.simulator,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How the service (settings) and the simulator (variables) come to the broker."""

    service: Mapping[str, str]
    simulator: Mapping[str, str]


def _in_the_clear(folder: Path, _by: By) -> tuple[broker.Made, _Way]:
    made = broker.init(folder, port=free_port())
    url = made.mqtt_url or ""
    return made, _Way(service={"MQTT_URL": url}, simulator={"GRIDBEAT_SIM_MQTT_URL": url})


def _by_tls(folder: Path, by: By) -> tuple[broker.Made, _Way]:
    """As a district would: devices on one listener, the service on the other."""
    place = tls.Place(authority=folder.parent / "ca", server=folder / broker.TLS_FOLDER)
    tls.init(place, (), now=by.now)
    listeners = broker.Tls(port=free_port(), office=free_port(), host="127.0.0.1")
    made = broker.init(folder, port=free_port(), tls=listeners)
    who, ca = (
        f"mqtts://{SERVICE_USER}:{made.password}@127.0.0.1",
        str(place.server / "ca.crt"),
    )
    return made, _Way(
        service={"MQTT_URL": f"{who}:{listeners.office}", "MQTT_CA_FILE": ca},
        simulator={
            "GRIDBEAT_SIM_MQTT_URL": f"{who}:{listeners.port}",
            "GRIDBEAT_SIM_MQTT_CA_FILE": ca,
        },
    )


def _run(stack: ExitStack, child: Child) -> Child:
    stack.callback(child.stop)
    return child


def _simulator() -> Path:
    beside = Path(sys.executable).parent / "firmware-sim"
    if beside.exists():
        return beside
    return required("firmware-sim", "install the simulator: pip install firmware-sim")


def _environment(**settings: str) -> dict[str, str]:
    """Ours without any setting of Gridbeat, and with these: the demo is nobody's installation."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | settings


def _asked(simulator: Path, *words: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own program
        [str(simulator), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DeskError(done.stderr.strip(), "gridbeat demo --scenario takes one that is built in")
    return done.stdout


def _ledger(folder: Path, text: str, scenario: str, by: By) -> Engine:
    url = f"sqlite:///{folder}/gridbeat.db"
    upgrade(url, now=by.now)
    engine = open_engine(url)
    document = registry.read_document(text.encode())
    registry.apply(engine, document, now=by.now, author=by.author, source=scenario)
    return engine


def _enrolled(engine: Engine, made: broker.Made, devices: list[str], by: By) -> Path:
    """Enrol every device, as a school would, and write what the simulator needs to log in."""
    passwords = {device: enroll(engine, made.folder, device, by=by).password for device in devices}
    write_files(engine, made.folder, by=by)
    path = made.folder / "credentials.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"devices": passwords}))
    return path


def _tags(engine: Engine, told: Mapping[str, Any], by: By) -> dict[str, str]:
    """Enrol the tags that prove presence, where there are some; the service's keys of them."""
    if told["master_keys"] is None:
        return {}
    with writing(engine) as connection:
        for uid in told["tags"]:
            enrolments.enroll(connection, uid, 1, author=by.author, now=by.now)
    return {"TAG_MASTER_KEYS": told["master_keys"]}


def _broker(mosquitto: Path, folder: Path, port: int) -> Child:
    argv = [str(mosquitto), "-c", str(folder / broker.CONF)]
    child = start("the broker", argv, folder)
    return wait_for(child, lambda: listens(port))


def _influx(stack: ExitStack, folder: Path) -> str | None:
    influxd = program("influxd")
    if influxd is None:
        return None
    port = free_port()
    path = folder / "influxdb.conf"
    path.write_text(INFLUXD_CONF.format(folder=folder, port=port, rpc=free_port()))
    argv = [str(influxd), "run", "-config", str(path)]
    child = _run(stack, start("InfluxDB", argv, folder))
    wait_for(child, lambda: _answers(f"http://127.0.0.1:{port}/ping"))
    return f"http://127.0.0.1:{port}"


def _service(folder: Path, way: Mapping[str, str], influx_url: str | None) -> Child:
    port = free_port()
    settings = {
        **way,
        "DATABASE_URL": f"sqlite:///{folder}/gridbeat.db",
        "HTTP_ADDRESS": f"127.0.0.1:{port}",
        "CLOCK": "mqtt",
        "BROKER_DIR": str(folder / "broker"),
        "TAG_KEYS_FILE": str(folder / "tag-keys.json"),  # nobody's own
    }
    if influx_url is not None:
        settings |= {"INFLUX_URL": influx_url, "INFLUX_DATABASE": INFLUX_DATABASE}
    named = {PREFIX + name: value for name, value in settings.items()}
    argv = [sys.executable, "-m", "cli.main", "ingest"]
    child = start("the service", argv, folder, environment=_environment(**named))
    return wait_for(child, lambda: _answers(f"http://127.0.0.1:{port}/readyz"))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - loopback
            return bool(answer.status < 300)
    except (urllib.error.URLError, OSError):
        return False
