"""What devices are told to walk, on a real ledger: what is new against what was told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from rules.handouts import AHEAD_MS
from store import handouts
from store.database import reading, writing
from store.handouts import NOTHING, WITHDRAWN, Change, Desk
from store.obligations import Plans
from tests.ingest.bench import Bench, a_bench, delivery, up
from tests.ingest.school import GATE, LAB, SITE, checkin, owe

HOUR = 3_600_000


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with a_bench(tmp_path) as made:
        yield made


def look(bench: Bench, site_id: int = 1) -> Desk:
    with reading(bench.ledger.engine) as connection:
        return handouts.look(connection, site_id, Plans(), bench.at)


def tell(bench: Bench, site_id: int = 1) -> list[Change]:
    """Look, and have the broker take it."""
    found = look(bench, site_id)
    with writing(bench.ledger.engine) as connection:
        handouts.told(connection, found.changes, bench.at)
    return list(found.changes)


def rounds(change: Change) -> list[dict[str, Any]]:
    return json.loads(change.payload)["rounds"]


def test_a_round_is_told_before_it_opens_and_until_it_closes(bench: Bench) -> None:
    """To each of the site's own devices, once; then a list without rounds."""
    opens = bench.at + AHEAD_MS + 1
    key = owe(bench.ledger.engine, opens, opens + HOUR)
    first = look(bench)
    assert (first.changes, first.wake) == ((), opens - AHEAD_MS)
    bench.at += 1
    told = tell(bench)
    assert [change.topic for change in told] == [
        f"patrol/v1/{SITE}/{device}/down/rounds" for device in ("hh-1", "hh-2")
    ]
    (walk,) = rounds(told[0])
    assert (walk["id"], walk["plan"], walk["name"]) == (key, "day", "Day")
    assert [(p["id"], p["name"], p["done"]) for p in walk["checkpoints"]] == [
        ("gate", "Gate", False),
        ("lab", "Lab", False),
    ]
    bench.at = opens
    assert tell(bench) == []
    bench.at = opens + HOUR
    assert {change.payload for change in tell(bench)} == {NOTHING}
    assert tell(bench) == []


def test_a_visited_checkpoint_is_done(bench: Bench) -> None:
    """And what is left says which visits would change anything."""
    owe(bench.ledger.engine, bench.at, bench.at + HOUR)
    tell(bench)
    left = look(bench).left
    assert len(left) == 2
    done = bench.take(delivery(up("checkin"), checkin(1, bench.at, GATE)))
    assert {checkpoint for _, checkpoint in done.visits} <= left
    assert [p["done"] for p in rounds(tell(bench)[0])[0]["checkpoints"]] == [True, False]
    again = bench.take(delivery(up("checkin"), checkin(2, bench.at, GATE)))
    assert not {checkpoint for _, checkpoint in again.visits} & look(bench).left
    bench.take(delivery(up("checkin"), checkin(3, bench.at + 500, LAB)))
    assert [p["done"] for p in rounds(tell(bench)[0])[0]["checkpoints"]] == [True, True]
    assert look(bench).left == frozenset()


def test_what_is_left_is_left_of_rounds_that_can_be_walked(bench: Bench) -> None:
    """A visit before a round begins changes nothing; when it begins, the site is looked at."""
    opens = bench.at + 60_000
    owe(bench.ledger.engine, opens, opens + HOUR)
    early = look(bench)
    assert early.changes
    assert (early.left, early.wake) == (frozenset(), opens)
    bench.at = opens
    assert len(look(bench).left) == 2


def test_what_was_told_survives_a_restart_and_not_a_broker_that_forgot(bench: Bench) -> None:
    """The ledger knows what the broker took; where the broker lost it, all is told again."""
    owe(bench.ledger.engine, bench.at, bench.at + HOUR)
    tell(bench)
    bench.restart()
    assert tell(bench) == []
    with writing(bench.ledger.engine) as connection:
        handouts.forget(connection)
    assert len(tell(bench)) == 2


def test_what_the_broker_did_not_take_is_told_again(bench: Bench) -> None:
    """Until it has."""
    owe(bench.ledger.engine, bench.at, bench.at + HOUR)
    assert look(bench).changes == look(bench).changes != ()


def test_a_retired_device_has_its_handout_taken_away(bench: Bench) -> None:
    """An empty retained message, once, and the others keep theirs; so for a device that moved."""
    owe(bench.ledger.engine, bench.at, bench.at + HOUR)
    tell(bench)
    with writing(bench.ledger.engine) as connection:
        gone = text("UPDATE device SET retired_at = :at WHERE slug = 'hh-1'")
        connection.execute(gone, {"at": bench.at})
    (change,) = tell(bench)
    assert (change.topic, change.payload) == (f"patrol/v1/{SITE}/hh-1/down/rounds", WITHDRAWN)
    assert tell(bench) == []
    with writing(bench.ledger.engine) as connection:
        connection.execute(text("UPDATE device SET site_id = 2 WHERE slug = 'hh-2'"))
    withdrawn = [c for c in tell(bench) if c.payload == WITHDRAWN]
    assert [c.topic for c in withdrawn] == [f"patrol/v1/{SITE}/hh-2/down/rounds"]


def test_a_site_without_devices_is_walked_with_the_grids(bench: Bench) -> None:
    """The portable ones of the nodes above it are told; elsewhere they are not."""
    owe(bench.ledger.engine, bench.at, bench.at + HOUR)
    assert not any("insp-01" in change.topic for change in look(bench).changes)
    with writing(bench.ledger.engine) as connection:
        connection.execute(text("UPDATE device SET protocol = 'tasmota' WHERE site_id = 1"))
    assert [c.topic for c in tell(bench)] == [f"patrol/v1/{SITE}/insp-01/down/rounds"]


def test_an_excused_round_need_not_be_walked(bench: Bench) -> None:
    """A closed school has nothing on its handhelds."""
    owe(bench.ledger.engine, bench.at, bench.at + HOUR)
    assert look(bench).changes
    with writing(bench.ledger.engine) as connection:
        excuse = text(
            "INSERT INTO excuse (site_id, since, until, author, reason, made_at, entry_id)"
            " VALUES (1, :since, :until, 'a', 'closed', 0, 1)"
        )
        connection.execute(excuse, {"since": bench.at - 1, "until": bench.at + 1})
    assert look(bench).changes == ()


def test_a_look_is_repeated_in_time(bench: Bench) -> None:
    """Also where nothing is owed: rounds are made, and excused, meanwhile."""
    wake = look(bench, 2).wake
    assert wake is not None
    assert bench.at < wake <= bench.at + handouts.AGAIN_MS
