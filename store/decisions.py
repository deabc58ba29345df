"""What people decided: an action in the append-only door, and a row by which judges find it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from devices.ids import Instant
from rules.promises import Decision as Made
from rules.promises import Do
from store.entries import NewAction, append_action
from store.prepared import Prepared, paged
from store.tables import Decision, Obligation, table_of

DECISION = table_of(Decision)
OBLIGATION = table_of(Obligation)

_MADE = (DECISION.c.do, DECISION.c.author, DECISION.c.at, DECISION.c.reason)
_PAGE = paged("page", "key")
_OF_OBLIGATIONS = Prepared(
    select(_PAGE.c.key, *_MADE)
    .join(DECISION, DECISION.c.obligation_key == _PAGE.c.key)
    .order_by(DECISION.c.id)
)
_OF_ENTRY = Prepared(
    select(*_MADE)
    .where(DECISION.c.entry_id == bindparam("it"))
    .order_by(DECISION.c.id.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDecision:
    """A decision about a read (`entry_id`), or an obligation (no entry).

    `about`: the identity of the read, or the key of the obligation.
    """

    do: Do
    author: str
    at: Instant
    reason: str
    site_id: int
    about: str
    entry_id: int | None = None


def decide(connection: Connection, new: NewDecision) -> int:
    """Write a decision down; returns the entry's id. What it bears on is the caller's to touch."""
    body = {"do": new.do.value, "about": new.about, "reason": new.reason}
    action = NewAction(author=new.author, at=new.at, site_id=new.site_id, body=body)
    entry = append_action(connection, action)
    values = {
        "id": entry,
        "do": new.do.value,
        "obligation_key": new.about if new.entry_id is None else None,
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


def of_obligation(connection: Connection, key: str) -> Made | None:
    """What holds of an obligation."""
    return of_obligations(connection, [key]).get(key)


def of_obligations(connection: Connection, keys: Iterable[str]) -> dict[str, Made]:
    """What holds of each of a page of obligations, by its key, where anything was decided of it."""
    rows = _OF_OBLIGATIONS.all(connection, page=[(key,) for key in keys])
    return {row[0]: _made(row[1:]) for row in rows}  # the latest comes last


def of_read(connection: Connection, entry_id: int, identity: str) -> Made | None:
    """What holds of a read."""
    row = _OF_ENTRY.first(connection, it=entry_id)
    return None if row is None else _made(row, identity)


def _made(row: Sequence[Any], identity: str | None = None) -> Made:
    do, author, at, reason = row
    return Made(do=Do(do), author=author, at=at, reason=reason, read=identity)
