"""What a person does about the quarantine: have it taken after all, or drop it.

The service takes it, since what follows from a record is its alone to write; here it is asked for,
and waited for a little.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from desk.acts import By
from desk.errors import DeskError, UsageError
from store import quarantine
from store.database import reading, writing
from store.entries import NewAction, append_action
from store.quarantine import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which entries: by id, or all of one reason, at one site or everywhere."""

    ids: Sequence[int] = ()
    reason: str | None = None
    site: str | None = None


def retry(engine: Engine, choice: Choice, *, by: By) -> tuple[int, ...]:
    """Ask for entries to be taken again; returns their ids. Raises `DeskError` for none."""
    return _settle(engine, choice, State.ASKED, by=by, note="")


def drop(engine: Engine, choice: Choice, *, by: By, note: str) -> tuple[int, ...]:
    """Drop entries: their bytes go, that they were there and who dropped them stays."""
    return _settle(engine, choice, State.DROPPED, by=by, note=note)


def outcome(engine: Engine, ids: Sequence[int], wait: Callable[[], bool]) -> Counter[State]:
    """What became of entries that were asked for; `wait()` says whether to look once more."""
    while True:
        with reading(engine) as connection:
            found = Counter(quarantine.states(connection, ids).values())
        if not found[State.ASKED] or not wait():
            return found


def _settle(engine: Engine, choice: Choice, state: State, *, by: By, note: str) -> tuple[int, ...]:
    if not choice.ids and choice.reason is None:
        raise UsageError("which entries?", "name ids, or --reason unknown-device")
    with writing(engine) as connection:
        ids = quarantine.chosen(connection, choice.ids, choice.reason, choice.site)
        if not ids:
            raise DeskError(
                "nothing of that is kept whole in quarantine", "gridbeat quarantine list shows it"
            )
        for id_ in ids:
            done = by.now if state is State.DROPPED else None
            quarantine.settle(connection, id_, state, done)
        do = "quarantine-drop" if state is State.DROPPED else "quarantine-retry"
        body = {"do": do, "ids": ids, "reason": choice.reason, "note": note}
        append_action(connection, NewAction(author=by.author, at=by.now, site_id=None, body=body))
    return tuple(ids)
