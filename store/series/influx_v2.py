"""InfluxDB's v2 endpoint, `/api/v2/write`: InfluxDB 1.8 on, 2, 3, and VictoriaMetrics.

A module of its own, because influxdb-client takes half a second to import.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService

from store.series.http import KEPT_OF_AN_ANSWER, NETWORK_ERRORS, Answer, refusal, unreachable
from store.series.influx import TIMEOUT_S, payload
from store.series.ports import PartialWrite

ACCEPTED = (201, 204)


class InfluxV2Writer:
    """Writes through `/api/v2/write` with influxdb-client's asynchronous write service.

    Its batching writer is not used: it drops lines after its retries (facts, section InfluxDB).
    """

    def __init__(
        self,
        url: str,
        *,
        bucket: str,
        org: str | None = None,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._url = url.rstrip("/")
        self._bucket = bucket
        self._org = org or ""
        self._token = token
        self._timeout_ms = round(timeout_s * 1000)
        self._client: Any = None  # influxdb-client's methods are untyped

    async def write(self, lines: Sequence[str]) -> None:
        """See `SeriesWriter.write`."""
        body = await asyncio.to_thread(payload, lines)
        answer = await self._post(body)
        if answer.status in ACCEPTED:
            return
        error = refusal(answer, self._url, len(lines))
        if lines or not isinstance(error, PartialWrite):
            raise error

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _post(self, body: bytes) -> Answer:
        service = self._open()
        try:
            _, status, headers = await service.post_write_async(
                org=self._org,
                bucket=self._bucket,
                body=body,
                precision="ns",
                content_encoding="gzip",
                content_type="text/plain; charset=utf-8",
                _return_http_data_only=False,
            )
        except ApiException as refused:
            said, status, headers = refused.body or b"", refused.status, refused.headers or {}
        except NETWORK_ERRORS as cause:
            raise unreachable(self._url, cause) from cause
        else:
            said = b""
        return Answer(
            status=status or 0,
            said=said[:KEPT_OF_AN_ANSWER].decode(errors="replace"),
            headers=dict(headers),
            now=datetime.now(UTC),
        )

    def _open(self) -> Any:
        """The service under the client's write API: the API would gzip on the event loop."""
        if self._client is None:
            self._client = InfluxDBClientAsync(
                self._url,
                token=self._token or "",
                org=self._org,
                timeout=self._timeout_ms,
                allow_redirects=False,
            )
        return WriteService(self._client.api_client)  # type: ignore[no-untyped-call]
