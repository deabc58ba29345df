"""Who may speak, as a person decides it, beside a real broker: what it does, and how fast."""

import json
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from desk import broker
from desk.credentials import hashed
from store.database import open_engine
from store.entries import ENTRY
from tests.cli.running import Gridbeat
from tests.clients import WAIT_S, Client
from tests.filled import REGISTRY, fill
from tests.servers import Server, free_port, mosquitto

pytestmark = pytest.mark.broker

SOON_S = 1.0
UP = "patrol/v1/school-01/hh-0101/up"
DOWN = "patrol/v1/school-01/hh-0101/down"


class Ours:
    """A filled ledger, our own broker, and the command."""

    def __init__(self, gridbeat: Gridbeat, server: Server, password: str) -> None:
        self.gridbeat, self.server, self.password = gridbeat, server, password
        self.service = Client(server.port)
        self.service.subscribe("patrol/v1/#")

    def device(self, *words: str) -> dict[str, Any]:
        """`gridbeat device …`, which must succeed."""
        done = self.gridbeat("device", *words, "--json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def logged_in(self, user: str, password: str) -> Gridbeat:
        """The command as a user of the broker, not without a name."""
        url = f"mqtt://{user}:{password}@127.0.0.1:{self.server.port}"
        return Gridbeat(folder=self.gridbeat.folder, settings={"GRIDBEAT_MQTT_URL": url})

    def client(self, made: dict[str, Any], *, session: str = "") -> Client:
        return Client(self.server.port, made["username"], made["password"], session=session)

    def lets_in(self, made: dict[str, Any]) -> bool:
        return self.client(made).code == 0

    def trail(self) -> list[dict[str, Any]]:
        engine = open_engine(f"sqlite:///{self.gridbeat.folder / 'gridbeat.db'}")
        with engine.connect() as connection:
            query = ENTRY.select().where(ENTRY.c.body.like('%"do":"device.%')).order_by(ENTRY.c.id)
            rows = [json.loads(row.body) | {"by": row.author} for row in connection.execute(query)]
        engine.dispose()
        return rows


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Ours]:
    fill(tmp_path)
    made = broker.init(tmp_path / "broker", port=1)
    conf = (tmp_path / "broker" / "mosquitto.conf").read_text()
    with mosquitto(conf=conf.replace("listener 1 ", "listener {port} ")) as server:
        settings = {"GRIDBEAT_MQTT_URL": f"mqtt://127.0.0.1:{server.port}"}
        yield Ours(Gridbeat(folder=tmp_path, settings=settings), server, made.password or "")


def test_a_suspended_device_is_off_within_a_second(ours: Ours) -> None:
    """Its open connection is cut and its password refused, until it may speak again."""
    made = ours.device("enroll", "hh-0101")
    device = ours.client(made, session="hh-0101")
    assert device.code == 0
    told = ours.device("suspend", "hh-0101", "--reason", "lost in the bus", "--author", "chief")
    assert device.until(lambda: device.cut, limit=SOON_S)
    assert (told["was"], told["access"], told["live"]) == ("enrolled", "suspended", True)
    assert not ours.lets_in(made)
    assert [row["by"] for row in ours.trail()][-1] == "chief"
    assert ours.trail()[-1]["reason"] == "lost in the bus"
    shown = ours.gridbeat("device", "show", "hh-0101").stdout
    assert "enrolled → suspended  chief" in shown
    assert "lost in the bus" in shown
    ours.device("resume", "hh-0101")
    assert ours.lets_in(made)
    steps = json.loads(ours.gridbeat("device", "show", "hh-0101", "--json").stdout)["access"]
    assert [step["step"] for step in steps] == ["resume", "suspend", "enroll"]


def test_nobody_else_is_cut_when_one_is_suspended(ours: Ours) -> None:
    """The broker reads its files again; whoever may speak does not notice."""
    other = ours.client(ours.device("enroll", "hh-0201"), session="hh-0201")
    ours.device("enroll", "hh-0101")
    ours.device("suspend", "hh-0101")
    assert not other.until(lambda: other.cut, limit=0.3)
    other.publish("patrol/v1/school-02/hh-0201/up/checkin", b"still here")
    assert ours.service.until(lambda: ours.service.inbox)


