"""What people decided: an action in the append-only door, and a row by which judges find it."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from devices.ids import Instant
from rules.promises import Decision as Made
from rules.promises import Do
from store.entries import NewAction, append_action
from store.tables import Decision, Obligation

DECISION = Decision.__table__  # type: ignore[attr-defined]
OBLIGATION = Obligation.__table__  # type: ignore[attr-defined]

_LATEST = select(DECISION).order_by(DECISION.c.id.desc()).limit(1)
_OF_OBLIGATION = _LATEST.where(DECISION.c.obligation_id == bindparam("it"))
_OF_ENTRY = _LATEST.where(DECISION.c.entry_id == bindparam("it"))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDecision:
    """A decision about a read (`entry_id`) or an obligation; `about` is what people call it."""

    do: Do
    author: str
    at: Instant
    reason: str
    site_id: int
    about: str
    obligation_id: int | None = None
    entry_id: int | None = None


def decide(connection: Connection, new: NewDecision) -> int:
    """Write a decision down; returns the entry's id. What it bears on is the caller's to touch."""
    body = {"do": new.do.value, "about": new.about, "reason": new.reason}
    action = NewAction(author=new.author, at=new.at, site_id=new.site_id, body=body)
    entry = append_action(connection, action)
    values = {
        "id": entry,
        "do": new.do.value,
        "obligation_id": new.obligation_id,
        "entry_id": new.entry_id,
        "author": new.author,
        "at": new.at,
        "reason": new.reason,
    }
    connection.execute(insert(DECISION).values(values))
    return entry


def look_again(connection: Connection, obligation_id: int) -> None:
    """Have a judged obligation looked at again, as soon as anybody looks."""
    asleep = (OBLIGATION.c.id == obligation_id) & OBLIGATION.c.wake.is_(None)
    connection.execute(update(OBLIGATION).where(asleep).values(wake=OBLIGATION.c.due))


def of_obligation(connection: Connection, obligation_id: int) -> Made | None:
    """What holds of an obligation."""
    row = connection.execute(_OF_OBLIGATION, {"it": obligation_id}).first()
    return None if row is None else _made(row)


def of_read(connection: Connection, entry_id: int, identity: str) -> Made | None:
    """What holds of a read."""
    row = connection.execute(_OF_ENTRY, {"it": entry_id}).first()
    return None if row is None else _made(row, identity)


def _made(row: Row[*tuple[Any, ...]], identity: str | None = None) -> Made:
    return Made(do=Do(row.do), author=row.author, at=row.at, reason=row.reason, read=identity)
