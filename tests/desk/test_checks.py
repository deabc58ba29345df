"""What a look at a part comes to, in words."""

import pytest

from desk.checks import SOME, State, few
from desk.doctor import kept


@pytest.mark.parametrize("count", [0, 1, SOME, SOME + 1, 3_000])
def test_of_many_a_few_are_named_and_the_rest_counted(count: int) -> None:
    """A check stays one line, however many it is about, and leaves nobody out of the count."""
    said = few([f"hh-{n}" for n in range(count)])
    named, _, more = said.partition(" and ")
    assert named.count("hh-") == min(count, SOME)
    assert more == (f"{count - SOME} more" if count > SOME else "")


SYNCHRONIZED, NOT_SYNCHRONIZED, REFUSED = 0, 5, -1  # adjtimex(2)


@pytest.mark.parametrize(
    ("told", "state", "words"),
    [
        (SYNCHRONIZED, State.OK, "and synchronized"),
        (NOT_SYNCHRONIZED, State.WARN, "does not say"),
        (REFUSED, State.OK, "cannot be asked"),
        (None, State.OK, "cannot be asked"),
    ],
)
def test_a_clock_that_cannot_be_asked_after_is_not_called_synchronized(
    told: int | None, state: State, words: str
) -> None:
    """Only what the kernel says is said of it; where it is not let be asked, that is."""
    check = kept(told)
    assert (check.state, words in check.detail) == (state, True)
    assert ("and synchronized" in check.detail) == (told == SYNCHRONIZED)
