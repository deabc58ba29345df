"""Laws 2 to 8 of the design: one state machine over the rules alone and over the real store."""

import pytest
from hypothesis import settings

from tests.laws import copies
from tests.laws.nights import draw, of_rules, of_service
from tests.laws.run import Make, Script, live, shortened

THOROUGH = settings.get_current_profile_name() == "thorough"
TO_SHORTEN_S = 60.0


def hold(make: Make, nights: int) -> None:
    """Every law holds in so many nights; a night that breaks one is told as short as it can be."""

    def lived(script: Script) -> None:
        try:
            live(make, script)
        except AssertionError as error:
            short = shortened(make, script, TO_SHORTEN_S)
            error.add_note("\n".join(map(repr, short)))
            raise

    draw(nights, lived, at_random=THOROUGH)


def test_the_rules_keep_the_laws() -> None:
    """Whatever a night brings, the rules alone keep laws 2 to 8."""
    with of_rules(copies.healthy(copies.RULES)) as make:
        hold(make, settings().max_examples if THOROUGH else 100)


@pytest.mark.slow
def test_the_service_keeps_the_laws() -> None:
    """Whatever a night brings, the service over a real ledger keeps laws 2 to 8."""
    with of_service(copies.healthy()) as make:
        hold(make, settings().max_examples if THOROUGH else 40)
