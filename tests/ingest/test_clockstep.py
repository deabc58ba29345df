"""Our own clock steps: judging pauses until it is steady, and nobody is blamed (law 4)."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from store.owngaps import FEW
from tests.ingest.school import GATE, LAB, REGISTRY, checkin, owe, up
from tests.servers import mosquitto
from tests.service import Service, a_service, now_ms, until
from tests.wire import Wire, a_wire

pytestmark = pytest.mark.broker

MINUTE, HOUR = 60_000, 3_600_000
SETTLE_MS = 6_000
PROGRAM = Path(__file__).with_name("stepped.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A service whose clock is set by `step`, and a device that speaks to it."""

    service: Service
    wire: Wire
    ahead: Path

    def step(self, by: int) -> None:
        """Have its clock show so many ms more than everybody else's."""
        new = self.ahead.with_suffix(".new")
        new.write_text(str(by))
        new.replace(self.ahead)

    def walk(self, seq: int, *, ahead: int = 0) -> None:
        """The day's round is walked, by a device whose clock is so many ms ahead of this test's."""
        for more, tag in enumerate((GATE, LAB)):
            self.wire.say(up("checkin"), checkin(seq + more, now_ms() + ahead, tag))
        self.wire.receipt("hh-1", seq + 1)

    def hears(self, word: str, times: int = 1) -> None:
        """Wait until its log has the word."""
        until(lambda: self.service.log.count(word) >= times, word)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(["set_tcp_nodelay true"]))
        program = (sys.executable, "-P", str(PROGRAM), str(ahead), str(SETTLE_MS))
        service = stack.enter_context(a_service(tmp_path, broker.port, REGISTRY, program=program))
        stage = Stage(service=service, wire=stack.enter_context(a_wire(broker.port)), ahead=ahead)
        stage.wire.say(up("status"), {"online": True, "boot": "b1"})
        stage.wire.say(up("checkin"), checkin(0, now_ms()))
        stage.wire.receipt("hh-1", 0)
        yield stage


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_a_step_that_is_taken_back_leaves_no_trace(stage: Stage, by: int) -> None:
    """What is read while our clock shows another hour is as good as any other, and what falls due
    is judged once the clock is steady: one digest, and no round is missed but the one that was."""
    began = now_ms()
    walked = owe(stage.service.engine, began, began + 6_000)
    missed = owe(stage.service.engine, began + 500, began + 6_500)
    stage.step(by)
    stage.hears("clock.stepped")
    stage.walk(1)
    stage.step(0)
    stage.hears("clock.steady")
    assert stage.wire.event("round.completed", walked)["state"] == "resolved"
    assert stage.wire.event("round.missed", missed)["at"] == began + 6_500
    digest = stage.wire.event("service.gap")
    assert digest["data"]["cause"] == "clock"
    assert (digest["data"]["since"], digest["data"]["singly"]) == (digest["at"], True)
    assert len(stage.wire.events("service.gap")) == 1
    assert [e["subject"] for e in stage.wire.events("round.missed")] == [missed]
    rows = stage.service.rows
    assert rows("SELECT how FROM correction") == []
    assert rows("SELECT 1 FROM arrival WHERE abs(after - :now) > 600000", now=now_ms()) == []
    ((steady,),) = rows("SELECT until FROM outage WHERE what = 'clock'")
    judged = rows("SELECT judged_at FROM verdict WHERE standing <> 'pending'")
    assert [at for (at,) in judged if at < steady] == []


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_a_clock_that_was_wrong_and_is_set_right(stage: Stage, by: int) -> None:
    """What falls due in the hour that our clock leaps over is one digest, and no alarm of its own;
    in an hour that comes again nothing is judged before its time. Then all goes on by the new."""
    began = now_ms()
    walked = owe(stage.service.engine, began, began + 6_000)
    ahead = [began + n * MINUTE for n in range(1, FEW + 3)]
    leapt = [owe(stage.service.engine, opens, opens + 30_000) for opens in ahead]
    stage.walk(1)
    stage.step(by)
    stage.hears("clock.steady")
    digest = stage.wire.event("service.gap")["data"]
    new = now_ms() + by
    later = owe(stage.service.engine, new, new + 6_000)
    stage.walk(3, ahead=by)
    assert stage.wire.event("round.completed", later)["at"] == new + 6_000
    assert stage.wire.events("round.missed") == []
    assert len(stage.wire.events("service.gap")) == 1
    stands = dict(stage.service.rows("SELECT key, standing FROM obligation"))
    assert stands[walked] in ("completed", "pending")
    assert {stands[key] for key in leapt} == {"missed" if by > 0 else "pending"}
    missed = list(stands.values()).count("missed")  # before midnight, the next day's round too
    assert digest["verdicts"].get("missed", 0) == missed
    assert digest["singly"] is (by < 0)