def test_both_credentials_work_until_the_rotation_is_finished(ours: Ours) -> None:
    """Under its second name a device is the same device, and no other; then the first one ends."""
    old = ours.device("enroll", "hh-0101")
    new = ours.device("rotate", "hh-0101", "--overlap", "2h")
    assert (new["old"], new["username"], new["client_id"]) == ("hh-0101", "hh-0101.2", "hh-0101")
    assert new["until"].endswith("+08:00")  # the site's, as `device show` tells it
    before, after = ours.client(old, session="old"), ours.client(new, session="hh-0101")
    after.subscribe("patrol/v1/+/+/down/#")
    after.publish("patrol/v1/school-02/hh-0201/up/checkin", b"forged")
    after.publish(f"{DOWN}/receipt", b"forged")
    after.publish(f"{UP}/checkin", b"mine")
    ours.service.publish("patrol/v1/school-02/hh-0201/down/receipt", b"another's")
    ours.service.publish(f"{DOWN}/receipt", b"mine")
    assert after.until(lambda: after.inbox)
    assert after.inbox == [(f"{DOWN}/receipt", b"mine")]
    said = [payload for topic, payload in ours.service.inbox if "/up/" in topic]
    assert said == [b"mine"]
    finished = ours.device("rotate", "hh-0101", "--finish")
    assert (finished["was"], finished["access"]) == ("rotating", "enrolled")
    assert before.until(lambda: before.cut, limit=SOON_S)
    assert not after.cut
    assert (ours.lets_in(old), ours.lets_in(new)) == (False, True)
    again = ours.device("rotate", "hh-0101")
    assert (again["username"], again["old"]) == ("hh-0101", "hh-0101.2")


def test_nothing_old_waits_for_a_device_that_comes_back_to_its_first_name(ours: Ours) -> None:
    """What was sent to a name while nobody used it is not what its next user is told."""
    old = ours.client(ours.device("enroll", "hh-0101"), session="hh-0101")
    old.subscribe(f"{DOWN}/#")
    old.close()
    ours.device("rotate", "hh-0101")
    ours.device("rotate", "hh-0101", "--finish")
    ours.service.publish(f"{DOWN}/message", b"stale")
    new = ours.client(ours.device("rotate", "hh-0101"), session="hh-0101")
    new.subscribe(f"{DOWN}/#")
    ours.service.publish(f"{DOWN}/message", b"fresh")
    assert new.until(lambda: new.inbox)
    assert new.inbox == [(f"{DOWN}/message", b"fresh")]


def test_no_device_gets_the_rights_of_a_user_who_is_none(ours: Ours) -> None:
    """An id that is a user's name at the broker, the service's own or one added by hand, is
    refused."""
    acl = ours.gridbeat.folder / "broker" / "acl"
    acl.write_text(acl.read_text() + "user wall\ntopic read patrol/v1/+/events/#\n")
    file = ours.gridbeat.folder / "school.yaml"
    devices = "{id: hh-0101}\n      - {id: gridbeat}\n      - {id: wall}"
    file.write_text(REGISTRY.replace("{id: hh-0101}", devices), encoding="utf-8")
    assert ours.gridbeat("registry", "apply", str(file)).returncode == 0
    before = (ours.gridbeat.folder / "broker" / "passwd").read_text()
    for name in ("gridbeat", "wall"):
        done = ours.gridbeat("device", "enroll", name, "--renew")
        assert done.returncode == 1
        assert "another id" in done.stderr
    assert (ours.gridbeat.folder / "broker" / "passwd").read_text() == before
    ours.device("enroll", "hh-0101")
    ours.device("rotate", "hh-0101")
    assert "user wall\ntopic read" in acl.read_text()


def test_a_password_the_ledger_does_not_know_is_told(ours: Ours) -> None:
    """A device let in by hand, or enrolled since the copy a ledger was restored from, is named."""
    folder = ours.gridbeat.folder / "broker"
    broker.put_users(folder, {"hh-0201": hashed("by hand")}, {})
    checks = json.loads(ours.gridbeat("doctor", "--json").stdout)
    (row,) = [check for check in checks if check["what"] == "access"]
    assert (row["state"], "hh-0201" in row["detail"]) == ("warn", True)
    assert ours.lets_in(ours.device("enroll", "hh-0201", "--renew"))


def test_the_old_credential_ends_by_itself(ours: Ours) -> None:
    """While the service runs nobody has to come back when an overlap has had its time."""
    old = ours.device("enroll", "hh-0101")
    service = ours.gridbeat.start("ingest")
    try:
        new = ours.device("rotate", "hh-0101", "--overlap", "2s")
        client = ours.client(old)
        assert client.until(lambda: client.cut, limit=60)
        assert (ours.lets_in(old), ours.lets_in(new)) == (False, True)
    finally:
        service.terminate()
        service.communicate(timeout=30)
    last = ours.trail()[-1]
    assert (last["do"], last["by"]) == ("device.finish", "gridbeat")


