"""Playing a recording: everything once, in order, ticks in their place, at the pace asked for."""

import asyncio
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.fleet import NoReceiptsError
from firmware_sim.link import Broker, LinkDownError, Login
from firmware_sim.player import Pace, Played, Player, with_ticks
from firmware_sim.recording import Said, recording
from firmware_sim.socketry import Packets, length
from firmware_sim.wire import CLOCK_TOPIC, encode_tick
from tests.firmware_sim.responder import Responder
from tests.firmware_sim.test_run import broker, command, responder, responding
from tests.servers import Server

__all__ = ["broker", "responder"]  # fixtures

DEVICES = 7
TICKS = 40


def a_day(count: int, seed: int = 1) -> list[Said]:
    """Births, then `count` check-ins of a few devices, ticks between them, a second each."""
    chance = random.Random(seed)
    said = [Said(0, CLOCK_TOPIC, encode_tick(0))]
    said += [
        Said(0, topic(device, "status"), b'{"online":true,"sent":0}', retain=True)
        for device in range(DEVICES)
    ]
    seqs = [0] * DEVICES
    for number in range(count):
        at = number * TICKS // count * 1_000
        if at != said[-1].at:
            said.append(Said(at, CLOCK_TOPIC, encode_tick(at)))
        device = chance.randrange(DEVICES)
        seqs[device] += 1
        body = {"epoch": 1, "seq": seqs[device], "at": at, "sent": at, "tag": "04AABB"}
        said.append(Said(at, topic(device, "checkin"), json.dumps(body).encode()))
    return said


def topic(device: int, kind: str) -> str:
    return f"patrol/v1/s/hh-{device}/up/{kind}"


async def played(port: int, said: list[Said], **pace: float | None) -> Played:
    """Play it in a thread, for the responder lives in this one."""

    def play() -> Played:
        login = Login(client_id="driver")
        player = Player(
            Broker(port=port), login, Pace(**({"patience": 20.0} | pace)), lambda _p: None
        )
        try:
            return player.play(said)
        finally:
            player.close()

    return await asyncio.to_thread(play)


async def heard(responder: Responder, messages: int) -> None:
    """Wait until so many messages have come; the last receipt does not wait for its neighbours."""
    async with asyncio.timeout(20):
        while len(responder.log) < messages:
            await asyncio.sleep(0.01)


def by_device(log: list[tuple[str, bytes]]) -> dict[str, list[tuple[str, bytes]]]:
    """What came of each device, with the ticks, in order."""
    found: dict[str, list[tuple[str, bytes]]] = {}
    for device in range(DEVICES):
        name = f"/hh-{device}/"
        found[name] = [one for one in log if name in one[0] or one[0] == CLOCK_TOPIC]
    return found


async def test_everything_arrives_once_and_each_device_in_order(
    broker: Server, responder: Responder
) -> None:
    """Between two ticks the devices' order among each other is free, no device's own is."""
    said = a_day(3_000)
    told = await played(broker.port, said, ahead=500)
    wanted = [(one.topic, one.payload) for one in said]
    await heard(responder, len(said))
    assert by_device(responder.log) == by_device(wanted)
    assert told.messages + told.ticks == len(said) == len(responder.log)
    assert sum(map(len, responder.kept.values())) == 3_000


async def test_it_waits_for_receipts_before_it_runs_ahead(broker: Server) -> None:
    """Where nobody receipts, no more goes out than was asked for, and the error says so."""
    deaf = Responder(broker.port)
    deaf.deaf = True
    async with responding(deaf):
        with pytest.raises(NoReceiptsError, match=r"400 messages are out.*service running"):
            await played(broker.port, a_day(3_000), ahead=400, patience=0.2)


async def test_without_heed_nobody_has_to_answer(broker: Server) -> None:
    """`ahead` 0 heeds no receipts: the broker's acknowledgements are enough."""
    told = await played(broker.port, a_day(1_000), ahead=0)
    assert told.messages == 1_000 + DEVICES


