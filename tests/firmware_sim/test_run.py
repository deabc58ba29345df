"""A whole run on a real Mosquitto, against a tiny responder in place of the service."""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiomqtt
import pytest

from firmware_sim.access import read_access
from firmware_sim.chronicle import verdict_file
from firmware_sim.driver import Driver, Manner, Step
from firmware_sim.fleet import NoReceiptsError
from firmware_sim.handheld import Fitting, Handheld
from firmware_sim.link import Broker, Link, Login, RefusedError
from firmware_sim.oracle import judge
from firmware_sim.proofs import Marks
from firmware_sim.reading import load
from tests.firmware_sim.responder import Responder
from tests.servers import Server, mosquitto

NAMES = ("normal-day", "offline-burst", "bad-night", "wrong-clocks", "found-later")


@pytest.fixture
def broker() -> Iterator[Server]:
    """A broker that answers small packets at once, as the project's own does."""
    with mosquitto(["set_tcp_nodelay true"]) as server:
        yield server


@pytest.fixture
async def responder(broker: Server) -> AsyncIterator[Responder]:
    async with responding(Responder(broker.port)) as running:
        yield running


@contextlib.asynccontextmanager
async def responding(responder: Responder) -> AsyncIterator[Responder]:
    task = asyncio.create_task(responder.run())
    await asyncio.wait_for(responder.ready.wait(), 10)
    try:
        yield responder
    finally:
        await end(task)


async def end(task: asyncio.Task[None]) -> None:
    """Cancel for sure: Python 3.11's `wait_for`, used by aiomqtt, can swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.2)


def ignore(_step: Step) -> None:
    """Nobody watches."""


async def play(port: int, name: str, watch=ignore, **manner):
    scenario = load(name)
    access = read_access(f"mqtt://127.0.0.1:{port}", None)
    settings = Manner(**({"seed": scenario.seed, "patience": 20} | manner))
    outcome = await Driver(scenario, access, settings, watch).run()
    course = outcome.chronicle.course(outcome.first_tick, outcome.last_tick)
    about = {"counts": outcome.chronicle.counts()}
    return outcome, verdict_file(judge(scenario.registry, course), Marks(), course, about)


@pytest.mark.parametrize("name", NAMES)
async def test_everything_recorded_is_kept_once(broker, responder, name):
    """At the end the other side holds every record that was not lost, under one identity each."""
    outcome, file = await play(broker.port, name)
    kept = sum(len(records) for records in responder.kept.values())
    # the responder also keeps what belongs in quarantine but has a number
    stray = sum(len(r) for (_, epoch), r in responder.kept.items() if epoch in (0, 7))
    assert kept - stray == file["counts"]["records"]
    assert file["summary"]["rounds"] == len(file["rounds"]) > 10
    ticks = [json.loads(body)["now"] for topic, body in responder.log if topic.endswith("clock")]
    assert ticks == sorted(ticks)
    assert (ticks[0], ticks[-1]) == (outcome.first_tick, outcome.last_tick)


async def test_every_record_arrives_between_the_ticks_of_its_time(broker, responder):
    """`sent` is the time of the last tick before it: the device's clock can be trusted."""
    await play(broker.port, "offline-burst")
    now = None
    for topic, payload in responder.log:
        body = json.loads(payload)
        if topic.endswith("clock"):
            now = body["now"]
            continue
        for record in body if isinstance(body, list) else [body]:
            assert record.get("sent", now) == now
            assert record.get("at", now) <= now


async def test_the_network_gone_is_told_by_the_will_before_the_next_tick(broker, responder):
    """A cut device's last will is there before time goes on."""
    await play(broker.port, "offline-burst")
    log = [(topic, json.loads(body)) for topic, body in responder.log]
    wills = [
        place
        for place, (topic, body) in enumerate(log)
        if topic.endswith("/status") and body["online"] is False and "sent" not in body
    ]
    assert len(wills) >= 6
    for place in wills:
        before = max(b["now"] for t, b in log[:place] if t.endswith("clock"))
        assert before % 1000 == 500


async def test_same_seed_same_truth(broker, responder):
    """Two runs of one seed write the same truth; another seed writes another."""
    told = []
    for seed in (4, 4, 5):
        responder.ledger = f"ledger-{len(told)}"
        responder.kept.clear()
        outcome, file = await play(broker.port, "bad-night", seed=seed)
        told.append((outcome.chronicle.lines(outcome.doings.omissions), file))
    assert told[0] == told[1]
    assert told[0] != told[2]


async def test_a_service_away_for_a_while_loses_nothing(broker, responder):
    """Time stands still while nobody receipts, and everything is said again until somebody does."""

    def watch(step: Step) -> None:
        if 0.5 < step.share < 0.6 and not responder.deaf and not step.tally.resent:
            responder.deaf = True
            asyncio.get_running_loop().call_later(3, setattr, responder, "deaf", False)

    outcome, file = await play(broker.port, "normal-day", watch)
    assert outcome.tally.resent > 0
    assert sum(len(r) for r in responder.kept.values()) == file["counts"]["records"]


async def test_nobody_there_is_said_after_patience(broker):
    """Without receipts the run ends with words about the service."""
    with pytest.raises(NoReceiptsError, match="is the service running"):
        await play(broker.port, "normal-day", patience=1)


async def test_no_broker_is_said_after_patience():
    """Without a broker too."""
    with pytest.raises(NoReceiptsError, match="broker unreachable"):
        await play(1, "normal-day", patience=0.5)


