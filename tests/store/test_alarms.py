"""Looking at devices on a real ledger: alarms open and end with the facts, whoever looks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from rules.presence import AGAIN_MS, Limits
from store import workers
from store.alarms import PUSH_BACK_MS, SETTLE_MS, Page, look_around, next_look
from store.database import reading, writing
from store.owngaps import FEW, Cause, OwnGap, close_gap
from tests.ingest.bench import Bench, a_bench, delivery, marker, up
from tests.ingest.school import DOCUMENT, GATE, checkin

LIMITS = Limits(offline=60_000, battery_low=20, battery_right=30)
MINUTE = 60_000


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """The school, and forty devices more."""
    site = DOCUMENT["sites"][0]
    more = [{"id": f"hh-{n}", "heartbeat": "1m"} for n in range(100, 140)]
    grown = {**site, "devices": [*site["devices"], *more]}
    with a_bench(tmp_path, {**DOCUMENT, "sites": [grown, *DOCUMENT["sites"][1:]]}) as made:
        yield made


def status(device: str = "hh-1", *, online: bool = True, **more: Any) -> Any:
    return delivery(up("status", device), {"online": online, "boot": "b1", **more})


def look(bench: Bench, limit: int = 100) -> Page:
    """As of now, everything that had arrived being committed."""
    with writing(bench.ledger.engine) as connection:
        return look_around(connection, LIMITS, bench.at, bench.at, limit)


def told(bench: Bench, kind: str) -> list[tuple[str, str]]:
    """Subject and state of every revision of a kind."""
    return [
        (row[0], row[1])
        for row in bench.rows(
            "SELECT subject, state FROM event WHERE kind = :k ORDER BY id", k=kind
        )
    ]


def outbox(bench: Bench, channel: str) -> int:
    return int(bench.rows("SELECT count(*) FROM outbox WHERE channel = :c", c=channel)[0][0])


def test_a_will_is_told_when_it_has_lasted_and_ends_with_the_birth(bench: Bench) -> None:
    """A check-in ends it as well as a birth: the device is there."""
    bench.take(status(bat=80), status(online=False))
    look(bench)
    assert told(bench, "device.offline") == []
    bench.at += MINUTE
    look(bench)
    look(bench)
    assert told(bench, "device.offline") == [("hh-1/b1", "open")]
    bench.take(delivery(up("checkin"), checkin(1, bench.at, GATE)))
    look(bench)
    assert told(bench, "device.offline") == [("hh-1/b1", "open"), ("hh-1/b1", "resolved")]
    assert bench.rows("SELECT count(*) FROM device_alarm") == [(0,)]


def test_a_cut_that_is_over_at_the_look_was_none(bench: Bench) -> None:
    """Gone and back within the delay: nothing."""
    bench.take(status(), status(online=False))
    bench.at += MINUTE - 1
    bench.take(status(boot="b2"))
    bench.at += 10 * MINUTE
    look(bench)
    assert told(bench, "device.offline") == []


def test_silence_is_told_by_the_heartbeat_and_shown_to_the_series(bench: Bench) -> None:
    """2.5 heartbeats and the delay after its last word; its next word ends it."""
    bench.take(status("hh-100"))
    look(bench)
    since = bench.at + round(2.5 * MINUTE)
    bench.at = since + MINUTE
    page = look(bench)
    (point,) = page.turned
    assert (point.device, point.at, point.online) == ("hh-100", since, False)
    assert bench.rows("SELECT at FROM event WHERE kind = 'device.offline'") == [(since,)]
    bench.at += MINUTE
    read = delivery(up("checkin", "hh-100"), checkin(1, bench.at, GATE))
    bench.take(read, marker(bench.at))  # contacts are written with each marker
    page = look(bench)
    assert [point.online for point in page.turned] == [True]
    assert told(bench, "device.offline")[-1] == ("hh-100/b1", "resolved")


def test_only_news_of_a_status_wants_a_look(bench: Bench) -> None:
    """A heartbeat that says the same as the last costs no look."""
    bench.take(status(bat=80, fw="1.0"))
    look(bench)
    bench.take(status(bat=80, fw="1.0"))
    assert bench.rows("SELECT wake FROM device_state WHERE wake IS NOT NULL") == []
    bench.take(status(bat=19))
    look(bench)
    assert told(bench, "device.battery-low") == [("hh-1/b1", "open")]
    bench.take(status(bat=25), status(bat=30))
    look(bench)
    assert told(bench, "device.battery-low")[-1] == ("hh-1/b1", "resolved")


def test_a_change_of_firmware_is_noted(bench: Bench) -> None:
    """Each with when it was first said; a status without it says nothing, also after a restart."""
    bench.take(status(fw="1.0"), status(), status(fw="1.0"))
    bench.restart()
    first, bench.at = bench.at, bench.at + MINUTE
    bench.take(status(fw="1.0"), status(fw="1.1"))
    noted = bench.rows("SELECT firmware, at FROM device_firmware ORDER BY id")
    assert noted == [("1.0", first), ("1.1", bench.at)]


@pytest.mark.parametrize("out", ["retired_at", "suspended_at"])
def test_a_device_out_of_service_ends_what_was_open(bench: Bench, out: str) -> None:
    """Its alarms are resolved though nothing is heard of it, and no new one begins."""
    bench.take(status(bat=5), status(online=False))
    bench.at += 2 * MINUTE
    look(bench)
    with writing(bench.ledger.engine) as connection:
        connection.execute(text(f"UPDATE device SET {out} = {bench.at}"))  # noqa: S608 - ours
    bench.at += MINUTE
    with reading(bench.ledger.engine) as connection:
        assert next_look(connection) == 0
    look(bench)
    assert bench.rows("SELECT count(*) FROM device_alarm") == [(0,)]
    assert told(bench, "device.battery-low")[-1] == ("hh-1/b1", "resolved")
    assert told(bench, "device.offline") == [("hh-1/b1", "open"), ("hh-1/b1", "resolved")]
    with reading(bench.ledger.engine) as connection:
        assert next_look(connection) is None


def test_a_device_whose_look_raises_holds_up_no_other(bench: Bench) -> None:
    """It is reported and pushed back; the others are told."""
    bench.take(status(online=False), status("hh-2", online=False))
    bench.at += 2 * MINUTE
    with writing(bench.ledger.engine) as connection:
        broken = text(
            "INSERT INTO device_alarm (device_id, kind, subject, at, raised_at, data)"
            " SELECT id, 'no.such-kind', 'x', 0, 0, '{}' FROM device WHERE slug = 'hh-1'"
        )
        connection.execute(broken)
    look(bench)
    assert told(bench, "device.offline") == [("hh-2/b1", "open")]
    wakes = (
        "SELECT wake FROM device_state s JOIN device d ON d.id = s.device_id WHERE slug = 'hh-1'"
    )
    assert bench.rows(wakes) == [(bench.at + PUSH_BACK_MS,)]


def test_while_our_side_is_out_of_order_nobody_is_missing(bench: Bench) -> None:
    """No look while the broker is gone; afterwards silence is counted anew."""
    bench.take(status("hh-100"))
    look(bench)
    with writing(bench.ledger.engine) as connection:
        workers.begin_outage(connection, "broker", bench.at)
    bench.at += 60 * MINUTE
    assert look(bench).told == 0
    with writing(bench.ledger.engine) as connection:
        workers.end_outage(connection, "broker", bench.at)
    look(bench)
    bench.at += 2 * MINUTE
    look(bench)
    assert told(bench, "device.offline") == []
    bench.at += 2 * MINUTE
    look(bench)
    assert told(bench, "device.offline") == [("hh-100/b1", "open")]


def test_what_did_not_come_back_with_us_is_no_storm(bench: Bench) -> None:
    """The first few absences are told one by one, the rest by the gap's digest."""
    devices = [f"hh-{n}" for n in range(100, 140)]
    bench.take(*(status(device) for device in devices))
    look(bench)
    since = bench.at
    with writing(bench.ledger.engine) as connection:
        workers.begin_outage(connection, "service", since)
    bench.at += 60 * MINUTE
    bench.take(marker(bench.at))
    with writing(bench.ledger.engine) as connection:
        close_gap(connection, OwnGap(since=since, cause=Cause.DOWN), bench.at, bench.at)
    bench.at += 10 * MINUTE
    while look(bench, 7).more:
        pass
    assert len(told(bench, "device.offline")) == 40
    assert (outbox(bench, "digest"), outbox(bench, "held")) == (40 - FEW, 0)
    bench.at += SETTLE_MS
    look(bench)
    assert outbox(bench, "digest") == 0
    assert [state for _, state in told(bench, "service.gap")] == ["resolved", "resolved"]
    (data,) = bench.rows("SELECT data FROM event WHERE kind = 'service.gap' AND revision = 2")
    assert sum(device in data[0] for device in devices) == 40 - FEW
    bench.take(status("hh-139"))
    before = outbox(bench, "mqtt")
    bench.at += AGAIN_MS
    look(bench)
    assert outbox(bench, "mqtt") == before + 1


def test_lost_records_that_come_after_all_end_their_gap(bench: Bench) -> None:
    """Only when the last of them is here; a copy of one is none."""
    bench.take(delivery(up("checkin"), checkin(1, bench.at)))
    bench.take(status(oldest=5))
    assert told(bench, "device.gap") == [("hh-1/0/2", "open")]
    bench.take(delivery(up("checkin"), [checkin(3, bench.at), checkin(2, bench.at)]))
    bench.take(delivery(up("checkin"), [checkin(3, bench.at), checkin(5, bench.at)]))
    assert told(bench, "device.gap") == [("hh-1/0/2", "open")]
    bench.restart()
    bench.take(delivery(up("checkin"), checkin(4, bench.at)))
    assert told(bench, "device.gap") == [("hh-1/0/2", "open"), ("hh-1/0/2", "resolved")]
