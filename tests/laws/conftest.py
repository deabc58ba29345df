"""`pytest tests/laws --hypothesis-profile thorough` looks for some minutes, at random."""

from hypothesis import settings

settings.register_profile("thorough", max_examples=2_000)
