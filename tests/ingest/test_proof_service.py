"""Tags that prove presence, as a school has them: commands, and the service on a real broker."""

import json

import pytest

from firmware_sim.suntags import SunTag
from tests.ingest.school import LAB, checkin, up
from tests.ingest.test_proof import document
from tests.servers import mosquitto
from tests.service import a_service, now_ms, until
from tests.wire import a_wire

pytestmark = pytest.mark.broker

WORDS = "correct horse battery"


def test_a_night_without_the_passphrase_is_not_lost(tmp_path):
    """The service was started without its keys: what was tapped proves once it has them, and what
    was raised is taken back. No log line, no event and no table holds a key or the passphrase."""
    registry = json.dumps(document()).encode()
    with (
        mosquitto(["set_tcp_nodelay true"]) as broker,
        a_service(tmp_path, broker.port, registry, start=False) as service,
        a_wire(broker.port) as wire,
    ):
        locked = dict(service.environment)
        keys = {"GRIDBEAT_TAG_KEYS_FILE": str(tmp_path / "tag-keys.json")}
        service.environment = locked | keys | {"GRIDBEAT_TAG_PASSPHRASE": WORDS}
        assert service.command("tag", "new-key").returncode == 0
        file = tmp_path / "writer.json"
        done = service.command("tag", "enroll", LAB, "--keys-to", str(file))
        assert done.returncode == 0, done.stderr
        unlocked, service.environment = service.environment, locked
        service.start()
        told = json.loads(file.read_text())
        tag = SunTag(LAB, bytes(16))
        tag._file, tag._meta = (bytes.fromhex(told["keys"][n]) for n in (1, 2))
        wire.say(up("checkin"), checkin(1, now_ms(), LAB, sun=tag.tap()))
        raised = wire.event("checkin.unproven", "hh-1/0/1")
        assert raised["data"]["proof"] == "no-key"
        assert service.stop() == 0
        service.environment = unlocked
        service.start()
        wire.say(up("checkin"), checkin(2, now_ms(), LAB, sun=tag.tap()))
        proofs = "SELECT proof FROM tap ORDER BY entry_id"
        until(lambda: service.rows(proofs) == [("proven",), ("proven",)], "both are proven")
        listed = service.listing("checkin", "list")
        assert [row["proof"] for row in listed] == ["proven", "proven"]
        over = "SELECT state FROM event WHERE kind = 'checkin.unproven' ORDER BY revision DESC"
        until(lambda: service.rows(over)[0] == ("resolved",), "the alarm is taken back")
        assert service.stop() == 0
        held = service.log.encode() + (tmp_path / "gridbeat.db").read_bytes()
        for key in told["keys"]:
            assert key.encode() not in held
            assert key.lower().encode() not in held
            assert bytes.fromhex(key) not in held
        assert WORDS.encode() not in held
