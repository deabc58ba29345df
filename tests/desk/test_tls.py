"""The private authority and the broker's certificate, and that clients and Mosquitto go by them."""

import os
import shutil
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from desk import broker, tls
from desk.errors import DeskError, UsageError
from tests.clients import Client
from tests.secured import Secured
from tests.servers import Server
from tests.service import now_ms, until

DAY = 86_400_000
NOW = 1_788_276_600_000


@pytest.fixture
def place(tmp_path: Path) -> tls.Place:
    return tls.Place(authority=tmp_path / "ca", server=tmp_path / "broker" / "tls")


def test_devices_find_the_names_they_dial(place: tls.Place) -> None:
    """The certificate names what was asked for, host names and addresses, and this machine."""
    made = tls.init(place, ("broker.example.cn", "203.0.113.5", "网格.example"), now=NOW)
    assert made.names[:2] == ("broker.example.cn", "203.0.113.5")
    assert made.names[2].startswith("xn--")
    assert {"localhost", "127.0.0.1", "::1"} <= set(made.names)
    assert made.days_left(NOW) == 397


def test_keys_are_private_and_nothing_is_made_twice(place: tls.Place) -> None:
    """Keys are the owner's only; a second authority, which no device would trust, is refused."""
    tls.init(place, (), now=NOW)
    for path in (place.authority / "ca.key", place.server / "server.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (place.authority, place.server, place.server.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    before = (place.authority / "ca.key").read_bytes()
    with pytest.raises(DeskError) as refused:
        tls.init(place, (), now=NOW)
    assert "tls renew" in (refused.value.remedy or "")
    assert (place.authority / "ca.key").read_bytes() == before


def test_renewing_changes_one_file(place: tls.Place) -> None:
    """A new certificate for the same names and key: whoever reads meanwhile finds a pair that
    fits."""
    first = tls.init(place, ("broker.example.cn",), now=NOW)
    key = (place.server / "server.key").read_bytes()
    second = tls.renew(place, now=NOW + 300 * DAY)
    assert second.names == first.names
    assert second.serial != first.serial
    assert second.days_left(NOW) == 697
    assert (place.server / "server.key").read_bytes() == key
    assert tls.renew(place, ("other.example.cn",), now=NOW).names == ("other.example.cn",)


def test_a_certificate_does_not_outlive_its_authority(place: tls.Place) -> None:
    """What the authority signs in its last year ends with it."""
    tls.init(place, (), now=NOW)
    late = tls.renew(place, now=NOW + 3_600 * DAY)
    assert late.not_after == tls.inspect(place.server / "ca.crt").not_after


def test_a_lost_brokers_folder_is_made_again(place: tls.Place) -> None:
    """From the authority alone, kept elsewhere, devices get a certificate that they trust."""
    tls.init(place, ("broker.example.cn",), now=NOW)
    authority = (place.server / "ca.crt").read_bytes()
    shutil.rmtree(place.server.parent)
    with pytest.raises(DeskError):
        tls.renew(place, now=NOW)
    assert tls.renew(place, ("broker.example.cn",), now=NOW).names == ("broker.example.cn",)
    assert (place.server / "ca.crt").read_bytes() == authority
    assert (place.server / "server.key").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_makes_belongs_to_the_brokers_user(place: tls.Place) -> None:
    """Run by root in a folder of the broker's user, the broker can read what was made."""
    place.server.parent.parent.mkdir(exist_ok=True)
    os.chown(place.server.parent.parent, 12_345, 12_345)
    tls.init(place, (), now=NOW)
    assert {path.stat().st_uid for path in (place.server, *place.server.iterdir())} == {12_345}


@pytest.mark.parametrize("name", ["", "two words", "a..b", "x" * 254])
def test_a_name_that_is_none_is_wrong_usage(place: tls.Place, name: str) -> None:
    """What no device can dial is refused before anything is made."""
    with pytest.raises(UsageError):
        tls.init(place, (name,), now=NOW)
    assert not (place.authority / "ca.key").exists()


def test_a_strange_key_signs_nothing(place: tls.Place, tmp_path: Path) -> None:
    """Without the authority's own key nothing is renewed, and what to do is said."""
    tls.init(place, (), now=NOW)
    other = tls.Place(authority=tmp_path / "ca2", server=tmp_path / "b2" / "tls")
    tls.init(other, (), now=NOW)
    (place.authority / "ca.key").write_bytes((other.authority / "ca.key").read_bytes())
    with pytest.raises(DeskError, match="is not the key of"):
        tls.renew(place, now=NOW)
    (place.authority / "ca.key").unlink()
    with pytest.raises(DeskError, match="there is no"):
        tls.renew(place, now=NOW)


@pytest.fixture
def ours(tmp_path: Path) -> Secured:
    return Secured(tmp_path)


@pytest.fixture
def running(ours: Secured) -> Iterator[Server]:
    with ours.running() as server:
        yield server


@pytest.mark.broker
def test_who_is_somebody_comes_in_by_tls(ours: Secured, running: Server) -> None:
    """By TLS or on loopback, with a name and its password; without one nobody comes in at all."""
    who = ("gridbeat", ours.password)
    for port, ca in ((ours.office, ours.ca), (ours.devices, ours.ca), (running.port, None)):
        assert Client(port, *who, ca=ca).code == 0
        assert Client(port, ca=ca).code != 0
        assert Client(port, "gridbeat", "wrong", ca=ca).code != 0


@pytest.mark.broker
def test_nobody_takes_anothers_connection(ours: Secured) -> None:
    """By the devices' listener a client id is the user's name: nobody throws another one out."""
    a, b = ours.device("hh-a"), ours.device("hh-b")
    with ours.running():
        service = Client(ours.office, "gridbeat", ours.password, ca=ours.ca, session="service")
        alice = Client(ours.devices, "hh-a", a, ca=ours.ca, session="hh-a")
        for stolen in ("hh-a", "service"):
            thief = Client(ours.devices, "hh-b", b, ca=ours.ca, session=stolen)
            assert thief.code == 0
            thief.close()
        assert not alice.until(lambda: alice.cut, limit=0.3)
        assert not service.until(lambda: service.cut, limit=0.3)


@pytest.mark.broker
def test_a_strangers_authority_is_not_trusted(
    ours: Secured, running: Server, tmp_path: Path
) -> None:
    """A broker whose certificate another authority signed is left at once, before any password."""
    other = tls.Place(authority=tmp_path / "ca2", server=tmp_path / "b2" / "tls")
    tls.init(other, (), now=now_ms())
    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        tls.served("localhost", ours.devices, other.server / "ca.crt")


@pytest.mark.broker
def test_a_certificate_that_has_ended_is_refused_and_renewed_live(
    ours: Secured,
) -> None:
    """An expired certificate keeps devices away; renewed, the running broker shows the new one."""
    tls.renew(ours.place, now=now_ms() - 400 * DAY)
    with ours.running() as server:
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            tls.served("localhost", ours.devices, ours.ca)
        made = tls.renew(ours.place, now=now_ms())
        assert server.process is not None
        (ours.folder / "broker" / "mosquitto.pid").write_text(f"{server.process.pid}\n")
        assert broker.reload(ours.folder / "broker")

        def shown() -> int | None:
            try:
                return tls.served("127.0.0.1", ours.devices, ours.ca)
            except ssl.SSLError:
                return None

        assert until(shown, "the new certificate") == made.not_after
        assert Client(ours.devices, "gridbeat", ours.password, ca=ours.ca).code == 0


@pytest.mark.broker
def test_another_hosts_certificate_is_refused(ours: Secured) -> None:
    """A certificate that does not name what was dialled is refused, whoever signed it."""
    tls.renew(ours.place, ("elsewhere.example",), now=now_ms())
    mismatch = pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch")
    with ours.running(), mismatch:
        tls.served("localhost", ours.devices, ours.ca)


def test_tls_is_switched_on_in_somebodys_own_file(ours: Secured) -> None:
    """`broker init --tls` takes the marks from its own lines and leaves everything else alone."""
    folder = ours.folder / "plain"
    broker.init(folder)
    conf = folder / "mosquitto.conf"
    conf.write_text(conf.read_text() + "# mine\n")
    tls.init(tls.Place(authority=ours.folder / "ca3", server=folder / "tls"), (), now=NOW)
    broker.init(folder, tls=broker.Tls())
    text = conf.read_text()
    assert "# mine" in text
    assert "\nlistener 8883\n" in text
    assert "#;listener 8884" in text
    assert broker.init(folder, tls=broker.Tls()).written == ()


def test_tls_without_a_certificate_is_refused(tmp_path: Path) -> None:
    """Before there is a certificate, TLS cannot be switched on, and what to do first is said."""
    with pytest.raises(DeskError) as refused:
        broker.init(tmp_path / "broker", tls=broker.Tls())
    assert "gridbeat tls init" in (refused.value.remedy or "")
    assert not (tmp_path / "broker").exists()
