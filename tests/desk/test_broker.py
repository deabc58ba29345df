"""The broker's files, and that the real Mosquitto understands them."""

import os
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from desk import accesslist, broker, credentials
from desk.accesslist import Rights
from desk.errors import DeskError
from tests.clients import WAIT_S, Client
from tests.servers import Server, binary, free_port, mosquitto

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is tested
REFUSED, NOT_AUTHORISED = 0x86, 0x87


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "broker"


@pytest.fixture
def ours(folder: Path) -> Iterator[Server]:
    """Our own broker from `init`, with two enrolled devices."""
    with running(folder, "127.0.0.1") as server:
        yield server


def running(folder: Path, host: str):  # type: ignore[no-untyped-def]
    broker.init(folder, port=1, host=host)
    text = (folder / "mosquitto.conf").read_text().replace("listener 1 ", "listener {port} ")
    return mosquitto(conf=text)


def let_in(folder: Path, *names: str) -> list[str]:
    """Give each a password on the broker of `folder`; they are returned."""
    passwords = [credentials.new_password() for _ in names]
    hashes = [credentials.hashed(password) for password in passwords]
    broker.put_users(folder, dict(zip(names, hashes, strict=True)), {})
    return passwords


def test_hash_is_mosquittos_own() -> None:
    """A password is kept as mosquitto_passwd keeps it: the golden line was made by that program."""
    golden = (
        "$7$101$D7jXM/7rkBMzIloI$QnuNZkRZnIuEl0+vZln+NeWdAuwVK2Z/0dxkw1UR"
        "Mu0xJRnMLVHZoAURGL7xhmCro+hHfWgImOg5BqeEmnL4BA=="
    )
    salt = credentials.base64.b64decode(golden.split("$")[3])
    assert credentials.hashed("secret", salt) == golden


@pytest.mark.broker
def test_the_broker_does_not_log_each_of_its_saves(tmp_path: Path) -> None:
    """It saves every second, which is no news; who comes and goes is told."""
    with running(tmp_path / "broker", "127.0.0.1") as server:
        saved, before = tmp_path / "broker" / "mosquitto.db", 0
        for number in range(2):
            Client(server.port, session=f"somebody-{number}").publish("patrol/v1/a", b"x")
            deadline = time.monotonic() + 20
            while not saved.exists() or saved.stat().st_mtime_ns == before:
                assert time.monotonic() < deadline, "the broker does not save"
                time.sleep(0.02)
            before = saved.stat().st_mtime_ns
        assert "as somebody-1" in server.log
        assert "Saving" not in server.log


@pytest.mark.parametrize("bad", ["nobody", "a:b", "a:$6$x$y", "a:$7$101$short$short"])
def test_a_line_the_broker_would_stop_at_is_refused(tmp_path: Path, bad: str) -> None:
    """A password file with a line that Mosquitto cannot read is never written over or handed on."""
    path = tmp_path / "passwd"
    path.write_text(f"{bad}\n")
    with pytest.raises(DeskError, match="line 1"):
        credentials.read_passwords(path)


