"""What `round explain` tells."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs
from sqlalchemy import Engine

from desk.errors import DeskError
from desk.explain import Part, as_json, as_lines, explain
from devices.messages import HazardAction
from devices.proofs import Proof
from rules.cases import CaseState
from rules.clocks import UNSET
from rules.promises import Reason, Standing, Trust, Wait
from rules.words import ACTIONS, CASES, PROOFS, REASONS, STANDINGS, TRUSTS, WAITS
from store.database import open_engine
from tests.filled import fill

NIGHT = "school-01/night/2026-09-01T14:00:00Z"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(fill(tmp_path))
    yield engine
    engine.dispose()


def test_each_read_has_its_place(engine: Engine) -> None:
    """Every read of the round's checkpoints is told, with the part it plays in the verdict."""
    found = explain(engine, NIGHT)
    assert [(line.read.identity, line.part) for line in found.reads] == [
        ("hh-0101/0/1", Part.ON_TIME),
        ("hh-0101/0/2", Part.LATE),
        ("hh-0101/0/4", Part.AFTER),
    ]


def test_all_three_times_are_told(engine: Engine) -> None:
    """A corrected read shows the device's clock, ours, the interval, and what it was set to."""
    read = as_json(explain(engine, NIGHT))["reads"][2]
    assert read["at"] == "2026-09-01T23:59:00+08:00"
    assert read["corrected_at"] == "2026-09-01T23:49:00.900+08:00"
    assert read["received_at"] == "2026-09-01T23:49:00.400+08:00"
    assert read["arrived_after"] == "2026-09-01T23:49:00+08:00"
    assert read["arrived_before"] == "2026-09-01T23:49:01+08:00"
    assert read["clock"] == "ahead"


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_whole_text_is_pinned(engine: Engine, lang: str) -> None:
    """A guard who appeals gets the same words for the same facts."""
    golden = Path(__file__).parent / "golden" / f"explain.{lang}.txt"
    told = "\n".join(as_lines(explain(engine, NIGHT), lang)) + "\n"
    assert told == golden.read_text(encoding="utf-8")


def test_a_clock_that_was_never_set_is_not_called_slow(engine: Engine) -> None:
    """A device that thinks it is 1970 is told apart from one that lags."""
    found = explain(engine, NIGHT)
    told = {}
    for sent in (UNSET - 1, UNSET):
        line = found.reads[2]
        slow = structs.replace(line.read, trust=Trust.SLOW)
        arrived = replace(line.arrived, sent=sent)
        changed = replace(found, reads=(replace(line, read=slow, arrived=arrived),))
        told[sent] = "\n".join(as_lines(changed, "en"))
    assert "clock was never set" in told[UNSET - 1]
    assert "clock is slow" in told[UNSET]


def test_a_gap_is_explained_too(engine: Engine) -> None:
    """A longest gap tells its stretch: since when nobody came, when it was too long, its end."""
    key = "school-01/lab-gap/2026-09-01T12:00:00Z/lab"
    told = "\n".join(as_lines(explain(engine, key), "en"))
    assert "nobody since 20:00:00, too long at 22:00:00, until 23:01:30" in told


def test_a_wrong_id_names_near_ones(engine: Engine) -> None:
    """An id that is none is an error with rounds of the same plan to choose from."""
    with pytest.raises(DeskError, match="school-01/night/2026-09-01"):
        explain(engine, "school-01/night/2026-09-01")


@pytest.mark.parametrize(
    ("words", "table"),
    [
        (Reason, REASONS),
        (Standing, STANDINGS),
        (Trust, TRUSTS),
        (Wait, WAITS),
        (Proof, PROOFS),
        (CaseState, CASES),
        (HazardAction, ACTIONS),
    ],
)
def test_every_machine_word_has_plain_ones(words: type, table: dict[object, object]) -> None:
    """Whatever a verdict, a tag or a case may say, there are words for it in both languages."""
    assert set(words) == set(table)
