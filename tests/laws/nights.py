"""Nights drawn by the machine, and systems to run them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.laws.book import Book
from tests.laws.copies import Modules
from tests.laws.machine import Night
from tests.laws.run import Make, Script
from tests.laws.service import Service, fast_folder
from tests.laws.systems import System

STEPS = 40


def draw(nights: int, live: Callable[[Script], None], *, at_random: bool = False) -> None:
    """Draw so many nights and live each; the same ones each time, unless `at_random`.

    Without hypothesis' shrinking: `run.shortened` takes messages out of a night, which is quicker
    and leaves the rest of the night as it was.
    """
    machine = type("ANight", (Night,), {"live": staticmethod(live)})
    wanted = settings(
        max_examples=nights,
        stateful_step_count=STEPS,
        derandomize=not at_random,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=wanted)


def drawn(nights: int) -> list[Script]:
    """So many nights, not lived."""
    scripts: list[Script] = []
    draw(nights, scripts.append)
    return scripts


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
