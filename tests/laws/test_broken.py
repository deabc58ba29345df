"""For each law a copy of the service in which one thing is wrong: the machine must see it.

A copy runs the nights that the laws are tried on, and is asked the one law alone.
"""

from collections.abc import Sequence

import pytest

from tests.laws import checks, copies
from tests.laws.nights import NIGHTS, night, of_rules, of_service
from tests.laws.run import Make, Script, live

Break = tuple[str, str, str, str]
"""The law that sees it, the module, a passage of it, and what stands there instead."""

OBLIGATIONS, CLOCKS, EVENTS = "rules.obligations", "rules.clocks", "rules.events"

RULES: Sequence[Break] = (
    # A read serves every round in whose time it lies.
    (checks.ONCE, OBLIGATIONS, "serves(read.at, rounds) is obligation", "True"),
    # A device's clock says whether it was in time, not the marker before its arrival.
    (
        checks.FAIR,
        OBLIGATIONS,
        "if read.after < obligation.due:",
        "if read.told_at < obligation.due:",
    ),
    # Everything late waits for nobody.
    (checks.FAIR, OBLIGATIONS, "None if read.cut_off else Wait.NOT_CUT_OFF", "None"),
    (checks.FAIR, OBLIGATIONS, "not in (Trust.TRUSTED, Trust.UPTIME)", "is Trust.AHEAD"),
    # Unknown is missed.
    (checks.FAIR, OBLIGATIONS, "and not known.reachable", "and False"),
    # The verdict at due is forgotten when late evidence comes.
    (checks.FAIR, OBLIGATIONS, "if read.after < obligation.due]", "if True]"),
    (
        checks.FAIR,
        OBLIGATIONS,
        "obligation.opens - obligation.early <= at",
        "obligation.opens <= at",
    ),
    (checks.FAIR, OBLIGATIONS, "serves(read.at, rounds) is obligation", "True"),
    (checks.FAIR, "rules.judges", "            last = visit\n", "            pass\n"),
    # Only what came in last is looked at.
    (
        checks.SET,
        OBLIGATIONS,
        "if _counts(read, obligation)]",
        "if _counts(read, obligation)][-1:]",
    ),
    (checks.EVENT_TIME, OBLIGATIONS, "if clock < obligation.due:", "if clock < obligation.closes:"),
    (checks.EVENT_TIME, EVENTS, "at=obligation.due", "at=obligation.closes"),
    # Both nights on which the clocks are changed.
    (checks.EVENT_TIME, "rules.plans", "window.opens), tz, fold=0)", "window.opens), tz, fold=1)"),
    (
        checks.EVENT_TIME,
        "rules.plans",
        "window.closes), tz, fold=1)",
        "window.closes), tz, fold=0)",
    ),
    (checks.EVENT_TIME, "rules.plans", "return _ms(high)", "return _ms(naive - after)"),
    # A verdict that was read back is not the one that was written.
    (checks.NEVER_REWRITTEN, "rules.promises", "ended_at=ended", "ended_at=None"),
    (checks.TOLD, EVENTS, "if was is not None and was is not now.standing:", "if False:"),
    (checks.BOTH_CLOCKS, CLOCKS, "return Trust.AHEAD, before - sent", "return Trust.TRUSTED, 0"),
    (checks.BOTH_CLOCKS, CLOCKS, "if sent < UNSET <= after or slow(live):", "if slow(live):"),
    (checks.BOTH_CLOCKS, CLOCKS, "<= after or slow(live):", "<= after:"),
    (checks.BOTH_CLOCKS, CLOCKS, "by_age = sent + by_ms - age", "by_age = at"),
)

