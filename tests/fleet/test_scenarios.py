"""The whole chain: a simulated fleet, a real broker, the service as a process, the truth."""

import datetime as dt
import functools
import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from desk.demo.score import score
from tests.servers import Server, mosquitto
from tests.service import Service, a_service, until

pytestmark = [pytest.mark.broker, pytest.mark.fleet]

SIMULATOR = Path(sys.executable).with_name("firmware-sim")
SEEDS = {
    "normal-day": range(1, 11),
    "offline-burst": range(1, 11),
    "bad-night": range(1, 11),
    "wrong-clocks": range(1, 4),
    "found-later": range(1, 4),
    "dst-night": range(1, 3),
    "dst-night-spring": range(1, 3),
    "makeup-week": range(1, 2),
    "copied-tags": range(1, 4),
    "inspections": range(1, 3),
}
RUNS = [(scenario, seed) for scenario, seeds in SEEDS.items() for seed in seeds]
HURT = (
    *("normal-day", "offline-burst", "bad-night", "wrong-clocks", "found-later"),
    "copied-tags",
)
PLAY_S = 300.0
PATIENCE_S = 120
KILLS = 12
"""On a busy machine a start takes longer than the service then lives: without an end to it, a run
would have none."""
OVERDUE, AMENDED = "checkpoint.overdue", "round.amended"
MOVED = ("ahead", "slow", "uptime")
REPLAYED, UNPROVEN = "checkin.replayed", "checkin.unproven"


@functools.cache
def a_registry(scenario: str) -> bytes:
    """The registry file that the scenario needs."""
    return subprocess.run(
        [str(SIMULATOR), "registry", scenario], capture_output=True, check=True, timeout=30
    ).stdout


@functools.cache
def its_tags(scenario: str) -> dict[str, Any]:
    """The tags of the scenario that prove presence, and the master key of their keys."""
    told = subprocess.run(
        [str(SIMULATOR), "tags", scenario], capture_output=True, check=True, timeout=30
    ).stdout
    return json.loads(told)