async def test_a_killed_broker_is_waited_for(broker):
    """The broker may be killed: devices and clock come back, nothing is lost."""
    kept: dict = {}
    kills = []

    async def serve(stop: asyncio.Event) -> None:
        while not stop.is_set():
            responder = Responder(broker.port)
            responder.kept = kept
            with contextlib.suppress(aiomqtt.MqttError):
                await responder.run()
            await asyncio.sleep(0.05)

    async def kill() -> None:
        broker.kill()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(broker.start)

    def watch(step: Step) -> None:
        if step.share > 0.5 and not kills:
            kills.append(asyncio.get_running_loop().create_task(kill()))

    stop = asyncio.Event()
    serving = asyncio.create_task(serve(stop))
    _, file = await play(broker.port, "normal-day", watch, patience=30)
    stop.set()
    await end(serving)
    await asyncio.gather(serving, *kills, return_exceptions=True)
    assert kills
    assert sum(len(records) for records in kept.values()) == file["counts"]["records"]


async def test_a_paced_run_takes_its_time(broker, responder):
    """`--seconds` sets the real length of the whole, and ticks come all along."""
    outcome, _ = await play(broker.port, "normal-day", seconds=8)
    assert 7.5 <= outcome.seconds <= 30
    assert outcome.tally.ticks > 200


async def test_a_refused_login_is_not_tried_again():
    """A broker that refuses the login ends the run at once, naming the device."""
    with mosquitto(conf="listener {port} 127.0.0.1\nallow_anonymous false\n") as server:
        link = Link(
            Broker(port=server.port),
            Login(client_id="hh-0101", user="hh-0101", password="wrong"),
            lambda _topic, _body: None,
            lambda: None,
        )
        with pytest.raises(RefusedError, match="hh-0101"):
            await link.open()


async def test_a_clean_farewell_leaves_no_will(broker, responder):
    """Leaving in good order, the device itself says that it is offline."""
    handheld = Handheld(
        Fitting(device="hh-1", site="s"), epoch=1, boot="b", now=0, rng=random.Random()
    )
    link = Link(
        Broker(port=broker.port), Login(client_id="hh-1"), lambda _t, _b: None, lambda: None
    )
    await link.open(handheld.will())
    await link.publish([handheld.farewell(9)])
    await link.close()
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.subscribe("patrol/v1/s/hh-1/up/status", qos=1)
        message = await asyncio.wait_for(anext(client.messages), 5)
    assert json.loads(message.payload) == {"online": False, "sent": 9, "boot": "b"}


def command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).parent / "firmware-sim"), *arguments]


async def test_the_command_writes_truth_and_tells_progress(broker, responder, tmp_path):
    """`run --progress json --out`: a line a step, a last one with the sum, two files."""
    process = await asyncio.create_subprocess_exec(
        *command("run", "bad-night", "--mqtt-url", f"mqtt://127.0.0.1:{broker.port}"),
        *("--out", str(tmp_path / "out"), "--seed", "9", "--progress", "json"),
        stdout=subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    lines = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0
    assert lines[-1]["done"] is True
    assert lines[-2].keys() >= {"now", "share", "published", "receipted", "offline"}
    truth = (tmp_path / "out/truth.jsonl").read_text(encoding="utf-8")
    facts = [json.loads(line) for line in truth.splitlines()]
    verdicts = json.loads((tmp_path / "out/verdicts.json").read_text(encoding="utf-8"))
    assert [fact["at"] for fact in facts] == sorted(fact["at"] for fact in facts)
    assert verdicts["seed"] == 9
    assert verdicts["counts"]["quarantined"] == 8
    delivered = [f for f in facts if f["fact"] == "read" and f["delivered"] is not None]
    assert len(delivered) == verdicts["counts"]["checkins"]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_good_order(broker, responder, sign):
    """Ctrl-C and SIGTERM: exit 1, and every device has said that it is offline."""
    process = await asyncio.create_subprocess_exec(
        *command("run", "normal-day", "--mqtt-url", f"mqtt://127.0.0.1:{broker.port}"),
        *("--seconds", "60", "--progress", "json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    for _ in range(5):
        await asyncio.wait_for(process.stdout.readline(), 30)
    process.send_signal(sign)
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert b"interrupted" in errors
    assert b"Traceback" not in errors
    last = {topic: body for topic, body in responder.log if topic.endswith("/status")}
    assert len(last) == 6
    assert {json.loads(body)["online"] for body in last.values()} == {False}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "no-such"), 2, "built in are bad-night"),
        (("run", "normal-day", "--mqtt-url", "tcp://x"), 2, "mqtt://user"),
        (("run", "normal-day", "--mqtt-url", "mqtt://127.0.0.1:1", "--patience", "0"), 4, "broker"),
        (("run", "normal-day", "--credentials", os.devnull), 2, "device enroll hh-0101"),
        (("run",), 2, "scenario"),
    ],
)
def test_exit_codes(arguments, code, words):
    """2 wrong usage, 4 a dependency cannot be reached; always with words."""
    done = subprocess.run(command(*arguments), capture_output=True, timeout=60, check=False)
    assert done.returncode == code
    assert words in done.stderr.decode()


def test_the_registry_is_printed_as_it_is():
    """`registry` prints the file for `gridbeat registry apply`, byte for byte."""
    done = subprocess.run(command("registry", "normal-day"), capture_output=True, check=True)
    assert done.stdout.decode() == load("normal-day").registry_text
