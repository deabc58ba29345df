"""Messages of tags for which there were no keys: verified once there are.

The passphrase was forgotten at the start, or a tag was written before it was enrolled: what guards
tapped meanwhile is in the ledger, message and all. It is verified again at each start and at each
change of the registry; verdicts and marks follow as from any evidence that comes late.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import structlog
from sqlalchemy import Connection

from devices.ids import Identity
from devices.proofs import Proof
from devices.proving import prove
from ingest.clock import Clock
from ingest.judged import Judged
from ingest.ledger import Ledger
from ingest.reader import Reader
from rules.events import Notice
from rules.oddities import unproven_tag
from store.events import raise_notices
from store.taps import Unkeyed, prove_again, unkeyed

log = structlog.get_logger()

PAGE = 100
"""Reads verified in one transaction, so that it stays under 50 ms."""


class _Body(msgspec.Struct):
    sun: str


_body = msgspec.json.Decoder(_Body).decode


class Rechecks:
    """Verifies again what had no key. `poke` when keys or enrolments may have come."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        judged: Judged,
        reader: Reader,
        on_proved: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._judged = judged
        self._reader = reader
        self._on_proved = on_proved
        self._some = asyncio.Event()

    def poke(self) -> None:
        """There may be keys for what had none."""
        self._some.set()

    async def run(self) -> None:
        """Verify until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            await self.look()

    async def look(self) -> int:
        """Verify everything once; returns how many reads were found to say something else."""
        changed = after = 0
        while self._reader.keyring.keys:
            page = await self._ledger.read(partial(unkeyed, after=after, limit=PAGE))
            if not page:
                break
            after = page[-1].entry_id
            found = await self._ledger.write(partial(self._verify_all, page=page))
            changed += found
            if found:
                self._on_proved()
        if changed:
            log.info("taps.verified", reads=changed)
        return changed

    def _verify_all(self, connection: Connection, page: Sequence[Unkeyed]) -> int:
        notices: list[Notice] = []
        changed = 0
        for read in page:
            told = self._verify(connection, read)
            changed += told is not None
            notices += told or []
        raise_notices(connection, notices, self._clock.now())
        return changed

    def _verify(self, connection: Connection, read: Unkeyed) -> list[Notice] | None:
        """What is to be told of a read that says something else now; None: it does not."""
        reader = self._reader
        held = reader.picture.enrolments.get(read.tag, ())
        proved = prove(reader.keyring, held, read.tag, _body(read.body).sun, read.told_at)
        if proved.proof == read.proof:
            return None
        self._judged.touch(connection, read.site_id, read.checkpoint_id, [read.told_at])
        for rival in prove_again(connection, read, proved):
            self._judged.touch(connection, rival.site_id, rival.checkpoint_id, [rival.at])
        place = reader.picture.place(read.site_id, read.tag, read.told_at)
        if not place.proof:
            return []
        identity = str(Identity(read.device, read.epoch, read.seq))
        data = {"device": read.device, "checkpoint": place.slug, "tag": read.tag}
        return [unproven_tag(read.site, identity, read.told_at, Proof(proved.proof), data)]
