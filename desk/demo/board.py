"""What the live screen asks of the ledger beside the listings: the rounds that are being walked."""

from dataclasses import dataclass

from sqlalchemy import Engine, select

from devices.ids import Instant
from rules.promises import Standing
from store.database import reading
from store.evidence import reads_for
from store.obligations import OBLIGATION, PLAN, Plans


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRound:
    """A round between its opening and its due; `visited` of `expected` checkpoints so far."""

    site: str
    plan: str
    timezone: str
    opens: Instant
    closes: Instant
    visited: int
    expected: int


def open_rounds(engine: Engine, now: Instant) -> list[OpenRound]:
    """The rounds open at `now`, those in their grace included, the earliest first."""
    query = (
        select(OBLIGATION)
        .join(PLAN, PLAN.c.id == OBLIGATION.c.plan_id)
        .where(OBLIGATION.c.kind == "round", OBLIGATION.c.standing == Standing.PENDING.value)
        .where(OBLIGATION.c.opens <= now, OBLIGATION.c.due > now)
        .order_by(OBLIGATION.c.opens, OBLIGATION.c.id)
    )
    plans, found = Plans(), []
    with reading(engine) as connection:
        for row in connection.execute(query):
            promise = plans.promise(connection, row)
            reads = reads_for(connection, row.site_id, promise, promise.due)
            found.append(
                OpenRound(
                    site=promise.site,
                    plan=promise.plan,
                    timezone=plans.of(connection, row.plan_version_id).timezone,
                    opens=promise.opens,
                    closes=promise.closes,
                    visited=len({read.checkpoint for read in reads} & {*promise.expected}),
                    expected=len(promise.expected),
                )
            )
    return found