async def test_what_overtakes_waits_until_all_before_it_is_receipted(
    broker: Server, responder: Responder
) -> None:
    """An sos has a session of its own: it goes out alone, in its place in time."""
    said = a_day(600)
    for place in (300, 150):
        body = {"epoch": 1, "seq": 10_000 - place, "at": said[place].at, "sent": said[place].at}
        said.insert(place, Said(said[place].at, topic(2, "sos"), json.dumps(body).encode()))
    await played(broker.port, said)
    names = [name for name, _ in responder.log]
    for number, one in enumerate(said):
        if one.topic.endswith("/sos"):
            before = {(past.topic, past.payload) for past in said[:number]}
            assert set(responder.log[:number]) == before
            assert names[number] == one.topic


async def test_at_a_speed_it_takes_its_time(broker: Server, responder: Responder) -> None:
    """Forty seconds of a recording take, at eighty times real time, half a second at least."""
    told = await played(broker.port, a_day(200), speed=80.0)
    assert told.seconds >= (TICKS - 1) / 80


async def test_a_broker_that_is_not_there_is_told(broker: Server) -> None:
    """The error names the broker."""
    broker.stop()
    with pytest.raises(LinkDownError, match=str(broker.port)):
        await played(broker.port, a_day(1))


async def test_what_is_retained_stays_with_the_broker(broker: Server, responder: Responder) -> None:
    """A status goes out as it was recorded: retained."""
    await played(broker.port, a_day(5))
    late = Responder(broker.port)
    async with responding(late):
        await heard(late, DEVICES)
    assert {name for name, _ in late.log} == {topic(n, "status") for n in range(DEVICES)}


@given(
    sizes=st.lists(st.sampled_from([0, 1, 2, 127, 128, 200, 16_383, 16_384, 20_000]), max_size=6),
    data=st.data(),
)
def test_packets_are_cut_wherever_the_stream_is(sizes: list[int], data: st.DataObject) -> None:
    """However the bytes come in, the packets are the same."""
    bodies = [bytes([number]) * size for number, size in enumerate(sizes)]
    raw = b"".join(b"\x30" + length(len(body)) + body for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    packets = Packets()
    spans = zip([0, *cuts], [*cuts, len(raw)], strict=True)
    found = [packet for start, end in spans for packet in packets.feed(raw[start:end])]
    assert found == [(3, body) for body in bodies]


@given(times=st.lists(st.integers(0, 10_000)).map(sorted), every=st.integers(1, 3_000))
def test_a_recording_without_ticks_is_given_some(times: list[int], every: int) -> None:
    """Every message lies between a tick not after it and one after it; ticks only go forward."""
    said = [Said(at, "patrol/v1/s/hh/up/checkin", b"{}") for at in times]
    given_some = list(with_ticks(said, every))
    assert [one for one in given_some if one.topic != CLOCK_TOPIC] == said
    ticks = [one.at for one in given_some if one.topic == CLOCK_TOPIC]
    assert ticks == sorted(set(ticks))
    for number, one in enumerate(given_some):
        if one.topic != CLOCK_TOPIC:
            assert max(t.at for t in given_some[:number] if t.topic == CLOCK_TOPIC) <= one.at
            assert min(t.at for t in given_some[number:] if t.topic == CLOCK_TOPIC) > one.at


async def test_the_command_plays_a_file(
    broker: Server, responder: Responder, tmp_path: Path
) -> None:
    """`play FILE --speed max` ends with what was played, as JSON."""
    path = tmp_path / "day.rec.gz"
    with recording(path) as recorder:
        for one in a_day(300):
            recorder.write(one)
    process = await asyncio.create_subprocess_exec(
        *command("play", str(path), "--mqtt-url", f"mqtt://127.0.0.1:{broker.port}"),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    told = json.loads(out)
    assert (told["messages"], told["ticks"], told["done"]) == (300 + DEVICES, TICKS, True)
    await heard(responder, 300 + DEVICES + TICKS)
    assert len(responder.log) == 300 + DEVICES + TICKS


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("play", "no-such-file"), 1, "cannot be read"),
        (("play", "no-such-file", "--speed", "0"), 2, "real, max, or a number"),
        (("record", "x.rec"), 2, "one of them"),
        (("record", "no/such/folder.rec", "--scenario", "normal-day"), 1, "cannot be written"),
    ],
)
async def test_exit_codes(arguments: tuple[str, ...], code: int, words: str) -> None:
    """1 a file that will not do, 2 wrong usage; always with words."""
    process = await asyncio.create_subprocess_exec(
        *command(*arguments), stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == code
    assert words in " ".join(said.decode().replace("│", " ").split())
