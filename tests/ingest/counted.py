"""`gridbeat ingest` that counts what each of its statements costs SQLite.

    counted.py FILE      # written at the end: JSON, a `Cost` for each statement

A process of its own, with its settings from the environment. What is counted are steps of SQLite's
virtual machine, not time: they are the same on any machine.
"""

import json
import re
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from ingest.running import run
from store.settings import load_settings

STEPS = 10
"""Steps between two looks: what a run of a statement costs is known to within as many."""
LITERALS = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b|NULL")


@dataclass(slots=True)
class Cost:
    """Of one statement. `steps`: those of the dearest run; `sample`: that run, with its values."""

    sample: str = ""
    runs: int = 0
    steps: int = 0


class Counter:
    """The statements of all connections, by their text without values."""

    def __init__(self) -> None:
        self.costs: dict[str, Cost] = {}

    def connected(self, driver: sqlite3.Connection, _: object) -> None:
        """Count what runs on a connection from now on."""
        began, stepped = self._of_one()
        driver.set_trace_callback(began)
        driver.set_progress_handler(stepped, STEPS)

    def _of_one(self) -> tuple[Callable[[str], None], Callable[[], int]]:
        cost, sample, steps = Cost(), "", 0

        def began(statement: str) -> None:
            nonlocal cost, sample, steps
            if not statement.startswith("--"):  # a trigger, within the statement that sets it off
                cost = self.costs.setdefault(LITERALS.sub("?", statement), Cost(statement))
                cost.runs += 1
                sample, steps = statement, 0

        def stepped() -> int:
            nonlocal steps
            steps += STEPS
            if steps > cost.steps:
                cost.steps, cost.sample = steps, sample
            return 0

        return began, stepped


def count(into: Path, work: Callable[[], Any]) -> None:
    """Do the work, and write what its statements cost."""
    counter = Counter()
    event.listen(Engine, "connect", counter.connected)
    try:
        work()
    finally:
        said = {text: asdict(cost) for text, cost in counter.costs.items()}
        into.write_text(json.dumps(said))


if __name__ == "__main__":
    count(Path(sys.argv[1]), lambda: run(load_settings()))
