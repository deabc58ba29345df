"""`/livez`, `/readyz` and `/metrics`; and where phones post."""

import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from devices.codec import MAX_BYTES
from ingest.health import Health
from ingest.phones import NOBODY, Phones
from store.addresses import HttpAddress


class AddressRefused(Exception):  # noqa: N818  (the operator's message, not a fault of the code)
    """Nothing can be served at `http_address`. The message says why, and what to do."""


@asynccontextmanager
async def serving(
    address: HttpAddress | None, health: Health, behind: Callable[[], int], phones: Phones = NOBODY
) -> AsyncIterator[None]:
    """Serve for as long as the block runs; nothing where no address is set.

    `behind`: rows that the series has not taken. Without `phones` a phone is not answered, and
    keeps what it posts. Raises `AddressRefused` where the address cannot be had.
    """
    if address is None:
        yield
        return

    async def livez(_request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(_request: web.Request) -> web.Response:
        why = health.unready
        return web.Response(status=503 if why else 200, text="\n".join(why or ["ready"]) + "\n")

    async def metrics(_request: web.Request) -> web.Response:
        body = health.metrics(behind())
        return web.Response(body=body, content_type="text/plain", charset="utf-8")

    app = web.Application(client_max_size=MAX_BYTES)
    app.add_routes(
        [
            web.get("/livez", livez),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.post("/owntracks", phones.post),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address.host, address.port).start()
        except OSError as error:
            message = (
                f"http_address {address.host}:{address.port} cannot be listened on "
                f"({os.strerror(error.errno or errno.EADDRNOTAVAIL)}): name another in "
                "gridbeat.toml or GRIDBEAT_HTTP_ADDRESS, or leave it empty"
            )
            raise AddressRefused(message) from None
        yield
    finally:
        await runner.cleanup()