def test_files_are_private_and_whole(folder: Path) -> None:
    """Folder and files are the owner's only, and nothing half-written is left beside them."""
    broker.init(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == [
        "acl",
        "mosquitto.conf",
        "passwd",
    ]
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path.name == ".lock"


def test_init_twice_changes_nothing(folder: Path) -> None:
    """A second `init` with the same words writes nothing and shows no password again."""
    first = broker.init(folder)
    second = broker.init(folder)
    assert first.password is not None
    assert (second.written, second.password, second.mqtt_url) == ((), None, None)


def test_init_keeps_somebodys_work(folder: Path) -> None:
    """A configuration that was changed is refused; with `force` it is kept beside the new one."""
    broker.init(folder)
    conf = folder / "mosquitto.conf"
    conf.write_text("# mine\n")
    with pytest.raises(DeskError, match=r"mosquitto\.conf"):
        broker.init(folder)
    assert broker.init(folder, force=True).written == ("mosquitto.conf",)
    assert (folder / "mosquitto.conf.old").read_text() == "# mine\n"


WALL = "\nuser wall\ntopic read patrol/v1/+/events/#\n"


@pytest.mark.parametrize("enrolled", [False, True])
def test_init_keeps_the_users_a_person_added(folder: Path, enrolled: bool) -> None:
    """Users at the end of the access list's upper part are no difference, and outlast `force`."""
    broker.init(folder)
    acl = folder / "acl"
    rights = {"hh-0101.2": Rights(write=("patrol/v1/+/hh-0101/up/#",))} if enrolled else {}
    text = accesslist.render(accesslist.HEAD + WALL, rights)
    acl.write_text(text)
    assert broker.init(folder).written == ()
    acl.write_text(text.replace("topic read $SYS/#\n", "", 1))  # as an earlier release had it
    with pytest.raises(DeskError, match="acl"):
        broker.init(folder)
    assert broker.init(folder, force=True).written == ("acl",)
    assert acl.read_text() == text


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """When the new file is found bad, the old one stays and the new one is gone."""
    path = tmp_path / "passwd"
    credentials.write_passwords(path, {"a": credentials.hashed("x")})
    before = path.read_text()
    with pytest.raises(DeskError):
        credentials.write_passwords(path, {"b": "no hash"})
    assert (path.read_text(), [p.name for p in tmp_path.iterdir()]) == (before, ["passwd"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_writes_belongs_to_the_brokers_user(folder: Path) -> None:
    """A file that root writes is one the broker can read again: it would stop otherwise."""
    broker.init(folder)
    os.chown(folder, 12_345, 12_345)
    with credentials.locked(folder):
        let_in(folder, "hh-0101")
    assert {path.stat().st_uid for path in (folder / "passwd", folder / ".lock")} == {12_345}


BAD_LINES = ["topic", "topic read a/#/b", "topic may a/b", "pattern write a/+b", "user", "nonsense"]


@pytest.mark.parametrize("bad", BAD_LINES)
def test_an_access_line_the_broker_would_stop_at_is_refused(tmp_path: Path, bad: str) -> None:
    """An access list with a line that Mosquitto cannot read never takes the old one's place."""
    path = tmp_path / "acl"
    path.write_text("topic read a\n")
    with pytest.raises(DeskError, match="line 2"):
        accesslist.write_list(path, f"topic read a\n{bad}\n")
    assert path.read_text() == "topic read a\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["acl"]


@pytest.mark.broker
@pytest.mark.parametrize("bad", BAD_LINES[:4])
def test_the_broker_stops_at_such_a_line(tmp_path: Path, bad: str) -> None:
    """What we refuse is what the real Mosquitto refuses, and what we write it takes."""
    acl, conf = tmp_path / "acl", tmp_path / "conf"
    conf.write_text(f"listener {free_port()} 127.0.0.1\nacl_file {acl}\n")
    acl.write_text(accesslist.HEAD + bad + "\n")
    program = binary("mosquitto", "mosquitto")
    done = subprocess.run([program, "-c", conf], capture_output=True, timeout=10, check=False)
    assert done.returncode != 0
    rights = {"x.2": Rights(write=("zigbee2mqtt/a b/c/#", "+/x"), read=("$SYS/#",))}
    accesslist.write_list(acl, accesslist.render(accesslist.HEAD, rights))
    with mosquitto([f"acl_file {acl}"]) as server:
        assert Client(server.port, "x.2", "any").code == 0


def test_only_listener_paths_and_user_change(folder: Path) -> None:
    """The rendered file is the project's own but for its listener, its paths and its user."""
    text = broker.template()
    made = broker.render(text, folder=folder, port=2883, host="127.0.0.1", user="somebody")
    pairs = zip(text.splitlines(), made.splitlines(), strict=True)
    changed = [new for old, new in pairs if old != new]
    assert "user somebody" in changed
    assert "listener 2883 127.0.0.1" in changed
    assert all(
        str(folder) in line for line in changed if line.split()[0] not in ("user", "listener")
    )


def test_every_setting_says_why(folder: Path) -> None:
    """Each line of the project's file stands under a comment of its own paragraph."""
    for paragraph in broker.template().split("\n\n"):
        settings = [line for line in paragraph.splitlines() if not line.startswith("#")]
        assert not settings or paragraph.startswith("# ")


def test_offline_sessions_are_safe() -> None:
    """`per_listener_settings`, which loses messages for sessions that are offline, is not set."""
    lines = broker.template().splitlines()
    assert not any(line.startswith("per_listener_settings") for line in lines)


@pytest.mark.broker
def test_credentials_on_the_real_broker(ours: Server, folder: Path) -> None:
    """A device enrolled while the broker runs can log in at once; a wrong password cannot."""
    (password,) = let_in(folder, "hh-0101")
    assert broker.reload(folder)
    deadline = time.monotonic() + WAIT_S
    while (code := Client(ours.port, "hh-0101", password).code) and time.monotonic() < deadline:
        pass
    assert code == 0
    assert Client(ours.port, "hh-0101", "wrong").code in (REFUSED, NOT_AUTHORISED)
    assert Client(ours.port, "nobody", "x").code in (REFUSED, NOT_AUTHORISED)
    assert Client(ours.port).code == 0


@pytest.mark.broker
def test_nobody_speaks_for_another(ours: Server, folder: Path) -> None:
    """A device writes only below its own name, and hears only its own receipts."""
    a, b = let_in(folder, "hh-a", "hh-b")
    broker.reload(folder)
    watcher = Client(ours.port)
    watcher.subscribe("patrol/v1/+/+/up/#")
    alice, bob = logged_in(ours.port, "hh-a", a), logged_in(ours.port, "hh-b", b)
    alice.subscribe("patrol/v1/+/+/down/#")
    bob.publish("patrol/v1/s/hh-a/up/checkin", b"forged")
    bob.publish("patrol/v1/s/hh-b/up/checkin", b"mine")
    bob.publish("patrol/v1/s/hh-a/down/receipt", b"forged")
    watcher.publish("patrol/v1/s/hh-b/down/receipt", b"for b")
    watcher.publish("patrol/v1/s/hh-a/down/receipt", b"for a")
    assert watcher.until(lambda: watcher.inbox)
    assert alice.until(lambda: alice.inbox)
    alice.until(lambda: len(alice.inbox) > 1, limit=0.3)
    assert watcher.inbox == [("patrol/v1/s/hh-b/up/checkin", b"mine")]
    assert alice.inbox == [("patrol/v1/s/hh-a/down/receipt", b"for a")]


def logged_in(port: int, name: str, password: str) -> Client:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        client = Client(port, name, password)
        if client.code == 0:
            return client
    pytest.fail(f"{name} could not log in")


@pytest.mark.broker
def test_what_is_sent_while_the_service_is_away_waits_for_it(folder: Path) -> None:
    """The service's session gets all it missed, over a SIGKILL of the broker and from after it."""
    made = broker.init(folder, port=1)
    who = ("gridbeat", made.password)
    with running(folder, "127.0.0.1") as server:
        service = Client(server.port, *who, session="service")
        service.subscribe("patrol/v1/+/+/up/#")
        service.close()
        Client(server.port, *who).publish("patrol/v1/s/d/up/checkin", b"before")
        saved = folder / "mosquitto.db"
        wait_until(lambda: saved.exists() and b"before" in saved.read_bytes())
        server.kill()
        server.start()
        Client(server.port, *who).publish("patrol/v1/s/d/up/checkin", b"after")
        back = Client(server.port, *who, session="service")
        assert back.until(lambda: len(back.inbox) == 2)
        assert [payload for _, payload in back.inbox] == [b"before", b"after"]


@pytest.mark.broker
def test_beyond_loopback_nobody_comes_in_without_a_name(folder: Path) -> None:
    """A listener that others can reach refuses a client without a user, and takes the service."""
    made = broker.init(folder, port=1, host=EVERYWHERE)
    with running(folder, EVERYWHERE) as server:
        assert Client(server.port).code == NOT_AUTHORISED
        assert Client(server.port, "gridbeat", made.password).code == 0


@pytest.mark.broker
def test_the_checkouts_own_file_starts(tmp_path: Path) -> None:
    """The project's file runs from the repository's root after `broker init --dir broker`."""
    port = free_port()
    text = broker.template().replace("listener 1883 ", f"listener {port} ")
    (tmp_path / "mosquitto.conf").write_text(text)
    broker.init(tmp_path / "broker")
    process = subprocess.Popen(
        ["mosquitto", "-c", "mosquitto.conf"], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(port)
        assert Client(port).code == 0
        wait_until((tmp_path / "broker" / "mosquitto.db").exists)
    finally:
        process.terminate()
        process.wait()


def test_no_broker_is_said_and_no_stranger_signalled(folder: Path) -> None:
    """Without a broker, or with a pid that is another program's by now, nobody is signalled."""
    broker.init(folder)
    assert not broker.reload(folder)
    (folder / "mosquitto.pid").write_text(f"{os.getpid()}\n")
    assert not broker.reload(folder)


def wait_for(port: int) -> None:
    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens)


def wait_until(done) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)
