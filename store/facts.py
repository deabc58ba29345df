"""What judging hangs on, asked of the ledger for a page of obligations at once.

Facts of a page, then the rules, then what they say of the page (`store.verdicts`): a question for
each obligation would cost ten times as much as its answer.
"""

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Connection

from devices.ids import Instant
from rules.plans import Plan
from rules.promises import Decision, Read, Verdict, holding
from rules.promises import Obligation as Promise
from store import decisions, obligations
from store.evidence import Asked, deciding_reads, few_reads
from store.obligations import OneRow, Plans
from store.presence import reachable
from store.spans import excuses_of
from store.verdicts import last_verdicts


class Facts(Struct, frozen=True, kw_only=True):
    """What one obligation is judged by. `decision`: of a person, about it or its span of time."""

    promise: Promise
    plan: Plan
    last: Verdict | None
    siblings: tuple[Promise, ...]
    reads: Sequence[Read]
    decision: Decision | None


class Page:
    """The facts of some rows of the table, as they were by `marker`."""

    def __init__(
        self,
        connection: Connection,
        rows: Sequence[OneRow],
        plans: Plans,
        marker: Instant,
    ) -> None:
        self._connection = connection
        self._plans = plans
        self._marker = marker
        plans.load(connection, rows)
        self._asked = {row.id: _asked(row, plans.promise(connection, row), marker) for row in rows}
        self._siblings = obligations.siblings_of(connection, rows, plans)
        self._lasts = last_verdicts(connection, rows)
        self._decisions = decisions.of_obligations(connection, (row.key for row in rows))
        self._excuses = excuses_of(connection, rows)
        self._reads = few_reads(connection, self._asked)
        self._reachable: dict[tuple[int, Instant, Instant], bool] = {}

    def of(self, row: OneRow) -> Facts:
        """The facts of one of its rows."""
        asked, last = self._asked[row.id], self._lasts.get(row.id)
        if last is None and row.revision > 0:
            raise LookupError(f"the ledger has no revision {row.revision} of {row.key}")
        siblings = tuple(
            self._plans.promise(self._connection, other) for other in self._siblings.get(row.id, ())
        )
        reads = self._reads.get(row.id)
        if reads is None:
            reads = deciding_reads(self._connection, *asked, marker=self._marker, rivals=siblings)
        return Facts(
            promise=asked.promise,
            plan=self._plans.of(self._connection, row.plan_version_id),
            last=None if last is None else Verdict.from_json(last),
            siblings=siblings,
            reads=reads,
            decision=self._decision(row),
        )

    def _decision(self, row: OneRow) -> Decision | None:
        excuses, own = self._excuses.get(row.id, ()), self._decisions.get(row.key)
        return holding(excuses if own is None else (*excuses, own))

    def reachable(self, site_id: int, since: Instant, until: Instant) -> bool:
        """As `store.presence.reachable`; a site's rounds that fall due together ask it once."""
        asked = (site_id, since, until)
        if asked not in self._reachable:
            self._reachable[asked] = reachable(self._connection, *asked)
        return self._reachable[asked]


def _asked(row: OneRow, promise: Promise, marker: Instant) -> Asked:
    # an overdue stretch is ended by the next visit, which may come after due
    end = max(marker + 1, promise.due) if row.kind == "gap" else promise.due
    return Asked(row.site_id, promise, end)
