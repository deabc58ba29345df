"""The units of the reference deployment, as systemd itself reads them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.service import GRIDBEAT

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "deploy" / "systemd"
INSTALLED = "/opt/gridbeat/current"
SERVICES = ("gridbeat.service", "gridbeat-backup.service", "gridbeat-doctor.service")
EXPOSED = 25
"""Tenths: how much a service may be exposed, of 100, by systemd's own count."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The units as they are, but for where the program lies; and Debian's unit for Mosquitto."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze (Debian package systemd) is not installed: run script/setup")
    copy = tmp_path / "units"
    shutil.copytree(UNITS, copy)
    for unit in copy.glob("*.service"):
        text = unit.read_text().replace(f"{INSTALLED}/.venv/bin/gridbeat", str(GRIDBEAT))
        unit.write_text(text.replace(INSTALLED, str(ROOT)))
    (copy / "mosquitto.service").write_text(
        "[Service]\nType=notify\nExecStart=/bin/true\nExecStartPre=/bin/true\n"
    )
    drop_in = copy / "mosquitto.service.d" / "gridbeat.conf"
    drop_in.write_text(drop_in.read_text().replace("/usr/sbin/mosquitto", "/bin/true"))
    return copy


def analyze(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_PAGER": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def verify(folder: Path) -> str:
    units = [path.name for path in folder.iterdir() if path.suffix in (".service", ".timer")]
    done = analyze(folder, "verify", "--man=no", *sorted(units))
    return done.stdout + done.stderr


def test_systemd_finds_nothing_wrong(folder: Path) -> None:
    """`systemd-analyze verify` has no word to say of any unit, the drop-in included."""
    assert verify(folder) == ""


@pytest.mark.parametrize("name", [*SERVICES, "mosquitto.service.d/gridbeat.conf"])
def test_a_mistake_would_be_found(folder: Path, name: str) -> None:
    """Each of these files is really read: a word that systemd does not know is told."""
    path = folder / name
    path.write_text(path.read_text().replace("[Service]", "[Service]\nProtectSytem=yes", 1))
    assert "ProtectSytem" in verify(folder)


@pytest.mark.parametrize("name", [*SERVICES, "mosquitto.service"])
def test_a_service_sees_no_more_than_it_needs(folder: Path, name: str) -> None:
    """By systemd's own count each service is hardly exposed to the rest of the machine."""
    done = analyze(folder, "security", "--offline=yes", f"--threshold={EXPOSED}", name)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_the_doctor_may_ask_the_kernel_of_its_clock() -> None:
    """The calls that tell whether a clock is synchronized are let through, and can set nothing."""
    unit = (UNITS / "gridbeat-doctor.service").read_text()
    assert "\nProtectClock=" not in unit
    allowed = re.findall(r"^SystemCallFilter=(?!~)(.+)$", unit, re.MULTILINE)
    assert {"adjtimex", "clock_adjtime"} <= {name for line in allowed for name in line.split()}
    assert "\nCapabilityBoundingSet=\n" in unit


def test_what_the_units_name_is_there() -> None:
    """Every file of ours that a unit starts or points to is in the repository."""
    named = set()
    for unit in UNITS.glob("*.service"):
        named |= set(re.findall(rf"{INSTALLED}/([\w./-]+)", unit.read_text()))
    named.discard(".venv/bin/gridbeat")
    assert named
    assert all((ROOT / name).exists() for name in named)
    assert all(os.access(UNITS / name, os.X_OK) for name in ("backup", "gridbeat"))


def test_what_the_pages_name_is_there() -> None:
    """Each path below /opt/gridbeat that deploy/grafana tells lies in the release in force."""
    text = (ROOT / "deploy" / "grafana" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"/opt/gridbeat[\w./-]*", text)
    assert named
    assert [path for path in named if not path.startswith(f"{INSTALLED}/")] == []
    assert all((ROOT / path.removeprefix(f"{INSTALLED}/")).exists() for path in named)


def test_every_unit_is_explained() -> None:
    """docs/deployment.md names each file of deploy/systemd."""
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    missing = [path.name for path in UNITS.iterdir() if path.name not in text]
    assert missing == []


def test_old_copies_go_only_when_there_is_a_new_one(tmp_path: Path) -> None:
    """The backup makes a copy, then drops its own that are too old; where it fails, all stay."""
    old, by_hand = tmp_path / "gridbeat-20260101T000000Z.db", tmp_path / "gridbeat-before-1.2.db"
    for path in (old, by_hand):
        path.write_text("x")
        os.utime(path, (0, 0))
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\n[ -z "$FAILS" ] && touch "$3"\n')
    program.chmod(0o755)

    def backup(**more: str) -> int:
        environment = {**os.environ, "GRIDBEAT": str(program), "FAILS": "", **more}
        argv = [str(UNITS / "backup"), str(tmp_path), "14"]
        return subprocess.run(argv, env=environment, check=False).returncode

    assert backup(FAILS="yes") != 0
    assert old.exists()
    assert backup() == 0
    assert not old.exists()
    assert by_hand.exists()
    assert len(list(tmp_path.glob("gridbeat-*.db"))) == 2
