"""The first budget: durable, judged check-ins a second, beside what the C client receives.

    python bench/ingest.py [--messages N] [--pairs N] [--devices N] [--mode live|drain] [--influx]

On one Mosquitto with the project's own configuration, in turns: A, the service; B, `mosquitto_sub`
with a persistent session at QoS 1. Both of a pair get the same messages (but for the time in them);
the other is away and has no session meanwhile. JSON goes to stdout, progress to stderr.

*live* (default): the clock starts at the first byte published and stops when the last check-in is
committed (A) or the last message received (B). Publisher, broker and subscriber share the machine,
as in life: this is the number of the budget. *drain*: the messages wait in the subscriber's session
before it comes, so that publishing takes nothing from it; A is timed from its first commit seen to
the last, B from its start. It isolates the subscriber, at a backlog's best.

What A must show: every message in the ledger, at its checkpoint, none in quarantine, no clock
called wrong, and every device receipted up to its last `seq`. Rounds are open at every site, and
fall due through the run. `cpu_us`: CPU of the service's process, all threads, for one check-in,
receipts included. A run is shorter than a round, so most of its reads are judged after it:
`judging_us` is what that costs for each read that a judge looks at, measured after a last run of A
until every open round has its verdict. `left_us`: CPU that a service with 0.9 of B's rate would
have for a check-in, on all cores, once broker and load took what they took in B.

With `--influx` a real InfluxDB 1 runs on the same cores, and A feeds it meanwhile. After each A the
feeder is waited for, and InfluxDB has to hold a point of every check-in before B begins; what that
took is told beside it (`Fed` in bench/influx.py).
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from bench.influx import Fed, Influx, Watch, influxd
from bench.load import Ear, Load, discard_session, encode, linked, publish
from bench.stand import Service, Stand, fleet, process, program, wait_for, wall
from bench.told import add_out, conclude, tell

SUBSCRIBER = "bench-subscriber"
SESSIONS = ("gridbeat-main", "gridbeat-sos", "gridbeat-bulk")
MOST = 900_000
"""Messages of a run: all of them must fit into one client's queue at the broker."""
SLOWEST_PER_S = 500
"""A run that is slower than this is given up."""
RECEIPTED_WITHIN_S = 5.0
RATES = ("ratio", "gridbeat_per_s", "mosquitto_sub_per_s", "cpu_us", "left_us")
BUDGET = 0.9
FED = tuple(field.name for field in fields(Fed))
HELLO = 10
"""Reads of each device before the clock starts: after so many it is known to read in a burst, as it
does throughout; what comes after a silence is looked at more closely (decision 11)."""
SETTLE_S = 0.3
JUDGED_WITHIN_S = 180.0
CALM_WITHIN_S = 180.0
"""Doubts of a start are looked at with all reads of twenty minutes: those of earlier runs."""
SECOND_MS = 1_000
LOOKS = """
SELECT count(*) FROM obligation o
JOIN entry e ON e.site_id = o.site_id AND e.at >= o.opens AND e.at < o.due
WHERE o.revision = 0 AND o.opens <= ?
"""
"""Reads that the rounds now open have to be judged from, those in two rounds twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One A and one B on the same messages."""

    ratio: float
    gridbeat_per_s: float
    mosquitto_sub_per_s: float
    cpu_us: float
    left_us: float
    fed: Fed | None = None


