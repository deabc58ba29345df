"""What comes in beside the sessions: what phones post, and what somebody has taken again.

Both go through the reader and the writer as everything else does. Neither has a message at the
broker to acknowledge: a phone posts again what it gets no answer for, and an entry of the
quarantine stays where it is.
"""

from collections.abc import Callable, Sequence
from functools import partial

import structlog
from sqlalchemy.exc import OperationalError

from devices.ids import Instant
from ingest.clock import Clock
from ingest.committed import Committed
from ingest.health import Health
from ingest.ledger import Ledger
from ingest.reader import Item, Reader
from ingest.source import MAIN, SOS, Delivery
from ingest.writer import Writer
from store import quarantine
from store.access import admits
from store.quarantine import State

log = structlog.get_logger()

RETAKEN = 200
"""Entries of the quarantine taken again in one turn."""


class Beside:
    """One instance's ways in that are no sessions. `on_committed` hears what each came to."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        ledger: Ledger,
        clock: Clock,
        health: Health,
        on_committed: Callable[[Committed], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ledger = ledger
        self._clock = clock
        self._health = health
        self._on_committed = on_committed

    async def admits(self, address: str, username: str, password: str) -> bool:
        """Whether a login is that of the phone with this address, and may speak now."""
        device = self._reader.picture.reader("owntracks", address)
        if device is None or device.retired:
            return False
        login = partial(admits, device=device.slug, username=username, password=password)
        return await self._ledger.read(login)

    async def post(self, topic: str, payloads: Sequence[bytes]) -> bool:
        """Commit what a phone posted; False where the ledger cannot keep it now."""
        now = self._clock.now()
        items = [item for payload in payloads for item in self._read(topic, payload, now)]
        try:
            done = await self._ledger.in_writer(partial(self._writer.receive, items, now))
        except OperationalError as error:
            log.error("ledger.refused", error=str(error.orig), next="the phone posts it again")
            return False
        self._health.counted(len(payloads), done)
        self._on_committed(done)
        return True

    def _read(self, topic: str, payload: bytes, now: Instant) -> Sequence[Item]:
        delivery = _delivery(MAIN, topic, payload)
        try:
            return list(self._reader.beside(delivery, now))
        except Exception as error:  # a fault of ours: kept, or the phone would post it for ever
            log.exception("message.unhandled", topic=topic)
            return [self._reader.unhandled(delivery, now, error)]

    async def retake(self) -> int:
        """Take again what somebody asked for, after the registry was corrected; how many it was."""
        asked = await self._ledger.read(lambda c: quarantine.asked(c, RETAKEN))
        for number, entry in enumerate(asked):
            session = SOS if entry.topic.endswith("/up/sos") else MAIN
            delivery = _delivery(session, entry.topic, entry.payload)
            now = self._clock.now()
            try:
                items = list(self._reader.read(delivery, entry.received_at))
                done = await self._ledger.in_writer(partial(self._writer.retake, entry, items, now))
            except OperationalError as error:
                log.error("ledger.refused", error=str(error.orig), next="taken again in a second")
                return number
            except Exception:  # one entry of strangers must not end the house
                log.exception("quarantine.retry_failed", entry=entry.id)
                await self._ledger.write(
                    partial(quarantine.settle, id_=entry.id, state=State.KEPT, now=None)
                )
            else:
                self._on_committed(done)
        return len(asked)


def _delivery(session: str, topic: str, payload: bytes) -> Delivery:
    return Delivery(session, topic, payload, retained=False, token=(0, 0))
