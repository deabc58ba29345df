"""Our hold on the broker: the claim that says that we serve it, kept by a connection of its own.

    connect (will: our claim is gone) → subscribe to all claims → ask → when the question has come
    back, everything the broker kept has been heard → say our claim → hold, wait, or give way

The same connection keeps a witness at the broker: how far this ledger has come. One that comes back
and is not that far was restored from a copy; what was receipted since is not in it.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic

import aiomqtt
import msgspec
import structlog

from devices import topics
from ingest.claims import Claim, Claims, Standing
from ingest.clock import SystemClock
from store.brokers import TrustRefused, remedy, trust
from store.settings import Settings

log = structlog.get_logger()

ANSWER_S = 3.0
"""How long somebody whose claim the broker has kept may take to answer for it."""
GRACE_S = 5.0
"""How long nobody must be before us until one who waits steps in: the other may only be back with
the broker a moment later than we are."""
AGAIN_S = 1.0
BACK_S = 5.0
"""A message to ourselves that takes longer does not come back: we may not read what we write."""
SAID_AGAIN_S = 60.0
TURN_S = 1.0
"""How often the witness is brought up to date."""
KEEPALIVE_S = 20
LEAVE_S = 2.0

_read_claim = msgspec.json.Decoder(Claim).decode


class Holding:
    """Keeps the claim of one process for the ledger it works on.

    `standing` is how we stand, `holder` who serves the broker instead of us; `why` nobody can say,
    and what to do about it. `witnessed` is how far
    the broker knows this ledger to have come (its highest entry), 0 where it knows nothing;
    `reached` is what it shall know from now on.
    """

    def __init__(self, settings: Settings, ledger: str) -> None:
        self.standing = Standing.ASKING
        self.holder: Claim | None = None
        self.witnessed = 0
        self.reached = 0
        self.tried = asyncio.Event()  # we know how we stand, or that the broker cannot be reached
        self._settings = settings
        self._clock = SystemClock()
        self.mine = Claim(
            run=secrets.token_hex(8),
            instance=settings.instance,
            ledger=ledger,
            host=socket.gethostname(),
            pid=os.getpid(),
            since=self._clock.now(),
        )
        self.why: str | None = None
        self._cut: str | None = None  # why the last connection failed or ended
        self._said = 0.0
        self._turned = asyncio.Condition()
        self._leaving = asyncio.Event()

    async def until(self, *standings: Standing) -> None:
        """Wait until we stand in one of these ways."""
        async with self._turned:
            await self._turned.wait_for(lambda: self.standing in standings)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator["Holding"]:
        """Keep the claim for as long as the block runs."""
        keeping = asyncio.create_task(self._keep(), name="claim")
        try:
            yield self
        finally:
            self._leaving.set()
            await asyncio.wait((keeping,), timeout=LEAVE_S)
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping

    async def _keep(self) -> None:
        while not self._leaving.is_set():
            try:
                async with self._client() as client:
                    await _Talk(self, client).run(self._leaving)
            except (aiomqtt.MqttError, OSError) as error:
                self._say_cut(str(error) or type(error).__name__)
            except Exception as error:  # a fault of ours: without a claim, we would go on serving
                self._say_cut(repr(error), error)
            self.tried.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S):
                    await self._leaving.wait()

    def _say_cut(self, why: str, fault: Exception | None = None) -> None:
        """Tell a reason, and again now and then: nothing else tries the broker while nobody knows
        how we stand."""
        broker, do, now = str(self._settings.mqtt_url), remedy(why), monotonic()
        if why != self._cut or now > self._said + SAID_AGAIN_S:
            told = {"broker": broker, "reason": why, "remedy": do, "next": "tried each second"}
            log.warning("mqtt.unreachable", **told, exc_info=fault)
            self._said = now
        self._cut = why
        self.why = f"{broker}: {why}; {do}"

    def heard(self) -> None:
        """The broker lets us in, and what we say comes back."""
        self._cut = self.why = None

    def _client(self) -> aiomqtt.Client:
        address = self._settings.mqtt_url
        try:
            context = trust(address, self._settings.mqtt_ca_file)
        except TrustRefused as error:  # it was there when we started
            raise aiomqtt.MqttError(str(error)) from error
        return aiomqtt.Client(
            address.host,
            address.port,
            username=address.username,
            password=address.password,
            identifier=f"{self._settings.instance}-claim-{self.mine.run}",
            protocol=aiomqtt.ProtocolVersion.V5,
            will=aiomqtt.Will(topics.claim(self.mine.run), b"", 1, retain=True),
            keepalive=KEEPALIVE_S,
            tls_context=context,
            timeout=10,
        )

    async def stand(self, standing: Standing, holder: Claim | None = None) -> None:
        """This is how we stand from now on."""
        self.holder = holder
        if standing is not self.standing:
            self.standing = standing
            log.info("claim", standing=standing.value, holder=holder and holder.run)
            async with self._turned:
                self._turned.notify_all()
        self.tried.set()

    def rename(self, ledger: str) -> None:
        """The ledger has another name from now on; of the old one the broker keeps the witness."""
        self.mine = msgspec.structs.replace(self.mine, ledger=ledger)

    @property
    def now(self) -> int:
        """Our clock (ms since the epoch)."""
        return self._clock.now()


class _Talk:
    """One connection's conversation with the others."""

    def __init__(self, holding: Holding, client: aiomqtt.Client) -> None:
        self._holding = holding
        self._client = client
        self._claims = Claims(holding.mine)
        self._question = secrets.token_hex(8)
        self._told = False  # our claim, as it is, has come back: all others know of it
        self._answers_end: float | None = None
        self._free_since: float | None = None
        self._witness = 0

    async def run(self, leaving: asyncio.Event) -> None:
        """Talk until the connection breaks, or until we are to leave."""
        holding = self._holding
        await self._client.subscribe([(topics.CLAIMS, 1), (topics.CLAIMS_ASKED, 1)])
        await self._client.subscribe(topics.witness(holding.mine.ledger), 1)
        await self._ask()
        try:
            async with asyncio.timeout(BACK_S):
                while await self._hear(await anext(self._client.messages)) != self._question:
                    pass
        except TimeoutError:
            words = "it lets us in, but a message to ourselves does not come back"
            raise aiomqtt.MqttError(words) from None
        holding.heard()
        self._claims.resume(holding.now)
        await self._say()
        while not leaving.is_set():
            await self._weigh()
            await self._bear_witness()
            message = await self._next(leaving)
            if message is not None:
                await self._hear(message)
        await self._client.publish(topics.claim(holding.mine.run), b"", qos=1, retain=True)

    async def _next(self, leaving: asyncio.Event) -> aiomqtt.Message | None:
        """The next message; None when it is time to look round, or to leave."""
        message = asyncio.ensure_future(anext(self._client.messages))
        gone = asyncio.ensure_future(leaving.wait())
        await asyncio.wait((message, gone), timeout=TURN_S, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if message.done():
            return message.result()
        message.cancel()
        return None

    async def _hear(self, message: aiomqtt.Message) -> str | None:
        """Take a message in; returns the question it asks, if it is one."""
        topic, payload = str(message.topic), bytes(message.payload or b"")
        run, retained = topic.rpartition("/")[2], bool(message.retain)
        if message.topic.matches(topics.CLAIMS_ASKED):
            question = payload.decode(errors="replace")
            if question != self._question:
                await self._say()
            return question
        if message.topic.matches(topics.witness("+")):
            if retained:
                self._holding.witnessed = max(self._holding.witnessed, _number(payload))
            return None
        if not payload:
            self._claims.gone(run)
            if run == self._claims.mine.run and self._told:
                await self._say()  # somebody took us for dead
            return None
        with suppress(msgspec.MsgspecError):
            claim = _read_claim(payload)
            self._claims.heard(claim, kept=retained)
            self._told |= claim == self._claims.mine
        return None

    async def _weigh(self) -> None:
        """How we stand, by the table of `ingest.claims`."""
        holding, claims, now = self._holding, self._claims, monotonic()
        if claims.holder is not None:
            self._answers_end = self._free_since = None
            await holding.stand(Standing.TAKEN, claims.holder)
        elif claims.before:
            self._free_since = None
            await self._wait_for_answers(now)
        elif claims.mine.holds:
            self._answers_end = None
            if self._told:
                await holding.stand(Standing.HELD)
        elif holding.standing is Standing.TAKEN and now - self._free_for(now) < GRACE_S:
            return
        else:
            claims.promote(holding.now)
            await self._say()

    def _free_for(self, now: float) -> float:
        self._free_since = now if self._free_since is None else self._free_since
        return self._free_since

    async def _wait_for_answers(self, now: float) -> None:
        """Those before us have not said that they hold: they were asked, and may not be there."""
        if self._answers_end is None:
            self._answers_end = now + ANSWER_S
        elif now >= self._answers_end:
            for run in self._claims.silent():
                await self._client.publish(topics.claim(run), b"", qos=1, retain=True)
            self._claims.doubt()
            self._answers_end = None
            await self._ask()

    async def _ask(self) -> None:
        await self._client.publish(topics.CLAIMS_ASKED, self._question, qos=1)

    async def _say(self) -> None:
        self._told = False
        mine = self._holding.mine = self._claims.mine
        payload = msgspec.json.encode(mine)
        await self._client.publish(topics.claim(mine.run), payload, qos=1, retain=True)

    async def _bear_witness(self) -> None:
        holding = self._holding
        if self._claims.mine.ledger != holding.mine.ledger:
            self._claims.mine, self._witness = holding.mine, 0
            await self._say()
        if holding.standing is Standing.HELD and holding.reached > self._witness:
            self._witness = holding.reached
            topic = topics.witness(holding.mine.ledger)
            await self._client.publish(topic, b"%d" % self._witness, qos=0, retain=True)


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < 20 else 0
