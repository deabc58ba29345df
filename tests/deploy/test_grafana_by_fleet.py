"""The duty room's board over an InfluxDB that a simulated fleet has filled through the service."""

import asyncio
import json

import pytest

from desk.acts import By
from desk.demo.score import settled
from desk.demo.stage import INFLUX_DATABASE, Stage, staged
from store.series.influx import InfluxV1Client
from tests.deploy.walls import Wall
from tests.servers import binary

PATIENCE_S = 30
DAY_MS = 86_400_000


def play(stage: Stage) -> int:
    """Play the whole scenario; returns the last tick, once everything is judged."""
    simulator = stage.play(seconds=0, seed=None)
    simulator.process.communicate(timeout=120)
    assert simulator.process.returncode == 0, simulator.last_words
    told = json.loads((stage.truth / "verdicts.json").read_text())
    assert settled(stage.engine, told["last_tick"])
    return int(told["last_tick"])


@pytest.mark.broker
@pytest.mark.influx
@pytest.mark.fleet
async def test_every_query_of_the_wall_has_rows_after_a_bad_night() -> None:
    """What the duty officer's wall asks, the fleet's own night answers: no panel stays empty."""
    binary("mosquitto", "mosquitto")
    binary("influxd", "influxdb")
    with staged("bad-night", By(author="test", now=1)) as stage:
        assert stage.influx_url is not None
        until = await asyncio.to_thread(play, stage)
        client = InfluxV1Client(stage.influx_url)
        wall = Wall(
            client=client,
            database=INFLUX_DATABASE,
            since=until - DAY_MS,
            until=until + 1,  # a point is named below the millisecond
            sites=("school-01", "school-02", "school-03"),
        )
        unanswered: list[str] = ["nobody asked yet"]
        for _ in range(PATIENCE_S):
            found = await wall.unanswered()
            unanswered = [name for name, sites in found if len(sites) != 1 or sites == (".*",)]
            if not unanswered:
                break
            await asyncio.sleep(1)
        await client.close()
        assert unanswered == []
