"""One MQTT connection of one handheld: its own client id, login, persistent session and will.

Only the connection lives here. What is said over it, and when, is the handheld's affair.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import aiomqtt
from aiomqtt.exceptions import MqttConnectError

from firmware_sim.wire import Publication

_QUIET = logging.getLogger("firmware_sim.mqtt")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False

REFUSED = {1, 2, 4, 5, 132, 133, 134, 135}  # CONNACK codes that trying again does not mend
ABREAST = 10  # publishes awaiting their PUBACK at once; the broker allows 20
ANSWER_WITHIN = 5.0


class LinkDownError(ConnectionError):
    """The broker cannot be reached just now; trying again may help."""


class RefusedError(ConnectionError):
    """The broker lets this device in under no circumstances: check its login and the access list.

    `gridbeat device enroll ID` makes a credential; `--credentials` hands it over.
    """


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Where the broker is; with TLS, whose authority signed its certificate (else the system's)."""

    host: str = "127.0.0.1"
    port: int = 1883
    tls: bool = False
    ca_file: Path | None = None

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine, where no login may be needed."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True, kw_only=True)
class Login:
    """How one client introduces itself; without a password it stays anonymous."""

    client_id: str
    user: str | None = None
    password: str | None = None


def parse_url(url: str) -> tuple[Broker, Login | None]:
    """`mqtt://user:password@host:port` or `mqtts://…`; raises `ValueError` saying what is wrong."""
    parts = urlsplit(url)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ValueError(f"{url!r} is no broker; write mqtt://user:password@host:1883")
    tls = parts.scheme == "mqtts"
    broker = Broker(host=parts.hostname, port=parts.port or (8883 if tls else 1883), tls=tls)
    if parts.username is None:
        return broker, None
    user, password = unquote(parts.username), unquote(parts.password or "")
    return broker, Login(client_id=user, user=user, password=password)


class Line(Protocol):
    """What a device, or the clock's driver, says things over."""

    @property
    def up(self) -> bool: ...

    async def open(self, will: Publication | None = None, listen: str | None = None) -> None: ...

    async def publish(self, said: Iterable[Publication]) -> None: ...

    async def cut(self) -> None: ...

    async def close(self) -> None: ...


Dial = Callable[[Login, Callable[[str, bytes], None], Callable[[], None]], Line]
"""Makes a line from a login, what hears what comes down, and what is told when it falls."""


class Link:
    """A connection that can be opened, used, cut and closed, again and again.

    `heard(topic, payload)` is called for what comes down, `fallen()` when the connection ends
    without our doing.
    """

    def __init__(
        self,
        broker: Broker,
        login: Login,
        heard: Callable[[str, bytes], None],
        fallen: Callable[[], None],
    ):
        self._broker = broker
        self._login = login
        self._heard = heard
        self._fallen = fallen
        self._client: aiomqtt.Client | None = None
        self._reader: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._client is not None

    async def open(self, will: Publication | None = None, listen: str | None = None) -> None:
        """Connect and subscribe; raises `LinkDownError` or `RefusedError`."""
        client = self._new_client(will)
        try:
            await client.__aenter__()
        except MqttConnectError as error:
            if getattr(error.rc, "value", error.rc) in REFUSED:
                who = self._login.user or "without a login"
                raise RefusedError(f"{self._login.client_id} ({who}): {error}") from error
            raise LinkDownError(str(error)) from error
        except aiomqtt.MqttError as error:
            raise LinkDownError(str(error)) from error
        self._client = client
        self._gone.clear()
        self._reader = asyncio.create_task(self._read(client))
        if listen is not None:
            await self._try(client.subscribe(listen, qos=1, timeout=ANSWER_WITHIN))

    async def publish(self, said: Iterable[Publication]) -> None:
        """Publish in order, QoS 1, and wait for each PUBACK; raises `LinkDownError`."""
        waiting = list(said)
        for first in range(0, len(waiting), ABREAST):
            calls = [self._say(publication) for publication in waiting[first : first + ABREAST]]
            done = await asyncio.gather(*calls, return_exceptions=True)
            for failure in done:
                if isinstance(failure, BaseException):
                    raise failure

    async def cut(self) -> None:
        """Lose the network: the socket goes without DISCONNECT, so the broker tells the will."""
        client, reader = self._client, self._reader
        if client is None:
            return
        wire = client._client.socket()  # aiomqtt has no door for losing a network
        if isinstance(wire, socket.socket):
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
        if reader is not None:
            await asyncio.wait([reader], timeout=ANSWER_WITHIN)
        await self._drop()

    async def close(self) -> None:
        """Leave in good order: DISCONNECT, no will."""
        await self._drop()

    def _new_client(self, will: Publication | None) -> aiomqtt.Client:
        return aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            identifier=self._login.client_id,
            username=self._login.user,
            password=self._login.password,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=False,
            keepalive=60,
            timeout=ANSWER_WITHIN,
            will=None if will is None else aiomqtt.Will(will.topic, will.payload, 1, will.retain),
            tls_context=ssl.create_default_context(cafile=self._broker.ca_file)
            if self._broker.tls
            else None,
            logger=_QUIET,
        )

    async def _say(self, said: Publication) -> None:
        if self._client is None:
            raise LinkDownError("not connected")
        sending = self._client.publish(
            said.topic, said.payload, qos=said.qos, retain=said.retain, timeout=ANSWER_WITHIN
        )
        await self._try(sending)

    async def _try(self, call: Awaitable[object]) -> None:
        """Wait for an answer, but no longer than there is anybody to give one."""
        answer, gone = asyncio.ensure_future(call), asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise LinkDownError("the connection is gone")
            answer.result()
        except aiomqtt.MqttError as error:
            await self._drop()
            raise LinkDownError(str(error)) from error
        finally:
            answer.cancel()
            gone.cancel()

    async def _read(self, client: aiomqtt.Client) -> None:
        try:
            async for message in client.messages:
                if isinstance(message.payload, bytes):
                    self._heard(str(message.topic), message.payload)
        except aiomqtt.MqttError:
            if self._client is client:
                self._client = None
                self._gone.set()
                self._fallen()

    async def _drop(self) -> None:
        client, reader = self._client, self._reader
        self._client = self._reader = None
        if reader is not None:
            reader.cancel()
            await asyncio.wait([reader], timeout=ANSWER_WITHIN)
        if client is not None:
            with contextlib.suppress(aiomqtt.MqttError, OSError):
                await client.__aexit__(None, None, None)
