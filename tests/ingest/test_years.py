"""A ledger of years costs the service no more than a young one: neither to start, nor to run."""

import copy
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.ingest.counted import Cost
from tests.ingest.school import BADGE, DOCUMENT, GATE, LAB, REGISTRY, birth, checkin, owe, up
from tests.servers import Server, free_port, mosquitto
from tests.service import Service, a_service, now_ms, until
from tests.store import history
from tests.wire import Wire, a_wire

pytestmark = pytest.mark.broker

PROGRAM = Path(__file__).with_name("counted.py")
YOUNG, OLD = 500, 10_000
HOUR = 3_600_000
DOWN_MS = 40_000
"""Long enough for a digest."""
TWICE, SOME = 2.0, 1_000
"""What a statement may cost more: pages of what waits are not always the same."""


class Analyzed(StrEnum):
    """When somebody has had SQLite count the rows, by which it then chooses its ways."""

    NEVER = "never"
    LONG_AGO = "long ago"
    NOW = "now"


class Ran(NamedTuple):
    """A service that is over: its ledger, and what its statements cost by their texts."""

    ledger: Path
    costs: dict[str, Cost]


@pytest.fixture(scope="module")
def broker() -> Iterator[Server]:
    with mosquitto(["set_tcp_nodelay true"]) as server:
        yield server


@pytest.fixture(scope="module")
def young(tmp_path_factory: pytest.TempPathFactory, broker: Server) -> Ran:
    return an_evening(tmp_path_factory.mktemp("young"), broker, YOUNG, Analyzed.NEVER)


@pytest.fixture(scope="module", params=Analyzed)
def old(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, broker: Server
) -> Ran:
    return an_evening(tmp_path_factory.mktemp("old"), broker, OLD, request.param)


def an_evening(folder: Path, broker: Server, size: int, analyzed: Analyzed) -> Ran:
    """Start the service on such a ledger, have everything happen, stop it."""
    costs, ledger = folder / "costs.json", folder / "gridbeat.db"
    program = (sys.executable, "-P", str(PROGRAM), str(costs))
    nobody = f"http://127.0.0.1:{free_port()}"
    running = a_service(
        folder, broker.port, REGISTRY, start=False, program=program, influx_url=nobody
    )
    with running as service:
        if analyzed is Analyzed.LONG_AGO:
            history.analyze(ledger)
        history.leave(ledger, size, now=now_ms() - DOWN_MS)
        if analyzed is Analyzed.NOW:
            history.analyze(ledger)
        service.start()
        with a_wire(broker.port) as wire:
            happens(service, wire, size + 1)
        service.stop()
    read = json.loads(costs.read_text())
    return Ran(ledger, {text: Cost(**cost) for text, cost in read.items()})


def happens(service: Service, wire: Wire, seq: int) -> None:
    """What may happen, from that number of each device on."""
    began = now_ms()
    epoch = {"epoch": history.EPOCH}
    for device in ("hh-1", "hh-2"):
        wire.say(
            up("status", device), birth(seq, boot="b1", sent=now_ms(), bat=50, fw="2", **epoch)
        )
    walked, missed = (owe(service.engine, began - by, began + 4_000 - by) for by in (1_000, 500))
    calls_and_cases(wire, seq + 50)
    for more, tag in enumerate((GATE, LAB, BADGE, LAB, "04DEAD")):
        wire.say(up("checkin"), checkin(seq + more, now_ms(), tag, **epoch))
    clocks(wire, seq + 10)
    wire.say(up("checkin"), checkin(seq, now_ms(), LAB, **epoch))  # a conflict
    wire.say(up("checkin", "nobody"), checkin(1, now_ms()))
    wire.say(up("checkin"), b"garbage")
    wire.event("round.completed", walked)
    wire.event("round.missed", missed)  # a read serves one round of a plan
    wire.say(up("checkin"), checkin(seq + 20, began - 2 * HOUR, **epoch) | {"sent": now_ms()})
    wire.say(up("status"), birth(seq + 30, boot="b1", sent=now_ms(), bat=5, **epoch))
    wire.say(up("checkin"), checkin(seq + 21, now_ms(), **epoch))  # was given up as lost
    wire.say(up("status", "hh-2"), {"online": False, "boot": "b1"})
    people(service, wire, seq + 50)
    assert service.get("/metrics")[0] == 200
    until(lambda: service.value("SELECT count(*) FROM doubt") == 0, "doubts are looked at")
    until(lambda: service.value("SELECT count(*) FROM outbox") == 0, "all is told")
    until(lambda: service.value("SELECT count(*) FROM sample") > 0, "the minute is sampled")


def clocks(wire: Wire, seq: int) -> None:
    """Devices' clocks that are ahead, slow, and right again."""
    for more, ahead in enumerate((3 * HOUR, -3 * HOUR, 0)):
        said = checkin(seq + more, now_ms() + ahead, LAB, epoch=history.EPOCH)
        wire.say(up("checkin", "hh-2"), said)
        wire.receipt("hh-2", seq + more, epoch=history.EPOCH)


def calls_and_cases(wire: Wire, seq: int) -> None:
    """A hazard and the end of it, a call for help and the end of it."""
    at = now_ms()
    report = {"tag": GATE, "category": "fire", "grade": "major"}
    step = {"action": "resolved", "ref": f"hh-1/{history.EPOCH}/{seq}"}
    said = (("hazard", report), ("hazard", step), ("sos", {}), ("sos", {"cancel": seq + 2}))
    for more, (kind, body) in enumerate(said):
        base = {"seq": seq + more, "epoch": history.EPOCH, "at": at, "sent": at}
        wire.say(up(kind), base | body)
    wire.event("sos.cleared", f"hh-1/{history.EPOCH}/{seq + 2}")


def people(service: Service, wire: Wire, seq: int) -> None:
    """What people do beside it: an event is acknowledged, a plan changes, words for a device."""
    hazard = wire.event("hazard.opened", f"hh-1/{history.EPOCH}/{seq}")
    by = ("--author", "duty")
    acts = (
        ("event", "ack", hazard["id"], *by, "--note", "seen"),
        ("device", "message", "hh-1", "hello", *by),
    )
    for act in acts:
        service.command(*act)
    other = copy.deepcopy(DOCUMENT)
    other["sites"][0]["plans"][0]["windows"] = ["00:02-00:09"]
    service.apply(json.dumps(other).encode())
    until(lambda: "plans.followed" in service.log.rpartition("registry.followed")[2], "the plans")


def test_no_statement_costs_more_for_what_is_over(young: Ran, old: Ran) -> None:
    """Whatever statistics the ledger has, twenty times the history makes no statement take more
    steps: at the service's start, for a batch, at a marker, in judging, for series and gauges."""
    assert len(young.costs) > 100
    dearer = {
        text: (before, cost.steps)
        for text, cost in old.costs.items()
        if cost.steps > TWICE * (before := young.costs.get(text, Cost()).steps) + SOME
    }
    assert dearer == {}


def test_no_table_is_counted(old: Ran) -> None:
    """Counting all rows is one step to SQLite, however many: of what has been told alone it is
    asked."""
    with closing(sqlite3.connect(old.ledger)) as connection:
        counted = [
            text
            for text, cost in old.costs.items()
            if text.lstrip().startswith(("SELECT", "WITH", "UPDATE", "DELETE", "INSERT"))
            and any(row[1] == "Count" for row in connection.execute(f"EXPLAIN {cost.sample}"))
        ]
    assert [text.rpartition("FROM ")[2].strip() for text in counted] == ["outbox"]
