"""A connection that is kept: made, made again when it ends, and hung up when it is told to."""

import asyncio
import ssl

import mqtt5
import structlog

from ingest.source import SESSION_EXPIRY_S, Broker, Session
from ingest.wire import KEEPALIVE_S, Ears, Wire, words

log = structlog.get_logger()

CONNECT_WITHIN_S = 10.0
HANG_UP_WITHIN_S = 5.0
AGAIN_S = (1.0, 2.0, 4.0, 8.0, 10.0)
"""Pauses before each next try to connect; the last one from then on."""


class Line:
    """One client id at the broker.

    `session`: what the broker keeps of it between connections; None: nothing. Of `ears`, `opened`
    is told of success alone. `wire` is the connection there is now, and `number` counts them: what
    belongs to one does not slip into the next. Each has ended before the next one begins.
    """

    def __init__(self, broker: Broker, client_id: str, session: Session | None, ears: Ears) -> None:
        self.client_id = client_id
        self.number = 0
        self.wire: Wire | None = None
        self._broker = broker
        self._session = session
        self._ears = Ears(
            opened=self._opened, publishes=ears.publishes, packet=ears.packet, closed=self._closed
        )
        self._told = ears
        self._keeping: asyncio.Task[None] | None = None
        self._tries = 0

    def start(self) -> None:
        """Connect, and keep connected, until `hang_up`."""
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(), name=f"mqtt {self.client_id}")

    async def hang_up(self) -> None:
        """Disconnect in good order, and stay away."""
        keeping, self._keeping = self._keeping, None
        if keeping is None:
            return
        wire = self.wire
        if wire is not None:
            wire.hang_up()
            try:
                await asyncio.wait_for(wire.ended.wait(), HANG_UP_WITHIN_S)
            except TimeoutError:  # TLS waits for an answer to its goodbye
                await wire.cut()
        keeping.cancel()
        await asyncio.wait((keeping,))

    async def _keep(self) -> None:
        while True:
            try:
                async with asyncio.timeout(CONNECT_WITHIN_S):
                    wire = await self._connect()
            except (OSError, TimeoutError) as error:  # what TLS refuses is an OSError too
                self._say("mqtt.unreachable", str(error) or "no answer")
            except Exception:  # a fault of ours: ended by it, it would stay away in silence
                log.exception("mqtt.connecting_raised", client=self.client_id, next="tried again")
            else:
                await wire.ended.wait()
            if self.wire is not None:
                await self.wire.cut()  # it may have come as we gave it up
                self.wire = None
            await asyncio.sleep(AGAIN_S[min(self._tries, len(AGAIN_S) - 1)])
            self._tries += 1

    async def _connect(self) -> Wire:
        address, ca_file = self._broker.address, self._broker.ca_file
        tls = ssl.create_default_context(cafile=ca_file) if address.tls else None
        connect = asyncio.get_running_loop().create_connection
        _, wire = await connect(self._new, address.host, address.port, ssl=tls)
        return wire

    def _new(self) -> Wire:
        name = "" if self._session is None else self._session.name
        self.wire = wire = Wire(self._hello(), self._ears, name, self.number)
        return wire

    def _hello(self) -> mqtt5.ConnectPacket:
        address, session = self._broker.address, self._session
        return mqtt5.ConnectPacket(
            self.client_id,
            username=address.username,
            password=None if address.password is None else address.password.encode(),
            clean_start=session is None,
            keep_alive=KEEPALIVE_S,
            session_expiry_interval=0 if session is None else SESSION_EXPIRY_S,
            receive_max=65_535 if session is None else session.window,
        )

    def _opened(self, answer: mqtt5.ConnAckPacket) -> None:
        if answer.reason_code is not mqtt5.ConnAckReasonCode.SUCCESS:
            self._say("mqtt.refused", words(answer.reason_code))
            return  # the broker hangs up
        self._tries = 0
        self._told.opened(answer)

    def _closed(self, why: str | None) -> None:
        self.number += 1
        if why is not None:
            self._say("mqtt.disconnected", why)
        self._told.closed(why)

    def _say(self, event: str, reason: str) -> None:
        log.warning(event, client=self.client_id, broker=str(self._broker.address), reason=reason)
