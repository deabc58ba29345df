"""Coverage is a set of seqs: every answer equals a naive set's."""

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.coverage import MAX_RANGES, Coverage, Range
from devices.ids import MAX_SAFE


@dataclass
class Naive:
    """The oracle: kept and given-up seqs, one by one."""

    start: int
    kept: set[int] = field(default_factory=set)

    @property
    def upto(self) -> int:
        return max(self.kept, default=self.start - 1)

    def add(self, seq: int) -> None:
        self.kept.add(seq)
        self.start = min(self.start, seq)

    def open_below(self, oldest: int) -> None:
        self.start = min(self.start, oldest)

    def close_below(self, oldest: int) -> set[int]:
        lost = set(range(self.start, oldest)) - self.kept
        self.kept |= lost
        return lost

    def missing(self) -> set[int]:
        return set(range(self.start, self.upto + 1)) - self.kept


SEQS = st.integers(0, 60)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), SEQS),
        st.tuples(st.just("open_below"), SEQS),
        st.tuples(st.just("close_below"), SEQS),
    ),
    max_size=60,
)


def walked(first: int, steps: list[tuple[str, int]]) -> tuple[Coverage, Naive]:
    coverage, naive = Coverage.opening_at(first), Naive(first)
    for do, seq in steps:
        said, expected = getattr(coverage, do)(seq), getattr(naive, do)(seq)
        if do == "close_below":
            assert spread(said) == expected
            assert said == sorted(said)
        check(coverage, naive)
    return coverage, naive


def spread(ranges: list[Range] | tuple[Range, ...]) -> set[int]:
    return {seq for first, last in ranges for seq in range(first, last + 1)}


def check(coverage: Coverage, naive: Naive) -> None:
    assert (coverage.start, coverage.upto) == (naive.start, naive.upto)
    assert spread(coverage.missing) == naive.missing()
    edges = [seq for one in coverage.missing for seq in one]
    assert edges == sorted(edges)
    assert all(b - a > 1 for a, b in zip(edges[1::2], edges[2::2], strict=False))
    assert all(
        (seq in coverage) is (seq in naive.kept) for seq in range(naive.start, naive.upto + 2)
    )


@given(SEQS, STEPS)
def test_coverage_is_the_set_of_what_was_added(first: int, steps: list[tuple[str, int]]) -> None:
    """After any steps start, upto, missing and what was lost are the naive set's."""
    walked(first, steps)


@given(SEQS, STEPS, st.integers(0, 5))
def test_a_receipt_never_runs_ahead(first: int, steps: list[tuple[str, int]], limit: int) -> None:
    """At most `limit` ranges, the lowest; of what is counted, only the kept is told as kept."""
    coverage, naive = walked(first, steps)
    upto, missing = coverage.receipt_view(limit)
    assert len(missing) <= limit
    told = set(range(naive.start, upto + 1)) - spread(missing)
    assert told <= naive.kept
    assert upto == naive.upto or (len(missing) == limit and upto + 1 in naive.missing())


@given(SEQS, st.lists(SEQS, max_size=40), st.randoms())
def test_order_and_repetition_do_not_matter(first: int, seqs: list[int], random) -> None:  # type: ignore[no-untyped-def]
    """The same records in any order, any number of times, give the same coverage."""
    there, _ = walked(first, [("add", seq) for seq in seqs])
    shuffled = seqs * 2
    random.shuffle(shuffled)
    back, _ = walked(first, [("add", seq) for seq in shuffled])
    assert there == back


@given(SEQS, STEPS)
def test_coverage_only_grows(first: int, steps: list[tuple[str, int]]) -> None:
    """Nothing that was kept or given up is ever asked for again."""
    coverage = Coverage.opening_at(first)
    covered: set[int] = set()
    for do, seq in steps:
        getattr(coverage, do)(seq)
        now = {seq for seq in range(70) if seq in coverage}
        assert covered <= now
        covered = now


@given(SEQS, STEPS, SEQS, STEPS)
def test_a_union_is_the_union(
    first: int, ours: list[tuple[str, int]], second: int, theirs: list[tuple[str, int]]
) -> None:
    """Of two workers' coverages; the same from either side, and neither is changed."""
    (one, naive_one), (two, naive_two) = walked(first, ours), walked(second, theirs)
    union = one.union(two)
    both = Naive(min(naive_one.start, naive_two.start), naive_one.kept | naive_two.kept)
    check(union, both)
    assert union == two.union(one)
    check(one, naive_one)
    check(two, naive_two)
    assert Coverage.from_state(union.to_state()) == union


