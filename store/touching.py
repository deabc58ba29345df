"""Evidence that comes after the fact: which obligations are looked at again because of it.

What is touched is only woken; the deadline watch derives the verdict from the facts as ever.
"""

from sqlalchemy import Connection, bindparam, func, select, text, update

from devices.ids import Instant
from store.obligations import (
    CHECKPOINT,
    LONGEST_EARLY_MS,
    LONGEST_MS,
    LONGEST_QUOTA_MS,
    OBLIGATION,
)
from store.prepared import Prepared

_LOOK_BACK = (
    (OBLIGATION.c.kind != "quota", LONGEST_MS),
    (OBLIGATION.c.kind == text("'quota'"), LONGEST_QUOTA_MS),  # spelt as the partial index is
)


def touch(connection: Connection, site_id: int, at: Instant, wake: Instant | None = None) -> int:
    """Have judged obligations of a site looked at again that a read at `at` bears on.

    At once, or at `wake`: when more will have come that bears on them.
    """
    span = {"at": at, "begins": at + LONGEST_EARLY_MS, "wake": wake or at}
    return sum(
        statement.run(connection, site=site_id, since=at - longest, **span)
        for statement, longest in _TOUCH
    )


def touch_alarm(connection: Connection, checkpoint_id: int, at: Instant) -> int:
    """Have the overdue stretches of a checkpoint looked at again: a visit may have ended them.

    Sooner, never later than it would be anyway: `at` may be a clock's that runs far ahead.
    """
    return _TOUCH_ALARM.run(connection, checkpoint=checkpoint_id, sooner=at, wake=at)


def touch_overrun(
    connection: Connection, checkpoint_id: int, at: Instant, wake: Instant | None = None
) -> int:
    """Have stretches looked at again that outlived their window, where a visit at `at` lies
    between its due and the visit that is known to have ended them: it ended them before."""
    again = at if wake is None else wake
    return _TOUCH_OVERRUN.run(
        connection, checkpoint=checkpoint_id, at=at, ended=at, sooner=again, wake=again
    )


_TOUCH = tuple(
    (
        Prepared(
            update(OBLIGATION).where(
                OBLIGATION.c.site_id == bindparam("site"),
                OBLIGATION.c.opens > bindparam("since"),
                OBLIGATION.c.opens <= bindparam("begins"),
                OBLIGATION.c.due > bindparam("at"),
                OBLIGATION.c.wake.is_(None),
                kinds,
            ),
            columns=("wake",),
        ),
        longest,
    )
    for kinds, longest in _LOOK_BACK
)
_LATER = (OBLIGATION.c.wake.is_(None)) | (OBLIGATION.c.wake > bindparam("sooner"))
_TOUCH_ALARM = Prepared(
    update(OBLIGATION).where(
        OBLIGATION.c.alarm, OBLIGATION.c.checkpoint_id == bindparam("checkpoint"), _LATER
    ),
    columns=("wake",),
)
_TOUCH_OVERRUN = Prepared(
    update(OBLIGATION).where(
        OBLIGATION.c.checkpoint_id == bindparam("checkpoint"),
        OBLIGATION.c.overran >= bindparam("ended"),
        OBLIGATION.c.due <= bindparam("at"),
        _LATER,
    ),
    columns=("wake",),
)


def hurry(connection: Connection, wake: Instant, now: Instant) -> int:
    """Have what was put off to `wake` looked at now; how many."""
    put_off = OBLIGATION.c.wake == wake
    return connection.execute(update(OBLIGATION).where(put_off).values(wake=now)).rowcount


# What no read need ask the ledger for -------------------------------------------------------------


def judged_until(connection: Connection) -> dict[int, Instant]:
    """For each site the latest due instant that was judged: a read after it can amend nothing."""
    found = connection.execute(_JUDGED, {"longest": LONGEST_MS, "quota": LONGEST_QUOTA_MS})
    return {site_id: max(due, quota or 0) for site_id, due, quota in found if due is not None}


# From a site's last judged one back as far as one may reach beyond it, not through all of them.
_JUDGED = text("""
    WITH latest AS MATERIALIZED (
        SELECT site.id AS site, (
            SELECT opens FROM obligation WHERE site_id = site.id AND revision > 0
             ORDER BY opens DESC LIMIT 1) AS opens
          FROM site)
    SELECT site,
           (SELECT max(due) FROM obligation
             WHERE site_id = site AND revision > 0
               AND opens > latest.opens - :longest),
           (SELECT max(due) FROM obligation
             WHERE site_id = site AND revision > 0 AND kind = 'quota'
               AND opens > latest.opens - :quota)
      FROM latest
""")


def is_alarmed(connection: Connection, checkpoint_id: int) -> bool:
    """Whether any window of the checkpoint has an overdue stretch that nobody has ended."""
    overdue = OBLIGATION.c.alarm & (OBLIGATION.c.checkpoint_id == checkpoint_id)
    return connection.execute(select(OBLIGATION.c.id).where(overdue).limit(1)).first() is not None


def alarmed(connection: Connection) -> set[int]:
    """The checkpoints with an overdue stretch that nobody has ended."""
    query = select(OBLIGATION.c.checkpoint_id).where(OBLIGATION.c.alarm)
    return {checkpoint for checkpoint in connection.execute(query).scalars() if checkpoint}


def overrun_until(connection: Connection) -> dict[int, Instant]:
    """For each checkpoint the latest end of a stretch that outlived its window: a visit after it
    ended none of them sooner."""
    last = (
        select(func.max(OBLIGATION.c.overran))
        .where(OBLIGATION.c.checkpoint_id == CHECKPOINT.c.id, OBLIGATION.c.overran.is_not(None))
        .scalar_subquery()
    )
    found = connection.execute(select(CHECKPOINT.c.id, last))
    return {checkpoint: end for checkpoint, end in found if end is not None}
