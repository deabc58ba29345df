"""After a gap of our own: what came due meanwhile, told as one digest (docs/decisions/0012).

While it is made up for, events go to an outbox of their own (`HELD`). Then either they are few, and
are told one by one as well, or the digest is all that is told, and they stand in the ledger.
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, delete, func, select, text, update

from devices.ids import Instant
from rules.events import Severity, service_gap
from store import workers
from store.events import HELD, MQTT, OUTBOX, RANKS, raise_notices
from store.obligations import LONGEST_MS

FEW = 10
"""More alarms than these at once are a storm: nobody reads them one by one."""

SHORTEST_MS = 30_000
"""A shorter silence of our own is a restart, not a gap worth telling."""


class Cause(StrEnum):
    """Why we were not there, or what was lost; the value stands in the event."""

    DOWN = "down"
    BROKER = "broker"
    CLOCK = "clock"  # ours: not to be relied on
    SESSION = "session"
    OVERFLOW = "overflow"  # of the broker's queue for us
    RESTORED = "restored"  # the ledger, from a copy


LOSSES = frozenset({Cause.SESSION, Cause.OVERFLOW, Cause.RESTORED})
"""Those by which something is gone that only the devices still have."""

ALWAYS_TOLD = LOSSES | {Cause.CLOCK}
"""However short they were."""

NAMED = 100
"""How many rounds that were not kept a digest names; it counts them all."""

_LEAST = RANKS[Severity.MEDIUM]

_CAME_DUE = text("""
    SELECT obligation.key, obligation.standing
      FROM site
     CROSS JOIN obligation ON obligation.site_id = site.id
           AND obligation.opens > :horizon AND obligation.opens <= :until
     WHERE obligation.due > :since AND obligation.due <= :until
       AND obligation.kind IN ('round', 'gap') AND obligation.standing <> 'pending'
     ORDER BY obligation.due, obligation.key
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnGap:
    """A gap of ours, since then."""

    since: Instant
    cause: Cause


def close_gap(connection: Connection, gap: OwnGap, until: Instant, now: Instant) -> int:
    """Tell the digest of what was judged; returns how many alarms came of it.

    The caller has judged everything that was due by `until`.
    """
    since, end = min(gap.since, until), max(gap.since, until)
    workers.end_outage(connection, "service", until)
    if end - since < SHORTEST_MS and gap.cause not in ALWAYS_TOLD:
        connection.execute(update(OUTBOX).where(OUTBOX.c.channel == HELD).values(channel=MQTT))
        return 0
    span = {"since": since, "until": end, "horizon": since - LONGEST_MS}
    rows = connection.execute(_CAME_DUE, span).all()
    counts = Counter(row.standing for row in rows)
    alarms = connection.execute(
        select(func.count()).where(OUTBOX.c.channel == HELD, OUTBOX.c.rank <= _LEAST)
    ).scalar_one()
    singly = alarms <= FEW
    kept = ("completed", "excused")
    digest = service_gap(
        since,
        end,
        rounds=len(rows),
        cause=gap.cause.value,
        verdicts=dict(sorted(counts.items())),
        named=[row.key for row in rows if row.standing not in kept][:NAMED],
        singly=singly,
    )
    held = OUTBOX.c.channel == HELD
    if singly:
        connection.execute(update(OUTBOX).where(held).values(channel=MQTT))
    else:
        connection.execute(delete(OUTBOX).where(held))
    raise_notices(connection, [digest], now)
    return int(alarms)
