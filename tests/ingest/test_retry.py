"""Quarantine taken after all, once the registry was corrected."""

import copy
import json
from pathlib import Path

import pytest

from tests.ingest.school import DOCUMENT, GATE, LAB, REGISTRY, checkin, owe, up
from tests.servers import mosquitto
from tests.service import a_service, now_ms, until
from tests.wire import a_wire

pytestmark = pytest.mark.broker


def test_a_retried_checkin_is_judged_by_its_own_times_once(tmp_path: Path) -> None:
    """A round walked with a handheld nobody had registered is completed, as if it had been."""
    with (
        mosquitto(["set_tcp_nodelay true"]) as broker,
        a_service(tmp_path, broker.port, REGISTRY) as service,
        a_wire(broker.port) as wire,
    ):
        wire.say(up("checkin"), checkin(0, now_ms(), "FFFF"))
        wire.receipt("hh-1", 0)
        opens = now_ms()
        key = owe(service.engine, opens, opens + 2_000)
        read = [checkin(seq, now_ms(), tag) for seq, tag in ((1, GATE), (2, LAB))]
        for said in read:
            wire.say(up("checkin", "hh-new"), said)
        assert wire.event("round.missed", key)["state"] == "open"
        document = copy.deepcopy(DOCUMENT)
        document["sites"][0]["devices"].append({"id": "hh-new"})
        service.apply(json.dumps(document).encode())
        until(lambda: "registry.followed" in service.log, "the new registry")
        done = service.command("quarantine", "retry", "--reason", "unknown-device", "--lang", "en")
        assert (done.returncode, done.stdout) == (0, "2  taken\n"), done.stderr
        amended = wire.event("round.amended", key)
        assert (amended["data"]["was"], amended["data"]["now"]) == ("missed", "completed")
        received = "SELECT entry.received_at - q.received_at FROM entry, quarantine q"
        where = " WHERE entry.seq = q.seq AND q.device = 'hh-new'"
        assert service.rows(received + where) == [(0,), (0,)]
        again = service.command("quarantine", "retry", "--reason", "unknown-device")
        assert again.returncode == 1
        wire.say(up("checkin", "hh-new"), read[0])
        wire.receipt("hh-new", 2)
        assert service.value("SELECT count(*) FROM entry WHERE seq IN (1, 2)") == 2


def test_what_still_cannot_be_placed_is_kept_and_may_be_dropped(tmp_path: Path) -> None:
    """Retrying does not lose anything; dropping is somebody's act, and leaves the hash."""
    with (
        mosquitto(["set_tcp_nodelay true"]) as broker,
        a_service(tmp_path, broker.port, REGISTRY) as service,
        a_wire(broker.port) as wire,
    ):
        wire.say(up("checkin", "nobody"), checkin(1, now_ms()))
        until(lambda: service.rows("SELECT id FROM quarantine"), "the stranger")
        done = service.command("quarantine", "retry", "1", "--lang", "en")
        assert done.stdout.startswith("1  kept")
        done = service.command(
            "quarantine", "drop", "1", "--note", "a visitor", "--author", "chief"
        )
        assert done.returncode == 0, done.stderr
        (row,) = service.listing("quarantine", "list")
        assert (row["state"], len(row["sha256"])) == ("dropped", 64)
        assert service.value("SELECT length(payload) FROM quarantine") == 0
        assert service.value("SELECT author FROM entry WHERE kind = 4 ORDER BY id DESC") == "chief"
