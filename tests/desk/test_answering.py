"""Who answers for a round, and who walked it in somebody's place."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from desk.acts import By
from desk.errors import DeskError, UsageError
from desk.explain import as_json, as_lines, explain
from desk.spans import Asked, substitute
from store import obligations, registry
from store.database import open_engine, writing
from store.obligations import OBLIGATION
from store.registry import read_document
from tests.blank import blank
from tests.filled import REGISTRY, at

APPLIED = at("2026-09-01T00:00:00+08:00")
NOW = at("2026-09-01T22:30:00+08:00")
BY = By(author="王", now=NOW)
NIGHT, TOMORROW = (f"school-01/night/2026-09-0{day}T14:00:00Z" for day in (1, 2))
WITH_LEADERS = REGISTRY.replace(
    "    checkpoints:\n      - {id: gate-east, name: 东门,",
    "    areas: [{id: east, name: 东区, leader: p-017}]\n"
    "    checkpoints:\n      - {id: gate-east, name: 东门, area: east,",
).replace("people:\n", "people:\n  - {id: p-018, name: 保安乙}\n")


def made(engine: Engine, until: int) -> None:
    with writing(engine) as connection:
        plans = obligations.take_up(connection, None)
        for plan in plans:
            obligations.remove_unopened(connection, plan, NOW)
        for version in obligations.in_force(connection, APPLIED):
            obligations.write(connection, version, version.owed(version.since, until))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    url = blank(tmp_path / "gridbeat.db")
    engine = open_engine(url)
    applied(engine, WITH_LEADERS, APPLIED)
    made(engine, NOW + 86_400_000)
    yield engine
    engine.dispose()


def applied(engine: Engine, text: str, now: int) -> None:
    registry.apply(engine, read_document(text.encode()), now=now, author="t", source="f")


def owner(engine: Engine, key: str) -> object:
    return as_json(explain(engine, key))["owner"]


def test_the_leader_of_the_first_checkpoint_answers(engine: Engine) -> None:
    """Of the area on the route that has one; of a gap whose area has none, nobody."""
    assert owner(engine, NIGHT) == {"id": "p-017", "name": "保安甲"}
    assert owner(engine, "school-01/lab-gap/2026-09-01T12:00:00Z/lab") is None


def test_who_answers_is_frozen_when_it_opens(engine: Engine) -> None:
    """Another leader from half past ten on answers for tomorrow's round, not for tonight's."""
    applied(engine, WITH_LEADERS.replace("leader: p-017", "leader: p-018"), NOW)
    made(engine, NOW + 86_400_000)
    assert owner(engine, NIGHT) == {"id": "p-017", "name": "保安甲"}
    assert owner(engine, TOMORROW) == {"id": "p-018", "name": "保安乙"}


def test_a_substitute_walks_and_does_not_answer(engine: Engine) -> None:
    """Who walks for whom is told with who decided and why; the owner stays."""
    asked = Asked(since="2026-09-01", until="2026-09-01", reason="病假")
    substitute(engine, "school-01/night", ("p-018", "p-017"), asked, by=BY)
    found = explain(engine, NIGHT)
    assert [row["person"] for row in as_json(found)["substitutions"]] == ["p-018"]
    assert owner(engine, NIGHT) == {"id": "p-017", "name": "保安甲"}
    told = "\n".join(as_lines(found, "zh"))
    assert "负责人：保安甲（p-017）" in told
    assert "代班：p-018 代 p-017" in told
    assert as_json(explain(engine, TOMORROW))["substitutions"] == []


def test_a_substitution_that_cannot_be_is_refused(engine: Engine) -> None:
    """A site is no plan, nobody stands in for themselves, and strangers are not known."""
    asked = Asked(since=None, until="2026-09-03", reason="病假")
    for name, people, error in (
        ("school-01", ("p-018", "p-017"), UsageError),
        ("school-01/night", ("p-017", "p-017"), UsageError),
        ("school-01/night", ("p-099", "p-017"), DeskError),
    ):
        with pytest.raises(error):
            substitute(engine, name, people, asked, by=BY)


def test_obligations_point_at_who_answers(engine: Engine) -> None:
    """The owner stands in the row, so that scores and escalation need no plan to find them."""
    with writing(engine) as connection:
        query = select(OBLIGATION.c.owner_id).where(OBLIGATION.c.key == NIGHT)
        assert connection.execute(query).scalar() is not None
