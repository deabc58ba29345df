"""Plans with options and quotas: from the file into the ledger, owed, and listed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from rules.promises import Quota, Round
from store import obligations, registry
from store.database import open_engine, reading, writing
from store.listings import quotas, rounds
from store.obligations import OBLIGATION, Plans
from store.registry import Holding, Kind, RegistryRefused, examine, read_document
from store.touching import touch
from store.walking import Filter
from tests.blank import blank
from tests.filled import at

FILE = """\
calendar: every-day
sites:
  - id: school-01
    name: 第三中学
    timezone: Asia/Shanghai
    belongs_to: []
    checkpoints:
      - {id: gate, name: 东门, tags: ["04A2B3C4D5E680"]}
      - {id: lab, name: 实验楼, tags: ["04A2B3C4D5E681"]}
      - {id: roof, name: 楼顶, tags: ["04A2B3C4D5E682"]}
    plans:
      - id: night
        name: 夜巡
        route: [gate, {checkpoint: lab, visits: 2}, {checkpoint: roof, optional: true}]
        windows: ["22:00-23:00"]
        people: 2
        max_gap: 20m
      - {id: monthly, name: 月检查, route: [gate, lab], quota: {visits: 2, per: month}, grace: 1d}
"""
EMPTY = Holding(
    version=0, things={kind: {} for kind in Kind}, bound={}, seen=frozenset(), versions={}
)
APPLIED = at("2026-08-31T00:00:00+08:00")
NOW = at("2026-09-02T00:00:00+08:00")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    url = blank(tmp_path / "gridbeat.db")
    made = open_engine(url)
    document = read_document(FILE.encode())
    registry.apply(made, document, now=APPLIED, author="tests", source="f")
    with writing(made) as connection:
        obligations.take_up(connection, None)
        for version in obligations.in_force(connection, APPLIED):
            obligations.write(connection, version, version.owed(APPLIED, NOW))
    yield made
    made.dispose()


def test_options_come_back_from_the_ledger(engine: Engine) -> None:
    """What the file asks is what a round made from it owes, row by row."""
    plans = Plans()
    with reading(engine) as connection:
        rows = connection.execute(select(OBLIGATION).order_by(OBLIGATION.c.key)).all()
        terms = {row.kind: plans.promise(connection, row).terms for row in rows}
    assert terms["quota"] == Quota(visits=(("gate", 2), ("lab", 2)))
    assert terms["round"] == Round(
        route=("gate", "lab", "roof"),
        ordered=False,
        min_gap=0,
        max_gap=1_200_000,
        visits=(("lab", 2),),
        optional=frozenset({"roof"}),
        people=2,
    )


def test_quotas_have_a_listing_of_their_own(engine: Engine) -> None:
    """A period that runs is listed with what was visited so far; rounds stay rounds."""
    (row,) = quotas(engine, Filter(), now=NOW)
    assert (row.id, row.verdict) == ("school-01/monthly/2026-08-31T16:00:00Z", "pending")
    assert (row.expected, row.visited, row.missing) == (4, 0, ("gate", "lab"))
    assert row.due_at == at("2026-10-02T00:00:00+08:00")
    assert {found.plan for found in rounds(engine, Filter())} == {"night"}
    assert {found.expected for found in rounds(engine, Filter())} == {2}


def test_late_evidence_finds_a_quota_that_began_long_ago(engine: Engine) -> None:
    """A judged month is looked at again for a read of its second day."""
    with writing(engine) as connection:
        connection.execute(OBLIGATION.update().values(wake=None))
        assert touch(connection, 1, at("2026-09-28T12:00:00+08:00")) == 1


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("visits: 2}, {", "visits: 0}, {", "'0' is no count: write 1 to 99"),
        ("optional: true", "optional: true, visits: 2", "contradict each other"),
        ("per: month", "per: moon", "'moon' is not known"),
        ("{visits: 2, per: month}", "{visits: 2}", "'per' is missing"),
        ("quota: {", 'windows: ["10:00-11:00"], quota: {', "take `windows` out"),
        ("people: 2", "every: 1h\n        people: 2", "knows no `people`"),
        ("{checkpoint: lab, visits: 2}", "{checkpoint: lap}", "'lap', which no checkpoint"),
        ("{checkpoint: lab, visits: 2}", "{visits: 2}", "'checkpoint' is missing"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(right: str, wrong: str, words: str) -> None:
    """Options are refused like everything else of a file, by line, with the remedy."""
    document = read_document(FILE.replace(right, wrong, 1).encode())
    with pytest.raises(RegistryRefused, match=words):
        examine(document, EMPTY)
