"""Spans of time as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("20s", 20_000),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("1h30m", 5_400_000),
        ("90m", 5_400_000),
        ("250ms", 250),
        ("0s", 0),
    ],
)
def test_a_span_reads_as_milliseconds(text: str, ms: int) -> None:
    """Each unit, and units together, read as milliseconds."""
    assert parse_duration(text) == ms


@pytest.mark.parametrize("text", ["", "5", "5 m", "-5m", "1.5h", "m", "5m2h", "5m5m", "1w", "٥m"])
def test_anything_else_is_refused_with_the_remedy(text: str) -> None:
    """Bare numbers, signs, fractions and units out of order are refused, not guessed."""
    with pytest.raises(ValueError, match="write 20s"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_a_span_survives_being_written(ms: int) -> None:
    """What is written is read back as the same span."""
    assert parse_duration(format_duration(ms)) == ms