@given(SEQS, STEPS)
def test_state_comes_back_from_json(first: int, steps: list[tuple[str, int]]) -> None:
    """What was stored is what is read, and shares nothing with it."""
    coverage, _ = walked(first, steps)
    again = Coverage.from_state(json.loads(json.dumps(coverage.to_state())))
    assert again == coverage
    again.add(69)
    assert again != coverage


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"start": 0, "upto": 5},
        {"start": 5, "upto": 3, "missing": []},
        {"start": -1, "upto": 3, "missing": []},
        {"start": 0, "upto": 9, "missing": [[3, 2]]},
        {"start": 0, "upto": 9, "missing": [[1, 2], [3, 4]]},
        {"start": 0, "upto": 9, "missing": [[4, 5], [1, 2]]},
        {"start": 0, "upto": 9, "missing": [[8, 9]]},
        {"start": 3, "upto": 9, "missing": [[2, 4]]},
        {"start": 0, "upto": 9, "missing": [[1]]},
        {"start": 0, "upto": 9, "missing": 7},
        {"start": "x", "upto": 9, "missing": []},
    ],
)
def test_a_broken_state_is_refused(state: dict[str, object]) -> None:
    """A coverage that runs ahead would lose records: better to stop."""
    with pytest.raises(ValueError, match=r"coverage|invalid literal|unpack"):
        Coverage.from_state(state)


def test_nothing_is_covered_at_first() -> None:
    """Opened at the birth's oldest, or at 0, nothing is kept; then the first record is."""
    coverage = Coverage.opening_at(0)
    assert coverage.receipt_view() == (-1, ())
    coverage = Coverage.opening_at(40)
    assert coverage.receipt_view() == (39, ())
    coverage.add(42)
    assert coverage.receipt_view() == (42, ((40, 41),))


def test_a_record_that_overtakes_its_birth_covers_nothing_else() -> None:
    """An sos arrives before the birth that says what is still stored: that becomes missing."""
    coverage = Coverage.opening_at(120)
    coverage.add(120)
    coverage.open_below(20)
    assert coverage.receipt_view() == (120, ((20, 119),))


def test_what_a_full_device_forgot_is_lost() -> None:
    """Gaps below its oldest are told once and leave `missing`, cut where oldest stands."""
    coverage = Coverage.opening_at(1)
    for seq in (1, 5, 9, 20):
        coverage.add(seq)
    assert coverage.close_below(12) == [(2, 4), (6, 8), (10, 11)]
    assert coverage.receipt_view() == (20, ((12, 19),))
    assert coverage.close_below(12) == []
    assert coverage.close_below(30) == [(12, 19), (21, 29)]
    assert coverage.receipt_view() == (29, ())


def test_upto_stops_before_the_first_range_left_out() -> None:
    """33 single gaps: the 33rd bounds the receipt."""
    coverage = Coverage.opening_at(0)
    for seq in range(0, 2 * (MAX_RANGES + 1) + 1, 2):
        coverage.add(seq)
    upto, missing = coverage.receipt_view()
    assert (upto, len(missing), missing[-1]) == (64, 32, (63, 63))


def test_thousands_of_ranges_are_no_burden() -> None:
    """10,000 stored records, every second one first, then the rest: one range in the end."""
    coverage = Coverage.opening_at(0)
    for seq in range(0, 10_001, 2):
        coverage.add(seq)
    assert len(coverage.missing) == 5_000
    for seq in range(9_999, 0, -2):
        coverage.add(seq)
    assert coverage.to_state() == {"start": 0, "upto": 10_000, "missing": []}


def test_the_largest_seq_is_covered() -> None:
    """2**53-1 is a seq; counting cannot begin beyond."""
    coverage = Coverage.opening_at(MAX_SAFE)
    coverage.add(MAX_SAFE)
    coverage.add(0)
    assert coverage.receipt_view() == (MAX_SAFE, ((1, MAX_SAFE - 1),))
    for first in (-1, MAX_SAFE + 1):
        with pytest.raises(ValueError, match="seq"):
            Coverage.opening_at(first)
