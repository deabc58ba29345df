"""What a look at a part comes to, in words."""

import pytest

from desk.checks import SOME, few


@pytest.mark.parametrize("count", [0, 1, SOME, SOME + 1, 3_000])
def test_of_many_a_few_are_named_and_the_rest_counted(count: int) -> None:
    """A check stays one line, however many it is about, and leaves nobody out of the count."""
    said = few([f"hh-{n}" for n in range(count)])
    named, _, more = said.partition(" and ")
    assert named.count("hh-") == min(count, SOME)
    assert more == (f"{count - SOME} more" if count > SOME else "")
