"""The service under the checker: started in a moment, killed at an instant or at a point."""

import asyncio
import contextlib
import json
import os
import signal
import struct
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


class Services:
    """One service at a time, on one ledger; `kills` counts how each ended. `broken`: see there."""

    def __init__(self, folder: Path, environment: Mapping[str, str], broken: str) -> None:
        self.log = folder / "ingest.log"
        self.kills: Counter[str] = Counter()
        self.fell: list[int] = []
        self._environment = dict(environment)
        self._broken = broken
        self._clock = folder / "clock"
        self._clock.write_bytes(struct.pack("q", 0))
        self._launcher: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._started: asyncio.Queue[int] = asyncio.Queue()
        self._ended: dict[int, asyncio.Future[int]] = {}
        self.pid: int | None = None

    async def open(self) -> None:
        """Bring the launcher up."""
        with self.log.open("ab") as log:
            self._launcher = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.launcher", self._broken),
                cwd=ROOT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self._reading = asyncio.create_task(self._read())

    async def close(self) -> None:
        """End what runs, by its process id."""
        await self.kill("at the end", counted=False)
        if self._launcher is not None and self._launcher.stdin is not None:
            self._launcher.stdin.close()
            await self._launcher.wait()
        if self._reading is not None:
            await self._reading

    async def start(self, point: str | None = None, count: int = 1) -> int:
        """Start the service, to die at the `count`th passage of `point`; returns its process."""
        asked = {
            "environment": self._environment,
            "log": str(self.log),
            "clock": str(self._clock),
            "point": point,
            "count": count,
        }
        if self._launcher is None or self._launcher.stdin is None:
            raise RuntimeError("the launcher is not open")
        self._launcher.stdin.write(json.dumps(asked).encode() + b"\n")
        started = asyncio.ensure_future(self._started.get())
        over = asyncio.ensure_future(self._launcher.wait())
        await asyncio.wait((started, over), return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if not started.done():
            raise RuntimeError(
                f"the launcher ended; its last words:\n{self.log.read_text()[-2000:]}"
            )
        self.pid = started.result()
        return self.pid

    async def kill(self, how: str, *, counted: bool = True) -> None:
        """SIGKILL now."""
        if self.pid is None:
            return
        pid, self.pid = self.pid, None
        if not self._ended[pid].done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        code = await self._ended[pid]
        if counted and code == -9:
            self.kills[how] += 1

    async def fall(self, point: str, within_s: float) -> None:
        """Wait for it to die at its point; where it does not come there, kill it where it is."""
        if self.pid is None:
            return
        pid = self.pid
        await asyncio.wait((self._ended[pid],), timeout=within_s)
        reached = self._ended[pid].done() and self._ended[pid].result() == -9
        await self.kill(point if reached else "not at its point")

    def step_clock(self, ms: int) -> None:
        """The machine's clock, as the service reads it, is off by so much from now on."""
        with self._clock.open("r+b") as file:
            file.write(struct.pack("q", ms * 1_000_000))

    async def _read(self) -> None:
        if self._launcher is None or self._launcher.stdout is None:
            return
        loop = asyncio.get_running_loop()
        while line := await self._launcher.stdout.readline():
            said = json.loads(line)
            if "started" in said:
                self._ended[said["started"]] = loop.create_future()
                self._started.put_nowait(said["started"])
            else:
                self._ended[said["ended"]].set_result(said["code"])
                if said["code"] != -9:
                    self.fell.append(said["code"])
