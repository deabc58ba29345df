"""`gridbeat contract check` on a real broker: right and broken handhelds, in shortened time."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from desk.conformance import Watched, watch
from devices.conformance.finding import Result
from firmware_sim.faults import FAULTS
from firmware_sim.fleet import new_boot
from firmware_sim.handheld import Fitting, Habits, Handheld
from firmware_sim.link import Broker, Login
from firmware_sim.solo import Course, Deed, Outing, Solo
from store.settings import load_settings
from tests.ingest.school import DOCUMENT, GATE
from tests.servers import mosquitto
from tests.service import Service, a_service, now_ms

pytestmark = pytest.mark.broker

SCALE = 0.1
ALONE: Course = (
    *((0.5 + n / 100, Deed.READ) for n in range(30)),
    (0.9, Deed.SOS),
    (1, Deed.PHOTO),
)
"""Without a service nothing is receipted: records come again after 3 and 6 s."""
ALONE_S = 10
HEARD: Course = (
    (1, Deed.READ),
    (2, Deed.CUT),
    (2.1, Deed.REBOOT),
    (2.2, Deed.READ),
    (3, Deed.MEND),
    (8, Deed.RESET),
    (8.5, Deed.READ),
    (9, Deed.READ),
)
HEARD_S = 10
RIGHT = "hh-1"
BROKEN = {
    "hh-2": ("hasty", "resend.times"),
    "hh-3": ("stored-sent", "sent"),
    "hh-4": ("bare-will", "will.boot"),
    "hh-5": ("floods", "resend.flight"),
    "hh-6": ("skips-seq", "identity.step"),
}
UNSEEN = {"connect.subscribed", "receipt.ledger", "store.kept"}
"""What has no sure occasion in this course: a receipt missed, a restored ledger."""


def registry() -> bytes:
    """The school with six handhelds."""
    site = {**DOCUMENT["sites"][0], "devices": [{"id": f"hh-{n}"} for n in range(1, 7)]}
    return json.dumps({**DOCUMENT, "sites": [site, *DOCUMENT["sites"][1:]]}).encode()


async def all_of_them(port: int, service: Service) -> dict[str, Watched]:
    """Every handheld watched at once: first alone, then with a service."""
    settings = load_settings(mqtt_url=f"mqtt://127.0.0.1:{port}")
    firmware = {RIGHT: Handheld, **{d: FAULTS[fault] for d, (fault, _) in BROKEN.items()}}
    handhelds = {device: made(device, kind) for device, kind in firmware.items()}
    over, subscribed = asyncio.Event(), asyncio.Semaphore(0)

    async def observe(device: str) -> Watched:
        return await watch(
            settings, device, seconds=300, scale=SCALE, enough=over, on_ready=subscribed.release
        )

    async def outing(course: Course, seconds: float) -> None:
        runs = []
        for device, handheld in handhelds.items():
            login = Login(client_id=device)
            where = Outing(
                broker=Broker(port=port), login=login, tag=GATE, seconds=seconds, course=course
            )
            runs.append(Solo(handheld, where, random.Random(device)).run())
        await asyncio.gather(*runs)

    watching = {device: asyncio.create_task(observe(device)) for device in firmware}
    for _ in watching:
        await subscribed.acquire()
    await outing(ALONE, ALONE_S)
    await asyncio.to_thread(service.start)
    await outing(HEARD, HEARD_S)
    over.set()
    return {device: await task for device, task in watching.items()}


def made(device: str, kind: type[Handheld]) -> Handheld:
    """One handheld of that firmware."""
    rng = random.Random(device)
    fitting = Fitting(device=device, site="school-01", habits=Habits().scaled(SCALE))
    return kind(fitting, epoch=1, boot=new_boot(rng), now=now_ms(), rng=rng)


def results(watched: Watched, wanted: Result) -> dict[str, Any]:
    return {one.clause: one.evidence for one in watched.judgements if one.result is wanted}


def test_right_and_broken_handhelds_are_told_apart(tmp_path: Path) -> None:
    """The simulator's passes all it showed; each broken one fails its clause and no other."""
    with (
        mosquitto(["set_tcp_nodelay true"]) as broker,
        a_service(tmp_path, broker.port, registry(), start=False) as service,
    ):
        found = asyncio.run(all_of_them(broker.port, service))
        assert results(found[RIGHT], Result.FAILED) == {}
        assert set(results(found[RIGHT], Result.NOT_OBSERVED)) <= UNSEEN
        failed = {device: set(results(found[device], Result.FAILED)) for device in BROKEN}
        assert failed == {device: {clause} for device, (_, clause) in BROKEN.items()}

        nobody = service.command("contract", "check", "--device", "hh-9", "--minutes", "0.01")
        assert nobody.returncode == 3
        assert "nothing was heard of hh-9" in nobody.stdout
        told = service.command(
            "contract", "check", "--device", "hh-9", "--minutes", "0.01", "--json"
        )
        assert json.loads(told.stdout)["conforms"] is False


def test_a_watch_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """Wrong usage is 2, a broker that does not answer is 4."""
    with a_service(tmp_path, 1, None, start=False) as service:
        for words in (
            ("--device", "No Slug"),
            ("--device", "hh-1", "--minutes", "0"),
            ("--device", "hh-1", "--scale", "2"),
        ):
            assert service.command("contract", "check", *words).returncode == 2
        assert service.command("contract", "check", "--device", "hh-1").returncode == 4
