"""`gridbeat tls`, and what the doctor says of certificates."""

import json
from pathlib import Path
from typing import Any

import pytest

from desk import tls
from tests.cli.running import Gridbeat
from tests.filled import fill
from tests.service import now_ms

DAY = 86_400_000


@pytest.fixture
def gridbeat(tmp_path: Path) -> Gridbeat:
    fill(tmp_path)
    return Gridbeat(folder=tmp_path, settings={"GRIDBEAT_CA_DIR": str(tmp_path / "ca")})


def told(gridbeat: Gridbeat, *words: str) -> Any:
    done = gridbeat(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_certificate_is_made_shown_and_renewed(gridbeat: Gridbeat) -> None:
    """From nothing to a broker by TLS in two commands; a renewal keeps the names."""
    refused = gridbeat("broker", "init", "--tls")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "gridbeat tls init" in refused.stderr
    made = told(gridbeat, "tls", "init", "--name", "patrol.example.cn")
    assert made["names"][0] == "patrol.example.cn"
    assert told(gridbeat, "broker", "init", "--tls")["written"] == [
        "mosquitto.conf",
        "acl",
        "passwd",
    ]
    assert told(gridbeat, "tls", "show") == made
    renewed = told(gridbeat, "tls", "renew")
    assert renewed["names"] == made["names"]
    assert renewed["serial"] != made["serial"]
    assert gridbeat("tls", "init").returncode == 1


def test_enrolling_says_whom_the_device_must_trust(gridbeat: Gridbeat) -> None:
    """With TLS a device needs the authority's certificate beside its password, and is told so."""
    told(gridbeat, "tls", "init")
    told(gridbeat, "broker", "init", "--tls")
    done = gridbeat("device", "enroll", "hh-0101")
    assert done.returncode == 0
    assert str(gridbeat.folder / "broker" / "tls" / "ca.crt") in done.stderr


def test_no_private_key_is_printed(gridbeat: Gridbeat) -> None:
    """What a command says can be shown to anybody."""
    done = gridbeat("tls", "init", "--name", "patrol.example.cn")
    assert done.returncode == 0
    assert "PRIVATE" not in done.stdout + done.stderr


@pytest.mark.parametrize(("days", "state"), [(31, "ok"), (29, "warn"), (6, "wrong"), (-1, "wrong")])
def test_the_doctor_asks_for_a_new_certificate(gridbeat: Gridbeat, days: int, state: str) -> None:
    """A month ahead it is worth a look, a week ahead it is wrong, and the command is named."""
    place = tls.Place(authority=gridbeat.folder / "ca", server=gridbeat.folder / "broker" / "tls")
    tls.init(place, (), now=now_ms())
    tls.renew(place, now=now_ms() - (tls.SERVER_DAYS - days) * DAY + DAY // 2)
    checks = json.loads(gridbeat("doctor", "--json").stdout)
    (row,) = [c for c in checks if c["what"] == "tls" and "server.crt" in c["detail"]]
    assert row["state"] == state
    assert ("tls renew" in (row["remedy"] or "")) == (state != "ok")
