"""Nothing that a handheld was told is lost, whatever is killed: the checker's short form.

And the checker itself: services that are broken on purpose are caught. `script/chaos` is the full
run; docs/reliability.md has its last result.
"""

import asyncio
import json
from pathlib import Path

import pytest

from firmware_sim.crowd import Layout
from tests.chaos.checker import Manner, Result, run
from tests.chaos.faults import HARMS, STEPS, Scale, Turn, deal, kinds_of_kills
from tests.chaos.fuses import Point
from tests.servers import Server

pytestmark = [pytest.mark.broker, pytest.mark.fleet]

SHORT = Scale()
FEW = Layout(sites=3, per_site=4, reserve=0)


def played(manner: Manner, folder: Path, influx: Server | None) -> Result:
    result = asyncio.run(run(manner, folder, influx, print))
    print(json.dumps(result.members(), indent=1))  # pytest shows it where the test fails
    return result


def test_nothing_told_is_lost_whatever_is_killed(tmp_path: Path, influx: Server) -> None:
    """At least 30 kills under every fault: the ledger, the series, the events and the verdicts hold
    what devices were told, once, and nothing else."""
    result = played(Manner(seed=7, scale=SHORT, layout=Layout()), tmp_path, influx)
    assert result.finding.good
    assert result.killed >= 30
    assert set(result.harms) == {*HARMS, *STEPS}
    assert {point for point in Point if result.kills.get(point)} >= {*Point} - {
        Point.BETWEEN_BATCH_AND_CURSOR
    }
    assert result.service_fell == ()
    assert result.more["quarantined"]


def test_a_run_is_laid_out_by_its_seed() -> None:
    """The same seed does the same things in the same order; every kind of kill is in it."""
    assert deal(3, SHORT) == deal(3, SHORT) != deal(4, SHORT)
    dealt = {kill for turn in deal(3, SHORT) for kill in turn.kills}
    assert dealt == set(kinds_of_kills())


KILLED = (
    Turn(harm="receipts lost", kills=("at random",) * 3),
    Turn(harm="calm", kills=(Point.AFTER_COMMIT, Point.AFTER_COMMIT)),
)
BROKEN = {
    "acks-before-commit": ("ledger", "lost"),
    "receipts-ahead": ("ledger", "lost"),
    "no-dedupe": ("ledger", "duplicated"),
    "outbox-dropped": ("events", "lost"),
}


def hurt(name: str, settle_s: float) -> Manner:
    return Manner(
        seed=1,
        scale=SHORT,
        layout=FEW,
        every_s=0.2,
        alarms=0.5,
        broken=name,
        turns=KILLED,
        settle_s=settle_s,
    )


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_service_is_caught(name: str, tmp_path: Path) -> None:
    """What acknowledges and receipts before it commits, counts twice, forgets its outbox at a
    restart, or receipts what is not there yet."""
    result = played(hurt(name, 4.0), tmp_path, None)
    where, how = BROKEN[name]
    assert getattr(result.finding.sets[where], how)
    assert not result.finding.good


def test_the_healthy_service_is_not_accused(tmp_path: Path) -> None:
    """The same kills as the broken ones get, and nothing is found."""
    assert played(hurt("none", 60.0), tmp_path, None).finding.good
