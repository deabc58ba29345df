"""An HTTP server that answers as a test says, for the answers a healthy InfluxDB does not give."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Fake:
    """`answer` makes the next response; None hangs until the client gives up."""

    url: str
    answer: Callable[[web.Request], web.Response | None]
    paths: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@asynccontextmanager
async def fake_influx(
    answer: Callable[[web.Request], web.Response | None],
) -> AsyncIterator[Fake]:
    async def handle(request: web.Request) -> web.Response:
        fake.paths.append(request.path)
        fake.headers.append(dict(request.headers))
        body = await request.read()
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        fake.bodies.append(body.decode())
        response = fake.answer(request)
        if response is None:
            await released.wait()
            return web.Response(status=204)
        return response

    released = asyncio.Event()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake = Fake(url=f"http://{host}:{port}", answer=answer)
    try:
        yield fake
    finally:
        released.set()
        await runner.cleanup()
