"""A ledger, and every series a test of the shared suite runs over."""

import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from store.series.influx import InfluxV1Client, InfluxV1Writer
from store.series.ports import SeriesWriter
from tests.servers import Server
from tests.store.series.ledgers import Ledger
from tests.store.series.memory import MemoryWriter

_numbers = itertools.count(1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An upgraded ledger with two schools in it."""
    made = Ledger(tmp_path / "gridbeat.db")
    yield made
    made.engine.dispose()


@pytest.fixture
def database() -> str:
    """The name of a database that nobody has used."""
    return f"series-{next(_numbers)}"


@pytest.fixture
async def client(influx: Server) -> AsyncIterator[InfluxV1Client]:
    """A client of the real InfluxDB."""
    made = InfluxV1Client(influx.url, timeout_s=10)
    yield made
    await made.close()


@dataclass
class Series:
    """A writer, and a way to see what it holds."""

    writer: SeriesWriter
    client: InfluxV1Client | None
    database: str

    async def count(self, measurement: str) -> int:
        """Points of one measurement."""
        if isinstance(self.writer, MemoryWriter):
            return self.writer.count(measurement)
        fields = await self.fields(measurement)
        return len(fields)

    async def fields(self, measurement: str) -> list[dict[str, Any]]:
        """Every point's columns; absent ones are left out."""
        if isinstance(self.writer, MemoryWriter):
            return self.writer.fields(measurement)
        assert self.client is not None
        question = " ".join(("SELECT * FROM", measurement))
        answered = await self.client.query(question, self.database)
        rows = (
            zip(series["columns"], values, strict=True)
            for series in answered
            for values in series["values"]
        )
        return [{name: value for name, value in row if value is not None} for row in rows]


@pytest.fixture(params=["memory", pytest.param("influx", marks=pytest.mark.influx)])
def series(request: pytest.FixtureRequest, database: str) -> Series:
    """The same suite over a series in memory and a real InfluxDB."""
    if request.param == "memory":
        return Series(MemoryWriter(), None, database)
    client = request.getfixturevalue("client")
    return Series(InfluxV1Writer(client, database), client, database)
