"""Plain text that fits a page."""

from hypothesis import given
from hypothesis import strategies as st

from desk.paper import fitted, width


def test_chinese_signs_are_two_wide() -> None:
    """A page of a fixed pitch holds forty Chinese signs a line."""
    assert width("网格巡 3") == 8


@given(st.lists(st.text(st.sampled_from("abc 网格，、：xyz"), max_size=200), max_size=5))
def test_every_line_fits_and_nothing_is_lost(lines: list[str]) -> None:
    """No line is wider than the page; every sign but spaces stands where it stood."""
    fit = list(fitted(lines, 40))
    long = [line for line in lines if width(line) > 40]
    assert all(width(line) <= 40 for line in fit) or not long
    assert "".join("".join(fit).split()) == "".join("".join(lines).split())
