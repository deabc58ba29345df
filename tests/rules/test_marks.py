"""Marks: what is odd about a check-in, as a function of the set of reads (law 3)."""

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from rules.marks import (
    BURST_MS,
    CARRIED_MS,
    Ground,
    MarkKind,
    Place,
    Seen,
    marks,
    metres,
)
from rules.obligations import Obligation, Round, round_key
from rules.oddities import KINDS, mark_words, marked, unmarked

OPENS, CLOSES, DUE = 10_000_000, 20_000_000, 21_000_000
SECOND = 1_000


def owe(*route: str, ordered: bool = False, min_gap: int = 0, people: int = 1) -> Obligation:
    terms = Round(route=route, ordered=ordered, min_gap=min_gap, people=people)
    key = round_key("s", "p", OPENS)
    return Obligation(
        key=key, site="s", plan="p", terms=terms, opens=OPENS, closes=CLOSES, due=DUE, early=0
    )


def seen(checkpoint: str, after_s: float, device: str = "hh", person: str | None = None) -> Seen:
    at = OPENS + round(after_s * SECOND)
    return Seen(
        identity=f"{device}/0/{at}-{checkpoint}",
        tag=f"tag-{checkpoint}",
        checkpoint=checkpoint,
        device=device,
        person=person,
        at=at,
    )


def told(reads: list[Seen], ground: Ground) -> list[tuple[str, str]]:
    return sorted((mark.read.checkpoint, mark.kind.value) for mark in marks(reads, ground))


def test_too_fast_by_time() -> None:
    """Sooner than the plan's least time after another checkpoint, by the same device."""
    ground = Ground(rounds=[owe("a", "b", "c", min_gap=20 * SECOND)])
    reads = [seen("a", 0), seen("b", 19.999), seen("c", 39.999), seen("c", 41)]
    assert told(reads, ground) == [("b", "too-fast")]


def test_too_fast_by_the_same_person_with_another_device() -> None:
    """Who carries two devices is one person."""
    ground = Ground(rounds=[owe("a", "b", min_gap=20 * SECOND)])
    reads = [seen("a", 0, "h1", "p"), seen("b", 5, "h2", "p"), seen("b", 6, "h3", "q")]
    assert ("b", "too-fast") in told(reads, ground)
    assert len([kind for _, kind in told(reads, ground) if kind == "too-fast"]) == 1


@pytest.mark.parametrize(
    ("seconds", "fast"),
    [(47, True), (49, False)],  # some 200 m: 48 s at 15 km/h
)
def test_too_fast_by_speed(seconds: float, fast: bool) -> None:
    """Faster than 15 km/h between two known places."""
    places = {"a": Place(39.74, 118.70), "b": Place(39.74180, 118.70)}
    assert 200 < metres(places["a"], places["b"]) < 201
    found = told([seen("a", 0), seen("b", seconds)], Ground(places=places))
    assert found == ([("b", "too-fast")] if fast else [])


def test_places_side_by_side_have_no_speed() -> None:
    """Within fifty metres two tags are one place, whoever reads both at once."""
    places = {"a": Place(39.74, 118.70), "b": Place(39.74040, 118.70)}
    assert told([seen("a", 0), seen("b", 0)], Ground(places=places)) == []


def test_the_ninth_read_in_ten_minutes_is_marked_once() -> None:
    """More than eight reads by one device: the one that passes the number, not each after it."""
    burst = [seen(f"c{n}", n * 60) for n in range(12)]
    assert told(burst, Ground()) == [("c8", "too-fast")]
    apart = BURST_MS / SECOND / 8
    assert told([seen(f"c{n}", n * apart) for n in range(12)], Ground()) == []


def test_two_phones_in_one_region_are_nothing_odd() -> None:
    """A region or beacon is no tag that somebody carried; a tag that was touched is."""
    reads = [structs.replace(seen("a", 0, device), touched=False) for device in ("one", "two")]
    assert told(reads, Ground()) == []
    assert told([seen("a", 0, device) for device in ("one", "two")], Ground()) != []


def test_same_tag_on_two_devices() -> None:
    """The same tag on another device before anybody could have carried it there."""
    limit = CARRIED_MS / SECOND
    assert told([seen("a", 0, "h1"), seen("a", limit - 0.001, "h2")], Ground()) == [
        ("a", "same-tag-two-devices")
    ]
    assert told([seen("a", 0, "h1"), seen("a", limit, "h2")], Ground()) == []
    assert told([seen("a", 0, "h1"), seen("a", 1, "h1")], Ground()) == []


def test_two_who_are_to_walk_together_are_not_odd() -> None:
    """Where a plan asks for two people, two devices at one tag are what is asked."""
    reads = [seen("a", 0, "h1"), seen("a", 3, "h2")]
    assert told(reads, Ground(rounds=[owe("a", people=2)])) == []


def test_out_of_order_by_the_checkpoint_before_alone() -> None:
    """Leaving out the first of four is one mark, and its late arrival takes it away."""
    ground = Ground(rounds=[owe("a", "b", "c", "d", ordered=True)])
    reads = [seen("b", 100), seen("c", 200), seen("d", 300)]
    assert told(reads, ground) == [("b", "out-of-order")]
    assert told([*reads, seen("a", 50)], ground) == []
    assert told([seen("a", 0), seen("c", 1_000), seen("b", 2_000), seen("d", 3_000)], ground) == [
        ("c", "out-of-order")
    ]
    unordered = replace(ground, rounds=[owe("a", "b", "c", "d")])
    assert told(reads, unordered) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.integers(0, 900),
            st.sampled_from(("h1", "h2")),
            st.sampled_from((None, "p")),
        ),
        max_size=14,
        unique_by=lambda row: row[:3],
    ),
    st.randoms(),
)
def test_marks_are_a_function_of_the_set(rows: list[tuple], random: object) -> None:
    """Neither the order in which reads come nor repetition changes a mark."""
    ground = Ground(rounds=[owe("a", "b", "c", ordered=True, min_gap=20 * SECOND)])
    reads = [seen(*row) for row in rows]
    shuffled = list(reads)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert marks(shuffled, ground) == marks(reads, ground)


def test_every_mark_has_an_event_and_words() -> None:
    """What is marked is told, in both languages; what is refuted resolves the same event."""
    ground = Ground(rounds=[owe("a", "b", ordered=True, min_gap=20 * SECOND)])
    reads = [seen("b", 0, "h1"), seen("b", 1, "h2"), seen("a", 2, "h1")]
    for order in permutations(reads):
        for mark in marks(order, ground):
            raised = marked("s", mark)
            gone = unmarked("s", mark.kind, mark.read.identity, mark.read.at, raised.data)
            assert (raised.kind, raised.subject) == (gone.kind, gone.subject)
            assert (raised.state, gone.state, gone.data["withdrawn"]) == ("open", "resolved", True)
            assert all(mark_words(mark.kind, mark.data))
    assert set(KINDS) == set(MarkKind)
