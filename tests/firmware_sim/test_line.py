"""A line that is cut in the middle of a packet."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from firmware_sim.line import Line, Way


@asynccontextmanager
async def an_echo() -> AsyncIterator[tuple[Line, int, list[bytes]]]:
    """A line to a server that keeps what it gets and says it back; the line's own port."""
    got: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await answer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        over.set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1_000):
            got.append(chunk)
            writer.write(chunk)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    line = Line(server.sockets[0].getsockname()[1], random.Random(1))
    try:
        yield line, await line.open(), got
    finally:
        await line.close()
        server.close()
        if got:
            await over.wait()


async def ended(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_it_passes_everything_on() -> None:
    """Until it is cut, nobody notices it."""
    async with an_echo() as (_, port, _got):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"0123456789")
        assert await reader.readexactly(10) == b"0123456789"
        await ended(writer)


@pytest.mark.parametrize("way", Way)
async def test_a_cut_leaves_the_first_part_of_a_packet(way: Way) -> None:
    """Some of the bytes arrive, never all, and then the connection is gone."""
    async with an_echo() as (line, port, got):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        await reader.readexactly(5)
        assert line.cut(1.0, way) == 1
        writer.write(b"0123456789")
        try:
            heard = await reader.read(100)
        except ConnectionError:
            heard = b""
        assert line.cuts == 1
        part = heard if way is Way.DOWN else b"".join(got[1:])
        assert len(part) < 10
        assert b"0123456789".startswith(part)
        await ended(writer)


async def test_a_line_that_is_shut_lets_nobody_through() -> None:
    """As if nothing listened."""
    async with an_echo() as (line, port, got):
        line.shut = True
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        await ended(writer)
        assert not got
