"""A district's year through the whole service, as fast as it goes, every verdict beside the truth.

    python bench/year.py [--days N] [--sites N] [--seed N] [--profile FILE] [--keep FILE]

Generated is what 200 schools publish in a year: twelve rounds of eight checkpoints a night, and on
school days six of ten, walked with one of the school's twelve handhelds each. By seed, checkpoints
and rounds are left out, rounds are walked in the grace, schools are cut off through a round
(`unknown`), handhelds are cut off and tell what they read when it was due long ago (amended). What
must be said of each round is known as it is made, from the simulator's reading of the plans and the
calendar. All of it goes into a recording, which `firmware-sim play` publishes through a real
Mosquitto to the service as a user starts it, with GRIDBEAT_CLOCK=mqtt and a tick each five minutes.

Timed is from the player's start until every round has its verdict and every event is told. Each
check-in must be in the ledger, and every verdict (standing, expected, missing) the truth's, or the
run fails. `--days` and `--sites` play a slice: then `year_minutes` is what 9 million would take at
its rate, and `extrapolated` says so. `course`: through the run, at so many seconds from its start
the check-ins kept, the rounds due by the clock of the year that have no verdict yet, and MiB of the
service. JSON goes to stdout, progress to stderr.
"""

import argparse
import datetime as dt
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine

from bench.stand import Service, Stand, wait_for, wall
from bench.told import add_out, conclude, tell
from firmware_sim.plans import Occasion, occasions, read_registry
from firmware_sim.recording import Said, recording
from firmware_sim.wire import CLOCK_TOPIC, encode_status, encode_tick, up_topic
from store import registry

YEAR = 9_000_000
"""Check-ins of the budget."""
FIRST_DAY = dt.date(2025, 9, 1)
DAYS, SITES, DEVICES = 365, 200, 12
ZONE = "Asia/Shanghai"
TERMS = "terms: [{from: 2025-09-01, to: 2026-01-25}, {from: 2026-03-01, to: 2026-07-10}]"
DAILY = ("06:30", "07:30", "08:30", "10:00", "14:00", "16:00")
NIGHTLY = tuple(f"{hour % 24:02}:00" for hour in range(18, 30))
LASTING = dt.timedelta(minutes=45)
POINTS = tuple(f"point-{number}" for number in range(10))
ROUTES = {"night": POINTS[:8], "day": POINTS}
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
TICK_MS = 5 * MINUTE
SKIPPED_POINT, SKIPPED_ROUND, LATE, FOUND, DARK = 0.01, 0.01, 0.01, 0.002, 0.0005
BOOT, EPOCH = "5f0e9c2a", 1
READY_MS = HOUR
"""After the last day: what is still due comes due."""
JUDGED_WITHIN_S = 900.0
LOOK_S = 1.0
MOST_POINTS = 240
PENDING = "SELECT count(*) FROM obligation WHERE wake <= ?"
COURSE = """
SELECT (SELECT max(id) FROM entry),
       (SELECT count(*) FROM obligation WHERE wake <= (SELECT max(marker_at) FROM worker))
"""
VERDICTS = """
SELECT o.key, o.standing, o.expected, v.missing, v.revision FROM obligation o
JOIN verdict v ON v.obligation_id = o.id AND v.revision = o.revision WHERE o.due <= ?
"""


