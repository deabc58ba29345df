"""`gridbeat demo`: what a newcomer sees first."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from desk.demo.score import Difference, Score
from tests.cli.running import Gridbeat

GRIDBEAT = Path(sys.executable).parent / "gridbeat"


def demo(*words: str) -> "subprocess.Popen[str]":
    """The demo as a user starts it."""
    return subprocess.Popen(
        [str(GRIDBEAT), "demo", "--seconds", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_of(folder_mark: str) -> Sequence[str]:
    """Command lines of running processes that name the demo's temporary folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if folder_mark in line:
            found.append(line)
    return found


@pytest.mark.broker
@pytest.mark.fleet
@pytest.mark.parametrize(
    "words", [(), ("--tls",), ("--scenario", "copied-tags")], ids=["plain", "tls", "tags"]
)
def test_a_day_ends_with_every_verdict_equal_to_the_truth(words: Sequence[str]) -> None:
    """Exit 0, and one JSON object on stdout that tells sent, kept, verdicts, speed; by TLS too,
    and with tags that prove presence."""
    process = demo("--json", *words)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert told["equal"] is True
    assert told["sent"] == told["kept"] + told["duplicates"]
    assert told["rounds"]["missed"] == len(told["missed"]) > 0
    assert {"hazards", "sos", "quarantined", "messages_per_s"} <= told.keys()


@pytest.mark.broker
@pytest.mark.fleet
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_it_leaves_no_process_behind(number: signal.Signals, tmp_path: Path) -> None:
    """Whatever it started is gone when it is, and so is its folder."""
    process = subprocess.Popen(
        [str(GRIDBEAT), "demo", "--seconds", "60"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    deadline = time.monotonic() + 60
    while not any("firmware-sim" in line for line in processes_of(str(tmp_path))):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(60) == 130
    assert processes_of(str(tmp_path)) == []
    assert list(tmp_path.glob("gridbeat-demo-*")) == []


def test_one_difference_makes_the_score_unequal() -> None:
    """The demo can fail: a verdict that is not the truth's ends it with exit 3."""
    said = {"sent": 1, "kept": 1, "duplicates": 0, "quarantined": 0, "amended": 0, "overdue": 0}
    told = {"hazards": 0, "sos": 0, "published": 1, "series": None, "missed": (), "rounds": {}}
    same = Score(scenario="s", seed=1, seconds=1.0, differences=(), **said, **told)
    other = Difference(what="round a/b/c", ours="missed", truth="completed")
    differs = Score(scenario="s", seed=1, seconds=1.0, differences=(other,), **said, **told)
    assert same.equal
    assert not differs.equal


def test_a_scenario_nobody_has_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """Before anything starts, in one sentence, as the simulator says it."""
    done = Gridbeat(folder=tmp_path)("demo", "--scenario", "nope")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no such scenario" in done.stderr
    assert "normal-day" in done.stderr
