"""How long a person's tag says who makes the reads after it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.holders import DAY, LONGEST, Hold, round_end

HOUR = 3_600_000


def test_a_tag_holds_for_a_time_or_for_a_round() -> None:
    """What the registry file says is what is printed again."""
    assert Hold.parse("12h") == Hold(12 * HOUR, False)
    assert Hold.parse("round") == Hold(DAY, True)
    assert [str(Hold.parse(text)) for text in ("12h", "round", "7d")] == ["12h", "round", "7d"]


@pytest.mark.parametrize("text", ["", "0s", "30s", "8d", "rounds", "12", "-1h"])
def test_any_other_time_is_refused_with_the_remedy(text: str) -> None:
    """Not shorter than a minute, not longer than a week: who forgets a tag is not held for ever."""
    with pytest.raises(ValueError, match="write 1m to 7d, as 12h, or round"):
        Hold.parse(text)


def test_a_tag_read_in_a_round_holds_to_its_due() -> None:
    """Exactly due is out; of two rounds open at once the later due counts."""
    rounds = [(10, 20), (12, 25), (40, 50)]
    assert [round_end(at, rounds) for at in (10, 12, 19, 20, 24)] == [20, 25, 25, 25, 25]


def test_a_tag_read_between_rounds_holds_for_the_next() -> None:
    """Who goes on a round may say so before it opens; after the last there is none."""
    rounds = [(10, 20), (40, 50), (40, 45)]
    assert [round_end(at, rounds) for at in (9, 20, 39, 50)] == [20, 50, 50, None]


@given(
    at=st.integers(0, 100),
    rounds=st.lists(st.tuples(st.integers(0, 100), st.integers(1, 30)), max_size=6),
    seed=st.randoms(),
)
def test_the_end_is_a_function_of_the_set_of_rounds(at, rounds, seed) -> None:
    """In whatever order the rounds are told, and however often; and it lies after the tag."""
    spans = [(opens, opens + length) for opens, length in rounds]
    shuffled = spans * 2
    seed.shuffle(shuffled)
    found = round_end(at, spans)
    assert round_end(at, shuffled) == found
    assert found is None or found > at
    assert LONGEST >= DAY
