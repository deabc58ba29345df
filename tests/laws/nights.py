"""Nights drawn by the machine, and systems to run them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.laws.book import Book
from tests.laws.copies import Modules
from tests.laws.machine import Night
from tests.laws.run import Make, Script
from tests.laws.service import Service, fast_folder
from tests.laws.systems import System

STEPS = 40
NIGHTS = 60
"""That the laws are tried on."""


def night(number: int) -> Script:
    """The night of that number: always the same one, as long as the machine is as it is.

    Each from a seed of its own. Drawn in one run, most are another with a detail changed, since
    hypothesis goes on from what it has. Its shrinking is not used either: `run.shortened` takes
    messages out of a night, which is quicker and leaves the rest of the night as it was.
    """
    scripts: list[Script] = []
    machine = seed(number)(type("ANight", (Night,), {"live": staticmethod(scripts.append)}))
    run_state_machine_as_test(machine, settings=ONE)
    return scripts[-1]


ONE = settings(
    max_examples=2,  # the first is that of all zeros, whatever the seed
    stateful_step_count=STEPS,
    derandomize=False,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    verbosity=Verbosity.quiet,
    suppress_health_check=list(HealthCheck),
)


@contextmanager
def of_rules(modules: Modules) -> Iterator[Make]:
    """The rules alone."""
    yield lambda _: Book(modules)


@contextmanager
def of_service(modules: Modules) -> Iterator[Make]:
    """The service's parts over a real ledger."""
    read: dict[bytes, object] = {}
    with fast_folder() as folder:

        def make(name: str) -> System:
            path = Path(folder) / name
            path.mkdir(exist_ok=True)
            return Service(modules, path, read)

        yield make