def test_of_a_retired_device_nothing_stays(ours: Ours) -> None:
    """Retiring cuts the device off and clears what the broker keeps of it; the audit stays."""
    made = ours.device("enroll", "hh-0101")
    device = ours.client(made, session="hh-0101")
    device.publish(f"{UP}/status", b'{"online":true}', retain=True)
    ours.service.publish(f"{DOWN}/rounds", b'{"rounds":[]}', retain=True)
    ours.service.publish("patrol/v1/school-02/hh-0201/down/rounds", b"{}", retain=True)
    told = ours.device("retire", "hh-0101", "--reason", "broken")
    assert (told["access"], told["live"]) == ("retired", True)
    assert device.until(lambda: device.cut, limit=SOON_S)
    late = Client(ours.server.port)
    late.subscribe("patrol/v1/+/+/#")
    assert late.until(lambda: late.inbox)
    assert late.inbox == [("patrol/v1/school-02/hh-0201/down/rounds", b"{}")]
    assert not ours.lets_in(made)
    rows = {row["id"]: row for row in json.loads(ours.gridbeat("device", "list", "--json").stdout)}
    assert rows["hh-0101"]["retired_at"] is not None
    assert ours.gridbeat("device", "enroll", "hh-0101").returncode == 1


def test_a_registry_file_shuts_out_what_it_retires(ours: Ours) -> None:
    """A device that its site's file names no more is shut out; named again it begins anew."""
    made = ours.device("enroll", "hh-0101")
    file = ours.gridbeat.folder / "school.yaml"
    file.write_text(REGISTRY.replace("{id: hh-0101}", "{id: hh-0102}"), encoding="utf-8")
    assert ours.gridbeat("registry", "apply", str(file)).returncode == 0
    assert not ours.lets_in(made)
    assert ours.trail()[-1]["do"] == "device.retire"
    file.write_text(REGISTRY, encoding="utf-8")
    assert ours.gridbeat("registry", "apply", str(file)).returncode == 0
    assert not ours.lets_in(made)
    assert ours.lets_in(ours.device("enroll", "hh-0101"))


READERS = REGISTRY.replace(
    "      - {id: hh-0101}",
    "      - {id: hh-0101}\n"
    "      - {id: rd-1, protocol: tasmota, address: tasmota_1}\n"
    "      - {id: ph-1, protocol: owntracks, address: guard 7/phone}",
)


def test_a_reader_one_can_buy_writes_its_own_topics_only(ours: Ours) -> None:
    """A Tasmota reader or a phone speaks in its maker's topics, under its own address alone."""
    file = ours.gridbeat.folder / "school.yaml"
    file.write_text(READERS, encoding="utf-8")
    assert ours.gridbeat("registry", "apply", str(file)).returncode == 0
    reader = ours.client(ours.device("enroll", "rd-1"))
    phone = ours.client(ours.device("enroll", "ph-1"))
    ours.service.subscribe("#")
    for topic in (
        *("tele/tasmota_2/SENSOR", "owntracks/guard 7/phone", f"{UP}/checkin"),
        *("patrol/v1/service/gridbeat/marker", "patrol/v1/sim/clock", "tele/tasmota_1/SENSOR"),
    ):
        reader.publish(topic, b"reader")
    for topic in ("owntracks/guard 8/phone", "tele/tasmota_1/LWT", "owntracks/guard 7/phone/event"):
        phone.publish(topic, b"phone")
    assert ours.service.until(lambda: len(ours.service.inbox) > 1)
    ours.service.until(lambda: len(ours.service.inbox) > 2, limit=0.3)
    assert ours.service.inbox == [
        ("tele/tasmota_1/SENSOR", b"reader"),
        ("owntracks/guard 7/phone/event", b"phone"),
    ]


