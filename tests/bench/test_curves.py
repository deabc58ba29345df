"""The pictures and the table of docs/performance.md, drawn from what the benches have kept."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import budgets, curves
from bench.measure import MEASUREMENTS
from bench.sampled import PARTS
from bench.told import RESULTS, as_text, percentile, percentiles

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "performance.md"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the page and every picture, drawn by the command."""
    folder = tmp_path_factory.mktemp("curves")
    page = folder / "performance.md"
    page.write_text(PAGE.read_text())
    argv = ("-m", "bench.curves", "--pictures", str(folder), "--page", str(page))
    run = subprocess.run(
        [sys.executable, *argv], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    return folder


@pytest.mark.parametrize("name", curves.PICTURES)
def test_every_picture_is_drawn_kept_and_shown(drawn: Path, name: str) -> None:
    """From the kept results alone; the page shows it, with words for who cannot see it."""
    assert (drawn / f"{name}.svg").read_text().startswith("<?xml")
    assert (ROOT / "docs" / "pictures" / f"{name}.svg").exists()
    shown = re.findall(r"!\[([^\]]+)\]\(pictures/([\w-]+)\.svg\)", PAGE.read_text())
    assert [words for words, file in shown if file == name] != []


def test_the_page_says_what_the_results_say(drawn: Path) -> None:
    """Its table is the one that the kept results make: nobody has to copy a number."""
    assert (drawn / "performance.md").read_text() == PAGE.read_text()


def test_every_bench_of_a_budget_can_be_measured_by_its_name() -> None:
    """What is drawn, judged and kept is what `bench.measure` measures, and the page says how."""
    used = {budget.of for budget in budgets.BUDGETS}
    used |= {of for picture in curves.PICTURES.values() for of in picture.of}
    assert used <= MEASUREMENTS.keys()
    assert {path.stem for path in RESULTS.glob("*.json")} == MEASUREMENTS.keys()
    for name, measurement in MEASUREMENTS.items():
        assert (ROOT / "bench" / f"{measurement.bench}.py").exists()
        row = f"| `{name}` | {measurement.minutes} | `{measurement.command(small=False)}` |"
        assert row in PAGE.read_text()


def test_a_result_that_is_not_there_is_named_with_the_command(tmp_path: Path) -> None:
    """Who draws before measuring is told what to run."""
    with pytest.raises(FileNotFoundError, match=r"python -m bench\.measure ingest influx"):
        curves.load(tmp_path)


@pytest.mark.parametrize(("p99", "word"), [(100, "| kept |"), (101, "| **not kept** |")])
def test_a_limit_that_is_not_kept_is_said(p99: int, word: str) -> None:
    """The number decides, not who writes the page; a small run decides nothing."""
    results = curves.load(RESULTS)
    beside = {**results["sos"]["beside"], "p99_ms": p99}
    mine = {**results["sos"], "beside": beside, "small": False}
    (line,) = [
        line
        for line in budgets.table({**results, "sos": mine}).splitlines()
        if line.startswith("| sos pressed")
    ]
    assert word in line
    small = budgets.table({**results, "sos": mine | {"small": True}})
    assert "sos pressed" in small
    assert "a small run, to be measured" in small


def test_a_cost_without_judging_is_not_told_as_one_with_it() -> None:
    """The budget includes it: a run that left it out has to be made again."""
    results = curves.load(RESULTS)
    with pytest.raises(ValueError, match="without judging"):
        budgets.table({**results, "ingest": {**results["ingest"], "judging_us": None}})


def test_the_parts_of_the_service_are_files_of_it() -> None:
    """A module that was renamed would have its microseconds booked to the rest."""
    assert [name for name in PARTS if not list(ROOT.glob(f"{name}*"))] == []


def test_percentiles_are_of_the_nearest_rank() -> None:
    """Of a hundred values the 99th is the 99th; of few, the highest."""
    hundred = list(range(1, 101))
    assert [percentile(hundred, percent) for percent in (1, 50, 99, 99.5, 100)] == [
        1, 50, 99, 100, 100,
    ]  # fmt: skip
    assert percentile([7], 99) == 7
    assert percentiles([3, 1, 2])[-1] == (100, 3)


def test_kept_json_reads_as_it_was() -> None:
    """A series stands on one line, and nothing is changed by that."""
    found = {"curve": [[1, 2.5], [2, 3.5]], "words": ["a, b", "c"], "runs": [{"x": [1, 2, 3]}]}
    assert json.loads(as_text(found)) == found
    assert "[1, 2, 3]" in as_text(found)
