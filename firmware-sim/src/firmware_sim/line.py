"""A TCP line between clients and a server that can be cut in the middle of a packet."""

import asyncio
import contextlib
import random
from enum import StrEnum

CHUNK = 64 * 1024


class Way(StrEnum):
    """Which way bytes were going when the line was cut."""

    UP = "up"
    DOWN = "down"


class _Call:
    """One connection through the line."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter):
        self.near = near
        self.far = far
        self.doomed: Way | None = None

    def abort(self) -> None:
        for side in (self.near, self.far):
            side.transport.abort()


class Line:
    """Listens on a port of its own of 127.0.0.1 and passes everything on to `port` there."""

    def __init__(self, port: int, rng: random.Random):
        self._far_port = port
        self._rng = rng
        self._calls: set[_Call] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.cuts = 0
        self.shut = False
        """While it is, nobody gets through."""

    async def open(self) -> int:
        """Begin to listen; returns the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=2_048)
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self, share: float, way: Way) -> int:
        """Doom a share of the connections: the next bytes that go that way are their last, and only
        the first part of them arrives. Returns how many."""
        doomed = [call for call in self._calls if self._rng.random() < share]
        for call in doomed:
            call.doomed = way
        return len(doomed)

    async def close(self) -> None:
        """Drop every connection and listen no more."""
        if self._server is not None:
            self._server.close()
        for call in list(self._calls):
            call.abort()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        try:
            await self._pass_on(reader, near)
        finally:
            near.transport.abort()
            with contextlib.suppress(OSError):
                await near.wait_closed()

    async def _pass_on(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        if self.shut:
            return
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._far_port)
        except OSError:
            return
        call = _Call(near, far)
        self._calls.add(call)
        try:
            await asyncio.gather(
                self._pump(call, reader, far, Way.UP), self._pump(call, far_reader, near, Way.DOWN)
            )
        finally:
            self._calls.discard(call)
            call.abort()
            with contextlib.suppress(OSError):
                await far.wait_closed()

    async def _pump(
        self, call: _Call, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK):
                if call.doomed is way and len(chunk) > 1:
                    sink.write(chunk[: self._rng.randrange(1, len(chunk))])
                    self.cuts += 1
                    await sink.drain()
                    break
                sink.write(chunk)
                await sink.drain()
        await asyncio.sleep(0)  # what was written leaves before the line goes
        call.abort() if call.doomed is way else sink.close()
