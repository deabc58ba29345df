"""Replays, found by a tag's counter: the same whatever order reads come in, and as a naive look."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from rules.marks import Mark, Seen, Why
from rules.replays import REACH_MS, SLACK_MS, Tapped, replays

MINUTE = 60_000


def tap(seq: int, at: int, ctr: int, *, came: int | None = None, sure: bool = True) -> Tapped:
    """A read of the lab's tag; it comes in by `came`, else as it happened."""
    read = Seen(identity=f"h/0/{seq}", tag="T", checkpoint="lab", device="h", person=None, at=at)
    return Tapped(read=read, ctr=ctr, came=(at if came is None else came, seq), sure=sure)


def told(marks: tuple[Mark, ...]) -> dict[str, tuple[str, str]]:
    """By identity: why, and the other read."""
    return {
        mark.read.identity: (mark.data["why"], mark.data.get("first") or mark.data["after"])
        for mark in marks
    }


def test_who_came_first_has_the_tap() -> None:
    """A copy is a copy, though it claims an earlier time: else it could take a visit away."""
    genuine = tap(1, 10 * MINUTE, 5, came=0)
    copy = tap(2, 5 * MINUTE, 5, came=1)
    again = tap(3, 20 * MINUTE, 5, came=2)
    found = replays([again, copy, genuine])
    assert told(found) == {
        "h/0/2": (Why.REPEAT, "h/0/1"),
        "h/0/3": (Why.REPEAT, "h/0/1"),
    }


def test_taps_made_beforehand_are_found_when_they_are_told_later() -> None:
    """Ten taps in the afternoon, told through the night: the walk between them gives them away."""
    walk = tap(0, 60 * MINUTE, 50)
    stored = [tap(n, (100 + n) * MINUTE, 40 + n) for n in range(1, 10)]
    fresh = tap(99, 200 * MINUTE, 51)
    found = replays([*stored, walk, fresh])
    assert told(found) == {f"h/0/{n}": (Why.COUNTER, "h/0/0") for n in range(1, 10)}
    assert found[0].data["other_ctr"] == 50


def test_two_clocks_that_are_right_may_differ_a_little() -> None:
    """A second device's clock is not the first one's: within a minute nothing is odd."""
    assert not replays([tap(1, 0, 8), tap(2, SLACK_MS, 7)])
    assert replays([tap(1, 0, 8), tap(2, SLACK_MS + 1, 7)])


def test_one_wrong_time_accuses_no_more_than_three_days_of_reads() -> None:
    """A record dated long before, by a clock that was right again when it was sent: no storm."""
    day = 86_400_000
    walk = [tap(n, n * day, n) for n in range(1, 30)]
    rogue = tap(99, 4 * day + 1, 30)
    assert set(told(replays([*walk, rogue]))) == {"h/0/5", "h/0/6", "h/0/7"}


def test_a_wrong_clock_accuses_nobody() -> None:
    """A handheld back in 2000 contradicts the whole history of a tag; it is no witness."""
    walk = [tap(n, n * 60 * MINUTE, n) for n in range(1, 30)]
    lost = tap(99, -1_000_000, 30, sure=False)
    assert not replays([*walk, lost])
    ahead = tap(98, 40 * 60 * MINUTE, 12, came=1, sure=False)
    assert set(told(replays([*walk[:11], *walk[12:], ahead]))) == {"h/0/98"}


AT = [
    base + step
    for base in (0, REACH_MS // 2, REACH_MS, 2 * REACH_MS)
    for step in (0, SLACK_MS, SLACK_MS + 1, 3 * SLACK_MS)
]
"""Instants just within and just beyond what is compared."""
TAPS = st.lists(
    st.tuples(st.integers(0, len(AT) - 1), st.integers(0, 8), st.integers(0, 3), st.booleans()),
    max_size=12,
)


def naive(taps: list[Tapped]) -> dict[str, str]:
    """What is odd, by comparing each with each."""
    found = {}
    for one, other in itertools.permutations(taps, 2):
        if other.ctr == one.ctr and other.came < one.came:
            found[one.read.identity] = Why.REPEAT.value
        later = SLACK_MS < one.read.at - other.read.at <= REACH_MS
        if other.sure and later and other.ctr > one.ctr:
            found.setdefault(one.read.identity, Why.COUNTER.value)
    return found


def made(told_: list[tuple[int, int, int, bool]]) -> list[Tapped]:
    return [
        tap(n, AT[at], ctr, came=came, sure=sure) for n, (at, ctr, came, sure) in enumerate(told_)
    ]


@given(told_=TAPS, order=st.randoms(use_true_random=False))
def test_any_order_tells_the_same_and_what_a_naive_look_tells(
    told_: list[tuple[int, int, int, bool]], order: object
) -> None:
    """A function of the set of reads (law 3), equal to comparing each with each."""
    taps = made(told_)
    found = replays(taps)
    assert {mark.read.identity: mark.data["why"] for mark in found} == naive(taps)
    order.shuffle(taps)  # type: ignore[attr-defined]
    assert replays(taps) == found
