"""Mosquitto on the project's own configuration, killed and brought back in every state of its file,
and two ears for the events that the service tells."""

import asyncio
import contextlib
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import aiomqtt

from desk import broker as desk
from tests.servers import binary, free_port

EVENTS = "patrol/v1/+/events/#"
START_S = 60.0


class Persistence(StrEnum):
    """What a killed broker finds of its own when it comes back."""

    KEPT = "kept"
    GONE = "gone"
    CORRUPTED = "corrupted"


class Mosquitto:
    """One broker. `kills` counts them by what it found after; `refused`: starts it refused, `fell`:
    how often it ended by itself, and was started again."""

    def __init__(self, folder: Path, hear: Callable[[bytes], None]) -> None:
        self.port = free_port()
        self.ears = Ears(self.port, hear)
        self.kills: Counter[str] = Counter()
        self.refused = self.fell = 0
        self._steady = False
        self._folder = folder / "broker"
        desk.init(self._folder, port=self.port)
        self._store = self._folder / "mosquitto.db"
        self._program = binary("mosquitto", "mosquitto")
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start and wait until it listens; a store it cannot read is moved aside, as one would."""
        self._steady = False
        deadline = time.monotonic() + START_S
        while True:
            with (self._folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [str(self._program), "-c", str(self._folder / desk.CONF)],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )  # fmt: skip
            while self._process.poll() is None:
                if await self._listens():
                    self._steady = True
                    return
                if time.monotonic() > deadline:
                    raise TimeoutError("Mosquitto does not listen")
                await asyncio.sleep(0.01)
            self.refused += 1
            self._store.rename(self._store.with_suffix(".unreadable"))

    async def kill(self, then: Persistence, rng: random.Random) -> None:
        """SIGKILL; then its store is as `then` says, and it starts again."""
        self.stop(hard=True)
        self.ears.deafened()
        self.kills[then] += 1
        if then is Persistence.GONE:
            self._store.unlink(missing_ok=True)
        elif then is Persistence.CORRUPTED and self._store.exists():
            _corrupt(self._store, rng)
        await self.start()
        await self.ears.listening()

    async def watch(self) -> None:
        """Until cancelled: start it again where it fell. (2.0.11 does, now and then.)"""
        while True:
            await asyncio.sleep(0.1)
            if self._steady and self._process is not None and self._process.poll() is not None:
                self.fell += 1
                self.ears.deafened()
                await self.start()

    def stop(self, *, hard: bool = False) -> None:
        """End it, by its process id."""
        self._steady = False
        if self._process is None:
            return
        self._process.kill() if hard else self._process.terminate()
        self._process.wait()
        self._process = None

    async def steal_session(self, client_id: str) -> None:
        """Somebody connects under this name with a clean start: the session is gone."""
        with contextlib.suppress(aiomqtt.MqttError):
            async with aiomqtt.Client(
                "127.0.0.1", self.port, identifier=client_id, clean_session=True, timeout=5
            ):
                pass

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True


def _corrupt(store: Path, rng: random.Random) -> None:
    """A torn write: the tail is cut off, and a stretch of the rest is noise."""
    body = bytearray(store.read_bytes())
    del body[rng.randrange(len(body) // 2, len(body)) :]
    at = rng.randrange(max(len(body) - 64, 1))
    body[at : at + 64] = rng.randbytes(64)
    store.write_bytes(body)


class Ears:
    """What the service tells, as anybody hears it. Two listeners: one whose session survives, and
    one that never holds up the broker with an acknowledgement and is back at once."""

    def __init__(self, port: int, hear: Callable[[bytes], None]) -> None:
        self._port = port

        class Heard(asyncio.Queue[aiomqtt.Message]):
            """Heard as it comes: aiomqtt forgets what still is in its queue at a disconnect."""

            def put_nowait(self, item: aiomqtt.Message) -> None:
                hear(bytes(item.payload))  # type: ignore[arg-type]

        self._heard = Heard
        self._tasks: list[asyncio.Task[None]] = []
        self._there = asyncio.Event(), asyncio.Event()

    async def open(self) -> None:
        """Listen from now on; returns when both do."""
        self._tasks = [
            asyncio.create_task(self._listen(qos, event)) for qos, event in enumerate(self._there)
        ]
        await self.listening()

    async def listening(self) -> None:
        """Returns when both listen."""
        async with asyncio.timeout(START_S):
            await asyncio.gather(*(event.wait() for event in self._there))

    def deafened(self) -> None:
        """The broker is gone, and they with it."""
        for event in self._there:
            event.clear()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, qos: int, there: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(aiomqtt.MqttError, OSError):
                async with aiomqtt.Client(
                    "127.0.0.1",
                    self._port,
                    identifier=f"ear-{qos}",
                    clean_session=not qos,
                    queue_type=self._heard,
                ) as client:
                    await client.subscribe(EVENTS, qos=qos)
                    there.set()
                    await anext(client.messages)  # none ever comes: until the connection ends
            await asyncio.sleep(0.02)
