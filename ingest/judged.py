"""What was judged already, remembered so that a live check-in costs no question to the ledger."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection

from devices.ids import Instant
from rules.promises import Standing, Verdict
from store import touching
from store.obligations import OneRow
from store.verdicts import overran


@dataclass(slots=True)
class Judged:
    """Used by the ledger's writer thread alone; loaded from the ledger, never written to it.

    `until`: by site, the latest due instant judged; a read after it can amend nothing.
    `alarmed`: checkpoints with an overdue stretch that the next visit ends. `overrun`: by
    checkpoint, until when stretches that outlived their window went on; a visit before it may have
    ended them sooner.
    """

    until: dict[int, Instant] = field(default_factory=dict)
    alarmed: set[int] = field(default_factory=set)
    overrun: dict[int, Instant] = field(default_factory=dict)

    def load(self, connection: Connection) -> None:
        """Take from the ledger what it says now."""
        self.until = touching.judged_until(connection)
        self.alarmed = touching.alarmed(connection)
        self.overrun = touching.overrun_until(connection)

    def saw(self, connection: Connection, row: OneRow, verdict: Verdict) -> None:
        """An obligation was judged, and its verdict written."""
        if verdict.standing is not Standing.PENDING:
            self.until[row.site_id] = max(self.until.get(row.site_id, 0), row.due)
        if row.checkpoint_id is None:
            return
        if any(stretch.ended_at is None for stretch in verdict.stretches):
            self.alarmed.add(row.checkpoint_id)
        elif row.alarm and not touching.is_alarmed(connection, row.checkpoint_id):
            self.alarmed.discard(row.checkpoint_id)
        end = overran(verdict, row.due)
        if end is not None:
            self.overrun[row.checkpoint_id] = max(self.overrun.get(row.checkpoint_id, 0), end)

    def touch(
        self,
        connection: Connection,
        site_id: int,
        checkpoint_id: int | None,
        times: Iterable[Instant],
    ) -> int:
        """Have looked at again what reads at these times bear on; returns how many obligations."""
        touched, until = 0, self.until.get(site_id, 0)
        alarmed, overrun = False, 0
        if checkpoint_id is not None:
            alarmed = checkpoint_id in self.alarmed
            overrun = self.overrun.get(checkpoint_id, 0)
        for at in times:
            if checkpoint_id is not None and alarmed:
                touched += touching.touch_alarm(connection, checkpoint_id, at)
            if checkpoint_id is not None and at <= overrun:
                touched += touching.touch_overrun(connection, checkpoint_id, at)
            if at < until:
                touched += touching.touch(connection, site_id, at)
        return touched