@dataclass(slots=True, kw_only=True)
class Bench:
    """One measurement of so many check-ins a run.

    `live`: both sides read while the load is being published. `influx`: A feeds it. `batch` and
    `note`: how the check-ins come (`bench.load.encode`).
    """

    stand: Stand
    checkins: int
    live: bool = True
    profile: Path | None = None
    influx: Influx | None = None
    batch: int = 1
    note: int = 0
    fed: Fed | None = None
    _seq: int = 0  # no birth says where counting starts

    def pair(self) -> Pair:
        """A, then B."""
        hello, load = self.hello(), self.load(self.checkins)
        mine, cpu_us = self.gridbeat(hello, load)
        theirs, others_us = self.mosquitto_sub(load)
        cores = os.cpu_count() or 1
        return Pair(
            ratio=round(mine / theirs, 4),
            gridbeat_per_s=round(mine, 1),
            mosquitto_sub_per_s=round(theirs, 1),
            cpu_us=round(cpu_us, 2),
            left_us=round(cores / (BUDGET * theirs) * 1e6 - others_us, 2),
            fed=self.fed,
        )

    def load(self, checkins: int) -> Load:
        """The next check-ins of the fleet; none has been sent before."""
        messages = checkins // self.batch
        load = encode(self.stand.fleet, self._seq, messages, batch=self.batch, note=self.note)
        self._seq = max(load.last.values()) + 1
        return load

    def hello(self) -> Load:
        """What each device says before the clock starts."""
        turns = -(-HELLO // self.batch)  # whole ones: the next load begins at one seq for all
        return self.load(turns * self.batch * len(self.stand.fleet))

    # A -------------------------------------------------------------------------------------------

    def gridbeat(self, hello: Load, load: Load) -> tuple[float, float]:
        """Check-ins a second, and CPU microseconds for each."""
        with self._receipted(load):
            if self.live:
                with self._warm(hello) as service:
                    measured = self._live(service, load)
            else:
                with self._warm(hello):
                    pass
                publish(self.stand.address, load)
                before = self._top()
                with self.stand.service(self.profile) as service:
                    measured = self._drained(service, load, before)
        for session in SESSIONS:
            discard_session(self.stand.address, session)
        return measured

    @contextmanager
    def _warm(self, hello: Load) -> Iterator[Service]:
        """The service once it knows every device and its pace, and has judged what fell due."""
        before = self._top()
        settings = self.influx.settings() if self.influx else {}
        with self.stand.service(self.profile, **settings) as service:
            publish(self.stand.address, hello)
            self._kept(hello, before)
            due = "SELECT count(*) FROM obligation WHERE wake < ?"
            made = "SELECT count(*) FROM obligation"
            wait_for(
                "rounds are open, nothing is overdue and nothing in doubt",
                lambda: (
                    self.stand.value(made) > 0
                    and self.stand.value(due, wall() - 1_500) == 0
                    and self.stand.value("SELECT count(*) FROM doubt") == 0
                ),
                CALM_WITHIN_S,
                0.1,
            )
            if self.influx:
                self.influx.catch_up(self.stand)
            yield service

    def _live(self, service: Service, load: Load) -> tuple[float, float]:
        watch = Watch(self.stand, service, self.influx) if self.influx else None
        with linked(self.stand.address, load) as links:
            before, cpu = self._top(), service.cpu_s()
            if self.profile:
                service.order(signal.SIGUSR1)
            started = time.monotonic()
            links.publish()
            published = time.monotonic()
            self._kept(load, before)
            ended = time.monotonic()
        if self.profile:
            service.order(signal.SIGUSR2)
        if watch:
            watch.ended()
        time.sleep(SETTLE_S)
        used = service.cpu_s() - cpu
        if watch:
            self.fed = watch.caught_up(load.checkins)
        tell(f"    published in {published - started:.2f} s, kept in {ended - started:.2f} s")
        return load.checkins / (ended - started), used / load.checkins * 1e6

    def _drained(self, service: Service, load: Load, before: int) -> tuple[float, float]:
        wait_for("the first commit", lambda: self._top() > before, 30, 0.001)
        started, first, cpu = time.monotonic(), self._top(), service.cpu_s()
        self._kept(load, before)
        rest = before + load.checkins - first
        ended = time.monotonic()
        time.sleep(SETTLE_S)
        return rest / (ended - started), (service.cpu_s() - cpu) / max(rest, 1) * 1e6

    def _top(self) -> int:
        return self.stand.value("SELECT max(id) FROM entry")

    def _kept(self, load: Load, before: int) -> None:
        """Wait for the commit of the last message, then count: each of them, placed."""
        target = before + load.checkins
        wait_for(
            "every check-in is kept",
            lambda: self._top() >= target,
            30 + load.checkins / SLOWEST_PER_S,
        )
        placed = "SELECT count(*) FROM entry WHERE id > ? AND checkpoint_id IS NOT NULL"
        kept = self.stand.value(placed, before)
        refused = self.stand.value("SELECT count(*) FROM quarantine")
        moved = self.stand.value("SELECT count(*) FROM correction")
        if kept != load.checkins or refused or moved:
            raise RuntimeError(
                f"{kept} of {load.checkins} kept, {refused} refused, {moved} moved in time"
            )

    @contextmanager
    def _receipted(self, load: Load) -> Iterator[None]:
        """Listen to what the devices are told meanwhile; at the end, each must know all it sent."""
        devices = Ear(self.stand.address, "bench-devices", "patrol/v1/+/+/down/receipt")
        with closing(devices):
            yield
            wait_for(
                "every device is receipted",
                lambda: receipted(devices.messages()).items() >= load.last.items(),
                RECEIPTED_WITHIN_S,
                0.1,
            )

    # B -------------------------------------------------------------------------------------------

    def mosquitto_sub(self, load: Load) -> tuple[float, float]:
        """Messages a second that the C client receives; CPU microseconds of broker and load for
        each."""
        argv = self._client(SUBSCRIBER, "patrol/v1/+/+/up/+", "-q", "1", "-c")
        subprocess.run([*argv, "-E"], check=True, timeout=30)
        if not self.live:
            publish(self.stand.address, load)
        seen = self.stand.connected(SUBSCRIBER)
        started, used = time.monotonic(), self._others_s()
        argv += ["-C", str(load.messages)]
        with process(argv, stdout=subprocess.DEVNULL) as running:
            if self.live:
                wait_for("it is in", lambda: self.stand.connected(SUBSCRIBER) > seen, 10)
                with linked(self.stand.address, load) as links:
                    started, used = time.monotonic(), self._others_s()
                    links.publish()
                    published = time.monotonic() - started
            if running.wait(30 + load.messages / SLOWEST_PER_S) != 0:
                raise RuntimeError(f"mosquitto_sub ended with {running.returncode}")
            took, used = time.monotonic() - started, self._others_s() - used
        if self.live:
            tell(f"    published in {published:.2f} s, received in {took:.2f} s")
        discard_session(self.stand.address, SUBSCRIBER)
        return load.messages / took, used / load.messages * 1e6

    def _others_s(self) -> float:
        """CPU that the broker has used, and this process, which is the load."""
        return self.stand.mosquitto.cpu_s() + time.process_time()

    def _client(self, client_id: str, topic: str, *options: str) -> list[str]:
        to = self.stand.address
        where = ("-h", to.host, "-p", str(to.port), "-i", client_id, "-t", topic)
        login = ("-u", to.username or "", "-P", to.password or "")
        return [program("mosquitto_sub"), *where, *login, *options]

    # Judging -------------------------------------------------------------------------------------

    def judging_us(self) -> float:
        """CPU microseconds for each read that a judge looks at, at due.

        CPU is read in the middle of each second, between two markers; what a second in which
        verdicts were written took above the mean of those without is the judging's.
        """
        hello, load = self.hello(), self.load(self.checkins)
        busy: list[float] = []
        quiet: list[float] = []
        pending = "SELECT count(*) FROM obligation WHERE revision = 0 AND opens <= ?"
        with self._warm(hello) as service:
            before = self._top()
            publish(self.stand.address, load)
            self._kept(load, before)
            opened, deadline = wall(), time.monotonic() + JUDGED_WITHIN_S
            looks = self.stand.value(LOOKS, opened)
            left, cpu = self.stand.value(pending, opened), service.cpu_s()
            while left and time.monotonic() < deadline:
                time.sleep((SECOND_MS * 3 // 2 - wall() % SECOND_MS) / SECOND_MS)
                now, used = self.stand.value(pending, opened), service.cpu_s()
                (busy if now < left else quiet).append(used - cpu)
                left, cpu = now, used
        idle = statistics.fmean(quiet) if quiet else 0.0
        return round(sum(used - idle for used in busy) / max(looks, 1) * 1e6, 2)


def receipted(messages: Iterable[tuple[str, bytes]]) -> dict[str, int]:
    """By device: up to which `seq` a receipt covered everything."""
    found: dict[str, int] = {}
    for topic, payload in messages:
        receipt = json.loads(payload)
        if not receipt["missing"]:
            found[topic.split("/")[3]] = receipt["upto"]
    return found


def measure(asked: argparse.Namespace) -> dict[str, object]:
    """Run the pairs and sum them up."""
    with tempfile.TemporaryDirectory(prefix="gridbeat-bench-") as name, ExitStack() as running:
        stand = Stand(Path(name), fleet(asked.devices))
        running.enter_context(stand.broker())
        influx = running.enter_context(influxd(Path(name) / "influx")) if asked.influx else None
        bench = Bench(
            stand=stand,
            checkins=asked.messages,
            live=asked.mode == "live",
            profile=asked.profile,
            influx=influx,
        )
        pairs: list[Pair] = []
        for number in range(1, asked.pairs + 1):
            pair = bench.pair()
            pairs.append(pair)
            tell(f"{number}/{asked.pairs}: {pair}")
        judging = bench.judging_us() if asked.judging else None
        sample = bench.load(1)
        return {
            **{name: _median(pairs, name) for name in RATES},
            "influx": influx and {name: _fed(pairs, name) for name in FED},
            "judging_us": judging,
            "mode": asked.mode,
            "devices": asked.devices,
            "messages": asked.messages,
            "payload_bytes": sample.payload_bytes,
            "pairs": [asdict(pair) for pair in pairs],
        }


def _median(pairs: Sequence[Pair], name: str) -> float:
    values: list[float] = [getattr(pair, name) for pair in pairs]
    return round(statistics.median(values), 4)


def _fed(pairs: Sequence[Pair], name: str) -> float:
    values: list[float] = [getattr(pair.fed, name) for pair in pairs]
    return round(statistics.median(values), 3)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=50_000, help="of each run")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--mode", choices=("live", "drain"), default="live")
    parser.add_argument("--no-judging", dest="judging", action="store_false", help="leave it out")
    parser.add_argument("--profile", type=Path, help="where the service's CPU goes, as JSON")
    parser.add_argument("--influx", action="store_true", help="feed a real InfluxDB meanwhile")
    add_out(parser)
    asked = parser.parse_args()
    if not asked.devices <= asked.messages <= MOST or min(asked.devices, asked.pairs) < 1:
        parser.error(f"at least one pair and device, devices <= messages <= {MOST}")
    if asked.influx and asked.mode != "live":
        parser.error("InfluxDB is fed while check-ins come in: --mode live")
    asked.messages += -asked.messages % asked.devices  # as many of each device
    conclude(measure(asked), asked.out)


if __name__ == "__main__":
    main()
