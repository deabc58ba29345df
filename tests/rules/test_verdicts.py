"""Verdicts of rounds: boundaries, evidence, fairness (contract §6)."""

from itertools import permutations

import pytest
from msgspec import structs

from rules.obligations import (
    Known,
    Obligation,
    Read,
    Reason,
    Round,
    Standing,
    Trust,
    Verdict,
    Wait,
    flip,
    gap_key,
    round_key,
    serves,
    settle,
    utc,
    why_waiting,
)

OPENS, CLOSES, DUE, EARLY = 1_000_000, 4_600_000, 4_900_000, 60_000
AFTER_ALL = Known(marker=DUE)


def walk(*route: str, opens: int = OPENS, closes: int = CLOSES, due: int = DUE) -> Obligation:
    return Obligation(
        key=round_key("s", "p", opens),
        site="s",
        plan="p",
        terms=Round(route=route or ("gate", "lab"), ordered=False, min_gap=0),
        opens=opens,
        closes=closes,
        due=due,
        early=EARLY,
    )


ROUND = walk()


def read(checkpoint: str, at: int, **others: object) -> Read:
    told = {
        "identity": f"hh/0/{checkpoint}{at}",
        "checkpoint": checkpoint,
        "device": "hh",
        "person": None,
        "at": at,
        "told_at": at,
        "trust": Trust.TRUSTED,
        "after": at,
        "received_at": at + 500,
        "cut_off": False,
    }
    return Read(**{**told, **others})


@pytest.mark.parametrize(
    ("at", "counts", "late"),
    [
        (OPENS - EARLY - 1, False, False),
        (OPENS - EARLY, True, False),
        (OPENS - 1, True, False),
        (OPENS, True, False),
        (CLOSES - 1, True, False),
        (CLOSES, True, True),
        (DUE - 1, True, True),
        (DUE, False, False),
    ],
)
def test_boundaries_are_exact_to_the_millisecond(at: int, counts: bool, late: bool) -> None:
    """Exactly opens counts, exactly closes is late, exactly due is out."""
    verdict = settle(walk("gate"), [read("gate", at, after=OPENS)], AFTER_ALL, DUE)
    assert (verdict.standing is Standing.COMPLETED) is counts
    assert verdict.late == (("gate",) if late else ())
    assert verdict.early == (("gate",) if OPENS - EARLY <= at < OPENS else ())
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_early_is_zero_unless_the_plan_says_otherwise() -> None:
    """Without tolerance a read one millisecond before opens is out."""
    strict = structs.replace(walk("gate"), early=0)
    verdict = settle(strict, [read("gate", OPENS - 1)], AFTER_ALL, DUE)
    assert verdict.standing is Standing.MISSED


@pytest.mark.parametrize(
    ("visited", "standing", "reason"),
    [
        (("gate", "lab"), Standing.COMPLETED, Reason.ALL_VISITED),
        (("lab",), Standing.INCOMPLETE, Reason.SOME_NOT_VISITED),
        ((), Standing.MISSED, Reason.NONE_VISITED),
        (("roof",), Standing.MISSED, Reason.NONE_VISITED),
        (("gate", "lab", "roof"), Standing.COMPLETED, Reason.ALL_VISITED),
    ],
)
def test_all_some_or_none_of_the_route_decide(
    visited: tuple[str, ...], standing: Standing, reason: Reason
) -> None:
    """All visited is completed, some incomplete, none missed; other checkpoints never matter."""
    verdict = settle(ROUND, [read(name, OPENS + 1) for name in visited], AFTER_ALL, DUE)
    assert (verdict.standing, verdict.reason) == (standing, reason)
    assert set(verdict.visited) == set(visited) & {"gate", "lab"}
    assert set(verdict.missing) == {"gate", "lab"} - set(visited)
    assert set(verdict.evidence) == set(verdict.visited)


def test_order_of_walking_does_not_change_the_verdict() -> None:
    """An ordered route walked backwards is completed all the same; it is marked elsewhere."""
    ordered = structs.replace(ROUND, terms=Round(route=("gate", "lab"), ordered=True, min_gap=0))
    backwards = [read("lab", OPENS), read("gate", OPENS + 1)]
    assert settle(ordered, backwards, AFTER_ALL, DUE).standing is Standing.COMPLETED


