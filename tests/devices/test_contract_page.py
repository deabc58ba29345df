"""The contract's page: what cites it finds its section, and it says what the data beside says."""

import re
import subprocess

import pytest

from devices.reasons import Reason
from rules.kinds import EventKind
from tests.devices.golden import CONTRACT, document

ROOT = CONTRACT.parents[2]
PAGE = (CONTRACT / "contract.md").read_text()
SECTIONS = dict(re.findall(r"^## (\d+)\. ([^\n]+)$", PAGE, re.MULTILINE))
CITED = re.compile(r"contract,? (?:v1,? )?\(?(?:§ ?|sections? )(\d+)", re.IGNORECASE)


def section(number: int) -> str:
    """The text of one section."""
    return PAGE.split(f"\n## {number}. ")[1].split("\n## ")[0]


def test_every_section_that_is_cited_is_there() -> None:
    """Code, tests and documents cite the contract by section: each is on its page."""
    names = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.toml", "*.conf", "*.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if names.returncode != 0:
        pytest.skip("not a git checkout")
    cited = [
        (name, number)
        for name in names.stdout.splitlines()
        for number in CITED.findall((ROOT / name).read_text())
    ]
    assert len(cited) > 40
    assert [(name, number) for name, number in cited if number not in SECTIONS] == []


def test_sections_are_numbered_without_a_gap() -> None:
    """And what the page says of itself (§4) is among them."""
    assert list(SECTIONS) == [str(number) for number in range(1, len(SECTIONS) + 1)]
    assert set(re.findall(r"§(\d+)", PAGE)) <= SECTIONS.keys()


def test_the_page_has_every_topic_of_the_data() -> None:
    """Each with its quality of service."""
    rows = [line for line in section(1).splitlines() if line.startswith("| `patrol/v1/")]
    for topic in document("topics.json")["topics"]:
        mine = [row for row in rows if f"`{topic['topic']}`" in row]
        assert len(mine) == 1, topic["topic"]
        assert f"| {topic['qos']}, " in mine[0]
        assert ("retained" in mine[0]) is topic["retain"]


def test_the_page_has_every_reason_and_every_kind_of_event() -> None:
    """In their sections, as the enums have them."""
    listed = re.search(r"one reason of a fixed list \(`([^`]+)`\)", section(2))
    assert listed is not None
    assert listed[1].split() == [reason.value for reason in Reason]
    told = section(4)
    for kind in EventKind:
        family, _, rest = kind.value.partition(".")
        assert f"`{kind.value}`" in told or (f"`{family}." in told and f"`.{rest}`" in told)


def test_decisions_that_the_page_names_are_there() -> None:
    """Where it was mended it says by which decision, and that can be read."""
    named = re.findall(r"decisions? ((?:\d+(?:, )?)+)", PAGE)
    numbers = {int(number) for group in named for number in group.split(", ") if number}
    assert numbers
    for number in numbers:
        assert list((ROOT / "docs" / "decisions").glob(f"{number:04}-*.md")), number
