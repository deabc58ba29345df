"""The longest allowed gap: the clock starts at opens, each visit restarts it (contract §6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.obligations import (
    Gap,
    Known,
    Obligation,
    Read,
    Reason,
    Standing,
    Stretch,
    Trust,
    Verdict,
    flip,
    settle,
)

# opens 1000, every 100, grace 10, closes 1500, due 1510
GAP = Obligation(
    key="s/p/x/lab",
    site="s",
    plan="p",
    terms=Gap(checkpoint="lab", every=100, grace=10),
    opens=1000,
    closes=1500,
    due=1510,
    early=0,
)


def read(at: int, *, after: int | None = None, cut_off: bool = False) -> Read:
    return Read(
        identity=f"hh/0/{at}",
        checkpoint="lab",
        device="hh",
        person=None,
        at=at,
        told_at=at,
        trust=Trust.TRUSTED,
        after=at if after is None else after,
        received_at=at,
        cut_off=cut_off,
    )


def judged(visits: list[int], now: int = 1510, *, reachable: bool = True) -> Verdict:
    return settle(GAP, [read(at) for at in visits], Known(marker=now, reachable=reachable), now)


def stretches(verdict: Verdict) -> list[tuple[int, int, int | None]]:
    return [(s.start, s.breached_at, s.ended_at) for s in verdict.stretches]


EVEN = [1090, 1180, 1270, 1360, 1450]


@pytest.mark.parametrize(
    ("visits", "expected"),
    [
        (EVEN, []),
        ([at + 19 for at in EVEN], []),  # 1109: a millisecond before it would be raised
        ([1110, *EVEN[1:]], [(1000, 1100, 1110)]),  # exactly breach + grace is too late
        ([], [(1000, 1100, None)]),
        ([1300], [(1000, 1100, 1300), (1300, 1400, None)]),
        ([1300, 1399], [(1000, 1100, 1300), (1399, 1499, None)]),  # breached just before closes
        ([1300, 1400], [(1000, 1100, 1300)]),  # 1400 + every is closes: no breach inside
        ([1300, 1399, 1505], [(1000, 1100, 1300)]),  # came in the grace of the last breach
        ([999], [(1000, 1100, None)]),  # before opens: the clock starts at opens
        ([1600], [(1000, 1100, 1600)]),  # the next visit ends it, even after due
    ],
)
def test_stretches_at_their_boundaries(
    visits: list[int], expected: list[tuple[int, int, int | None]]
) -> None:
    """Breached at last + every inside the window, raised after grace, ended by the next visit."""
    assert stretches(judged(visits, 2000)) == expected


@pytest.mark.parametrize(
    ("visits", "reachable", "standing", "reason"),
    [
        (EVEN, True, Standing.COMPLETED, Reason.GAPS_KEPT),
        (EVEN, False, Standing.COMPLETED, Reason.GAPS_KEPT),
        ([1300], True, Standing.INCOMPLETE, Reason.GAP_PASSED),
        ([1300], False, Standing.INCOMPLETE, Reason.GAP_PASSED),
        ([], True, Standing.MISSED, Reason.NEVER_VISITED),
        ([], False, Standing.UNKNOWN, Reason.NOBODY_REACHABLE),
    ],
)
def test_the_standing_at_due(
    visits: list[int], reachable: bool, standing: Standing, reason: Reason
) -> None:
    """Kept is completed, passed is incomplete, never visited is missed, or unknown."""
    verdict = judged(visits, reachable=reachable)
    assert (verdict.standing, verdict.reason) == (standing, reason)
    assert verdict.wake is None


@pytest.mark.parametrize(
    ("visits", "now", "wake"),
    [
        ([], 1000, 1110),
        ([1050], 1050, 1160),
        ([1050], 1159, 1160),
        ([1450], 1450, 1510),  # no further breach inside the window: due is next
        ([], 1110, 1510),  # raised; only a visit can change it before due
        ([1200], 1150, 1200),  # a device's clock runs ahead of ours: look when that time comes
    ],
)
def test_it_wakes_when_something_may_change(visits: list[int], now: int, wake: int) -> None:
    """While pending, wake is the next instant at which time alone changes the verdict."""
    assert judged(visits, now).wake == wake


def test_nothing_is_raised_a_millisecond_too_soon() -> None:
    """At breach + grace - 1 there is no stretch, at breach + grace there is."""
    assert judged([], 1109).stretches == ()
    assert stretches(judged([], 1110)) == [(1000, 1100, None)]
    assert judged([], 1110).standing is Standing.PENDING


def test_a_clock_ahead_of_ours_does_not_silence_a_gap() -> None:
    """A visit dated in our future restarts nothing before its time has come."""
    assert stretches(judged([1400], 1200)) == [(1000, 1100, None)]
    assert stretches(judged([1400], 1400)) == [(1000, 1100, 1400)]


def test_while_nobody_can_tell_nothing_is_raised() -> None:
    """A site all of whose devices are unreachable raises no overdue checkpoint."""
    assert judged([], 1300, reachable=False).stretches == ()
    assert judged([], 1510, reachable=False).stretches == ()


def test_late_evidence_removes_splits_and_ends_stretches() -> None:
    """A trusted read of a device cut off is a visit like any other, however late it comes."""

    def with_late(*visits: int) -> list[tuple[int, int, int | None]]:
        late = [read(at, after=1700, cut_off=True) for at in visits]
        return stretches(settle(GAP, late, Known(marker=1800), 1800))

    assert with_late() == [(1000, 1100, None)]
    assert with_late(1300) == [(1000, 1100, 1300), (1300, 1400, None)]
    assert with_late(1080) == [(1080, 1180, None)]
    assert with_late(*EVEN) == []


def test_late_evidence_that_waits_ends_nothing() -> None:
    """A late read of a device that could have told waits for review and restarts no clock."""
    late = [read(at, after=1700) for at in EVEN]
    verdict = settle(GAP, late, Known(marker=1800), 1800)
    assert stretches(verdict) == [(1000, 1100, None)]
    assert verdict.waiting == tuple(r.identity for r in late)
    assert verdict.standing is Standing.MISSED


def test_a_stretch_that_outlives_its_window_ends_with_the_first_visit_whenever_it_is_told() -> None:
    """One that ended a stretch after due gives way to an earlier one that is told later."""
    ended = judged([1300, 1700], 1700)
    assert stretches(ended) == [(1000, 1100, 1300), (1300, 1400, 1700)]
    told_later = [read(1300), read(1700), read(1600, after=1750)]
    again = settle(GAP, told_later, Known(marker=1800, previous=ended), 1800)
    assert stretches(again) == [(1000, 1100, 1300), (1300, 1400, 1600)]


def test_a_stretch_raised_or_ended_is_a_flip() -> None:
    """While pending a new stretch and its end are told; progress without either is not."""
    quiet, raised, over = judged([], 1050), judged([], 1110), judged([1200], 1200)
    assert flip(GAP, None, quiet) is None
    assert flip(GAP, quiet, raised) is not None
    assert flip(GAP, raised, judged([], 1150)) is None
    assert flip(GAP, raised, over) is not None
    assert over.stretches == (Stretch(start=1000, breached_at=1100, ended_at=1200),)


def test_overlapping_windows_share_a_visit() -> None:
    """A gap is not served by a visit but restarted: one visit counts in every window it is in."""
    twin = Known(marker=1510, siblings=(GAP,))
    assert settle(GAP, [read(at) for at in EVEN], twin, 1510).standing is Standing.COMPLETED


@given(
    st.lists(
        st.tuples(st.integers(1000, 1600), st.integers(0, 400)),
        max_size=8,
        unique_by=lambda v: v[0],
    )
)
def test_who_looks_once_tells_what_who_looked_always_told(visits: list[tuple[int, int]]) -> None:
    """Which stretches are told, raised or withdrawn, does not depend on when anybody looked."""
    reads = [read(at, after=at + delay, cut_off=True) for at, delay in visits]
    looked: set[int] = set()
    for marker in range(1000, 2100):
        seen = [one for one in reads if one.after < marker]
        verdict = settle(GAP, seen, Known(marker=marker), marker)
        looked |= {stretch.start for stretch in verdict.stretches}
    last = settle(GAP, reads, Known(marker=2100), 2100)
    assert looked == {stretch.start for stretch in (*last.stretches, *last.withdrawn)}
