"""A real InfluxDB behind a door that can be shut, jammed, or made to find fault."""

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from enum import StrEnum

import aiohttp
from aiohttp import web

from tests.servers import Server, free_port

LIMIT = "partial write: max-series-per-database limit exceeded: ({n}) dropped={n}"
DATABASE = "chaos"


class Answers(StrEnum):
    """How the database behaves."""

    WELL = "well"
    REFUSING = "refusing"
    HANGING = "hanging"
    FAILING = "failing"
    ONE_BAD_LINE = "one-bad-line"
    LIMIT_EXCEEDED = "limit-exceeded"


class Door:
    """The proxy. `refused` are the lines it found fault with, the same ones for ever."""

    def __init__(self, server: Server) -> None:
        self.port = free_port()
        self.refused: set[str] = set()
        self.met: Counter[str] = Counter()
        self.answers = Answers.WELL
        self._behind = server.url
        self._stack = AsyncExitStack()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._released = asyncio.Event()
        self._picky = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        application = web.Application(client_max_size=64 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._http = await self._stack.enter_async_context(aiohttp.ClientSession())
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()

    async def close(self) -> None:
        self._released.set()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._stack.aclose()

    async def behave(self, answers: Answers) -> None:
        """From now on."""
        self._released.set()
        self._released = asyncio.Event()
        if self.answers is Answers.REFUSING and answers is not Answers.REFUSING:
            await self._listen()
        self.answers = answers
        self._picky = answers is Answers.ONE_BAD_LINE
        if answers is Answers.REFUSING and self._site is not None:
            await self._site.stop()

    async def points(self) -> list[str]:
        """`event_id` of every point of a check-in, one for each."""
        ask = {"db": DATABASE, "q": "SELECT event_id FROM checkin"}
        async with self._http.get(f"{self._behind}/query", params=ask) as answer:
            result = json.loads(await answer.read())["results"][0]
        return [value[1] for series in result.get("series", ()) for value in series["values"]]

    async def _listen(self) -> None:
        if self._runner is not None:
            self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
            await self._site.start()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        answers = self.answers
        if request.path != "/write":
            return await self._pass(request, body)
        self.met[answers] += 1
        match answers:
            case Answers.HANGING:
                await self._released.wait()
                return web.Response(status=503)
            case Answers.FAILING:
                return web.Response(status=500, text='{"error":"engine: shard is closed"}')
            case Answers.LIMIT_EXCEEDED:
                lines = body.count(b"\n") + 1
                return web.json_response({"error": LIMIT.format(n=lines)}, status=400)
        return await self._write(request, body)

    async def _write(self, request: web.Request, body: bytes) -> web.Response:
        lines = body.decode().split("\n")
        checkins = [line for line in lines if line.startswith("checkin,")]
        if self._picky and checkins:
            self.refused.add(checkins[len(checkins) // 2])
            self._picky = False
        bad = [line for line in lines if line in self.refused]
        if not bad:
            return await self._pass(request, body)
        good = "\n".join(line for line in lines if line not in self.refused)
        passed = await self._pass(request, good.encode())
        if passed.status != 204:
            return passed
        error = f"partial write: unable to parse '{bad[0][:40]}': bad timestamp"
        return web.json_response({"error": error}, status=400)

    async def _pass(self, request: web.Request, body: bytes) -> web.Response:
        url = self._behind + request.path
        asked = self._http.request(request.method, url, params=request.query, data=body)
        async with asked as answer:  # aiohttp has undone the compression
            return web.Response(status=answer.status, body=await answer.read())
