"""`gridbeat ingest` as a process of its own, on a ledger and a broker of the test's.

    with a_service(folder, port, registry) as service:
        service.kill()        # SIGKILL; `service.start()` brings it back on its ledger
        service.stop()        # SIGTERM; returns its exit code

It is always stopped by its process id, and everything here waits for a bounded time only.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from store import registry
from store.database import open_engine, reading
from tests.blank import blank
from tests.cli.running import Gridbeat
from tests.servers import POLL_S, START_S, STOP_S, free_port

GRIDBEAT = Path(sys.executable).with_name("gridbeat")
PATIENCE_S = 20.0


def now_ms() -> int:
    """The machine's clock, in ms, as the service reads it."""
    return time.time_ns() // 1_000_000


def until(true: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """The first true answer; the test fails where there is none within `patience_s`."""
    deadline = time.monotonic() + patience_s
    while True:
        found = true()
        if found:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {patience_s:g} s")
        time.sleep(POLL_S)


@dataclass(kw_only=True)
class Service:
    """One instance; `environment` are its settings."""

    folder: Path
    environment: Mapping[str, str]
    http: int
    engine: Engine
    program: Sequence[str] = (str(GRIDBEAT), "ingest")
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def log(self) -> str:
        """What it has said so far, over all its starts."""
        return (self.folder / "ingest.log").read_text(errors="replace")

    def launch(self) -> None:
        """Start it and go on at once."""
        with (self.folder / "ingest.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.program,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start(self) -> None:
        """Start it and wait until it is ready: subscribed, and able to write."""
        self.launch()
        deadline = time.monotonic() + START_S
        while self.get("/readyz")[0] != 200:
            if self.process is None or self.process.poll() is not None:
                pytest.fail(f"the service ended; its last words:\n{self.log[-3000:]}")
            if time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"the service is not ready; its last words:\n{self.log[-3000:]}")
            time.sleep(POLL_S)

    def stop(self) -> int | None:
        """SIGTERM; its exit code, or None where it was not running."""
        if self.process is None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"the service did not hear SIGTERM; its last words:\n{self.log[-3000:]}")
        finally:
            self.process = None

    def kill(self) -> None:
        """SIGKILL, at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def get(self, path: str) -> tuple[int, str]:
        """What it answers over HTTP: status (0: nobody is there) and body."""
        try:
            url = f"http://127.0.0.1:{self.http}{path}"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def command(self, *args: str) -> subprocess.CompletedProcess[str]:
        """A `gridbeat` command on the same ledger and broker."""
        return subprocess.run(
            [str(GRIDBEAT), *args],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def listing(self, *args: str) -> list[dict[str, Any]]:
        """A listing as scripts read it, without the start of Python."""
        done = Gridbeat(folder=self.folder, settings=dict(self.environment))(*args, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """A question to the ledger."""
        with reading(self.engine) as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def value(self, query: str, **values: Any) -> Any:
        """A question with one answer."""
        return self.rows(query, **values)[0][0]

    def apply(self, document: bytes) -> None:
        """Apply a registry file now."""
        read = registry.read_document(document)
        registry.apply(
            self.engine, read, now=now_ms(), author="test", source="test.yaml", dry_run=False
        )


@contextmanager
def a_service(
    folder: Path,
    broker: int,
    document: bytes | None,
    *,
    start: bool = True,
    program: Sequence[str] = Service.program,
    **settings: str,
) -> Iterator[Service]:
    """An instance on the broker at that port of 127.0.0.1. `settings`: `clock="mqtt"` and so on."""
    path = folder / "gridbeat.db"
    url = f"sqlite:///{path}" if path.exists() else blank(path)
    http = free_port()
    named = {
        "database_url": url,
        "mqtt_url": f"mqtt://127.0.0.1:{broker}",
        "http_address": f"127.0.0.1:{http}",
        "disk_floor_mb": "1",
        **settings,
    }
    service = Service(
        folder=folder,
        environment={f"GRIDBEAT_{name.upper()}": value for name, value in named.items()},
        http=http,
        engine=open_engine(url),
        program=program,
    )
    try:
        if document is not None:
            service.apply(document)
        if start:
            service.start()
        yield service
    finally:
        service.kill()
        service.engine.dispose()
