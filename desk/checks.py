"""What a look at a part comes to: how it is, in words, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


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
