"""From due to `round.missed` on MQTT, with many rounds open and check-ins coming in.

    python bench/deadline.py [--open N] [--due N] [--runs N] [--flood N] [--checkins N]

A real Mosquitto on the project's configuration, a ledger with `--open` open rounds (ten plans a
site, ten checkpoints a round), the service as a user starts it, and `--checkins` check-ins a
second at sites whose rounds are not due. Then, `--runs` times, `--due` rounds fall due at one
instant, and, `--floods` times, `--flood` rounds: `p50_ms`, `p99_ms`, `max_ms` are from that instant
until the event is with a subscriber at QoS 0, medians over the runs; `percentiles_ms` are of all
runs' rounds together; `all_s` until the last one is.

Every one of them must be told, once, as missed. `restart_s`: from starting the service's process
on that ledger until a check-in that waited with the broker is committed. `memory_mb`: of the
service, with all of that open. JSON goes to stdout, progress to stderr.
"""

import argparse
import json
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Engine

from bench.district import GRACE_MS, District, owe
from bench.load import Ear, encode, publish
from bench.stand import Stand, wait_for, wall
from bench.told import add_out, conclude, percentile, percentiles, tell
from devices import topics
from rules.plans import Window

HOUR_MS = 3_600_000
PLANS = 10
POINTS = 10
HANDHELDS = 4
"""Of a site: 1,000 check-ins a second of so many devices are no bursts that rules would mark."""
FLEET = 40_000
"""Devices that check in, in turns, at most."""
AHEAD_MS = 6_000
"""How long before the instant rounds are moved to it; the service looks each second at least."""
TOLD_WITHIN_S = 300.0
LOAD_S = 2
LINKS = 20
"""Of the load: a thousand that connect anew every other second would be another measurement."""
MOVE = """
UPDATE obligation SET closes = :due - :grace, due = :due, wake = :due WHERE id IN
(SELECT id FROM obligation WHERE revision = 0 AND opens < :now AND due > :late ORDER BY id LIMIT :n)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Milliseconds from one due instant until the events of its rounds were with a subscriber."""

    rounds: int
    p50_ms: int
    p99_ms: int
    max_ms: int
    checkins_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """How long a restart took, and the CPU of the service until then, all threads."""

    seconds: float
    cpu_s: float