class Truth(NamedTuple):
    """What must be said of a round in the end."""

    standing: str
    expected: int
    missing: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class District:
    """What it publishes from `begins` on, and the truth of what has been generated so far."""

    sites: int
    days: int
    begins: int
    chance: random.Random
    truth: dict[str, Truth] = field(default_factory=dict)
    checkins: int = 0
    _seqs: Counter[str] = field(default_factory=Counter)

    @property
    def ends(self) -> int:
        """The last tick."""
        return self.begins + self.days * DAY + READY_MS

    def said(self) -> Iterator[Said]:
        """All that is published, in order, with ticks."""
        now = self.begins
        yield _tick(now)
        for site in map(_site, range(self.sites)):
            yield from (_status(site, f"{site}-{n}", now, online=True) for n in range(DEVICES))
        for one in self._days():
            while one.at >= now + TICK_MS:
                now += TICK_MS
                yield _tick(now)
            yield one
        while now < self.ends:
            now += TICK_MS
            yield _tick(now)

    def _days(self) -> Iterator[Said]:
        plans = read_registry(registry_text(1))
        windows = occasions(plans, self.begins, self.begins + self.days * DAY)
        for _, opening in groupby(windows, lambda window: (window.opens - self.begins) // DAY):
            of_day = list(opening)
            rounds = ((site, window) for site in range(self.sites) for window in of_day)
            happened = [one for site, window in rounds for one in self._round(_site(site), window)]
            yield from sorted(happened, key=lambda one: one.at)

    def _round(self, site: str, window: Occasion) -> Iterator[Said]:
        """One round of a site, for whose plans those of the first stand."""
        key = window.id.replace(_site(0), site, 1)
        route = ROUTES[window.plan.id]
        device = f"{site}-{self.chance.randrange(DEVICES)}"
        fate = self.chance.random()
        if fate < DARK:
            self.truth[key] = Truth("unknown", len(route), route)
            for number in range(DEVICES):
                yield from _away(site, f"{site}-{number}", window)
            return
        if fate < DARK + SKIPPED_ROUND:
            self.truth[key] = Truth("missed", len(route), route)
            return
        late = fate > 1 - LATE
        found = 1 - LATE - FOUND < fate <= 1 - LATE
        missing = tuple(p for p in route if not found and self.chance.random() < SKIPPED_POINT)
        walked = [point for point in route if point not in missing]
        standing = "missed" if not walked else "incomplete" if missing else "completed"
        self.truth[key] = Truth(standing, len(route), missing)
        if found:
            yield from _away(site, device, window)
        for point, at in zip(walked, self._walk(window, len(walked), late=late), strict=True):
            yield self._read(site, device, point, at, window.due + 2 * MINUTE if found else at)

    def _walk(self, window: Occasion, points: int, *, late: bool) -> list[int]:
        """When a guard is where: on time, or within the grace of ten minutes."""
        at = window.closes + 10 * SECOND if late else window.opens + self._seconds(120, 900)
        pace = (25, 50) if late else (30, 150)
        times = []
        for _ in range(points):
            times.append(at)
            at += self._seconds(*pace)
        return times

    def _seconds(self, low: int, high: int) -> int:
        return int(self.chance.uniform(low, high)) * SECOND

    def _read(self, site: str, device: str, point: str, at: int, sent: int) -> Said:
        self._seqs[device] += 1
        self.checkins += 1
        seq, up = self._seqs[device], at - self.begins
        told = (seq, EPOCH, at, sent, BOOT, up, up + sent - at, _tag(site, point))
        payload = _READ % (*told, 60 + at // HOUR % 40)
        return Said(sent, f"patrol/v1/{site}/{device}/up/checkin", payload.encode())


_READ = (
    '{"seq":%d,"epoch":%d,"at":%d,"sent":%d,"boot":"%s","up":%d,"sent_up":%d,'
    '"tag":"%s","via":"nfc","bat":%d,"rssi":-71}'
)


def noon(day: dt.date) -> int:
    """When the year begins: at noon no round is open."""
    zone = read_registry(registry_text(1)).sites[_site(0)].zone
    return round(dt.datetime.combine(day, dt.time(12), zone).timestamp()) * SECOND


def registry_text(sites: int) -> str:
    """The registry file of so many schools, all with the same plans."""
    return "\n".join(["calendar: cn", TERMS, "sites:", *map(_school, range(sites))]) + "\n"


def _school(number: int) -> str:
    site = _site(number)
    points = [f'{{id: {p}, name: {p}, tags: ["{_tag(site, p)}"]}}' for p in POINTS]
    devices = [f"{{id: {site}-{n}}}" for n in range(DEVICES)]
    windows = {"night": NIGHTLY, "day": DAILY}
    plans = [
        f"{{id: {plan}, name: {plan}, route: [{', '.join(route)}], grace: 10m, "
        f"windows: [{', '.join(map(_window, windows[plan]))}]"
        + (", days: [school-day]}" if plan == "day" else "}")
        for plan, route in ROUTES.items()
    ]
    return (
        f"  - {{id: {site}, name: {site}, timezone: {ZONE}, checkpoints: [{', '.join(points)}],\n"
        f"     devices: [{', '.join(devices)}],\n     plans: [{', '.join(plans)}]}}"
    )


def _window(opens: str) -> str:
    closes = dt.datetime.combine(FIRST_DAY, dt.time.fromisoformat(opens)) + LASTING
    return f'"{opens}-{closes:%H:%M}"'


def _site(number: int) -> str:
    return f"school-{number:03}"


def _tag(site: str, point: str) -> str:
    return f"04{int(site[-3:]):08X}{int(point[-1]):04X}"


def _tick(now: int) -> Said:
    return Said(now, CLOCK_TOPIC, encode_tick(now))


def _status(site: str, device: str, at: int, *, online: bool) -> Said:
    """A birth, or a last will, which no device sends itself."""
    told = {"online": online, "boot": BOOT, "sent": at if online else None, "epoch": EPOCH}
    return Said(at, up_topic(site, device, "status"), encode_status(told), retain=True)


def _away(site: str, device: str, window: Occasion) -> Iterator[Said]:
    """A device is cut off through a window and its grace."""
    yield _status(site, device, window.opens - MINUTE, online=False)
    yield _status(site, device, window.due + MINUTE, online=True)


class Bench:
    """The stand, and a recording of the district."""

    def __init__(self, folder: Path, asked: argparse.Namespace) -> None:
        chance = random.Random(asked.seed)
        self.district = District(
            sites=asked.sites, days=asked.days, begins=noon(FIRST_DAY), chance=chance
        )
        self._asked = asked
        self._file = asked.keep or folder / "year.rec"
        self.stand = Stand(folder, (), self._fill)

    def _fill(self, engine: Engine) -> None:
        document = registry.read_document(registry_text(self._asked.sites).encode())
        registry.apply(engine, document, now=wall(), author="bench", source="bench")

    def generate(self) -> float:
        """Write the recording; returns the seconds it took."""
        begun = time.monotonic()
        with recording(self._file) as recorder:
            for one in self.district.said():
                recorder.write(one)
        return time.monotonic() - begun

    def play(self) -> dict[str, object]:
        """Play it and wait for the verdicts; returns what it took."""
        with (
            self.stand.broker(),
            self.stand.service(self._asked.profile, clock="mqtt") as service,
        ):
            used, begun = service.cpu_s(), time.monotonic()
            with watched(self.stand, service) as course:
                told = self._play()
                published = time.monotonic() - begun
                wait_for("every round is judged and told", self._is_over, JUDGED_WITHIN_S, 0.05)
                took, cpu = time.monotonic() - begun, service.cpu_s() - used
            return {
                **self._rates(took, cpu),
                **self._sizes(service, told, published),
                "course": [*course[: -1 : -(-len(course) // MOST_POINTS)], course[-1]],
            }

    def _play(self) -> dict[str, float]:
        simulator = Path(sys.executable).with_name("firmware-sim")
        argv = [str(simulator), "play", str(self._file), "--mqtt-url", self.stand.mqtt_url]
        done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
        told: dict[str, float] = json.loads(done.stdout)
        return told

    def _is_over(self) -> bool:
        last = self.district.ends
        return (
            self.stand.value("SELECT max(marker_at) FROM worker") >= last
            and not self.stand.value(PENDING, last)
            and not self.stand.value("SELECT count(*) FROM outbox")
        )

    def _rates(self, took: float, cpu: float) -> dict[str, object]:
        checkins = self.district.checkins
        whole = self._asked.days == DAYS and self._asked.sites == SITES
        return {
            "minutes": round(took / 60, 2),
            "checkins_per_s": round(checkins / took, 1),
            "cpu_us": round(cpu / checkins * 1e6, 1),
            "year_minutes": round(YEAR / checkins * took / 60, 1),
            "extrapolated": not whole,
        }

    def _sizes(
        self, service: Service, told: dict[str, float], published: float
    ) -> dict[str, object]:
        size = self.stand.database.stat().st_size
        return {
            "published_s": round(published, 1),
            "ticks": told["ticks"],
            "memory_mb": round(service.memory_mb()),
            "ledger_bytes_per_checkin": round(size / self.district.checkins),
        }

    def compare(self) -> dict[str, object]:
        """Hold the ledger against the truth; raises RuntimeError where they differ."""
        kept = self.stand.value("SELECT count(*) FROM entry WHERE seq IS NOT NULL")
        if kept != self.district.checkins:
            raise RuntimeError(f"{kept} check-ins are kept of {self.district.checkins}")
        rows = self.stand.connection.execute(VERDICTS, (self.district.ends,)).fetchall()
        held = {key: Truth(s, e, tuple(json.loads(m))) for key, s, e, m, _ in rows}
        if differ := differences(held, self.district.truth):
            first = "; ".join(differ[:5])
            raise RuntimeError(f"{len(differ)} of {len(held)} verdicts differ: {first}")
        return {
            "rounds": len(held),
            "verdicts": dict(Counter(told.standing for told in held.values()).most_common()),
            "amended": sum(revision > 1 for *_, revision in rows),
            "equal": True,
        }


@contextmanager
def watched(stand: Stand, service: Service) -> Iterator[list[tuple[float, int, int, int]]]:
    """How the run goes, looked at by a thread for as long as the block runs."""
    over, course, begun = threading.Event(), [(0.0, 0, 0, round(service.memory_mb()))], wall()

    def look() -> None:
        uri = f"file:{stand.database}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=30)) as ledger:
            ended = False
            while not ended:
                ended = over.wait(LOOK_S)
                kept, behind = ledger.execute(COURSE).fetchone()
                at = (wall() - begun) / 1_000
                course.append((round(at, 1), kept or 0, behind, round(service.memory_mb())))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield course
    finally:
        over.set()
        thread.join()


def differences(held: Mapping[str, Truth], truth: Mapping[str, Truth]) -> list[str]:
    """What the ledger says of which rounds, and should not; the order of checkpoints is free."""

    def plain(told: Truth | None) -> Truth | None:
        return told and told._replace(missing=tuple(sorted(told.missing)))

    keys = sorted(held.keys() | truth.keys())
    pairs = [(key, plain(held.get(key)), plain(truth.get(key))) for key in keys]
    return [f"{key}: {mine}, in truth {its}" for key, mine, its in pairs if mine != its]


def measure(asked: argparse.Namespace) -> dict[str, object]:
    """Everything, one after the other."""
    with tempfile.TemporaryDirectory(prefix="gridbeat-bench-") as name:
        bench = Bench(Path(name), asked)
        took = bench.generate()
        district = bench.district
        tell(f"{district.checkins} check-ins of {len(district.truth)} rounds in {took:.0f} s")
        played = bench.play()
        tell(f"played: {played}")
        found = bench.compare()
    return {
        "sites": asked.sites,
        "days": asked.days,
        "checkins": district.checkins,
        **played,
        **found,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--sites", type=int, default=SITES, help="schools")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--profile", type=Path, help="where the service's CPU goes, as JSON")
    parser.add_argument("--keep", type=Path, help="where the recording is to stay")
    add_out(parser)
    asked = parser.parse_args()
    if not (1 <= asked.days <= DAYS and 1 <= asked.sites <= 1_000):
        parser.error(f"1 to {DAYS} days, 1 to 1000 sites")
    conclude(measure(asked), asked.out)


if __name__ == "__main__":
    main()
