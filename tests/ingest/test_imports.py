"""A wand's export beside the running service: rounds settle, nobody is alarmed."""

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.school import DOCUMENT, checkin, owe, up
from tests.servers import mosquitto
from tests.service import Service, a_service, now_ms
from tests.wire import Wire, a_wire

pytestmark = pytest.mark.broker

WAND = {"id": "wand-1", "protocol": "wand", "address": "00000007"}


def registry() -> bytes:
    """A school that has a wand and nothing else."""
    said: dict[str, Any] = copy.deepcopy(DOCUMENT)
    school = said["sites"][0]
    school["devices"] = [WAND]
    school["plans"] = school["plans"][:1]
    return json.dumps(said).encode()


def export(folder: Path, *reads: tuple[int, str]) -> Path:
    """What the wand's software saves: Chinese headings, GBK, local time to the second."""
    folder.mkdir(exist_ok=True)
    path = folder / "records.csv"
    lines = ["巡更记录", "机号,地点,时间"]
    for at, place in reads:
        local = datetime.fromtimestamp(at / 1_000, UTC)
        lines.append(f"7,{place},{local:%Y-%m-%d %H:%M:%S}")
    path.write_bytes("\r\n".join(lines).encode("gbk"))
    return path


def a_round(service: Service) -> tuple[str, int]:
    """A round of three seconds that begins with a second, as wands tell their time."""
    opens = (now_ms() // 1_000 + 1) * 1_000
    return owe(service.engine, opens, opens + 3_000), opens


def told(wire: Wire) -> list[tuple[str, str, int]]:
    """What was told of rounds, check-ins and checkpoints."""
    kinds = ("round.", "checkin.", "checkpoint.")
    events = [heard.said for heard in wire.heard if "/events/" in heard.topic]
    return [
        (one["kind"], one["state"], one["revision"])
        for one in events
        if one["kind"].startswith(kinds)
    ]


def verdicts(service: Service, key: str) -> list[tuple[Any, ...]]:
    query = (
        "SELECT v.standing FROM verdict v JOIN obligation o ON o.id = v.obligation_id"
        " WHERE o.key = :key ORDER BY v.revision"
    )
    return [row[0] for row in service.rows(query, key=key)]


def test_an_import_settles_a_round_by_a_persons_word_and_alarms_nobody(tmp_path: Path) -> None:
    """Unknown at due; the file waits for review in silence; accepted, one amendment is told."""
    with (
        mosquitto(["set_tcp_nodelay true"]) as broker,
        a_service(tmp_path, broker.port, registry()) as service,
        a_wire(broker.port) as wire,
    ):
        key, opens = a_round(service)
        assert wire.event("round.unknown", key)["state"] == "open"
        before = told(wire)
        path = export(tmp_path, (opens + 1_000, "Gate"), (opens + 2_000, "Lab"))
        done = service.command("checkin", "import", str(path), "--json")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert (report["new"], report["unreadable"], report["encoding"]) == (2, [], "GBK")
        assert (report["waiting"], report["to_be_looked_at"], report["changed"]) == (2, 0, [])
        reviews = service.listing("review", "list")
        assert [(row["why"], row["rounds"]) for row in reviews] == [("imported", [key])] * 2
        assert told(wire) == before
        part = export(tmp_path / "part", (opens + 1_000, "Gate"))
        report = json.loads(service.command("checkin", "import", str(part), "--json").stdout)
        assert report["waiting"] == 1  # the file's own, not all that wait there
        word = ("--accept", "read out and set right each morning", "--author", "chief")
        done = service.command("checkin", "import", str(path), "--json", *word)
        report = json.loads(done.stdout)
        assert (report["new"], report["known"], report["accepted"]) == (0, 2, 2)
        assert report["changed"] == [{"round": key, "was": "unknown", "now": "completed"}]
        amended = wire.event("round.amended", key)
        assert (amended["data"]["was"], amended["data"]["now"]) == ("unknown", "completed")
        assert amended["data"]["decision"]["author"] == "chief"
        after = [one for one in told(wire) if one not in before]
        assert sorted(after) == [("round.amended", "resolved", 1), ("round.unknown", "resolved", 3)]
        assert verdicts(service, key) == ["unknown", "unknown", "completed"]


def test_what_was_imported_while_the_service_was_down_is_settled_when_it_runs(
    tmp_path: Path,
) -> None:
    """With a word at once: one amendment, and the rows of two pages are one evidence."""
    with (
        mosquitto(["set_tcp_nodelay true"]) as broker,
        a_service(tmp_path, broker.port, registry()) as service,
        a_wire(broker.port) as wire,
    ):
        key, opens = a_round(service)
        wire.event("round.unknown", key)
        service.stop()
        reads = [(opens - 60_000 * minute, "Gate") for minute in range(1, 300)]
        reads += [(opens + 1_000, "Gate"), (opens + 2_000, "Lab")]
        path = export(tmp_path, *reads)
        done = service.command(
            "checkin", "import", str(path), "--json", "--accept", "the chief saw it", "--wait", "0"
        )
        report = json.loads(done.stdout)
        assert (report["new"], report["to_be_looked_at"]) == (301, 1)
        service.start()
        assert wire.event("round.amended", key)["data"]["now"] == "completed"
        assert verdicts(service, key) == ["unknown", "completed"]
        assert len(wire.events("round.amended", key)) == 1
        assert not wire.events("round.missed")
        assert not wire.events("checkin.too-fast")


def test_a_school_with_a_handheld_too_is_told_missed_once(tmp_path: Path) -> None:
    """The alarm at due was right; the file amends it, and tells no second one."""
    said = json.loads(registry())
    said["sites"][0]["devices"] = [WAND, {"id": "hh-1"}]
    with (
        mosquitto(["set_tcp_nodelay true"]) as broker,
        a_service(tmp_path, broker.port, json.dumps(said).encode()) as service,
        a_wire(broker.port) as wire,
    ):
        wire.say(up("checkin"), checkin(0, now_ms(), "FFFF"))
        wire.receipt("hh-1", 0)
        key, opens = a_round(service)
        wire.event("round.missed", key)
        path = export(tmp_path, (opens + 1_000, "Gate"))
        done = service.command("checkin", "import", str(path), "--json", "--accept", "seen")
        report = json.loads(done.stdout)
        assert report["changed"] == [{"round": key, "was": "missed", "now": "incomplete"}]
        assert wire.event("round.amended", key)["data"]["now"] == "incomplete"
        assert [one for one in told(wire) if one[0] == "round.missed"] == [
            ("round.missed", "open", 1)
        ]
        assert not wire.events("round.incomplete")
