"""What the service remembers at its start of what was judged, against what all rows say."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from store.database import open_engine, reading, writing
from store.obligations import LONGEST
from store.touching import judged_until, overrun_until
from tests.filled import NOW, fill

DAY = 86_400_000
_ADD = text("""
    INSERT INTO obligation
        (key, kind, site_id, plan_id, plan_version_id, checkpoint_id, opens, closes, due, standing,
         revision, expected, visited, alarm, scored, overran)
    VALUES (:key, :kind, :site, 1, 1, :point, :opens, :due, :due, :standing, :revision, 1, 0, 0, 1,
            :overran)
""")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(fill(tmp_path))
    yield engine
    engine.dispose()


def owe(engine: Engine, seed: int) -> None:
    """Promises of all kinds and lengths, judged in whatever order; some of one site alone."""
    chance = random.Random(seed)
    with writing(engine) as connection:
        connection.execute(text("DELETE FROM obligation WHERE site_id <= :few"), {"few": seed % 3})
        for number in range(chance.randrange(60)):
            kind = chance.choice(tuple(LONGEST))
            opens = NOW - chance.randrange(300 * DAY) + 2 * DAY
            due = opens + chance.choice((chance.randrange(DAY), LONGEST[kind]))
            gap = kind == "gap"
            revision = chance.choice((0, 0, 1, 2))
            connection.execute(
                _ADD,
                {
                    "key": f"more/{number}",
                    "kind": kind,
                    "site": chance.choice((1, 1, 2)),
                    "point": chance.choice((1, 2)) if gap else None,
                    "opens": opens,
                    "due": due,
                    "standing": "missed" if revision else "pending",
                    "revision": revision,
                    "overran": due + chance.randrange(DAY) if gap and revision else None,
                },
            )


@pytest.mark.parametrize("seed", range(40))
def test_what_was_judged_is_what_all_rows_say(engine: Engine, seed: int) -> None:
    """A look back from the last that was judged finds the latest due instant of each site, and the
    latest end of a stretch of each checkpoint, as going through all that was ever owed does."""
    owe(engine, seed)
    with reading(engine) as connection:
        due = "SELECT site_id, max(due) FROM obligation WHERE revision > 0 GROUP BY site_id"
        assert judged_until(connection) == dict(map(tuple, connection.execute(text(due))))
        end = (
            "SELECT checkpoint_id, max(overran) FROM obligation WHERE overran IS NOT NULL"
            " GROUP BY checkpoint_id"
        )
        assert overrun_until(connection) == dict(map(tuple, connection.execute(text(end))))
