"""The two systems under test: the rules over a book in memory, and the service's parts over SQLite.

Both take what a source would hand out, batch by batch, and are asked the same questions.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.laws.copies import Modules
from tests.laws.world import Item, Planned, Said, Tick

Row = tuple[Any, ...]


@dataclass
class Outcome:
    """What a system holds. Documents and data are plain values.

    `verdicts`: by obligation, each revision as (document, judged_at). `events`: each revision as
    (kind, subject, revision, state, at, raised_at, data), in the order of writing.
    `entries`: (identity, at, sent, received_at). `third`: by identity, (at, how).
    """

    verdicts: dict[str, list[tuple[dict[str, Any], int]]] = field(default_factory=dict)
    events: list[Row] = field(default_factory=list)
    entries: dict[str, Row] = field(default_factory=dict)
    third: dict[str, Row] = field(default_factory=dict)

    @property
    def latest(self) -> dict[tuple[str, str], tuple[Any, ...]]:
        """The revision that holds of every event that was not withdrawn: state, at, data."""
        newest = {(row[0], row[1]): (row[3], row[4], row[6]) for row in self.events}
        return {key: row for key, row in newest.items() if not row[2].get("withdrawn")}


class System(Protocol):
    """What the machine drives."""

    def follow(self, plans: Planned) -> None:
        """Apply the registry with these plans, and take it up."""

    def take(self, batch: list[Tick | Said]) -> None:
        """Commit one batch, and do what follows from it."""

    def fail(self, batch: list[Tick | Said]) -> None:
        """Try to commit one batch, in vain."""

    def restart(self) -> None:
        """Forget everything that is not kept, and begin anew."""

    def outcome(self) -> Outcome:
        """What is held now."""

    def covered(self, device: str) -> tuple[int, list[tuple[int, int]]] | None:
        """What a receipt to the device would claim; None where the system makes none."""

    def kept_aside(self) -> int | None:
        """How many conflicting contents are in quarantine; None where there is no quarantine."""

    def close(self) -> None:
        """Leave nothing behind."""


def split(item: Said) -> list[dict[str, Any]]:
    return item.body if isinstance(item.body, list) else [item.body]


__all__ = ["Item", "Modules", "Outcome", "Planned", "Said", "System", "Tick", "split"]
