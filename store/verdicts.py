"""Verdicts as the ledger keeps them: each revision a row, the obligation flipped with it.

Any number of workers may judge: a flip goes through only where the revision is still the one that
was judged from, so that each verdict is written, and told, once.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, and_, select, update

from devices.ids import Instant
from rules.promises import Verdict
from store.obligations import OBLIGATION, OneRow
from store.prepared import Inserts, Prepared, paged
from store.tables import VerdictRow, table_of

VERDICT = table_of(VerdictRow)

Judged = tuple[OneRow, Verdict]
"""A row of the obligations, as it was found, and what is said of it now."""


def last_verdicts(connection: Connection, rows: Iterable[OneRow]) -> dict[int, dict[str, Any]]:
    """The document of the verdict that holds, by obligation, of those that have one."""
    page = [(row.id, row.revision) for row in rows if row.revision > 0]
    return dict(_DOCUMENTS.all(connection, page=page)) if page else {}


def put_off(connection: Connection, rows: Iterable[tuple[OneRow, Instant | None]]) -> None:
    """Look again at these instants; nothing was said."""
    page = [(row.id, row.revision, wake) for row, wake in rows]
    if page:
        _PUT_OFF.run(connection, page=page)


def flipped(connection: Connection, judged: Sequence[Judged], now: Instant) -> set[int]:
    """Write verdicts as the next revisions of their obligations; returns of which.

    Of the others another worker was first.
    """
    if not judged:
        return set()
    flips = [
        (
            row.id,
            row.revision,
            verdict.standing.value,
            sum(verdict.visits.values()) if row.kind == "quota" else len(verdict.visited),
            len(verdict.waiting),
            verdict.wake,
            any(stretch.ended_at is None for stretch in verdict.stretches),
            overran(verdict, row.due),
        )
        for row, verdict in judged
    ]
    taken = {number for (number,) in _FLIP.all(connection, page=flips)}
    rows = [
        (
            row.id,
            row.revision + 1,
            verdict.standing.value,
            verdict.at,
            now,
            verdict.reason.value,
            verdict.missing,
            verdict.late,
            verdict.to_json(),
        )
        for row, verdict in judged
        if row.id in taken
    ]
    _ADD.write(connection, rows)
    return taken


def overran(verdict: Verdict, due: Instant) -> Instant | None:
    """When a visit ended the stretch that outlived its window; None where none did."""
    end = verdict.stretches[-1].ended_at if verdict.stretches else None
    return end if end is not None and end >= due else None


_LAST = paged("page", "id", "revision")
_DOCUMENTS = Prepared(
    select(_LAST.c.id, VERDICT.c.document).join(
        VERDICT,
        and_(VERDICT.c.obligation_id == _LAST.c.id, VERDICT.c.revision == _LAST.c.revision),
    )
)
_LATER = paged("page", "id", "found", "wake")
_PUT_OFF = Prepared(
    update(OBLIGATION)
    .where(OBLIGATION.c.id == _LATER.c.id, OBLIGATION.c.revision == _LATER.c.found)
    .values(wake=_LATER.c.wake)
)
_SAID = ("standing", "visited", "waiting", "wake", "alarm", "overran")
_NOW = paged("page", "id", "found", *_SAID)
_FLIP = Prepared(
    update(OBLIGATION)
    .where(OBLIGATION.c.id == _NOW.c.id, OBLIGATION.c.revision == _NOW.c.found)
    .values(revision=_NOW.c.found + 1, **{name: _NOW.c[name] for name in _SAID})
    .returning(OBLIGATION.c.id)
)
_ADD = Inserts(VERDICT, [column.name for column in VERDICT.c if column.name != "id"])
