"""Named questions about the past and the present, answered by InfluxDB or by the ledger alike.

Every span is `[since, until)` in ms; `site` None asks about all of them. Hours and days are UTC's;
those in which nothing happened are left out. Shares are rounded to six digits, as two databases add
up floats in different orders.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from sqlalchemy import Engine, text

from devices.ids import Instant
from store.database import reading
from store.entries import EntryKind
from store.obligations import LONGEST_MS
from store.series.influx import InfluxV1Client
from store.series.lines import SiteState
from store.series.site_state import site_states

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOW_MS = 5 * 60_000
"""A site state older than this is not the site's state now."""

DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class HourCount:
    """Check-ins in the hour `[hour, hour + 1 h)`, by when they happened."""

    hour: Instant
    checkins: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCoverage:
    """The mean coverage, 0 to 1, of the rounds that are judged and scored, due in the UTC day from
    `day` on."""

    day: Instant
    coverage: float
    rounds: int


class Questions(Protocol):
    """What walls and reports ask. Raises `ports.SeriesError` when nobody can answer."""

    async def checkins_per_hour(
        self, site: str | None, since: Instant, until: Instant
    ) -> Sequence[HourCount]:
        """How many check-ins happened in each hour, by hour."""

    async def coverage_per_day(
        self, site: str | None, since: Instant, until: Instant
    ) -> Sequence[DayCoverage]:
        """How much of what was owed was visited, by day."""

    async def site_state_now(self, site: str | None) -> Sequence[SiteState]:
        """The latest state of each site, by slug; a site nothing is known of is left out."""

    async def close(self) -> None:
        """Let go of the connection."""


class LedgerQuestions:
    """The ledger's answers; `now` is our clock, in ms."""

    def __init__(self, engine: Engine, *, now: Callable[[], Instant]) -> None:
        self._engine = engine
        self._now = now

    async def checkins_per_hour(
        self, site: str | None, since: Instant, until: Instant
    ) -> Sequence[HourCount]:
        """See `Questions`."""
        rows = await self._ask(_CHECKINS_PER_HOUR, site, since, until)
        return [HourCount(hour=hour, checkins=count) for hour, count in rows]

    async def coverage_per_day(
        self, site: str | None, since: Instant, until: Instant
    ) -> Sequence[DayCoverage]:
        """See `Questions`."""
        rows = await self._ask(_COVERAGE_PER_DAY, site, since, until)
        return [
            DayCoverage(day=day, coverage=round(mean, DIGITS), rounds=count)
            for day, mean, count in rows
        ]

    async def site_state_now(self, site: str | None) -> Sequence[SiteState]:
        """See `Questions`."""
        return await asyncio.to_thread(self._site_states, site)

    async def close(self) -> None:
        """Nothing to let go of: the engine is its owner's."""

    def _site_states(self, site: str | None) -> list[SiteState]:
        with reading(self._engine) as connection:
            return site_states(connection, self._now(), site)

    async def _ask(
        self, statement: str, site: str | None, since: Instant, until: Instant
    ) -> Sequence[Sequence[Any]]:
        def ask() -> Sequence[Sequence[Any]]:
            span = {"site": site, "since": since, "until": until}
            with reading(self._engine) as connection:
                return connection.execute(text(statement), span).all()

        return await asyncio.to_thread(ask)


# Joined from `site`, so that each site is one range of the index, and no scan of the whole ledger.
_CHECKINS_PER_HOUR = f"""
    SELECT at - at % {HOUR_MS} AS hour, count(*)
      FROM (SELECT entry.at
              FROM site JOIN entry ON entry.site_id = site.id
                   AND entry.at >= :since AND entry.at < :until
             WHERE (site.slug = :site OR :site IS NULL) AND entry.kind = {EntryKind.CHECKIN.value}
               AND NOT EXISTS (SELECT 1 FROM correction WHERE correction.entry_id = entry.id)
             UNION ALL
            SELECT correction.at
              FROM site JOIN correction ON correction.site_id = site.id
                   AND correction.at >= :since AND correction.at < :until
              JOIN entry ON entry.id = correction.entry_id
             WHERE (site.slug = :site OR :site IS NULL) AND entry.kind = {EntryKind.CHECKIN.value})
     GROUP BY hour ORDER BY hour
"""  # noqa: S608 - numbers of ours