class Bench:
    """The stand with all rounds open."""

    def __init__(self, folder: Path, asked: argparse.Namespace) -> None:
        due = asked.runs * asked.due + asked.floods * asked.flood
        now = wall()
        self.district = District(
            sites=-(-(asked.open + due) // PLANS),
            plans=PLANS,
            points=POINTS,
            handhelds=HANDHELDS,
            windows=(_window(now),),
        )
        talking = min(asked.open // PLANS, FLEET // HANDHELDS)
        self.stand = Stand(folder, self.district.fleet(talking), self._fill)
        self.took: dict[int, list[int]] = {}  # rounds at one instant: ms until each event
        self._asked = asked
        self._said = 0

    def _fill(self, engine: Engine) -> None:
        now = wall()
        self.district.fill(engine, now, since=now - 3 * HOUR_MS)
        tell(f"registry of {self.district.sites} sites in {(wall() - now) / 1_000:.1f} s")
        made = owe(engine, now)
        tell(f"what they owe in {made.seconds:.1f} s")

    def restart(self, sampled: Path | None = None) -> Restart:
        """From the start of the process to the commit of a check-in that was waiting."""
        with self.stand.service():
            pass
        self._publish(1)
        before, started = self._top(), time.monotonic()
        with self.stand.service(sampled, ready=False) as service:
            wait_for("the first check-in is kept", lambda: self._top() > before, TOLD_WITHIN_S)
            return Restart(seconds=time.monotonic() - started, cpu_s=service.cpu_s())

    def fall_due(self, rounds: int) -> Told:
        """Let `rounds` rounds fall due at one instant, and listen until all of them were told."""
        topic = topics.event("+", "round.missed")
        with closing(Ear(self.stand.address, "bench-listener", topic)) as ear, self._talking():
            kept, since = self._top(), time.monotonic()
            due = wall() + AHEAD_MS
            self._move(rounds, due)
            events = self._listen(ear, rounds)
            rate = (self._top() - kept) / (time.monotonic() - since)
        said = [json.loads(payload) for _, payload in events]
        once = {event["subject"] for event in said if event["at"] == due}
        if not len(events) == len(once) == rounds:
            raise RuntimeError(f"{len(events)} events, {len(once)} of {rounds} rounds")
        took = [came - due for came, _ in events]
        self.took.setdefault(rounds, []).extend(took)
        return Told(
            rounds=rounds,
            p50_ms=percentile(took, 50),
            p99_ms=percentile(took, 99),
            max_ms=max(took),
            checkins_per_s=round(rate, 1),
        )

    def _move(self, rounds: int, due: int) -> None:
        now = wall()
        values = {"due": due, "grace": GRACE_MS, "now": now, "late": now + HOUR_MS, "n": rounds}
        with closing(sqlite3.connect(self.stand.database, timeout=30)) as ledger, ledger:
            moved = ledger.execute(MOVE, values).rowcount
        if moved != rounds or wall() > due:
            raise RuntimeError(f"{moved} of {rounds} rounds were moved in time")

    def _listen(self, ear: Ear, rounds: int) -> list[tuple[int, bytes]]:
        told = "SELECT count(*) FROM outbox"
        missed = "SELECT count(*) FROM event WHERE kind = 'round.missed' AND raised_at > ?"
        since = wall()
        wait_for(
            "every round is judged and told",
            lambda: self.stand.value(missed, since) >= rounds and not self.stand.value(told),
            TOLD_WITHIN_S,
            0.25,
        )
        time.sleep(0.5)
        return [(came, payload) for came, _, payload in ear.timed()]

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """Check-ins come in for as long as the block runs."""
        over = threading.Event()

        def talk() -> None:
            while not over.is_set():
                self._publish(LOAD_S * self._asked.checkins, self._asked.checkins)

        thread = threading.Thread(target=talk)
        if self._asked.checkins:
            thread.start()
        try:
            yield
        finally:
            over.set()
            if self._asked.checkins:
                thread.join()

    def _publish(self, messages: int, per_s: float | None = None) -> None:
        """The next messages of the fleet: its devices in turn, each counting on."""
        while messages:
            turn, place = divmod(self._said, len(self.stand.fleet))
            part = self.stand.fleet[place : place + messages]
            load = encode(part, turn + 1, len(part), links=LINKS)
            publish(self.stand.address, load, per_s)
            self._said += len(part)
            messages -= len(part)

    def _top(self) -> int:
        return self.stand.value("SELECT max(id) FROM entry")

    def open(self) -> int:
        """How many rounds are open now."""
        query = "SELECT count(*) FROM obligation WHERE revision = 0 AND opens <= ?"
        return self.stand.value(query, wall())


def _window(now: int) -> Window:
    """A window of the day, by UTC, that opened more than an hour ago and stays open for long."""
    hour = now // HOUR_MS % 24
    return Window.parse(f"{(hour - 1) % 24:02}:00-{(hour + 12) % 24:02}:00")


def measure(asked: argparse.Namespace) -> dict[str, object]:
    """Everything, one after the other."""
    with tempfile.TemporaryDirectory(prefix="gridbeat-bench-") as name:
        bench = Bench(Path(name), asked)
        with bench.stand.broker():
            opened = bench.open()
            restarts = [bench.restart().seconds for _ in range(asked.runs)]
            tell(f"{opened} rounds are open; restarts: {restarts}")
            with bench.stand.service(asked.profile) as service:
                due = [_told(bench.fall_due(asked.due)) for _ in range(asked.runs)]
                flood = [_told(bench.fall_due(asked.flood)) for _ in range(asked.floods)]
                memory = service.memory_mb()
    told = {rounds: percentiles(took) for rounds, took in bench.took.items()}
    return {
        "open": opened,
        "due": {"rounds": asked.due, **_medians(due), "percentiles_ms": told[asked.due]},
        "flood": {"rounds": asked.flood, **_medians(flood), "percentiles_ms": told[asked.flood]},
        "all_s": round(statistics.median(run.max_ms for run in flood) / 1_000, 2),
        "restart_s": round(statistics.median(restarts), 2),
        "memory_mb": round(memory),
        "runs": {
            "due": [asdict(run) for run in due],
            "flood": [asdict(run) for run in flood],
            "restart_s": [round(took, 2) for took in restarts],
        },
    }


def _told(told: Told) -> Told:
    tell(str(told))
    return told


def _medians(found: Sequence[Told]) -> dict[str, float]:
    names = ("p50_ms", "p99_ms", "max_ms", "checkins_per_s")
    return {name: statistics.median(getattr(told, name) for told in found) for name in names}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--open", type=int, default=100_000, help="rounds, to the last instant")
    parser.add_argument("--due", type=int, default=1_000, help="rounds at one instant")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--flood", type=int, default=30_000, help="rounds at one instant")
    parser.add_argument("--floods", type=int, default=1)
    parser.add_argument("--checkins", type=int, default=1_000, help="a second; 0: none")
    parser.add_argument("--profile", type=Path, help="where the service's CPU goes, as JSON")
    add_out(parser)
    asked = parser.parse_args()
    if min(asked.open, asked.due, asked.runs, asked.flood, asked.floods) < 1:
        parser.error("at least one of each")
    conclude(measure(asked), asked.out)


if __name__ == "__main__":
    main()