@contextmanager
def playing(folder: Path, port: int, scenario: str, seed: int) -> Iterator[subprocess.Popen[str]]:
    """The simulator at play; `folder/truth` is what really happened."""
    argv = [
        *(str(SIMULATOR), "run", scenario, "--seed", str(seed)),
        *("--patience", str(PATIENCE_S)),
        *("--mqtt-url", f"mqtt://127.0.0.1:{port}", "--out", str(folder / "truth")),
        *("--progress", "json"),
    ]
    with (folder / "sim.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def summary_of(simulator: subprocess.Popen[str], folder: Path) -> dict[str, Any]:
    """What it ends with. Fails where it does not end well or in time."""
    alarm = threading.Timer(PLAY_S, simulator.kill)
    alarm.start()
    try:
        told = [json.loads(line) for line in simulator.stdout or ()]
        code = simulator.wait()
    finally:
        alarm.cancel()
    assert code == 0, (folder / "sim.log").read_text()[-3000:]
    return told[-1]


def assert_equals_truth(service: Service, folder: Path, summary: dict[str, Any]) -> None:
    """Verdicts, what was visited and missing, overdue stretches and counts are the simulator's."""
    found = score(service.engine, folder / "truth", summary, None)
    assert [d for d in found.differences if d.what != "overdue stretches"] == []
    told = json.loads((folder / "truth" / "verdicts.json").read_text())
    overdue = {e["subject"]: e for e in service.listing("event", "list") if e["kind"] == OVERDUE}
    withdrawn = {subject for subject, event in overdue.items() if event["data"]["withdrawn"]}
    assert set(overdue) - withdrawn == set(told["overdue"])
    # a service that was behind may know better before it looks, and then never raises it
    assert withdrawn <= set(told["withdrawn"])
    assert_times_equal_truth(service, folder)
    assert_marks_equal_truth(service, told["marks"])


def assert_marks_equal_truth(service: Service, told: dict[str, list[str]]) -> None:
    """Copies of messages, of tags, and taps told later than they were: each found, and no other."""
    until(lambda: service.value("SELECT count(*) FROM doubt") == 0, "doubts are resolved")
    held = {REPLAYED: set(), UNPROVEN: set()}
    for event in service.listing("event", "list"):
        asks_for_proof = event["kind"] == REPLAYED or "proof" in event["data"]
        if event["kind"] in held and asks_for_proof and event["state"] != "resolved":
            held[event["kind"]].add(event["subject"])
    assert held == {REPLAYED: set(told["replayed"]), UNPROVEN: set(told["unproven"])}


def assert_times_equal_truth(service: Service, folder: Path) -> None:
    """A wrong clock is set right, or not, as the simulator's reading of the contract says."""
    facts = map(json.loads, (folder / "truth" / "truth.jsonl").read_text().splitlines())
    reads = [f for f in facts if f["fact"] == "read" and f["delivered"] is not None]
    moved = {_identity(f): (f["dated"], f["how"]) for f in reads if f["how"] in MOVED}
    listed = [c for c in service.listing("checkin", "list") if c["corrected_how"] is not None]
    assert {_identity(c): (_ms(c["corrected_at"]), c["corrected_how"]) for c in listed} == moved


def _identity(row: dict[str, Any]) -> tuple[str, int, int]:
    return row["device"], row["epoch"], row["seq"]


def _ms(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


def assert_amended_as_truth(service: Service, folder: Path) -> None:
    """What was said at due and what holds in the end differ in the simulator's rounds alone."""
    told = json.loads((folder / "truth" / "verdicts.json").read_text())["rounds"]
    amended = {e["subject"] for e in service.listing("event", "list") if e["kind"] == AMENDED}
    changed = {key for key, verdict in told.items() if verdict["first"] != verdict["verdict"]}
    assert amended & told.keys() == changed


def play(
    folder: Path,
    broker: Server,
    scenario: str,
    seed: int,
    hurt: Callable[[Service, random.Random, threading.Event], None] | None = None,
) -> None:
    """One run; `hurt` does its worst beside it until the event is set."""
    tags = its_tags(scenario)
    keys = {"tag_master_keys": tags["master_keys"]} if tags["master_keys"] else {}
    document = a_registry(scenario)
    with a_service(folder, broker.port, document, start=False, clock="mqtt", **keys) as service:
        for uid in tags["tags"]:
            assert service.command("tag", "enroll", uid).returncode == 0
        service.start()
        with playing(folder, broker.port, scenario, seed) as simulator:
            over = threading.Event()
            worst = threading.Thread(
                target=hurt, args=(service, random.Random(seed), over), daemon=True
            )
            if hurt is not None:
                worst.start()
            try:
                summary = summary_of(simulator, folder)
            finally:
                over.set()
                if hurt is not None:
                    worst.join(60)
        assert_equals_truth(service, folder, summary)
        if hurt is None:
            assert_amended_as_truth(service, folder)
        assert service.stop() == 0
        assert "rule.raised" not in service.log
        assert "message.unhandled" not in service.log
        if keys:
            truth = json.loads((folder / "truth" / "verdicts.json").read_text())["marks"]
            assert truth["replayed"]
            assert truth["unproven"]
            assert tags["master_keys"].removeprefix("1=") not in service.log.lower()


@pytest.mark.parametrize(("scenario", "seed"), RUNS)
def test_every_verdict_is_the_simulators_own(tmp_path: Path, scenario: str, seed: int) -> None:
    """Whatever guards, networks and batteries do, the service judges as the simulator knows it."""
    with mosquitto(["set_tcp_nodelay true"]) as broker:
        play(tmp_path, broker, scenario, seed)


def killing(service: Service, chance: random.Random, over: threading.Event) -> None:
    """SIGKILL the service at random instants, and start it again at once."""
    for _again in range(KILLS):
        if over.wait(chance.uniform(0.3, 2.5)):
            return
        service.kill()
        service.start()


@pytest.mark.parametrize("seed", [102])
@pytest.mark.parametrize("scenario", HURT)
def test_killed_in_the_middle_it_judges_the_same(tmp_path: Path, scenario: str, seed: int) -> None:
    """SIGKILL of the service at random instants, again and again, changes no verdict and no
    count."""
    with mosquitto(["set_tcp_nodelay true"]) as broker:
        play(tmp_path, broker, scenario, seed, killing)


@pytest.mark.parametrize("scenario", HURT[:3])
def test_a_broker_killed_changes_nothing_either(tmp_path: Path, scenario: str) -> None:
    """SIGKILL of Mosquitto loses acknowledged messages; receipts bring every one of them again."""
    with mosquitto(["set_tcp_nodelay true"]) as broker:

        def cutting(_: Service, chance: random.Random, over: threading.Event) -> None:
            for _again in range(2):
                if over.wait(chance.uniform(1.0, 2.5)):
                    return
                broker.kill()
                broker.start()

        play(tmp_path, broker, scenario, 7, cutting)
