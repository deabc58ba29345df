"""A real InfluxDB 1 beside the service, on the same cores, and what it holds in the end."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.stand import START_S, Service, Stand, process, program, wait_for
from desk.demo.children import free_port

DATABASE = "gridbeat"
CONF = """\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
  logging-enabled = false
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[subscriber]
  enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
"""
CAUGHT_UP_WITHIN_S = 300.0
WAITING = """
SELECT count(*) FROM entry
 WHERE id > coalesce((SELECT position FROM cursor WHERE name = 'series.checkin'), 0)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """What feeding cost while check-ins came in, and how it kept up.

    `waiting`: check-ins of the run that were kept and not in InfluxDB yet when the last one was
    committed; `caught_up_s`: until none was, after that; `per_s`: check-ins a second from the first
    byte published until then. `cores`: CPU that influxd took of each second of the run. Of one
    check-in until its point was there: `influxd_us`, its CPU, and `service_us`, the service's.
    """

    waiting: int
    caught_up_s: float
    per_s: float
    cores: float
    influxd_us: float
    service_us: float


class Influx(Service):
    """The running InfluxDB, seen from outside."""

    def __init__(self, pid: int, url: str) -> None:
        super().__init__(pid)
        self.url = url

    def settings(self) -> dict[str, str]:
        """Of a service that feeds it."""
        return {"influx_url": self.url, "influx_database": DATABASE}

    def checkins(self) -> int:
        """How many points of check-ins it holds."""
        query = urllib.parse.urlencode({"db": DATABASE, "q": "SELECT count(seq) FROM checkin"})
        with urllib.request.urlopen(  # noqa: S310 - our own loopback
            f"{self.url}/query?{query}", timeout=120
        ) as answer:
            told = json.load(answer)["results"][0]
        return int(told["series"][0]["values"][0][1]) if "series" in told else 0

    def catch_up(self, stand: Stand) -> float:
        """Wait until it holds a point of every check-in; returns the seconds that took.

        Raises RuntimeError when the feeder is through and the points are not as many.
        """
        began = time.monotonic()
        wait_for(
            "the series is fed", lambda: not stand.value(WAITING), CAUGHT_UP_WITHIN_S, every_s=0.05
        )
        took = time.monotonic() - began
        kept = stand.value("SELECT count(*) FROM entry WHERE seq IS NOT NULL")
        if (held := self.checkins()) != kept:
            raise RuntimeError(f"{kept} check-ins are kept, InfluxDB holds {held} points of them")
        return took


class Watch:
    """Watches the feeding through one run, which begins now."""

    def __init__(self, stand: Stand, service: Service, influx: Influx) -> None:
        self._stand = stand
        self._service = service
        self._influx = influx
        self._cpu = (influx.cpu_s(), service.cpu_s())
        self._began = time.monotonic()
        self._waiting = 0
        self._cores = 0.0

    def ended(self) -> None:
        """The last check-in is committed now."""
        self._waiting = self._stand.value(WAITING)
        took = time.monotonic() - self._began
        self._cores = (self._influx.cpu_s() - self._cpu[0]) / took

    def caught_up(self, checkins: int) -> Fed:
        """Wait until InfluxDB holds all there is; `checkins` are the run's."""
        took = self._influx.catch_up(self._stand)
        whole = time.monotonic() - self._began
        influxd, service = self._influx.cpu_s(), self._service.cpu_s()
        return Fed(
            waiting=self._waiting,
            caught_up_s=round(took, 2),
            per_s=round(checkins / whole, 1),
            cores=round(self._cores, 3),
            influxd_us=round((influxd - self._cpu[0]) / checkins * 1e6, 1),
            service_us=round((service - self._cpu[1]) / checkins * 1e6, 1),
        )


@contextmanager
def influxd(folder: Path) -> Iterator[Influx]:
    """Run InfluxDB in `folder`, on free ports of loopback."""
    folder.mkdir()
    port, conf = free_port(), folder / "influxdb.conf"
    conf.write_text(CONF.format(rpc=free_port(), port=port, folder=folder))
    url = f"http://127.0.0.1:{port}"
    argv = (program("influxd"), "run", "-config", str(conf))
    with (folder / "log").open("wb") as log, process(argv, stdout=log, stderr=log) as running:
        wait_for("InfluxDB answers", lambda: _answers(running, url), START_S, 0.05)
        yield Influx(running.pid, url)


def _answers(running: subprocess.Popen[bytes], url: str) -> bool:
    if running.poll() is not None:
        raise RuntimeError(f"influxd ended with {running.returncode}")
    try:
        with urllib.request.urlopen(f"{url}/ping", timeout=1):  # noqa: S310 - our own loopback
            return True
    except (urllib.error.URLError, OSError):
        return False
