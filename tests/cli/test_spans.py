"""`plan excuse`, `plan substitute`, `silence`, as a person in charge uses them."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.running import Gridbeat
from tests.filled import fill

WHO = ("--author", "王", "--reason", "停电检修")
ENDS = ("--from", "2026-09-01", "--until", "2026-09-03", *WHO)
EXACT = ("--from", "2026-09-01T00:00Z", "--until", "2026-09-03T00:00Z", *WHO)


@pytest.fixture
def gridbeat(tmp_path: Path) -> Gridbeat:
    fill(tmp_path)
    return Gridbeat(folder=tmp_path)


@pytest.mark.parametrize("command", ["excuse", "substitute"])
def test_nothing_is_decided_without_end_and_reason(gridbeat: Gridbeat, command: str) -> None:
    """Both are asked for, and an end before the beginning is wrong usage."""
    assert gridbeat("plan", command, "school-01/night", "--reason", "x").returncode == 2
    assert gridbeat("plan", command, "school-01/night", "--until", "2026-09-03").returncode == 2
    wrong = ("--from", "2026-09-03", "--until", "2026-09-01", "--reason", "x")
    people = () if command == "excuse" else ("--person", "p-017", "--for", "p-017")
    assert gridbeat("plan", command, "school-01/night", *wrong, *people).returncode == 2


def test_a_site_or_a_plan_is_excused(gridbeat: Gridbeat) -> None:
    """By name, in the site's own days; what was judged before is counted; all is listed."""
    assert gridbeat("plan", "excuse", "school-01/night", *ENDS).returncode == 0
    assert gridbeat("plan", "excuse", "school-02", *ENDS).returncode == 0
    rows = json.loads(gridbeat("plan", "excuses", "--json").stdout)
    assert [(row["site"], row["plan"], row["author"]) for row in rows] == [
        ("school-01", "night", "王"),
        ("school-02", None, "王"),
    ]
    assert rows[0]["until_at"] == "2026-09-04T00:00:00+08:00"
    assert gridbeat("plan", "excuse", "school-01/nihgt", *ENDS).returncode == 1
    assert "停电检修" in gridbeat("plan", "excuses", "--lang", "zh").stdout


def test_a_silence_may_be_told_by_its_length(gridbeat: Gridbeat) -> None:
    """`--until 2h` keeps still for the next two hours, and one that has ended is told how to."""
    ask = ("silence", "add", "--site", "school-01", *WHO)
    assert gridbeat(*ask, "--until", "2h").returncode == 0
    (row,) = json.loads(gridbeat("silence", "list", "--json").stdout)
    since, until = (datetime.fromisoformat(row[name]) for name in ("since_at", "until_at"))
    assert until - since == timedelta(hours=2)
    past = gridbeat(*ask, "--until", "2026-09-01")
    assert (past.returncode, "as in --until 2h" in past.stderr) == (2, True)


def test_a_silence_is_added_listed_and_ended(gridbeat: Gridbeat) -> None:
    """Of a kind or a site, never of everything, and never of an sos."""
    done = gridbeat("silence", "add", "--kind", "device.offline", *EXACT)
    assert done.returncode == 0, done.stderr
    assert gridbeat("silence", "add", "--site", "school-01", *ENDS).returncode == 0
    assert gridbeat("silence", "add", *ENDS).returncode == 2
    assert gridbeat("silence", "add", "--kind", "sos.raised", *ENDS).returncode == 2
    assert gridbeat("silence", "add", "--kind", "device.ofline", *ENDS).returncode == 2
    rows = json.loads(gridbeat("silence", "list", "--json").stdout)
    assert {(row["kind"], row["site"]) for row in rows} == {
        ("device.offline", None),
        (None, "school-01"),
    }
    assert gridbeat("silence", "end", "99").returncode == 1
