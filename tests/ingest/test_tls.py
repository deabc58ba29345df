"""The service on a broker by TLS: whom it trusts, and who trusts it."""

import json
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
        assert service.get("/readyz") == (503, "not connected to the broker yet\n")
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
        assert "geheim" not in service.log
