"""What a look at a part comes to: how it is, in words, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

SOME = 5
"""How many are named where many are meant."""


class State(StrEnum):
    """How a part is."""

    OK = "ok"
    WARN = "warn"
    WRONG = "wrong"
    UNREACHABLE = "unreachable"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One part: how it is, in words, and what to do about it."""

    what: str
    state: State
    detail: str
    remedy: str | None = None


def worst(checks: list[Check]) -> State:
    """Unreachable before wrong; anything else is fine."""
    states = {check.state for check in checks}
    found = (state for state in (State.UNREACHABLE, State.WRONG) if state in states)
    return next(found, State.OK)


def few(names: Sequence[str]) -> str:
    """The first `SOME` of them, and how many more there are."""
    more = len(names) - SOME
    return ", ".join(names[:SOME]) + (f" and {more} more" if more > 0 else "")
