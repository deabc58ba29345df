"""The service on a broker by TLS: whom it trusts, and who trusts it."""

import json
import signal
from pathlib import Path

import pytest

from desk import tls
from tests.clients import Client
from tests.ingest.school import REGISTRY, checkin, up
from tests.secured import Secured
from tests.service import a_service, now_ms, until

pytestmark = pytest.mark.broker

DAY = 86_400_000
SOURCES = ["wire", "paho"]


@pytest.fixture
def ours(tmp_path: Path) -> Secured:
    return Secured(tmp_path)


def settings(ours: Secured, **other: str) -> dict[str, str]:
    url = f"mqtts://gridbeat:{ours.password}@127.0.0.1:{ours.office}"
    return {"mqtt_url": url, "mqtt_ca_file": str(ours.ca)} | other


@pytest.mark.parametrize("source", SOURCES)
def test_a_checkin_by_tls_is_kept(ours: Secured, tmp_path: Path, source: str) -> None:
    """Devices on their listener, the service on the other, and nothing of it in the clear."""
    password = ours.device("hh-1")
    named = settings(ours, mqtt_source=source)
    with ours.running(), a_service(tmp_path, 0, REGISTRY, **named) as service:
        device = Client(ours.devices, "hh-1", password, ca=ours.ca)
        device.publish(up("checkin"), json.dumps(checkin(1, now_ms())).encode())
        query = "SELECT checkpoint_id FROM entry WHERE seq = 1"
        assert until(lambda: service.rows(query), "the check-in") != [(None,)]


def test_a_broker_it_cannot_trust_is_left_and_said(ours: Secured, tmp_path: Path) -> None:
    """Another authority: the service is not ready, says why, and gives no password away."""
    other = tls.Place(authority=tmp_path / "ca2", server=tmp_path / "b2" / "tls")
    tls.init(other, (), now=now_ms())
    named = settings(ours, mqtt_ca_file=str(other.server / "ca.crt"))
    with (
        ours.running() as broker,
        a_service(tmp_path, 0, REGISTRY, start=False, **named) as service,
    ):
        service.launch()
        until(lambda: "certificate verify failed" in service.log, "the reason")
        until(lambda: service.get("/readyz")[0], "an answer")
        until(lambda: "set mqtt_ca_file" in service.get("/readyz")[1], "what to do")
        assert service.get("/readyz")[0] == 503
        assert "set mqtt_ca_file" in service.log
        assert "u'gridbeat'" not in broker.log


def test_a_certificate_that_ended_is_refused_until_it_is_renewed(
    ours: Secured, tmp_path: Path
) -> None:
    """The service stays away from an expired certificate, and comes by itself to the new one."""
    tls.renew(ours.place, now=now_ms() - 400 * DAY)
    with (
        ours.running() as broker,
        a_service(tmp_path, 0, REGISTRY, start=False, **settings(ours)) as service,
    ):
        service.launch()
        until(lambda: "certificate has expired" in service.log, "the reason")
        tls.renew(ours.place, now=now_ms())
        broker.stop()
        broker.start()
        until(lambda: service.get("/readyz")[0] == 200, "ready again", 40)


def test_a_wrong_password_is_said(ours: Secured, tmp_path: Path) -> None:
    """The broker's refusal is in the log, without the password."""
    url = f"mqtts://gridbeat:geheim@127.0.0.1:{ours.office}"
    named = settings(ours, mqtt_url=url)
    with (
        ours.running(),
        a_service(tmp_path, 0, REGISTRY, start=False, **named) as service,
    ):
        service.launch()
        until(lambda: "Not authorized" in service.log, "the refusal")
        assert "correct user and password in mqtt_url" in service.log
        until(lambda: "correct user and password" in service.get("/readyz")[1], "what to do")
        assert "geheim" not in service.log


def test_a_login_that_may_not_read_what_it_writes_is_said(ours: Secured, tmp_path: Path) -> None:
    """A device's: the broker lets it in and tells it nothing. The service is not ready, and says
    what to give its user; once it has that, it goes on by itself."""
    url = f"mqtts://hh-1:{ours.device('hh-1')}@127.0.0.1:{ours.office}"
    named = settings(ours, mqtt_url=url)
    with (
        ours.running() as broker,
        a_service(tmp_path, 0, REGISTRY, start=False, **named) as service,
    ):
        service.launch()
        until(lambda: "readwrite patrol/v1/#" in service.get("/readyz")[1], "what to do")
        assert service.get("/readyz")[0] == 503
        assert "readwrite patrol/v1/#" in service.log
        access = ours.folder / "broker" / "acl"
        access.write_text("user hh-1\ntopic readwrite #\n")
        broker.process.send_signal(signal.SIGHUP)
        until(lambda: service.get("/readyz")[0] == 200, "ready", 40)


@pytest.mark.parametrize(
    ("text", "why"), [(None, "cannot be read (No such file"), ("no PEM", "holds no certificate")]
)
def test_an_authority_that_is_none_is_refused_at_the_start(
    tmp_path: Path, text: str | None, why: str
) -> None:
    """Which file, what is wrong with it, what to do; not tried each second for ever. `doctor` says
    so too, and goes on to what else it looks at."""
    authority = tmp_path / "ca.crt"
    if text is not None:
        authority.write_text(text)
    named = {"mqtt_url": "mqtts://u:p@127.0.0.1:1", "mqtt_ca_file": str(authority)}
    with a_service(tmp_path, 0, REGISTRY, start=False, **named) as service:
        for command in (("ingest",), ("event", "watch")):
            done = service.command(*command)
            assert done.returncode in (1, 4)
            assert f"mqtt_ca_file {authority} {why}" in done.stderr
            assert "set mqtt_ca_file to the certificate of the authority" in done.stderr
        checks = json.loads(service.command("doctor", "--json").stdout)
    said = {check["what"]: check for check in checks}
    assert why in said["broker"]["detail"]
    assert "set mqtt_ca_file" in said["broker"]["remedy"]
    assert "clock" in said


@pytest.mark.parametrize(
    ("user", "trusted", "words"),
    [
        ("gridbeat:geheim", True, "correct user and password"),
        ("gridbeat:geheim", False, "set mqtt_ca_file"),
    ],
)
def test_the_doctor_does_not_call_a_broker_down_that_runs(
    ours: Secured, tmp_path: Path, user: str, trusted: bool, words: str
) -> None:
    """Where it refuses us, or shows what we do not trust, the remedy is for that."""
    other = tls.Place(authority=tmp_path / "ca2", server=tmp_path / "b2" / "tls")
    tls.init(other, (), now=now_ms())
    authority = ours.ca if trusted else other.server / "ca.crt"
    url = f"mqtts://{user}@127.0.0.1:{ours.office}"
    named = settings(ours, mqtt_url=url, mqtt_ca_file=str(authority))
    with ours.running(), a_service(tmp_path, 0, REGISTRY, start=False, **named) as service:
        checks = json.loads(service.command("doctor", "--json").stdout)
    (said,) = [check for check in checks if check["what"] == "broker"]
    assert words in said["remedy"]
    assert "start it" not in said["remedy"]
