"""Law 3 over the real writer, ledger and watch: order does not matter."""

import asyncio
import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.ids import Instant
from ingest.clock import TickClock
from ingest.ledger import Ledger
from ingest.source import Delivery
from ingest.watch import Watch
from store.database import open_engine
from tests.ingest.bench import NOW, Bench, a_bench, delivery, marker
from tests.ingest.school import BADGE, GATE, LAB, owe, up
from tests.store.registries import Ledger as Kept

MINUTE = 60_000
SPANS = 8
BASE = NOW + MINUTE
TEMPLATE = tempfile.TemporaryDirectory()


class Told(NamedTuple):
    """One message, and the span between two markers in which its first copy arrived."""

    span: int
    delivery: Delivery


@st.composite
def messages(draw: st.DrawFn) -> list[Told]:
    """What two devices say in an hour and a quarter: reads, hazards and their steps, calls."""
    told = []
    for seq in range(draw(st.integers(1, 14))):
        device = draw(st.sampled_from(["hh-1", "hh-2"]))
        span = draw(st.integers(0, SPANS - 1))
        minute = draw(st.integers(0, 10 * span + 9))
        at = BASE + minute * MINUTE + draw(st.sampled_from([0, 1, 30_000]))
        arrival = BASE + (10 * span + 5) * MINUTE
        sent = draw(st.sampled_from([None, at, arrival, arrival + 3 * 3_600_000]))
        said = {"seq": seq, "at": at} | ({} if sent is None else {"sent": sent})
        kind, more = draw(kinds(seq, device))
        told.append(Told(span, delivery(up(kind, device), said | more)))
    return told


@st.composite
def kinds(draw: st.DrawFn, seq: int, device: str) -> tuple[str, dict[str, Any]]:
    """A kind and its own members; what it refers to may come later, or never."""
    kind = draw(st.sampled_from(["checkin"] * 4 + ["hazard", "hazard", "sos"]))
    if kind == "checkin":
        return kind, {"tag": draw(st.sampled_from([GATE, LAB, LAB, BADGE, "04FFFF"]))}
    other = draw(st.integers(0, 6))
    if kind == "sos":
        return kind, draw(st.sampled_from([{}, {"cancel": other}]))
    action = draw(st.sampled_from(["report", "resolved", "verified", "rejected"]))
    ref = {} if action == "report" else {"ref": f"{device}/0/{other}"}
    return kind, {"action": action, **ref}


@contextmanager
def an_evening() -> Iterator[Bench]:
    """A ledger with two rounds and a gap, copied from one that was made once."""
    folder = Path(TEMPLATE.name)
    made = folder / "made.db"
    if not made.exists():
        with a_bench(folder) as bench:
            engine = bench.ledger.engine
            owe(engine, BASE + 5 * MINUTE, BASE + 20 * MINUTE, grace=5 * MINUTE)
            owe(engine, BASE + 20 * MINUTE, BASE + 40 * MINUTE, grace=5 * MINUTE)
            owe(engine, BASE, BASE + 60 * MINUTE, "gap", grace=2 * MINUTE)
        (folder / "gridbeat.db").rename(made)
    copy = Path(shutil.copy(made, folder / "copy.db"))
    engine = open_engine(f"sqlite:///{copy}")
    try:
        yield Bench(Kept(engine), BASE)
    finally:
        engine.dispose()
        for leftover in folder.glob("copy.db*"):
            leftover.unlink()


def run(told: list[Told], chance: random.Random, *, looks: bool) -> dict[str, Any]:
    """Deliver all in some order and batching that keeps to the spans; what holds in the end.

    `looks`: the watch looks after every marker, else only once all is over.
    """
    with an_evening() as bench:
        ledger = Ledger(bench.ledger.engine)
        try:
            for span in range(SPANS):
                bench.at = BASE + (10 * span + 5) * MINUTE
                again = [each.delivery for each in told if each.span < span]
                batch = [each.delivery for each in told if each.span == span]
                batch += chance.sample(again, chance.randint(0, len(again)))
                batch += chance.sample(batch, chance.randint(0, len(batch)))
                chance.shuffle(batch)
                end = BASE + 10 * (span + 1) * MINUTE
                deliver(bench, [*batch, marker(end)], chance)
                if looks or span == SPANS - 1:
                    asyncio.run(look(bench, ledger, end))
        finally:
            ledger.close()
        return holds(bench)


def deliver(bench: Bench, batch: list[Delivery], chance: random.Random) -> None:
    while batch:
        size = chance.randint(1, len(batch))
        bench.take(*batch[:size])
        batch = batch[size:]
        if chance.random() < 0.2:
            bench.writer.judged.__init__()
            with bench.ledger.engine.connect() as connection:
                bench.writer.judged.load(connection)


async def look(bench: Bench, ledger: Ledger, known: Instant) -> None:
    """One turn of the watch."""
    clock = TickClock(known)
    judged = bench.writer.judged
    watch = Watch(ledger, clock, judged, on_next=lambda _: None, on_told=lambda: None)
    await watch._judge(known, waited=False)


def holds(bench: Bench) -> dict[str, Any]:
    verdicts = {}
    query = (
        "SELECT o.key, v.document FROM verdict v JOIN obligation o ON o.id = v.obligation_id"
        " WHERE v.revision = o.revision"
    )
    for key, document in bench.rows(query):
        said = json.loads(document)
        names = (
            "standing",
            "reason",
            "visited",
            "late",
            "missing",
            "evidence",
            "first",
            "stretches",
        )
        verdicts[key] = {name: said[name] for name in names}
    return {
        "verdicts": verdicts,
        "cases": bench.rows(
            "SELECT id, state, grade, reported_at, closed_at FROM hazard ORDER BY id"
        ),
        "events": bench.latest(),
        "checkins": bench.rows("SELECT device_id, seq, checkpoint_id, at FROM entry ORDER BY 1, 2"),
        "corrections": bench.rows(
            "SELECT device_id, seq, c.at, how FROM correction c JOIN entry e ON e.id = entry_id"
            " ORDER BY 1, 2"
        ),
    }


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(told=messages(), seed=st.integers(0, 2**16), looks=st.booleans())
def test_what_holds_is_a_function_of_what_was_told(told, seed, looks):
    """Whatever the order, batching and repetition within spans, and whenever it is looked at, the
    latest verdicts, cases and events are the same."""
    first = run(told, random.Random(seed), looks=True)
    second = run(told, random.Random(seed + 1), looks=looks)
    assert first == second
