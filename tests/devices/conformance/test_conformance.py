"""Conformance: a device that keeps the contract passes every clause, a broken one fails its own."""

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import devices
from devices.conformance.clauses import CLAUSES, Judgement, conforms, judge
from devices.conformance.finding import Result
from devices.conformance.trace import Covering, Heard, Trace, covered, read
from devices.messages import Receipt
from firmware_sim.clocks import DeviceClock, Setting
from firmware_sim.faults import FAULTS
from firmware_sim.handheld import Handheld
from tests.devices.conformance.world import DEVICE, START, World, handheld, tour

MAKERS = Path(devices.__file__).parent / "contract" / "v1" / "README.md"

BREAKS = {
    "other-topic": {"topic"},
    "bad-json": {"json"},
    "too-large": {"size"},
    "qos-0": {"qos"},
    "retains-all": {"retain"},
    "wrong-photo": {"photo"},
    "skips-seq": {"identity.step"},
    "same-epoch": {"identity.epoch"},
    "rewrites": {"identity.content"},
    "stored-sent": {"sent"},
    "stored-uptime": {"uptime"},
    "records-first": {"connect.birth"},
    "no-wait": {"connect.wait"},
    "subscribes-late": {"connect.subscribed"},
    "bare-will": {"will.boot"},
    "sends-once": {"resend.again"},
    "hasty": {"resend.times"},
    "slow-sos": {"resend.sos"},
    "floods": {"resend.flight"},
    "deaf": {"receipt.stops"},
    "one-ledger": {"receipt.ledger"},
    "forgetful": {"store.kept"},
    "old-queue": {"store.queue"},
}
"""Which clause each broken firmware breaks."""

ALSO: dict[str, set[str]] = {"deaf": {"connect.subscribed", "store.queue"}}
"""What else such firmware cannot keep."""


def judged(device: Handheld, scale: float = 1.0, **world: Any) -> dict[str, Judgement]:
    """A whole tour of such a device, as an observer judges it."""
    taken = World(device, scale=scale, **world)
    ended = tour(taken)
    found = judge(read(taken.heard, DEVICE, START, ended, scale))
    return {one.clause: one for one in found}


def unkept(found: dict[str, Judgement]) -> dict[str, Judgement]:
    """What did not pass."""
    return {name: one for name, one in found.items() if one.result is not Result.PASSED}


@pytest.mark.parametrize(
    "habits", [{}, {"heartbeat": 60_000}, {"batch": 10}, {"takes_now": True}], ids=str
)
def test_the_simulators_handheld_passes_every_clause(habits: dict[str, Any]) -> None:
    """None failed, and none was left unobserved: the tour shows all that can be seen."""
    found = judged(handheld(**habits))
    assert unkept(found) == {}
    assert conforms(found.values())


@pytest.mark.parametrize("scale", [0.05, 0.2])
def test_the_times_can_be_shortened(scale: float) -> None:
    """For a device that has a test mode: every time of the contract by one factor."""
    assert unkept(judged(handheld(scale=scale), scale)) == {}


def test_a_wrong_clock_breaks_no_clause() -> None:
    """Handhelds' clocks are wrong; the observer goes by its own."""
    far = DeviceClock([Setting(since=START, shows=START - 7_200_000)])
    assert unkept(judged(handheld(clock=far))) == {}


@given(st.lists(st.booleans(), min_size=40, max_size=40), st.integers(0, 1))
@settings(max_examples=15)
def test_lost_receipts_are_not_the_devices_fault(lost: list[bool], phase: int) -> None:
    """They are QoS 0: a device that did not hear one, and hears the next, keeps the contract.

    Only whether it was subscribed at its birth cannot be told, where that one answer was lost.
    """

    def loses(number: int) -> bool:
        return number % 2 == phase and lost[number // 2 % len(lost)]

    found = judged(handheld(), loses=loses)
    failed = {name for name, one in found.items() if one.result is Result.FAILED}
    assert failed <= {"connect.subscribed"}


@given(st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_a_slow_way_to_the_observer_breaks_no_clause(rng: random.Random) -> None:
    """What is heard up to a quarter of a second late is heard in its order."""
    world = World(handheld())
    ended = tour(world)
    late, last = [], 0
    for one in world.heard:
        last = max(last, one.at + rng.randrange(250))
        late.append(replace(one, at=last))
    found = judge(read(late, DEVICE, START, ended))
    assert {one for one in found if one.result is Result.FAILED} == set()


def test_nothing_heard_is_nothing_kept() -> None:
    """No clause passes by silence, and the device does not conform."""
    found = judge(read((), DEVICE, START, START + 600_000))
    assert {one.result for one in found} == {Result.NOT_OBSERVED}
    assert not conforms(found)


TOPICS = st.sampled_from(["checkin", "hazard", "sos", "status", f"photo/{'0' * 64}", "x", ""])
BYTES = st.binary(max_size=40) | st.builds(
    lambda said: json.dumps(said).encode(),
    st.dictionaries(
        st.sampled_from(["seq", "epoch", "at", "sent", "up", "sent_up", "boot", "tag", "online"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    ),
)


@given(
    st.lists(
        st.builds(
            Heard,
            at=st.integers(START, START + 10**6),
            topic=st.builds(lambda kind: f"patrol/v1/school-01/{DEVICE}/up/{kind}", TOPICS),
            payload=BYTES,
            qos=st.integers(0, 2),
            retain=st.booleans(),
        ),
        max_size=30,
    )
)
def test_whatever_a_device_says_is_judged(heard: list[Heard]) -> None:
    """Nothing raises, and a failed clause says what was seen."""
    for one in judge(read(heard, DEVICE, START, START + 10**6)):
        assert (one.result is Result.NOT_OBSERVED) is not bool(one.evidence)


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_firmware_fails_the_right_clause(fault: str) -> None:
    """And no other, but what cannot be kept beside it."""
    found = judged(handheld(FAULTS[fault]))
    failed = {name for name, one in found.items() if one.result is Result.FAILED}
    assert failed == BREAKS[fault] | ALSO.get(fault, set())
    assert all(found[name].evidence for name in failed)
    assert not conforms(found.values())


def test_every_clause_has_firmware_that_breaks_it() -> None:
    """A judge that never says no is none."""
    assert set().union(*BREAKS.values()) == set(CLAUSES)
    assert set(BREAKS) == set(FAULTS)


def test_makers_are_told_every_clause() -> None:
    """The table in the contract's README is this one."""
    text = MAKERS.read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if re.match(r"\| `[a-z.]+` \| ", line)]
    assert table[-len(CLAUSES) :] == [f"| `{n}` | {c.asks_en} |" for n, c in CLAUSES.items()]


@given(
    st.sets(st.tuples(st.integers(0, 1), st.integers(0, 12))),
    st.lists(
        st.builds(
            Receipt,
            ledger=st.just("l"),
            epoch=st.integers(0, 1),
            upto=st.integers(-1, 12),
            missing=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=2).map(
                tuple
            ),
            now=st.just(0),
        ),
        max_size=8,
    ),
)
def test_the_first_receipt_that_covers_a_record_is_found(
    records: set[tuple[int, int]], told: list[Receipt]
) -> None:
    """The quick way finds what asking every receipt finds."""
    receipts = [Covering(place, 100 + place, receipt) for place, receipt in enumerate(told)]
    slowly = Trace(begun=0, ended=1, receipts=tuple(receipts))
    quickly = covered(records, receipts)
    assert {i: quickly.get(i) for i in records} == {i: slowly.covered_at(i) for i in records}
