"""Laws 2 to 8 of the design: one state machine over the rules alone and over the real store."""

from collections.abc import Iterable
from random import SystemRandom

import pytest
from hypothesis import settings

from tests.laws import copies
from tests.laws.nights import NIGHTS, night, of_rules, of_service
from tests.laws.run import Make, live, shortened

THOROUGH = settings.get_current_profile_name() == "thorough"
TO_SHORTEN_S = 60.0


def tried(usual: int) -> Iterable[int]:
    """Numbers of nights: always the same ones, or as many others as the profile says."""
    if not THOROUGH:
        return range(usual)
    begin = SystemRandom().randrange(2**32)
    return range(begin, begin + settings().max_examples)


def hold(make: Make, nights: int) -> None:
    """Every law holds in so many nights; one that breaks a law is told as short as it can be."""
    for number in tried(nights):
        script = night(number)
        try:
            live(make, script)
        except AssertionError as error:
            short = shortened(make, script, TO_SHORTEN_S)
            error.add_note("\n".join([f"night {number}, shortened:", *map(repr, short)]))
            raise


def test_the_rules_keep_the_laws() -> None:
    """Whatever a night brings, the rules alone keep laws 2 to 8."""
    with of_rules(copies.healthy(copies.RULES)) as make:
        hold(make, 3 * NIGHTS)


@pytest.mark.slow
def test_the_service_keeps_the_laws() -> None:
    """Whatever a night brings, the service over a real ledger keeps laws 2 to 8."""
    with of_service(copies.healthy()) as make:
        hold(make, NIGHTS)
