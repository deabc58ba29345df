"""The bench of a district's year, on a tiny slice: what it prints, and that it can fail."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from bench.year import DAYS, FIRST_DAY, District, Truth, differences, noon, registry_text
from firmware_sim.plans import occasions, read_registry
from firmware_sim.recording import Said
from firmware_sim.wire import CLOCK_TOPIC
from tests.servers import binary

BENCH = Path(__file__).resolve().parents[2] / "bench" / "year.py"


def a_district(sites: int, days: int) -> tuple[District, list[Said]]:
    district = District(sites=sites, days=days, begins=noon(FIRST_DAY), chance=random.Random(3))
    return district, list(district.said())


@pytest.mark.broker
def test_a_slice_of_the_year_is_judged_as_its_truth() -> None:
    """Stdout is one JSON object; a check-in or a verdict that differs would end the run."""
    binary("mosquitto", "mosquitto")
    run = subprocess.run(
        [sys.executable, str(BENCH), "--days", "2", "--sites", "4"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["equal"] is told["extrapolated"] is True
    assert told["rounds"] == 4 * 2 * 18 == sum(told["verdicts"].values())
    assert told["checkins"] > 1_000
    assert told["course"][0][:3] == [0, 0, 0]
    assert min(told["checkins_per_s"], told["cpu_us"], told["year_minutes"]) > 0


def test_a_verdict_that_differs_is_found() -> None:
    """Another standing, another checkpoint, one too many, one too few; not another order."""
    truth = {"a": Truth("incomplete", 3, ("x", "y")), "b": Truth("completed", 3, ())}
    assert differences({**truth, "a": Truth("incomplete", 3, ("y", "x"))}, truth) == []
    assert differences({**truth, "a": Truth("completed", 3, ())}, truth) != []
    assert differences({**truth, "a": Truth("incomplete", 3, ("x",))}, truth) != []
    assert differences({"a": truth["a"]}, truth) != []
    assert differences({**truth, "c": truth["b"]}, truth) != []


@pytest.mark.slow
def test_the_year_is_one_of_nine_million_check_ins() -> None:
    """One school's share of the year, times two hundred."""
    district, said = a_district(1, DAYS)
    assert 8_800_000 < district.checkins * 200 < 9_300_000
    assert sum(one.topic.endswith("/checkin") for one in said) == district.checkins


@pytest.mark.slow
def test_every_round_owed_has_its_truth_and_every_standing_occurs() -> None:
    """The plans owe as many rounds as are known; seeded faults make each kind of verdict."""
    district, said = a_district(5, 60)
    plans = read_registry(registry_text(5))
    owed = {o.id for o in occasions(plans, district.begins, district.begins + 60 * 86_400_000)}
    assert district.truth.keys() == owed
    kinds = {told.standing for told in district.truth.values()}
    assert kinds == {"completed", "incomplete", "missed", "unknown"}
    assert [one.at for one in said] == sorted(one.at for one in said)


def test_what_is_said_lies_between_the_ticks_of_its_time() -> None:
    """No message comes before a tick not after it; the last tick is the last word."""
    district, said = a_district(2, 3)
    now = said[0].at
    for one in said:
        now = one.at if one.topic == CLOCK_TOPIC else now
        assert now <= one.at < now + 300_000
    assert (said[-1].topic, said[-1].at) == (CLOCK_TOPIC, district.ends)