@pytest.mark.parametrize(
    ("now", "marker", "waited", "judged"),
    [
        (DUE - 1, DUE - 1, False, False),
        (DUE, DUE, False, True),
        (DUE, DUE - 1, False, False),
        (DUE + 59_000, DUE - 1, False, False),
        (DUE + 60_000, DUE - 1, True, True),
        (DUE - 1, DUE + 5, False, False),
    ],
)
def test_a_round_is_judged_when_the_marker_of_due_has_come_back(
    now: int, marker: int, waited: bool, judged: bool
) -> None:
    """What waits in a queue is not missed: our clock alone judges nothing until it was waited."""
    verdict = settle(ROUND, [], Known(marker=marker, waited=waited), now)
    assert (verdict.standing is Standing.MISSED) is judged
    assert verdict.wake == (None if judged else DUE)
    assert verdict.waited is waited
    assert verdict.at == (DUE if judged else OPENS)


def test_a_pending_round_shows_how_far_it_is() -> None:
    """Before due the verdict is pending, and says what was visited and what is left."""
    verdict = settle(ROUND, [read("lab", OPENS + 5)], Known(marker=CLOSES), CLOSES)
    assert (verdict.standing, verdict.reason) == (Standing.PENDING, Reason.NOT_DUE)
    assert (verdict.visited, verdict.missing, verdict.first) == (("lab",), ("gate",), None)


@pytest.mark.parametrize("trust", list(Trust))
def test_before_due_any_clock_counts(trust: Trust) -> None:
    """What arrived before due counts, unproven too."""
    verdict = settle(
        walk("gate"), [read("gate", OPENS, trust=trust, after=DUE - 1)], AFTER_ALL, DUE
    )
    assert verdict.standing is Standing.COMPLETED


@pytest.mark.parametrize("trust", list(Trust))
@pytest.mark.parametrize("cut_off", [True, False])
def test_after_due_only_a_trusted_read_of_a_device_cut_off_counts(
    trust: Trust, cut_off: bool
) -> None:
    """Late evidence counts by itself only if trusted and cut off; else it waits for review."""
    late = read("gate", OPENS, trust=trust, after=DUE, cut_off=cut_off)
    verdict = settle(walk("gate"), [late], AFTER_ALL, DUE)
    counts = trust in (Trust.TRUSTED, Trust.UPTIME) and cut_off
    assert verdict.standing is (Standing.COMPLETED if counts else Standing.MISSED)
    assert verdict.waiting == (() if counts else (late.identity,))
    assert verdict.first is Standing.MISSED


@pytest.mark.parametrize(
    ("trust", "cut_off", "why"),
    [
        (Trust.TRUSTED, True, None),
        (Trust.TRUSTED, False, Wait.NOT_CUT_OFF),
        (Trust.UNPROVEN, True, Wait.CLOCK_UNPROVEN),
        (Trust.AHEAD, False, Wait.CLOCK_UNPROVEN),
    ],
)
def test_late_evidence_says_why_it_waits(trust: Trust, cut_off: bool, why: Wait | None) -> None:
    """A read that waits has one reason, a read that counts has none."""
    assert why_waiting(read("gate", OPENS, trust=trust, cut_off=cut_off)) is why


def test_only_what_could_change_the_verdict_waits() -> None:
    """A late read of a checkpoint that was visited anyway needs no review."""
    late = [read(name, OPENS + 9, after=DUE) for name in ("gate", "lab")]
    verdict = settle(ROUND, [read("gate", OPENS), *late], AFTER_ALL, DUE)
    assert verdict.waiting == (late[1].identity,)
    done = settle(ROUND, [read("gate", OPENS), read("lab", OPENS), *late], AFTER_ALL, DUE)
    assert done.waiting == ()


def test_nobody_could_have_told_is_unknown_not_missed() -> None:
    """With every device unreachable and nothing visited the round is unknown."""
    verdict = settle(ROUND, [], Known(marker=DUE, reachable=False), DUE)
    assert (verdict.standing, verdict.reason) == (Standing.UNKNOWN, Reason.NOBODY_REACHABLE)
    assert verdict.first is Standing.UNKNOWN


