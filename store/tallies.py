"""Counts that say how things stand: today's rounds and check-ins, open events, what still waits.

"Today" is each site's own day. Every query is one index range a site, or a small table.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select, text

from devices.ids import Instant
from store.events import outbox_depth
from store.series.site_state import dawn
from store.series.sources import REJECT, SOURCES
from store.tables import Quarantine, Site, table_of

SITE = table_of(Site)
QUARANTINE = table_of(Quarantine)

_ROUNDS = text("""
    SELECT site.slug, obligation.standing, count(*)
      FROM site
     CROSS JOIN obligation ON obligation.site_id = site.id
           AND opens >= :dawn AND opens <= :now
     WHERE site.timezone = :zone AND obligation.kind = 'round'
     GROUP BY site.slug, obligation.standing
""")
_CHECKINS = text("""
    SELECT count(*)
      FROM site
     CROSS JOIN entry ON entry.site_id = site.id AND entry.at >= :dawn AND entry.at <= :now
     WHERE site.timezone = :zone AND entry.kind = 1
""")
_OPEN = text("""
    SELECT severity, count(*)
      FROM event
     WHERE state = 'open' AND severity <> 'info'
       AND revision = (SELECT max(revision) FROM event later
                        WHERE later.kind = event.kind AND later.subject = event.subject)
     GROUP BY severity
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """`rounds_today`: those that have opened, by verdict; `rounds_by_site`: the same of each site.
    `open_events`: by severity, info left out."""

    checkins_today: int
    rounds_today: dict[str, int]
    rounds_by_site: dict[str, dict[str, int]]
    open_events: dict[str, int]
    quarantined: int
    untold_events: int
    series_behind: int
    series_rejects: int


def tally(connection: Connection, now: Instant) -> Tally:
    """How things stand at `now`."""
    by_site: dict[str, dict[str, int]] = {}
    rounds: Counter[str] = Counter()
    checkins = 0
    for zone in connection.execute(select(SITE.c.timezone).distinct()).scalars():
        span = {"zone": zone, "dawn": dawn(now, zone), "now": now}
        for site, standing, count in connection.execute(_ROUNDS, span):
            by_site.setdefault(site, {})[standing] = count
            rounds[standing] += count
        checkins += connection.execute(_CHECKINS, span).scalar_one()
    return Tally(
        checkins_today=checkins,
        rounds_today=dict(rounds),
        rounds_by_site=by_site,
        open_events=_counts(connection.execute(_OPEN)),
        quarantined=connection.execute(select(func.count()).select_from(QUARANTINE)).scalar_one(),
        untold_events=outbox_depth(connection),
        series_behind=sum(lag for _, lag in series_lags(connection, now)),
        series_rejects=connection.execute(select(func.count()).select_from(REJECT)).scalar_one(),
    )


def _counts(rows: Iterable[Row[*tuple[Any, ...]]]) -> dict[str, int]:
    return {row[0]: row[1] for row in rows}


def series_lags(connection: Connection, now: Instant) -> list[tuple[str, int]]:
    """For each source of the series, how many keys of the ledger it has still to be given."""
    pages = (source.page(connection, 0, now) for source in SOURCES)
    return [(page.source.name.removeprefix("series."), page.top - page.after) for page in pages]
