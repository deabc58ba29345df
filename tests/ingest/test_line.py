"""A connection that is kept: over a broker that stands still."""

import asyncio
import signal
from functools import partial
from pathlib import Path

import pytest

from ingest import line as module
from ingest.source import Broker, Session
from ingest.wire_source import WireSource
from store.addresses import MqttAddress
from tests.clients import Client
from tests.ingest.waiting import until
from tests.secured import Secured

SESSION = Session(name="main", filters=("patrol/v1/+/+/up/+",), window=10)
CHECKIN = "patrol/v1/s/hh-1/up/checkin"


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
