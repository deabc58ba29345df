"""The simulator's truth of taps: who counted when, which copies are copies."""

from dataclasses import replace

import pytest

from firmware_sim.guards import walk
from firmware_sim.oracle import Visit
from firmware_sim.plans import read_registry
from firmware_sim.proofs import Marks, counting, marks, proving_tags, sign
from firmware_sim.reading import load
from firmware_sim.scenario import Scenario

MINUTE = 60_000


@pytest.fixture
def scenario() -> Scenario:
    return load("copied-tags")


def visit(number: int, at: int, counter: int | None, **more: object) -> Visit:
    made = Visit(
        site="south-school",
        checkpoint="lab",
        device="walk-01",
        at=at,
        delivered=at,
        id=f"walk-01/0/{number}",
        tag="T",
        told=at,
        counter=counter,
    )
    return replace(made, **more)


def test_tags_count_in_the_order_in_which_they_are_tapped(scenario: Scenario) -> None:
    """What was tapped beforehand has the lower number, whenever it is told."""
    acts = sign(scenario, walk(scenario, 5)).acts
    tags = proving_tags(scenario.registry)
    assert set(tags.values()) == {"south-school/lab", "south-school/store"}
    for tag in tags:
        fresh = [a for a in acts if a.members.get("tag") == tag and a.counter and not a.again]
        by_tap = sorted(fresh, key=lambda act: act.tapped or act.at)
        assert [act.counter for act in by_tap] == list(range(1, len(fresh) + 1))
    assert [a.counter for a in acts if a.bare] == [None]
    assert all("sun" not in a.members for a in acts if a.members.get("tag") not in tags)


def test_a_copy_tells_a_message_that_was_told(scenario: Scenario) -> None:
    """The very same text, of the same tap."""
    acts = sign(scenario, walk(scenario, 5)).acts
    copies = [act for act in acts if act.again]
    assert len(copies) == 2
    for copied in copies:
        (first, *_) = (a for a in acts if a.members.get("sun") == copied.members["sun"])
        assert not first.again
        assert first.counter == copied.counter


def test_of_two_that_tell_one_tap_the_first_to_come_counts(scenario: Scenario) -> None:
    """By arrival, then by their own time; bare numbers and what never came count for nothing."""
    first, copied = visit(1, 9 * MINUTE, 4, delivered=5), visit(2, 3 * MINUTE, 4, delivered=6)
    bare, lost = visit(3, 2 * MINUTE, None), visit(4, 0, 4, delivered=None)
    gate = replace(bare, checkpoint="gate", id="walk-01/0/9")
    all_of_them = [copied, bare, first, lost, gate]
    assert counting(scenario.registry, all_of_them) == [first, lost, gate]
    assert marks(scenario.registry, all_of_them) == Marks(
        replayed=("walk-01/0/2",), unproven=("walk-01/0/3",)
    )


def test_a_counter_against_time_needs_a_witness_with_a_right_clock(scenario: Scenario) -> None:
    """More than a minute apart, and only where the earlier one's time stands on something."""
    early, late = visit(1, 0, 9), visit(2, MINUTE + 1, 8)
    registry = scenario.registry
    assert marks(registry, [early, late]).replayed == ("walk-01/0/2",)
    assert marks(registry, [replace(early, sure=False), late]).replayed == ()
    assert marks(registry, [early, replace(late, at=MINUTE)]).replayed == ()


def test_a_place_says_whether_it_asks(scenario: Scenario) -> None:
    """`proof: sun` in the registry file, read the naive way."""
    places = read_registry(scenario.registry_text).sites["south-school"].checkpoints
    assert {name: place.proof for name, place in places.items()} == {
        "gate": None,
        "lab": "sun",
        "store": "sun",
    }