_COVERAGE_PER_DAY = f"""
    SELECT due - due % {DAY_MS} AS day,
           avg(CASE WHEN expected = 0 THEN 1.0 ELSE 1.0 * visited / expected END), count(*)
      FROM site
      JOIN obligation ON obligation.site_id = site.id
     WHERE (site.slug = :site OR :site IS NULL)
       AND obligation.kind = 'round' AND obligation.standing <> 'pending' AND obligation.scored
       AND obligation.opens >= :since - {LONGEST_MS} AND obligation.opens < :until
       AND obligation.due >= :since AND obligation.due < :until
     GROUP BY day ORDER BY day
"""  # noqa: S608 - numbers of ours


class InfluxQuestions:
    """InfluxDB's answers, in InfluxQL over `/query`; `now` is our clock, in ms."""

    def __init__(
        self, client: InfluxV1Client, database: str, *, now: Callable[[], Instant]
    ) -> None:
        self._client = client
        self._database = database
        self._now = now

    async def checkins_per_hour(
        self, site: str | None, since: Instant, until: Instant
    ) -> Sequence[HourCount]:
        """See `Questions`."""
        rows = await self._ask(
            'SELECT count("seq") AS "checkins" FROM "checkin"',
            _span(site, since, until),
            "GROUP BY time(1h) fill(none)",
        )
        return [HourCount(hour=row["time"], checkins=row["checkins"]) for row in rows]

    async def coverage_per_day(
        self, site: str | None, since: Instant, until: Instant
    ) -> Sequence[DayCoverage]:
        """See `Questions`."""
        rows = await self._ask(
            'SELECT mean("coverage") AS "coverage", count("coverage") AS "rounds" FROM "round"',
            _span(site, since, until) + ' AND "scored" = 1',
            "GROUP BY time(1d) fill(none)",
        )
        return [
            DayCoverage(
                day=row["time"], coverage=round(row["coverage"], DIGITS), rounds=row["rounds"]
            )
            for row in rows
        ]

    async def site_state_now(self, site: str | None) -> Sequence[SiteState]:
        """See `Questions`."""
        now = self._now()
        rows = await self._ask(
            'SELECT * FROM "site_state"',
            _span(site, now - NOW_MS, now + 1),
            'GROUP BY "site" ORDER BY time DESC LIMIT 1',
        )
        states = [_site_state(row) for row in rows]
        return sorted(states, key=lambda state: state.site)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.close()

    async def _ask(self, select: str, span: str, group: str) -> list[dict[str, Any]]:
        """Each point as a dictionary of its tags, `time` and columns."""
        statement = " ".join((select, "WHERE", span, group))
        answered = await self._client.query(statement, self._database)
        return [
            series.get("tags", {}) | dict(zip(series["columns"], values, strict=True))
            for series in answered
            for values in series["values"]
        ]


def _span(site: str | None, since: Instant, until: Instant) -> str:
    span = f"time >= {since}ms AND time < {until}ms"
    if site is None:
        return span
    quoted = site.replace("\\", "\\\\").replace("'", "\\'")
    return f"{span} AND \"site\" = '{quoted}'"


_COUNTS = [field.name for field in fields(SiteState) if field.name not in ("site", "at")]


def _site_state(row: dict[str, Any]) -> SiteState:
    counts: dict[str, Any] = {name: row.get(name) for name in _COUNTS}
    return SiteState(site=row["site"], at=row["time"], **counts)
