"""What a person decides where the rules leave it open: late evidence, rounds nobody could judge.

A decision is an action in the append-only door, under its author's name and with a reason. The
service looks at what it bears on within a second; the verdict's next revision tells who decided.
"""

from sqlalchemy import Connection, Engine, select

from desk.acts import By
from desk.errors import DeskError, UsageError
from devices.ids import Identity
from rules.promises import Do, Read, Standing
from store.database import writing
from store.decisions import NewDecision, decide, look_again, of_obligation, of_read
from store.evidence import read_of
from store.obligations import OBLIGATION
from store.reviews import decided_in, waiting_for


def decide_read(engine: Engine, identity: str, do: Do, *, by: By, note: str) -> tuple[str, ...]:
    """Accept or reject a late read; returns the keys of the rounds it bears on.

    Raises `DeskError` for a read that does not wait, and `UsageError` for no identity at all.
    """
    try:
        who = Identity.parse(identity)
    except ValueError as error:
        raise UsageError(str(error), "gridbeat review list shows what waits") from None
    with writing(engine) as connection:
        found = read_of(connection, who, 0)
        if found is None:
            raise DeskError(f"no check-in has the id {identity!r}", "gridbeat review list")
        entry_id, site_id, read = found
        rounds = _borne(connection, entry_id, site_id, read)
        new = NewDecision(
            do=do,
            author=by.author,
            at=by.now,
            reason=note,
            site_id=site_id,
            about=identity,
            entry_id=entry_id,
        )
        decide(connection, new)
        for round_id in rounds:
            look_again(connection, round_id)
        return _keys(connection, rounds)


def _borne(connection: Connection, entry_id: int, site_id: int, read: Read) -> list[int]:
    """The rounds in which the read waits; of one decided before, those it was decided for."""
    waits = waiting_for(connection, read.identity)
    if waits:
        return waits
    before = of_read(connection, entry_id, read.identity)
    if before is None:
        raise DeskError(
            f"{read.identity} does not wait for review: it counts by itself, or for no round",
            "gridbeat review list shows what waits; gridbeat round explain ID tells why",
        )
    return decided_in(connection, entry_id, site_id, read)


def _keys(connection: Connection, obligations: list[int]) -> tuple[str, ...]:
    query = select(OBLIGATION.c.key).where(OBLIGATION.c.id.in_(obligations))
    return tuple(connection.execute(query.order_by(OBLIGATION.c.opens)).scalars())


_REFUSED = {
    (Do.EXCUSE, Standing.COMPLETED): "it was completed: there is nothing to excuse",
    (Do.EXCUSE, Standing.EXCUSED): "it is excused already",
}


def decide_round(engine: Engine, key: str, do: Do, *, by: By, reason: str) -> None:
    """Excuse a round or gap, or call one missed that nobody could judge.

    Raises `DeskError` where that cannot be, and for an id that is none.
    """
    with writing(engine) as connection:
        row = connection.execute(select(OBLIGATION).where(OBLIGATION.c.key == key)).first()
        if row is None:
            raise DeskError(f"no round has the id {key!r}", "gridbeat round list --json has them")
        standing, before = Standing(row.standing), of_obligation(connection, key)
        why = _REFUSED.get((do, standing))
        if before is not None and before.do is do:
            why = f"{before.author} decided so already"
        if do is Do.CALL_MISSED and standing is not Standing.UNKNOWN:
            why = f"it is {standing.value}: only one that stays unknown can be called missed"
        if why is not None:
            raise DeskError(f"{key}: {why}", f"gridbeat round explain {key}")
        new = NewDecision(
            do=do,
            author=by.author,
            at=by.now,
            reason=reason,
            site_id=row.site_id,
            about=key,
        )
        decide(connection, new)
        if row.revision > 0:
            look_again(connection, row.id)
