"""What the supervisor is told, over the very socket that systemd would have made."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.committed import Committed
from ingest.health import Health
from ingest.supervisor import Supervisor
from tests.ingest.school import REGISTRY
from tests.servers import mosquitto
from tests.service import a_service, until

WATCHDOG_S = 0.06
WITHIN_S = 10.0


class Listener:
    """The supervisor's end: every datagram since the last look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        told = []
        while True:
            try:
                told.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return told

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(tmp_path / "notify")
    yield made
    made.close()


async def rounds(listener: Listener, health: Health, *, marked: bool = True) -> list[str]:
    """Let it tell several times over; what it told."""
    supervisor = Supervisor(str(listener.path), WATCHDOG_S)
    telling = asyncio.create_task(supervisor.keep_told(health, marked=marked))
    told: list[str] = []
    async with asyncio.timeout(WITHIN_S):
        while len(told) < 4:
            await asyncio.sleep(WATCHDOG_S / 4)
            told += listener.heard()
    telling.cancel()
    return told


def ready() -> Health:
    health = Health()
    health.because("broker", None)
    return health


async def test_a_pipeline_that_stands_still_feeds_no_watchdog(listener: Listener) -> None:
    """A service that calls itself ready and commits nothing, not its own markers, is not alive."""
    told = await rounds(listener, ready())
    assert ["WATCHDOG=1" in words for words in told] == [True] + [False] * (len(told) - 1)


async def test_a_pipeline_that_gets_on_feeds_the_watchdog(listener: Listener) -> None:
    """Every batch that was committed since the last look is a sign of life."""
    health = ready()
    supervisor = Supervisor(str(listener.path), WATCHDOG_S)
    telling = asyncio.create_task(supervisor.keep_told(health, marked=True))
    for _ in range(3):
        listener.heard()
        health.batches += 1
        await asyncio.sleep(WATCHDOG_S)
        assert any("WATCHDOG=1" in words for words in listener.heard())
    telling.cancel()


async def test_a_phone_that_posts_is_no_sign_of_the_pipelines_life(listener: Listener) -> None:
    """What comes in beside the broker is counted, and does not hide a pipeline that hangs."""
    health = ready()
    telling = asyncio.create_task(
        Supervisor(str(listener.path), WATCHDOG_S).keep_told(health, marked=True)
    )
    await asyncio.sleep(WATCHDOG_S / 2)
    listener.heard()
    health.counted(1, Committed())
    await asyncio.sleep(WATCHDOG_S)
    told = listener.heard()
    assert told
    assert not any("WATCHDOG=1" in words for words in told)
    telling.cancel()


async def test_what_a_restart_would_not_mend_is_no_reason_for_one(listener: Listener) -> None:
    """While the broker is away the watchdog is fed, and the status says what is waited for."""
    told = await rounds(listener, Health())
    assert all("WATCHDOG=1" in words for words in told)
    assert told[0].startswith("STATUS=not connected to the broker")


async def test_a_simulators_clock_may_stand_still(listener: Listener) -> None:
    """Where markers are a simulator's ticks, silence is not a hang."""
    told = await rounds(listener, ready(), marked=False)
    assert all("WATCHDOG=1" in words for words in told)


def test_another_process_watchdog_is_not_ours() -> None:
    """WATCHDOG_PID names whom the watchdog is for; a child that inherits it feeds nothing."""
    meant = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    assert Supervisor.of(meant)._watchdog_s == 3.0
    assert Supervisor.of(meant | {"WATCHDOG_PID": "1"})._watchdog_s is None


def test_nobody_is_told_where_nobody_listens(tmp_path: Path) -> None:
    """Started from a shell, or with a supervisor that has gone, the service runs all the same."""
    Supervisor.of({}).tell("READY=1")
    Supervisor(str(tmp_path / "gone")).tell("READY=1")


@pytest.mark.broker
def test_the_service_tells_when_it_is_up_and_when_it_stops(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`gridbeat ingest` says READY, feeds the watchdog while markers come back, says STOPPING."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(listener.path))
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    told: list[str] = []

    def fed() -> bool:
        told.extend(listener.heard())
        return sum("STATUS=ready\nWATCHDOG=1" in words for words in told) >= 3

    with mosquitto() as broker, a_service(tmp_path, broker.port, REGISTRY) as service:
        until(fed, "the watchdog is fed by markers")
        service.stop()
    told += listener.heard()
    assert told.index("READY=1") < told.index("STOPPING=1")
