"""A connection that is kept: over a broker that stands still, and over faults of our own."""

import asyncio
import signal
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingest import holding
from ingest import line as module
from ingest.holding import Holding
from ingest.line import Line
from ingest.source import Broker, Session
from ingest.wire import Ears
from ingest.wire_source import WireSource
from store.addresses import MqttAddress
from store.settings import Settings
from tests.clients import Client
from tests.ingest.waiting import until
from tests.secured import Secured

SESSION = Session(name="main", filters=("patrol/v1/+/+/up/+",), window=10)
CHECKIN = "patrol/v1/s/hh-1/up/checkin"
NO_NAME = MqttAddress(host="a" * 64, port=1)
"""No name that Python can look up: it raises `UnicodeError`, which no network would."""


@pytest.mark.broker
async def test_a_connection_takes_nothing_from_the_one_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hung up on a broker that stands still, which TLS waits for, its end cannot come when the next
    is there: what comes on that is acknowledged, once for all."""
    monkeypatch.setattr(module, "HANG_UP_WITHIN_S", 0.2)
    ours = Secured(tmp_path)
    password = ours.device("hh-1")
    url = f"mqtts://gridbeat:{ours.password}@127.0.0.1:{ours.office}"
    broker = Broker(address=MqttAddress.parse(url), ca_file=ours.ca)
    told = {"on_change": lambda _: None, "on_fresh": lambda _: None}
    source = WireSource(broker, "test", [SESSION], **told)
    with ours.running() as server:
        await source.start()
        await until(lambda: source.connected)
        server.process.send_signal(signal.SIGSTOP)
        await source.pause()
        await source.resume()
        server.process.send_signal(signal.SIGCONT)
        connecting = partial(Client, ours.devices, "hh-1", password, ca=ours.ca)
        device = await asyncio.to_thread(connecting)
        await until(lambda: source.connected)
        await asyncio.to_thread(device.publish, CHECKIN, b"once")
        (came,) = await asyncio.wait_for(source.take(1), 20)
        source.acknowledge([came])
        await source.pause()
        await source.resume()
        await until(lambda: source.connected)
        await asyncio.to_thread(device.publish, CHECKIN, b"after")
        (came,) = await asyncio.wait_for(source.take(1), 20)
        assert came.payload == b"after"
        device.close()
        await source.stop()


async def test_a_fault_ends_no_connection_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever connecting raises is told, and it is tried again."""
    monkeypatch.setattr(module, "AGAIN_S", (0.01,))
    silent = Ears(opened=print, publishes=print, packet=print, closed=print)
    line = Line(Broker(address=NO_NAME), "test", None, silent)
    with capture_logs() as told:
        line.start()
        await until(lambda: len(told) > 1)
        await line.hang_up()
    assert {each["event"] for each in told} == {"mqtt.connecting_raised"}
    assert told[0]["exc_info"]


async def test_a_fault_ends_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asking for the claim raises is told, who waits for the answer goes on, and it is
    asked for again: we never serve with nobody keeping it."""
    monkeypatch.setattr(holding, "AGAIN_S", 0.01)
    monkeypatch.setattr(holding, "SAID_AGAIN_S", 0.0)
    with capture_logs() as told:
        async with Holding(Settings(mqtt_url=NO_NAME, mqtt_insecure=True), "ledger").kept() as kept:
            await asyncio.wait_for(kept.tried.wait(), 5)
            await until(lambda: len(told) > 1)
    assert {each["event"] for each in told} == {"mqtt.unreachable"}
    assert isinstance(told[0]["exc_info"], UnicodeError)
    assert "label" in (kept.why or "")