def test_evidence_lifts_unknown() -> None:
    """Whatever was visited is known: unknown becomes incomplete, then completed."""
    late = [read(name, OPENS, after=DUE + 9, cut_off=True) for name in ("gate", "lab")]
    cut = Known(marker=DUE, reachable=False)
    assert settle(ROUND, late[:1], cut, DUE).standing is Standing.INCOMPLETE
    assert settle(ROUND, late, cut, DUE).standing is Standing.COMPLETED
    assert settle(ROUND, late, cut, DUE).first is Standing.UNKNOWN


def test_excused_stays_excused() -> None:
    """What a person excused no later evidence calls missed or completed."""
    excused = Verdict(standing=Standing.EXCUSED, at=DUE, reason=Reason.EXCUSED)
    known = Known(marker=DUE, previous=excused)
    assert settle(ROUND, [], known, DUE).standing is Standing.EXCUSED
    assert settle(ROUND, [read("gate", OPENS)], known, DUE).standing is Standing.EXCUSED


def test_the_first_read_that_counts_is_the_evidence() -> None:
    """Of several visits the earliest is the evidence, in whatever order they are given."""
    reads = [read("gate", OPENS + shift) for shift in (9, 3, 7)]
    for order in permutations(reads):
        verdict = settle(walk("gate"), order, AFTER_ALL, DUE)
        assert verdict.evidence == {"gate": reads[1].identity}


A = walk("gate", opens=0, closes=100, due=150)
B = walk("gate", opens=100, closes=200, due=250)
C = walk("gate", opens=60, closes=160, due=210)
D = structs.replace(walk("gate", opens=300, closes=400, due=450), early=200)


@pytest.mark.parametrize(
    ("at", "rounds", "served"),
    [
        (99, (A, B), A),
        (100, (A, B), B),  # late for A, on time for B
        (200, (A, B), B),  # late for B, out of A
        (250, (A, B), None),
        (80, (A, C), A),  # on time for both: the one that opens first
        (120, (A, C), C),
        (205, (B, C), C),  # late for both: the one that opens first
        (180, (B, D), B),  # on time before early
        (220, (B, D), B),  # late before early
        (260, (B, D), D),
        (99, (D,), None),
        (100, (D,), D),
    ],
)
def test_a_read_serves_one_round(
    at: int, rounds: tuple[Obligation, ...], served: Obligation | None
) -> None:
    """On time before late before early, and the one that opens first among equals."""
    for order in permutations(rounds):
        assert serves(at, order) is served


def test_a_read_that_serves_a_sibling_does_not_serve_this_round() -> None:
    """One read never completes two rounds of a plan."""
    known = Known(marker=900, siblings=(A, B))
    only = [read("gate", 100)]
    assert settle(A, only, known, 900).standing is Standing.MISSED
    assert settle(B, only, known, 900).standing is Standing.COMPLETED
    assert settle(A, only, Known(marker=900), 900).standing is Standing.COMPLETED


def test_a_flip_is_a_change_that_somebody_would_tell() -> None:
    """Progress of a pending round is none, nor is a verdict said again; any other change is."""
    pending = settle(ROUND, [], Known(marker=OPENS), OPENS)
    further = settle(ROUND, [read("gate", OPENS)], Known(marker=CLOSES), CLOSES)
    missed = settle(ROUND, [], AFTER_ALL, DUE)
    some = settle(ROUND, [read("gate", OPENS)], AFTER_ALL, DUE)
    assert flip(ROUND, None, pending) is None
    assert flip(ROUND, pending, further) is None
    assert flip(ROUND, missed, structs.replace(missed, waited=True)) is None
    for was, now in ((None, missed), (pending, missed), (missed, some)):
        found = flip(ROUND, was, now)
        assert found is not None
        assert (found.was, found.now) == (was, now)


def test_a_verdict_survives_json() -> None:
    """What the ledger keeps of a verdict is read back as the same verdict."""
    verdict = settle(ROUND, [read("gate", CLOSES), read("lab", OPENS, after=DUE)], AFTER_ALL, DUE)
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_keys_are_those_of_the_contract() -> None:
    """Round and gap keys name site, plan and opening in UTC; milliseconds only if there are any."""
    opens = 1_788_271_200_000
    assert round_key("school-01", "night", opens) == "school-01/night/2026-09-01T14:00:00Z"
    assert gap_key("s", "p", opens, "lab") == "s/p/2026-09-01T14:00:00Z/lab"
    assert utc(opens + 7) == "2026-09-01T14:00:00.007Z"
