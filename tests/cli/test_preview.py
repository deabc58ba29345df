"""`plan preview`: what would be owed, and everything that was decided for those days."""

import json
from pathlib import Path

import pytest
from icalendar import Calendar

from tests.cli.running import Gridbeat
from tests.filled import REGISTRY, fill

WHY = ("--author", "王", "--reason", "上级通知")
ASK = ("plan", "preview", "school-01/night", "--from", "2026-09-01", "--days", "3")


@pytest.fixture
def gridbeat(tmp_path: Path) -> Gridbeat:
    fill(tmp_path)
    made = Gridbeat(folder=tmp_path)
    profile = ("profile", "add", "guard", "--name", "重点时段", "--visits", "2")
    days = ("--from", "2026-09-02", "--to", "2026-09-02", "--window", "12:00-13:00")
    assert made(*profile, *days, *WHY).returncode == 0
    span = ("--from", "2026-09-03", "--until", "2026-09-03")
    assert made("plan", "excuse", "school-01/night", *span, *WHY).returncode == 0
    return made


def test_profiles_and_excuses_are_shown(gridbeat: Gridbeat) -> None:
    """The second day owes more and says by what; the third is excused, by whom and why."""
    days = json.loads(gridbeat(*ASK, "--json").stdout)
    assert [len(day["owed"]) for day in days] == [1, 2, 1]
    assert [day["profiles"] for day in days] == [[], [{"id": "guard", "name": "重点时段"}], []]
    assert days[1]["owed"][0]["profiles"] == ["guard"]
    assert [day["owed"][0]["excused"] for day in days] == [
        None,
        None,
        {"by": "王", "reason": "上级通知"},
    ]
    told = gridbeat(*ASK, "--lang", "zh").stdout
    assert "重点时段" in told
    assert "免责：上级通知" in told


def test_a_file_is_previewed_with_what_the_ledger_has_decided(gridbeat: Gridbeat) -> None:
    """Before it is applied it is laid under the same decisions; without a ledger, under none."""
    (gridbeat.folder / "new.yaml").write_text(
        REGISTRY.replace('windows: ["22:00-23:00"]', 'windows: ["21:00-22:00"]'), encoding="utf-8"
    )
    file = ("--file", "new.yaml", "--json")
    days = json.loads(gridbeat(*ASK, *file).stdout)
    assert [len(day["owed"]) for day in days] == [1, 2, 1]
    alone = Gridbeat(folder=gridbeat.folder, settings={"GRIDBEAT_DATABASE_URL": "sqlite:///no.db"})
    assert [len(day["owed"]) for day in json.loads(alone(*ASK, *file).stdout)] == [1, 1, 1]


def test_the_rounds_are_exported_as_icalendar(gridbeat: Gridbeat) -> None:
    """One event a window, with its id, its times, and an excused one cancelled."""
    done = gridbeat(*ASK, "--ics", "rounds.ics", "--json")
    assert done.returncode == 0, done.stderr
    calendar = Calendar.from_ical((gridbeat.folder / "rounds.ics").read_bytes())
    events = calendar.walk("VEVENT")
    assert [str(event["UID"]) for event in events] == [
        "school-01/night/2026-09-01T14:00:00Z@gridbeat",
        "school-01/night/2026-09-02T04:00:00Z@gridbeat",
        "school-01/night/2026-09-02T14:00:00Z@gridbeat",
        "school-01/night/2026-09-03T14:00:00Z@gridbeat",
    ]
    assert [str(event["STATUS"]) for event in events][-2:] == ["CONFIRMED", "CANCELLED"]
    assert "东门" in str(events[0]["DESCRIPTION"])


def test_a_special_period_of_no_plan_is_refused(gridbeat: Gridbeat) -> None:
    """A mistyped plan would leave every school as it was: it is an error that names the plans."""
    ask = ("profile", "add", "ex", "--from", "2026-09-02", "--to", "2026-09-02", "--visits", "2")
    done = gridbeat(*ask, *WHY, "--plan", "nite")
    assert (done.returncode, "night" in done.stderr) == (1, True)
    for where in (("--site", "school-02"), ("--site", "school-02", "--grid", "bureau")):
        assert gridbeat(*ask, *WHY, "--plan", "night", *where).returncode == 1
    assert len(json.loads(gridbeat("profile", "list", "--json").stdout)) == 1
    assert gridbeat(*ask, *WHY, "--plan", "night", "--grid", "bureau").returncode == 0


def test_profiles_are_listed_and_ended(gridbeat: Gridbeat) -> None:
    """With who and why; a second of the same id is refused until the first was ended."""
    (row,) = json.loads(gridbeat("profile", "list", "--json").stdout)
    assert (row["slug"], row["author"], row["for"]) == ("guard", "王", "*")
    again = ("profile", "add", "guard", "--from", "2026-09-02", "--to", "2026-09-02")
    assert gridbeat(*again, "--visits", "2", *WHY).returncode == 1
    assert gridbeat(*again, *WHY).returncode == 2
    assert gridbeat("profile", "end", "guard", "--reason", "结束").returncode == 0
    assert json.loads(gridbeat("profile", "list", "--json").stdout) == []
    assert gridbeat("profile", "list", "--lang", "zh").returncode == 0
