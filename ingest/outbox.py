"""The outbox: events leave for MQTT only after their commit, the gravest first, and until taken.

An event may be told twice (a crash between the broker's word and ours); its id is the same.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import structlog

from devices import codec, topics
from devices.ids import Instant
from devices.messages import EventMessage, EventState, Severity, Wording
from ingest.ledger import Ledger
from ingest.source import Source, taken
from store import events
from store.silencing import any_ended, drop_over

log = structlog.get_logger()

PAGE = 200
TAKEN_WITHIN_S = 10.0
RETRY_S = 1.0
MOST_GONE = 10 * PAGE
"""Events that were told and still stand in the outbox; a crash would have them told again."""


class Outbox:
    """Follows the outbox rows of MQTT. `poke` after a commit that wrote events.

    `now`: by which silences hold; without it none does.
    """

    def __init__(
        self, source: Source, ledger: Ledger, now: Callable[[], Instant] | None = None
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._now = now
        self._heard: Instant = 0  # silences that ended up to here have been dealt with
        self._some = asyncio.Event()
        self._some.set()
        self._gone: set[int] = set()  # told, but not yet forgotten
        self._went = asyncio.Event()
        self._forgot = asyncio.Event()

    def poke(self) -> None:
        """There may be something to tell."""
        self._some.set()

    async def run(self) -> None:
        """Tell events until cancelled."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._tell())
            both.create_task(self._forget())

    async def _tell(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            while await self._page():
                pass

    async def _page(self) -> bool:
        """Send one page; True when there may be another."""
        if not self._source.can_publish:
            await self._pause()
            return True
        now = None if self._now is None else self._now()
        await self._end_silences(now)
        gone = tuple(self._gone)
        pending = await self._ledger.read(lambda c: events.pending(c, events.MQTT, PAGE, now, gone))
        if not pending:
            return False
        publish = self._source.publish
        sendings = [
            (item.outbox_id, publish(*_publication(item.event), qos=1, overtaking=True))
            for item in pending
        ]
        went = await taken(sendings, TAKEN_WITHIN_S)
        self._gone.update(went)
        self._went.set()
        if len(went) < len(pending):
            log.warning("outbox.not_taken", events=len(pending) - len(went))
            await asyncio.sleep(RETRY_S)
        while len(self._gone) > MOST_GONE:
            self._forgot.clear()
            await self._forgot.wait()
        return True

    async def _forget(self) -> None:
        """Take what was told out of the outbox. The ledger's writer may be busy for a while: the
        next page is told meanwhile."""
        while True:
            await self._went.wait()
            self._went.clear()
            went = frozenset(self._gone)
            await self._ledger.write(partial(events.told, outbox_ids=went))
            self._gone -= went
            self._forgot.set()
            self._some.set()  # a new row may have the number of one that is gone

    async def _pause(self) -> None:
        """Until poked, as when the broker is back: what waited then has waited long enough."""
        self._some.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await self._some.wait()

    async def _end_silences(self, now: Instant | None) -> None:
        """Of what a silence held that is over now, keep what still is to be told."""
        if now is None:
            return
        since = self._heard
        if await self._ledger.read(lambda c: any_ended(c, since, now)):
            await self._ledger.write(lambda c: drop_over(c, now))
        self._heard = now


def _publication(row: Mapping[str, Any]) -> tuple[str, bytes]:
    site = row["site"] or "all"
    return topics.event(site, row["kind"]), codec.encode_event(message_of(row))


def message_of(row: Mapping[str, Any]) -> EventMessage:
    """The event as the wire tells it."""
    return EventMessage(
        id=row["event_id"],
        kind=row["kind"],
        severity=Severity(row["severity"]),
        site=row["site"] or "all",
        subject=row["subject"],
        at=row["at"],
        raised_at=row["raised_at"],
        revision=row["revision"],
        state=EventState(row["state"]),
        message=Wording(**row["message"]),
        data=row["data"],
    )