@pytest.mark.parametrize("named", [False, True])
def test_of_a_retired_reader_nothing_stays_either(ours: Ours, named: bool) -> None:
    """What the broker keeps in its maker's topics goes as well, and nobody else's does: by the
    service's own login, too, which may only read what readers that work say.
    """
    file = ours.gridbeat.folder / "school.yaml"
    file.write_text(READERS, encoding="utf-8")
    assert ours.gridbeat("registry", "apply", str(file)).returncode == 0
    ours.client(ours.device("enroll", "rd-1")).publish("tele/tasmota_1/LWT", b"Online", retain=True)
    ours.service.publish("tele/tasmota_2/LWT", b"Online", retain=True)
    retiring = ours.logged_in("gridbeat", ours.password) if named else ours.gridbeat
    done = retiring("device", "retire", "rd-1", "--json")
    assert (done.returncode, json.loads(done.stdout)["remark"]) == (0, None)
    service = Client(ours.server.port, "gridbeat", ours.password)
    service.publish("tele/tasmota_2/LWT", b"forged", retain=True)
    late = Client(ours.server.port)
    late.subscribe("tele/#")
    assert late.until(lambda: late.inbox)
    late.until(lambda: len(late.inbox) > 1, limit=0.3)
    assert late.inbox == [("tele/tasmota_2/LWT", b"Online")]


def test_a_reader_that_takes_up_an_address_keeps_what_is_its(ours: Ours) -> None:
    """What the broker keeps under a retired reader's address is its successor's by then."""
    file = ours.gridbeat.folder / "school.yaml"
    file.write_text(READERS, encoding="utf-8")
    assert ours.gridbeat("registry", "apply", str(file)).returncode == 0
    ours.device("enroll", "rd-1")
    ours.device("retire", "rd-1")
    file.write_text(READERS.replace("rd-1", "rd-2"), encoding="utf-8")
    assert ours.gridbeat("registry", "apply", str(file)).returncode == 0
    ours.client(ours.device("enroll", "rd-2")).publish("tele/tasmota_1/LWT", b"On", retain=True)
    service = ours.logged_in("gridbeat", ours.password)
    assert service("broker", "sync").returncode == 0
    late = Client(ours.server.port)
    late.subscribe("tele/#")
    assert late.until(lambda: late.inbox)
    assert late.inbox == [("tele/tasmota_1/LWT", b"On")]


def test_what_stays_of_a_retired_reader_is_said(ours: Ours) -> None:
    """Where the command's own user may not write, what the broker still keeps is named."""
    file, acl = ours.gridbeat.folder / "school.yaml", ours.gridbeat.folder / "broker" / "acl"
    file.write_text(READERS, encoding="utf-8")
    assert ours.gridbeat("registry", "apply", str(file)).returncode == 0
    acl.write_text(acl.read_text() + "user wall\ntopic read #\ntopic readwrite patrol/v1/#\n")
    broker.put_users(acl.parent, {"wall": hashed("secret")}, {})
    ours.client(ours.device("enroll", "rd-1")).publish("tele/tasmota_1/LWT", b"Online", retain=True)
    done = ours.logged_in("wall", "secret")("device", "retire", "rd-1")
    assert done.returncode == 1
    assert "tele/tasmota_1/LWT" in done.stderr
    assert ours.logged_in("gridbeat", ours.password)("broker", "sync").returncode == 0
    late = Client(ours.server.port)
    late.subscribe("tele/#")
    assert not late.until(lambda: late.inbox, limit=0.3)


def test_the_ledger_brings_back_a_lost_folder(ours: Ours) -> None:
    """The broker's files are made from the ledger: a backup of that is one of them as well."""
    made = ours.device("enroll", "hh-0101")
    ours.device("rotate", "hh-0101")
    folder = ours.gridbeat.folder / "broker"
    shutil.rmtree(folder)
    broker.init(folder, port=1)
    checks = json.loads(ours.gridbeat("doctor", "--json").stdout)
    assert [c["remedy"] for c in checks if c["what"] == "access"] == ["gridbeat broker sync"]
    done = json.loads(ours.gridbeat("broker", "sync", "--json").stdout)
    assert done["let_in"] == ["hh-0101", "hh-0101.2"]
    assert "no broker runs" in done["remark"]
    assert made["username"] in (folder / "passwd").read_text()
    assert "patrol/v1/+/hh-0101/up/#" in (folder / "acl").read_text()
    assert json.loads(ours.gridbeat("broker", "sync", "--json").stdout)["let_in"] == []


def test_what_is_decided_while_the_broker_is_down_holds_when_it_comes_back(ours: Ours) -> None:
    """The ledger decides; the broker starts by it, and `broker sync` clears what is left."""
    made = ours.device("enroll", "hh-0101")
    ours.client(made).publish(f"{UP}/status", b'{"online":true}', retain=True)
    ours.server.stop()
    told = ours.device("retire", "hh-0101")
    assert not told["live"]
    ours.server.start()
    assert not ours.lets_in(made)
    assert ours.gridbeat("broker", "sync").returncode == 0
    late = Client(ours.server.port)
    late.subscribe("patrol/v1/+/+/#")
    assert not late.until(lambda: late.inbox, limit=0.3)


