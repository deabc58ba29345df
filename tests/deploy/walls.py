"""A filled InfluxDB under the duty room's board, whoever filled it."""

import itertools
from dataclasses import dataclass
from typing import Any

from store.series.influx import InfluxV1Client
from tests.deploy.grafana import Query, asked, board, queries


@dataclass
class Wall:
    """A filled InfluxDB, and the span the board shows: from the day's beginning until now."""

    client: InfluxV1Client
    database: str
    since: int
    until: int
    sites: tuple[str, ...]

    async def unanswered(self) -> list[tuple[str, tuple[str, ...]]]:
        """The queries without rows: for all schools, for several, and for one alone."""
        chosen = ((".*",), self.sites, self.sites[:1])
        return [
            (query.name, sites)
            for query, sites in itertools.product(queries(board()), chosen)
            if not await self.rows(query, sites)
        ]

    async def rows(self, query: Query, sites: tuple[str, ...]) -> list[dict[str, Any]]:
        """What Grafana gets: points with at least one value beside their time."""
        text = asked(query, since=self.since, until=self.until, variables={"site": sites})
        answered = await self.client.query(text, self.database)
        points = (
            dict(zip(series["columns"], values, strict=True))
            for series in answered
            for values in series["values"]
        )
        return [
            point
            for point in points
            if any(value is not None for name, value in point.items() if name != "time")
        ]
