"""Who serves a broker: whatever is heard, and in whichever order, one service at most holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.claims import Claim, Claims


def a_claim(run: str, since: int = 1_000, *, holds: bool = False) -> Claim:
    return Claim(
        run=run, instance="gridbeat", ledger="l", host="h", pid=1, since=since, holds=holds
    )


CLAIMS = st.builds(a_claim, st.sampled_from("bcdefgh"), st.integers(0, 5), holds=st.booleans())


def test_who_holds_goes_before_who_waits_however_old_its_claim():
    """A newcomer whose clock is behind takes nothing from one who is there."""
    claims = Claims(a_claim("me", since=1))
    claims.heard(a_claim("other", since=9_000, holds=True), kept=False)
    assert claims.holder == a_claim("other", since=9_000, holds=True)


def test_of_two_who_wait_the_older_goes_first():
    """And of two of one instant, one all the same."""
    mine = a_claim("b", since=5)
    claims = Claims(mine)
    for other, before in (
        (a_claim("z", 4), True),
        (a_claim("z", 6), False),
        (a_claim("a", 5), True),
    ):
        claims.heard(other, kept=False)
        assert bool(claims.before) is before
        claims.gone(other.run)


def test_what_the_broker_kept_proves_nothing_until_somebody_answers():
    """A kept claim stands before us, but holds nothing; unanswered, it is struck out."""
    claims = Claims(a_claim("me"))
    old = a_claim("old", 1, holds=True)
    claims.heard(old, kept=True)
    assert claims.before == [old]
    assert claims.holder is None
    claims.heard(old, kept=False)
    assert claims.holder == old
    claims.doubt()
    assert claims.holder is None
    assert claims.silent() == ["old"]
    assert claims.before == []


def test_who_comes_back_to_find_another_there_gives_way():
    """Our will told everybody that we were gone: whoever holds since then stays, though we are
    older."""
    claims = Claims(a_claim("me", since=1, holds=True))
    claims.heard(a_claim("other", since=50, holds=True), kept=True)
    claims.resume(now=60)
    assert not claims.mine.holds


@pytest.mark.parametrize("mine_there", [True, False])
def test_who_comes_back_to_find_nobody_there_goes_on(mine_there):
    """A broker that restarts, with or without what it kept, changes nobody's place."""
    mine = a_claim("me", since=1, holds=True)
    claims = Claims(mine)
    if mine_there:
        claims.heard(mine, kept=True)
    claims.heard(a_claim("waits", since=0), kept=True)
    claims.resume(now=60)
    assert claims.mine == mine


@given(st.lists(CLAIMS, max_size=7, unique_by=lambda claim: claim.run), st.randoms())
def test_all_who_have_heard_the_same_agree_on_one(claims, rng):
    """Exactly one of any set of claims has nobody before it, whatever the order of hearing."""
    first = 0
    for mine in claims:
        book = Claims(mine)
        others = [claim for claim in claims if claim is not mine]
        rng.shuffle(others)
        for other in others:
            book.heard(other, kept=False)
        first += not book.before
    assert first == (1 if claims else 0)