def test_a_decision_that_did_not_reach_the_files_has_failed(ours: Ours) -> None:
    """Who is shut out in the ledger alone still comes in: that is exit code 1, and what to do."""
    made = ours.device("enroll", "hh-0101")
    lock = ours.gridbeat.folder / "broker" / ".lock"
    lock.unlink()
    lock.mkdir()  # nobody can hold the folder now, root neither
    for words in (("device", "suspend", "hh-0101"), ("device", "enroll", "hh-0201", "--json")):
        done = ours.gridbeat(*words)
        assert (done.returncode, "gridbeat broker sync" in done.stderr) == (1, True)
    assert json.loads(done.stdout)["password"]
    assert ours.lets_in(made)
    lock.rmdir()
    assert ours.gridbeat("broker", "sync").returncode == 0
    assert not ours.lets_in(made)


def test_a_running_broker_that_is_not_told_is_one_that_does_not_answer(ours: Ours) -> None:
    """The files are written, but whether the broker goes by them nobody has seen: exit code 4."""
    elsewhere = {"GRIDBEAT_MQTT_URL": f"mqtt://127.0.0.1:{free_port()}"}
    gridbeat = Gridbeat(folder=ours.gridbeat.folder, settings=elsewhere)
    done = gridbeat("device", "enroll", "hh-0101", "--json")
    assert (done.returncode, json.loads(done.stdout)["live"]) == (4, False)


def test_a_password_is_kept_nowhere(ours: Ours) -> None:
    """Neither the ledger nor the broker's folder nor its log holds a password in plain."""
    made = ours.device("enroll", "hh-0101")
    new = ours.device("rotate", "hh-0101")
    assert ours.lets_in(made)
    folder = ours.gridbeat.folder
    files = [path for path in folder.rglob("*") if path.is_file()]
    kept = b"".join(path.read_bytes() for path in files) + ours.server.log.encode()
    assert made["username"].encode() in kept
    assert made["password"].encode() not in kept
    assert new["password"].encode() not in kept


@pytest.mark.parametrize("command", ["enroll", "rotate"])
@pytest.mark.parametrize("as_json", [True, False])
def test_ctrl_c_loses_no_password(ours: Ours, command: str, as_json: bool) -> None:
    """Who does not wait for a broker that stands still has the password, and it works."""
    if command == "rotate":
        ours.device("enroll", "hh-0101")
    with closing(socket.create_server(("127.0.0.1", 0))) as still:
        still.settimeout(WAIT_S)
        address = {"GRIDBEAT_MQTT_URL": f"mqtt://127.0.0.1:{still.getsockname()[1]}"}
        impatient = Gridbeat(folder=ours.gridbeat.folder, settings=address)
        process = impatient.start("device", command, "hh-0101", *["--json"] * as_json)
        with closing(still.accept()[0]):
            process.send_signal(signal.SIGINT)
            said, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    if as_json:
        made = json.loads(said)
        assert not made["live"]
    else:
        names = {"user name": "username", "client id": "client_id", "password ": "password"}
        made = {names[line[:9]]: line[9:].strip() for line in said.splitlines()}
    assert "broker sync" in (made["remark"] if as_json else errors)
    assert ours.lets_in(made)


WRONG = [
    ("rotate", "first: gridbeat device enroll hh-0101"),
    ("suspend", "first: gridbeat device enroll hh-0101"),
    ("resume", "first: gridbeat device enroll hh-0101"),
]


@pytest.mark.parametrize(("step", "remedy"), WRONG)
def test_a_step_that_leads_nowhere_says_which_does(ours: Ours, step: str, remedy: str) -> None:
    """What a device's standing does not allow is refused with the command that helps."""
    done = ours.gridbeat("device", step, "hh-0101")
    assert (done.returncode, done.stdout) == (1, "")
    assert remedy in done.stderr


def test_a_span_that_is_none_is_wrong_usage(ours: Ours) -> None:
    """`--overlap` takes a span of time, and says how one is written."""
    ours.device("enroll", "hh-0101")
    done = ours.gridbeat("device", "rotate", "hh-0101", "--overlap", "soon")
    assert done.returncode == 2
    assert "7d" in done.stderr
