"""InfluxDB's v1 endpoints: `/write` (InfluxDB 1, 2, 3 and VictoriaMetrics), `/query` (1, 2, 3).

A writer sends one request a call and turns the answer into the errors of `ports`; finding bad lines
is `halving`'s, trying again the feeder's.
"""

import asyncio
import base64
import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp

from store.series.http import KEPT_OF_AN_ANSWER, NETWORK_ERRORS, Answer, refusal, unreachable
from store.series.ports import PartialWrite, Permanent

TIMEOUT_S = 30.0
ACCEPTED = 204

MOST_OF_AN_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer to a question; what is longer is no answer to any of ours."""

_COMPRESSION = 3  # level 9 takes six times as long for a tenth less (measured on check-ins)


def payload(lines: Sequence[str]) -> bytes:
    """The body of a write, gzipped; a character that is not UTF-8 becomes `?`."""
    return gzip.compress("\n".join(lines).encode(errors="replace"), _COMPRESSION, mtime=0)


class InfluxV1Client:
    """Speaks to the v1 endpoints; one session, made when first needed, in the loop that needs it.

    `url` is `http(s)://host:port`. With `token`, it is sent instead of user and password, as
    InfluxDB 2 and 3 want it.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._headers: dict[str, str] = {}
        if token is not None:
            self._headers["Authorization"] = f"Token {token}"
        elif username is not None:
            credentials = base64.b64encode(f"{username}:{password or ''}".encode()).decode()
            self._headers["Authorization"] = f"Basic {credentials}"
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, path: str, params: dict[str, str], body: bytes | None, *, limit: int
    ) -> Answer:
        """One request; `body` is gzipped already. Reads at most `limit` bytes of the answer.

        Raises `Retryable` when there is no answer.
        """
        headers = {} if body is None else {"Content-Encoding": "gzip"}
        try:
            async with self._open().post(
                self.url + path, params=params, data=body, headers=headers, allow_redirects=False
            ) as response:
                said = await _read(response.content, limit)
                return Answer(
                    status=response.status,
                    said=said.decode(errors="replace"),
                    headers=response.headers,
                    now=datetime.now(UTC),
                )
        except NETWORK_ERRORS as cause:
            raise unreachable(self.url, cause) from cause

    async def query(self, statement: str, database: str | None = None) -> list[dict[str, Any]]:
        """The series InfluxQL answers with, times in ms. Raises `Retryable` or `Permanent`."""
        params = {"q": statement, "epoch": "ms"} | ({"db": database} if database else {})
        answer = await self.post("/query", params, None, limit=MOST_OF_AN_ANSWER)
        if answer.status != 200:
            error = refusal(answer, self.url, lines=0)
            raise Permanent(str(error)) if isinstance(error, PartialWrite) else error
        try:
            results = json.loads(answer.said)["results"]
        except (ValueError, KeyError, TypeError) as cause:
            message = f"{self.url}/query did not answer as InfluxDB does: see GRIDBEAT_INFLUX_URL"
            raise Permanent(message) from cause
        return _series(results, self.url)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._timeout_s)
            self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers)
        return self._session


async def _read(content: aiohttp.StreamReader, limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit
    while left > 0 and (part := await content.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _series(results: Sequence[dict[str, Any]], url: str) -> list[dict[str, Any]]:
    for result in results:
        if "error" in result:
            raise Permanent(f"InfluxDB at {url} cannot answer: {result['error']}")
    return [series for result in results for series in result.get("series", ())]


class InfluxV1Writer:
    """Writes through `/write`, and creates the database when it is missing and that is allowed."""

    def __init__(self, client: InfluxV1Client, database: str) -> None:
        self._client = client
        self._database = database

    async def write(self, lines: Sequence[str]) -> None:
        """See `SeriesWriter.write`."""
        answer = await self._send(lines)
        if answer.status == 404:
            await self._create()
            answer = await self._send(lines)
        if answer.status == ACCEPTED:
            return
        error = refusal(answer, self._client.url, len(lines))
        if lines or not isinstance(error, PartialWrite):
            raise error

    async def close(self) -> None:
        await self._client.close()

    async def _send(self, lines: Sequence[str]) -> Answer:
        body = await asyncio.to_thread(payload, lines)
        params = {"db": self._database, "precision": "ns"}
        return await self._client.post("/write", params, body, limit=KEPT_OF_AN_ANSWER)

    async def _create(self) -> None:
        name = self._database.replace("\\", "\\\\").replace('"', '\\"')
        try:
            await self._client.query(f'CREATE DATABASE "{name}"')
        except Permanent as cause:
            raise Permanent(
                f"InfluxDB at {self._client.url} has no database {self._database!r}, and we may "
                f'not create it: {cause} Run there: CREATE DATABASE "{name}", and grant this '
                "user the right to write to it."
            ) from cause
