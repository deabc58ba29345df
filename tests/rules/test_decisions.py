"""What a person's decision makes of a verdict (contract §6; docs/decisions/0010)."""

import pytest

from rules.events import follow
from rules.obligations import (
    Decision,
    Do,
    Flip,
    Known,
    Reason,
    Standing,
    Trust,
    Verdict,
    flip,
    settle,
    unproven,
)
from tests.rules.test_events import PLAN
from tests.rules.test_verdicts import AFTER_ALL, DUE, OPENS, read, walk


def made(do: Do, at: int = DUE + 1, of: str | None = None) -> Decision:
    return Decision(do=do, author="chief", at=at, reason="seen on camera", read=of)


def test_accepted_late_evidence_counts() -> None:
    """A read that waits counts once a person accepts it, and the verdict says who did."""
    late = read("gate", OPENS, trust=Trust.UNPROVEN, after=DUE)
    accepted = read(
        "gate", OPENS, trust=Trust.UNPROVEN, after=DUE, decision=made(Do.ACCEPT, of=late.identity)
    )
    assert settle(walk("gate"), [late], AFTER_ALL, DUE).waiting == (late.identity,)
    verdict = settle(walk("gate"), [accepted], AFTER_ALL, DUE)
    assert (verdict.standing, verdict.first) == (Standing.COMPLETED, Standing.MISSED)
    assert verdict.waiting == ()
    assert [decision.author for decision in verdict.decisions] == ["chief"]
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_rejected_late_evidence_waits_no_more() -> None:
    """A rejected read does not count and is not asked about again; the verdict tells."""
    late = read("gate", OPENS, trust=Trust.UNPROVEN, after=DUE, decision=made(Do.REJECT))
    verdict = settle(walk("gate"), [late], AFTER_ALL, DUE)
    assert (verdict.standing, verdict.waiting) == (Standing.MISSED, ())
    assert [decision.do for decision in verdict.decisions] == [Do.REJECT]


@pytest.mark.parametrize("trust", [Trust.TRUSTED, Trust.UNPROVEN])
def test_what_came_in_time_cannot_be_decided_away(trust: Trust) -> None:
    """A decision is about late evidence; what had arrived before due counts as it did."""
    in_time = read("gate", OPENS, trust=trust, after=DUE - 1, decision=made(Do.REJECT))
    assert settle(walk("gate"), [in_time], AFTER_ALL, DUE).standing is Standing.COMPLETED


def test_an_excuse_is_a_verdict_of_its_own() -> None:
    """Excused after due: excused, with the first verdict kept and the amendment told."""
    known = Known(marker=DUE, decision=made(Do.EXCUSE))
    verdict = settle(walk("gate"), [], known, DUE)
    assert (verdict.standing, verdict.first) == (Standing.EXCUSED, Standing.MISSED)
    assert verdict.reason is Reason.EXCUSED


def test_an_excuse_made_ahead_raises_nothing() -> None:
    """Excused before due, nothing else was ever true: no alarm, no amendment."""
    known = Known(marker=DUE, decision=made(Do.EXCUSE, at=DUE - 1))
    obligation = walk("gate")
    verdict = settle(obligation, [], known, DUE)
    assert (verdict.standing, verdict.first) == (Standing.EXCUSED, Standing.EXCUSED)
    changed = flip(obligation, None, verdict)
    assert isinstance(changed, Flip)
    assert follow(changed, PLAN) == ()


def test_who_kept_it_in_time_needs_no_excuse() -> None:
    """A round that was walked in time is completed, whatever was excused ahead."""
    known = Known(marker=DUE, decision=made(Do.EXCUSE, at=DUE - 1))
    verdict = settle(walk("gate"), [read("gate", OPENS, after=OPENS)], known, DUE)
    assert verdict.standing is Standing.COMPLETED


def test_unknown_may_be_called_missed_and_nothing_else() -> None:
    """Where nobody could have told, a person may; evidence that came later still counts."""
    known = Known(marker=DUE, reachable=False, decision=made(Do.CALL_MISSED))
    verdict = settle(walk("gate"), [], known, DUE)
    assert (verdict.standing, verdict.reason) == (Standing.MISSED, Reason.CALLED_MISSED)
    assert verdict.first is Standing.UNKNOWN
    late = read("gate", OPENS, after=DUE, cut_off=True)
    assert settle(walk("gate"), [late], known, DUE).standing is Standing.COMPLETED


def test_only_late_reads_of_doubtful_clocks_are_told() -> None:
    """`checkin.unproven` is of what came after due by a time nobody can vouch for."""
    obligation = walk("gate")
    late = read("gate", OPENS, trust=Trust.AHEAD, after=DUE)
    others = [
        read("gate", OPENS + 1, trust=Trust.AHEAD, after=DUE - 1),
        read("gate", OPENS + 2, trust=Trust.TRUSTED, after=DUE),
        read("gate", DUE, trust=Trust.UNPROVEN, after=DUE),
    ]
    assert unproven(obligation, [late, *others]) == (late,)
