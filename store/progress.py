"""How an obligation stands before it is judged: what was visited so far. Nothing is written."""

from sqlalchemy import Connection, select

from devices.ids import Instant
from rules.obligations import settle
from rules.promises import Known, Verdict
from store.evidence import deciding_reads
from store.obligations import OBLIGATION, Plans, siblings


def standing_of(connection: Connection, key: str, plans: Plans, now: Instant) -> Verdict | None:
    """What a judge would say of it now, going by what is committed; None where there is none."""
    row = connection.execute(select(OBLIGATION).where(OBLIGATION.c.key == key)).first()
    if row is None:
        return None
    promise = plans.promise(connection, row)
    rivals, until = siblings(connection, row, plans), min(promise.due, now + 1)
    reads = deciding_reads(connection, row.site_id, promise, until, marker=now, rivals=rivals)
    known = Known(marker=now, siblings=rivals)
    return settle(promise, reads, known, now)
