"""A device of a grid node, from school to school: one device, wherever it reports from."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from desk import broker
from tests.clients import Client
from tests.ingest.school import BADGE, DOCUMENT, GATE, checkin, up
from tests.servers import mosquitto
from tests.service import a_service, now_ms

pytestmark = pytest.mark.broker

HALL = "04B2B3C4"
LONE = "school-03"


def registry() -> bytes:
    """Two schools below the bureau, and one that is not."""
    said: dict[str, Any] = copy.deepcopy(DOCUMENT)
    said["sites"][1]["belongs_to"] = ["bureau"]
    said["sites"].append({"id": LONE, "name": "Lone", "timezone": "Etc/UTC"})
    return json.dumps(said).encode()


def down(site: str, device: str = "insp-01") -> str:
    return f"patrol/v1/{site}/{device}/down/receipt"


def test_an_inspectors_handheld_reports_from_any_school_below_its_node(tmp_path: Path) -> None:
    """One credential; each school's topics carry its reads and answer it; its person goes along;
    a school beside the node is quarantined, another's topics are closed to it."""
    folder = tmp_path / "broker"
    made = broker.init(folder, port=1)
    conf = (folder / "mosquitto.conf").read_text().replace("listener 1 ", "listener {port} ")
    with (
        mosquitto(conf=conf) as server,
        a_service(tmp_path, server.port, registry(), broker_dir=str(folder)) as service,
    ):
        assert made.password is not None
        done = service.command("device", "enroll", "insp-01", "--json")
        credential = json.loads(done.stdout)
        handheld = Client(
            server.port, credential["username"], credential["password"], session="insp-01"
        )
        handheld.subscribe("patrol/v1/+/insp-01/down/#")
        handheld.subscribe("patrol/v1/+/hh-1/down/#")
        at = now_ms()
        both = ("school-01", "school-02")
        records = [
            ("school-01", checkin(1, at, BADGE)),
            ("school-01", checkin(2, at + 1, GATE)),
            ("school-02", checkin(3, at + 2, HALL)),
            ("school-03", checkin(4, at + 3, HALL)),
        ]
        for site, said in records:
            handheld.publish(up("checkin", "insp-01", site), json.dumps(said).encode())
        handheld.publish(up("checkin", "hh-1"), json.dumps(checkin(9, at, GATE)).encode())

        def receipted() -> dict[str, int]:
            told: dict[str, int] = {}
            for topic, payload in handheld.inbox:
                told[topic] = max(told.get(topic, -1), json.loads(payload)["upto"])
            return told

        assert handheld.until(lambda: receipted().get(down(LONE)) == 4, limit=20)
        assert all(receipted()[down(site)] >= 2 for site in both)
        assert not [topic for topic, _ in handheld.inbox if "hh-1" in topic]
        rows = service.listing("checkin", "list")
        assert [(row["site"], row["checkpoint"], row["person"]) for row in rows] == [
            ("school-01", None, "p-017"),
            ("school-01", "gate", "p-017"),
            ("school-02", "hall", "p-017"),
        ]
        (kept,) = service.listing("quarantine", "list")
        assert (kept["reason"], kept["site"], kept["seq"]) == ("foreign-site", LONE, 4)
        (inspectors,) = [row for row in service.listing("device", "list") if row["grid"]]
        assert (inspectors["id"], inspectors["site"]) == ("insp-01", None)
        assert inspectors["heard_at"] is not None
        for site in both:
            made_there = service.listing("checkin", "list", "--site", site)
            assert {row["device"] for row in made_there} == {"insp-01"}
