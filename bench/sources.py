"""Which client reads fastest: candidates for the hot path, with nothing behind them.

    python bench/sources.py [--messages N] [--rounds N] [--devices N]

Each candidate is a process of its own with a persistent session at QoS 1 on one Mosquitto; it holds
every acknowledgement back until a group commit of 10 ms would have been through, as the service
must, and does nothing else. They take turns, `mosquitto_sub` among them, on the same load, which is
published while they read. JSON goes to stdout: for each the median of its messages a second and of
its CPU for one message, and its share of what `mosquitto_sub` received.

    wire    the service's own connections (ingest/wire_source.py) on uvloop
    paho    the service's source on paho-mqtt (ingest/paho_source.py) on uvloop
    gmqtt   gmqtt with acknowledgements held back, on uvloop; only where it is installed
            (`pip install gmqtt`, in an environment of its own: it brings a package named `tests`)
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import uvloop

from bench.load import Load, discard_session, encode, publish
from bench.stand import Stand, fleet, process, program, wait_for
from bench.told import add_out, conclude, tell
from ingest.source import MAIN, Broker, Session, Source
from ingest.sources import SOURCES
from store.addresses import MqttAddress
from store.settings import MqttSource

GROUP_S = 0.01
WINDOW = 4_000
CLIENT = "bench-reader"
FILTER = "patrol/v1/+/+/up/+"
WITHIN_S = 300.0

Read = Callable[[MqttAddress, int], Awaitable[float]]
"""Reads so many messages, says READY on stdout before; returns when the first came (monotonic)."""


def ready() -> None:
    """Tell the bench that the load may come."""
    sys.stdout.write("READY\n")
    sys.stdout.flush()


def by_source(kind: MqttSource) -> Read:
    """One of the service's own sources."""

    async def read(address: MqttAddress, messages: int) -> float:
        session = Session(name=MAIN, filters=(FILTER,), window=WINDOW)
        up = asyncio.Event()
        source: Source = SOURCES[kind](
            Broker(address=address),
            CLIENT,
            (session,),
            on_change=lambda connected: up.set() if connected else None,
            on_fresh=lambda _: None,
        )
        await source.start()
        await up.wait()
        ready()
        came, first = 0, 0.0
        while came < messages:
            deliveries = await source.take(WINDOW)
            first = first or time.monotonic()
            came += len(deliveries)
            await asyncio.sleep(GROUP_S)
            source.acknowledge(deliveries)
        await source.stop()
        return first

    return read


async def by_gmqtt(address: MqttAddress, messages: int) -> float:
    """gmqtt acknowledges when the handler returns; the handler waits for its group."""
    from gmqtt import Client  # noqa: PLC0415  (a candidate, not a dependency of the service)
    from gmqtt.mqtt.constants import MQTTv50  # noqa: PLC0415

    client = Client(
        f"{CLIENT}-{MAIN}",
        clean_session=False,
        optimistic_acknowledgement=False,
        session_expiry_interval=3_600,
        receive_maximum=WINDOW,
    )
    committed, first, came = asyncio.Event(), 0.0, 0

    async def on_message(*_: object) -> int:
        nonlocal first, came
        first = first or time.monotonic()
        group = committed
        await group.wait()
        came += 1
        return 0

    client.on_message = on_message
    if address.username is not None:
        client.set_auth_credentials(address.username, address.password)
    await client.connect(address.host, address.port, version=MQTTv50)
    client.subscribe(FILTER, qos=1)
    await asyncio.sleep(0.5)
    ready()
    while came < messages:
        await asyncio.sleep(GROUP_S)
        committed.set()
        committed = asyncio.Event()
    await asyncio.sleep(GROUP_S)
    await client.disconnect()
    return first


CANDIDATES: Mapping[str, Read] = {
    "wire": by_source(MqttSource.WIRE),
    "paho": by_source(MqttSource.PAHO),
    **({"gmqtt": by_gmqtt} if find_spec("gmqtt") else {}),
}


def candidate(name: str, url: str, messages: int) -> None:
    """Be one of them, and say what it took."""

    async def run() -> None:
        began = time.process_time()
        first = await CANDIDATES[name](MqttAddress.parse(url), messages)
        took, used = time.monotonic() - first, time.process_time() - began
        print(json.dumps({"per_s": messages / took, "cpu_us": used / messages * 1e6}))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def measured(stand: Stand, name: str, load: Load) -> dict[str, float]:
    """One run of a candidate."""
    argv = [sys.executable, __file__, "--as", name, stand.mqtt_url, str(load.messages)]
    with process(argv, stdout=subprocess.PIPE) as running:
        if running.stdout is None or running.stdout.readline() != b"READY\n":
            raise RuntimeError(f"{name} did not begin")
        publish(stand.address, load)
        said, _ = running.communicate(timeout=WITHIN_S)
    discard_session(stand.address, f"{CLIENT}-{MAIN}")
    found: dict[str, float] = json.loads(said)
    return found


def mosquitto_sub(stand: Stand, load: Load) -> dict[str, float]:
    """The same for the C client; its CPU is not measured."""
    to = stand.address
    argv = [program("mosquitto_sub"), "-h", to.host, "-p", str(to.port), "-t", FILTER, "-q", "1"]
    argv += ["-i", "bench-sub", "-c", "-u", to.username or "", "-P", to.password or ""]
    seen = stand.connected("bench-sub")
    with process([*argv, "-C", str(load.messages)], stdout=subprocess.DEVNULL) as running:
        wait_for("it is in", lambda: stand.connected("bench-sub") > seen, 10)
        started = time.monotonic()
        publish(to, load)
        running.wait(WITHIN_S)
        took = time.monotonic() - started
    discard_session(to, "bench-sub")
    return {"per_s": load.messages / took}


def measure(asked: argparse.Namespace) -> dict[str, object]:
    """Let them take turns."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ("mosquitto_sub", *CANDIDATES)}
    with tempfile.TemporaryDirectory(prefix="gridbeat-bench-") as folder:
        stand = Stand(Path(folder), fleet(asked.devices))
        with stand.broker():
            seq = 1
            for number in range(1, asked.rounds + 1):
                for name, runs in found.items():
                    load = encode(stand.fleet, seq, asked.messages)
                    seq = max(load.last.values()) + 1
                    sub = name == "mosquitto_sub"
                    runs.append(mosquitto_sub(stand, load) if sub else measured(stand, name, load))
                    tell(f"{number}/{asked.rounds} {name}: {runs[-1]}")
    return {
        "messages": asked.messages,
        "devices": asked.devices,
        "ratios": {
            name: round(
                statistics.median(
                    mine["per_s"] / theirs["per_s"]
                    for mine, theirs in zip(runs, found["mosquitto_sub"], strict=True)
                ),
                3,
            )
            for name, runs in found.items()
        },
        **{
            figure: {
                name: round(statistics.median(run[figure] for run in runs), 2)
                for name, runs in found.items()
                if figure in runs[0]
            }
            for figure in ("per_s", "cpu_us")
        },
        "rounds": found,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000, help="of each run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--as", nargs=3, dest="role", help=argparse.SUPPRESS)
    add_out(parser)
    asked = parser.parse_args()
    if asked.role:
        candidate(asked.role[0], asked.role[1], int(asked.role[2]))
        return
    asked.messages += -asked.messages % asked.devices  # as many of each device
    conclude(measure(asked), asked.out)


if __name__ == "__main__":
    main()
