"""The duty room's board: every query of it answered by a real InfluxDB, and the file in order."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from store.database import writing
from store.series import lines
from store.series.feeder import Feeder
from store.series.influx import InfluxV1Client, InfluxV1Writer
from store.series.site_state import site_states
from store.series.sources import add_samples
from tests.deploy.grafana import BOARD, FOLDER, Query, asked, board, queries
from tests.deploy.walls import Wall
from tests.servers import Server
from tests.store.series.ledgers import HOUR, MINUTE, NOON, Ledger, a_day

QUERIES = list(queries(board()))
PANELS = board()["panels"]


@pytest.fixture
async def wall(influx: Server, tmp_path: Path) -> AsyncIterator[Wall]:
    """A morning at two schools, fed as the service feeds it."""
    ledger = Ledger(tmp_path / "gridbeat.db")
    now = a_day(ledger)
    with writing(ledger.engine) as connection:
        for at in range(now - 20 * MINUTE, now, MINUTE):
            sampled = [lines.site_state(state) for state in site_states(connection, at)]
            add_samples(connection, at, sampled)
    client = InfluxV1Client(influx.url)
    feeder = Feeder(ledger.engine, InfluxV1Writer(client, f"wall-{tmp_path.name}"), now=lambda: now)
    await feeder.step()
    ledger.engine.dispose()
    yield Wall(
        client=client,
        database=f"wall-{tmp_path.name}",
        since=NOON - 12 * HOUR,
        until=now,
        sites=("school-01", "school-02"),
    )
    await client.close()


@pytest.mark.influx
async def test_every_query_has_rows(wall: Wall) -> None:
    """With all schools, with two of them, and with one: no panel of the wall stays empty."""
    assert await wall.unanswered() == []


@pytest.mark.influx
async def test_the_wall_counts_what_the_ledger_holds(wall: Wall) -> None:
    """The numbers of the tiles and the circle are those of the morning."""
    by_name = {query.name.split(" / ")[0]: query for query in QUERIES}
    tiles = {"紧急求助": 1, "今日漏巡": 2, "待巡": 0, "未结隐患": 2, "距上次收到数据": 1_740}
    for title, value in tiles.items():
        query = next(q for q in QUERIES if q.name.startswith(title))
        (point,) = await wall.rows(query, (".*",))
        assert [v for name, v in point.items() if name != "time"] == [value], title
    (verdicts,) = await wall.rows(by_name["今日轮次"], (".*",))
    counted = {name: value for name, value in verdicts.items() if name != "time"}
    assert counted == {"completed": 3, "incomplete": 2, "missed": 2, "unknown": 2, "excused": 2}
    missed = await wall.rows(by_name["漏巡轮次"], ("school-02",))
    assert [point["round_id"].split("/")[0] for point in missed] == ["school-02"]


@pytest.mark.influx
async def test_a_silent_service_shows_no_last_good_word(wall: Wall) -> None:
    """Ten minutes after the last sample, the panels of now are empty instead of wrong."""
    wall.until += 10 * MINUTE
    now = [query for query in QUERIES if query.span_ms == 10 * MINUTE]
    assert len(now) == 6
    assert [await wall.rows(query, (".*",)) for query in now] == [[]] * 6


# The file ----------------------------------------------------------------------------------------


def test_what_the_wall_shows() -> None:
    """The panels an operator was promised, each in Chinese and English."""
    promised = (
        "Schools now",
        "Rounds by verdict",
        "Coverage by school",
        "Missed rounds",
        "Open hazards",
        "Check-ins per minute",
        "Age of the last input",
    )
    titles = [panel["title"] for panel in PANELS]
    assert {title.split(" / ")[1] for title in titles} >= set(promised)
    for title in titles:
        chinese, english = title.split(" / ")
        assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese)
        assert english.isascii()


def test_panels_do_not_overlap_and_have_their_own_ids() -> None:
    """Grafana would push overlapping panels around and mix up equal ids."""
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {
            (at["x"] + x, at["y"] + y) for x, y in itertools.product(range(at["w"]), range(at["h"]))
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_everything_asks_the_provisioned_source() -> None:
    """Panels, targets and variables name the one source that the provisioning makes."""
    (source,) = YAML(typ="safe").load(FOLDER / "provisioning/datasources/gridbeat.yaml")[
        "datasources"
    ]
    named = [panel["datasource"] for panel in PANELS]
    named += [target["datasource"] for panel in PANELS for target in panel["targets"]]
    named += [variable["datasource"] for variable in board()["templating"]["list"]]
    named += [annotation["datasource"] for annotation in board()["annotations"]["list"]]
    assert {(found["uid"], found["type"]) for found in named} == {(source["uid"], source["type"])}
    assert all(target["rawQuery"] for panel in PANELS for target in panel["targets"])


def test_overrides_style_columns_that_exist() -> None:
    """A renamed column that no query returns would be a column nobody sees."""
    for panel in PANELS:
        text = " ".join(target["query"] for target in panel["targets"])
        for override in panel["fieldConfig"]["overrides"]:
            name = override["matcher"]["options"]
            assert name == "Time" or f'"{name}"' in text, (panel["title"], name)


def test_a_query_that_grafana_would_not_understand_is_noticed() -> None:
    """The substitution of the tests knows no more than Grafana does."""
    with pytest.raises(ValueError, match="nowhere"):
        asked(Query(name="q", text="SELECT $nowhere"), since=0, until=1, variables={})
    several = asked(
        Query(name="q", text="/^$site$/ $timeFilter"),
        since=1,
        until=2,
        variables={"site": ("a-1", "b.2")},
    )
    assert several == r"/^(a-1|b\.2)$/ time >= 1ms and time <= 2ms"


def test_the_boards_folder_is_what_the_provider_loads() -> None:
    """The provider names a folder by variable; the board stands in the one the README mounts."""
    loaded = YAML(typ="safe").load(FOLDER / "provisioning/dashboards/gridbeat.yaml")
    (provider,) = loaded["providers"]
    assert provider["options"]["path"] == "${GRIDBEAT_DASHBOARDS}"
    assert "deploy/grafana/dashboards" in (FOLDER / "README.md").read_text(encoding="utf-8")
    assert BOARD.parent == FOLDER / "dashboards"