SERVICE: Sequence[Break] = (
    # A copy with another `sent` is another record.
    (
        checks.ONCE,
        "ingest.rows",
        "            message.seq,\n",
        "            message.seq + (message.sent or 0) % 7 * 100,\n",
    ),
    # Other content under a known identity is dropped.
    (checks.ONCE, "store.entries", "same = _digest(connection, row) == row.digest", "same = True"),
    # A copy is a sign of life of its device.
    (checks.FAIR, "ingest.writer", "if id(item) not in self._again:", "if True:"),
    (checks.EVENT_TIME, "store.events", '"raised_at": now', '"raised_at": notice.at'),
    (
        checks.EVENT_TIME,
        "store.obligations",
        "VERSION.c.ended_at), else_=now)",
        "VERSION.c.ended_at), else_=0)",
    ),
    # The verdict before is gone when the next one is written.
    (
        checks.NEVER_REWRITTEN,
        "store.verdicts",
        "    _ADD.write(",
        '    connection.exec_driver_sql("DROP TRIGGER IF EXISTS verdict_no_delete")\n'
        "    for number in taken:\n"
        '        gone = "DELETE FROM verdict WHERE obligation_id = ?"\n'
        "        connection.exec_driver_sql(gone, (number,))\n"
        "    _ADD.write(",
    ),
    # Whoever was heard once can always tell.
    (checks.FAIR, "store.presence", "return bool(spans)", "return True"),
    (checks.FAIR, "store.presence", "if stale and known.online and", "if False and"),
    # What has just come in is looked at before anybody knows of its clock.
    (
        checks.TOLD,
        "ingest.watch",
        "[read for read in facts.reads if read.after < until]",
        "facts.reads",
    ),
    # What came in late is never looked at.
    (
        checks.FAIR,
        "store.touching",
        "OBLIGATION.c.wake.is_(None),",
        "OBLIGATION.c.wake.is_(None) & (1 == 0),",
    ),
    # An earlier visit is told, and what outlived its window stays ended by the one known first.
    (checks.FAIR, "ingest.judged", "checkpoint_id is not None and at <= overrun", "False"),
    (
        checks.BOTH_CLOCKS,
        "ingest.rows",
        "message.sent,\n            received_at,\n",
        "message.sent,\n            message.at,\n",
    ),
    (checks.BOTH_CLOCKS, "store.arrivals", "if wrong or odd else []", "if odd else []"),
    # What a crash left open, and what was judged before it, is forgotten.
    (checks.BOTH_CLOCKS, "ingest.beginning", "arrivals.resume(connection)", "pass"),
    (checks.BOTH_CLOCKS, "store.arrivals", "if marker <= after and not set_back:", "if False:"),
    (checks.SET, "ingest.beginning", "judged.load(connection)", "pass"),
    (checks.RECEIPTS, "store.coverages", "Covered.from_state(state)", "Covered.opening_at(0)"),
)


@pytest.fixture(scope="module")
def nights() -> list[Script]:
    """Those in which nothing may be wrong with the unbroken ones (`test_laws.py`)."""
    return [night(number) for number in range(NIGHTS)]


def caught(make: Make, nights: Sequence[Script], law: str) -> bool:
    """Whether the law is seen to be broken in one of the nights."""
    for script in nights:
        try:
            live(make, script, (law,))
        except AssertionError as error:
            return str(error).startswith("law ")
    return False


@pytest.mark.slow
@pytest.mark.parametrize("wrong", RULES, ids=lambda wrong: f"{wrong[0]}: {wrong[2]}")
def test_a_broken_copy_of_the_rules_is_caught(wrong: Break, nights: list[Script]) -> None:
    """The law fails for a copy of the rules in which one thing is wrong."""
    with of_rules(copies.broken(*wrong[1:], copies.RULES)) as make:
        assert caught(make, nights, wrong[0])


@pytest.mark.slow
@pytest.mark.parametrize("wrong", SERVICE, ids=lambda wrong: f"{wrong[0]}: {wrong[2]}")
def test_a_broken_copy_of_the_service_is_caught(wrong: Break, nights: list[Script]) -> None:
    """The law fails for a copy of the service in which one thing is wrong."""
    with of_service(copies.broken(*wrong[1:])) as make:
        assert caught(make, nights, wrong[0])
