"""`gridbeat calendar`, as a bureau's clerk uses it."""

import json
from pathlib import Path

import pytest

from tests.cli.running import Gridbeat
from tests.filled import REGISTRY

DAYS = "from,to,class,note\n2027-01-04,2027-01-05,exam,期末考试\n2027-01-01,,holiday,元旦\n"


@pytest.fixture
def gridbeat(tmp_path: Path) -> Gridbeat:
    made = Gridbeat(folder=tmp_path)
    text = REGISTRY.replace("calendar: every-day", "calendar: cn")
    text = text.replace('windows: ["22:00-23:00"]', 'days: [exam], windows: ["22:00-23:00"]')
    (tmp_path / "registry.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "days.csv").write_text(DAYS, encoding="utf-8")
    assert made("db", "upgrade").returncode == 0
    assert made("registry", "apply", "registry.yaml").returncode == 0
    return made


def shown(gridbeat: Gridbeat, *arguments: str) -> list[dict[str, object]]:
    found = gridbeat(
        "calendar", "show", "--from", "2027-01-01", "--days", "5", "--json", *arguments
    )
    assert found.returncode == 0, found.stderr
    rows: list[dict[str, object]] = json.loads(found.stdout)
    return rows


def test_a_table_is_imported_shown_and_retired(gridbeat: Gridbeat) -> None:
    """A dry run tells and does nothing; the same file twice is one version; retiring undoes it."""
    take = ("calendar", "import", "days.csv", "--name", "cn-2027", "--covers", "2027", "--json")
    dry = json.loads(gridbeat(*take, "--dry-run").stdout)
    assert (dry["changed"], dry["version"]) == (True, None)
    assert not any(row["known"] for row in shown(gridbeat))
    assert json.loads(gridbeat(*take).stdout)["version"] == 1
    assert json.loads(gridbeat(*take).stdout)["changed"] is False
    assert json.loads(gridbeat(*take, "--dry-run").stdout)["changed"] is False
    rows = shown(gridbeat, "--site", "school-01")
    assert [row["classes"] for row in rows] == [
        ["holiday"],
        ["weekend"],
        ["weekend"],
        ["exam", "school-day"],
        ["exam", "school-day"],
    ]
    assert all(row["known"] for row in rows)
    assert [row["name"] for row in json.loads(gridbeat("calendar", "list", "--json").stdout)] == [
        "cn-2027"
    ]
    assert gridbeat("calendar", "retire", "cn-2027", "--reason", "重发").returncode == 0
    assert not any(row["known"] for row in shown(gridbeat))
    assert gridbeat("calendar", "retire", "cn-2027", "--reason", "重发").returncode == 1


def test_a_table_may_be_one_sites_or_a_grids(gridbeat: Gridbeat) -> None:
    """It holds for that site, or for the sites below the grid, and for no other."""
    take = ("calendar", "import", "days.csv", "--name", "mine")
    assert gridbeat(*take, "--site", "school-02").returncode == 0
    assert shown(gridbeat, "--site", "school-01")[3]["classes"] == ["school-day"]
    assert shown(gridbeat, "--site", "school-02")[3]["classes"] == ["exam", "school-day"]
    assert gridbeat(*take, "--grid", "bureau").returncode == 0
    assert shown(gridbeat, "--site", "school-01")[3]["classes"] == ["exam", "school-day"]
    assert gridbeat(*take, "--grid", "nowhere").returncode == 1


def test_a_preview_goes_by_the_tables(gridbeat: Gridbeat) -> None:
    """A plan for exam days owes nothing until somebody says when exams are."""
    ask = ("plan", "preview", "school-01/night", "--from", "2027-01-04", "--days", "1", "--json")
    assert json.loads(gridbeat(*ask).stdout)[0]["owed"] == []
    assert gridbeat("calendar", "import", "days.csv", "--name", "exams").returncode == 0
    assert len(json.loads(gridbeat(*ask).stdout)[0]["owed"]) == 1


def test_check_finds_what_nobody_has_told(gridbeat: Gridbeat) -> None:
    """Exit 3 with the remedy while a plan asks about days that no table tells; else 0."""
    done = gridbeat("calendar", "check", "--days", "800", "--json")
    assert done.returncode == 3
    assert {row["what"] for row in json.loads(done.stdout)} == {"unknown-year", "never-told"}
    (gridbeat.folder / "days.csv").write_text(DAYS, encoding="utf-8")
    years = [part for year in range(2027, 2032) for part in ("--covers", str(year))]
    assert gridbeat("calendar", "import", "days.csv", "--name", "cn", *years).returncode == 0
    assert gridbeat("calendar", "check", "--days", "800").returncode == 0
