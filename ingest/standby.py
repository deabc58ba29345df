"""Before serving a ledger and a broker, and when somebody else does: stop and say so, or wait in
silence."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress

import structlog

from ingest.claims import Claim, Standing
from ingest.health import Health
from ingest.holding import Holding
from ingest.http import serving
from ingest.supervisor import Supervisor
from store.lock import LedgerInUse, LedgerLock, holder, in_use
from store.settings import Settings, WhenTaken

log = structlog.get_logger()

LOOK_S = 0.2
"""How often a lock that somebody holds is tried."""
LOOKS_S = 1.0


class BrokerTaken(Exception):  # noqa: N818  (the operator's message, not a fault of the code)
    """Another service serves this broker. The message says which, and what to do."""


async def may_work(lock: LedgerLock, settings: Settings, stop: asyncio.Event) -> bool:
    """Wait until nobody else works on the ledger; False when told to stop before that.

    Raises `LedgerInUse` where somebody does and we are not to wait for its end.
    """
    if await _taken(lock, stop, LOOKS_S):  # `doctor` looks at the lock for a moment, too
        return True
    by = holder(lock.path)
    who = "another program works on this ledger" if by is None else in_use(lock.path, by)
    if settings.when_taken is WhenTaken.STOP and not stop.is_set():
        raise LedgerInUse(
            f"{who}; two would each keep and receipt what the other does not know. Or start this "
            "one with GRIDBEAT_WHEN_TAKEN=silent: it waits, and steps in when the other is gone"
        )
    log.warning("service.silent", because=who, next="it steps in when the other one is gone")
    async with _waiting(settings, f"silent: {who}; this one steps in when that is gone"):
        return await _taken(lock, stop, None)


async def _taken(lock: LedgerLock, stop: asyncio.Event, patience_s: float | None) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            while not stop.is_set() and not lock.take():
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), LOOK_S)
    return not stop.is_set() and lock.take()


async def may_serve(holding: Holding, settings: Settings, stopping: asyncio.Event) -> bool:
    """Wait until nobody else serves the broker; False when told to stop before that.

    A broker that cannot be reached keeps nobody from working on the ledger: True. Raises
    `BrokerTaken` where another service is there and we are not to wait for its end.
    """
    await first(holding.tried.wait(), stopping.wait())
    if stopping.is_set() or holding.standing is not Standing.TAKEN:
        return not stopping.is_set()
    who = _words(holding.holder)
    if settings.when_taken is WhenTaken.STOP:
        raise BrokerTaken(
            f"{who}; two would both tell the handhelds what is kept. Stop that one first, or start "
            "this one with GRIDBEAT_WHEN_TAKEN=silent: it waits, and steps in when the other is "
            "gone"
        )
    log.warning("service.silent", because=who, next="it steps in when the other one is gone")
    async with _waiting(settings, f"silent: {who}; this one steps in when that is gone"):
        await first(holding.until(Standing.HELD), stopping.wait())
    return not stopping.is_set()


@asynccontextmanager
async def until_taken(holding: Holding, stopping: asyncio.Event) -> AsyncIterator[asyncio.Event]:
    """An event that is set when we are to stop, or when somebody else serves the broker."""
    ending = asyncio.Event()

    async def end() -> None:
        await first(holding.until(Standing.TAKEN), stopping.wait())
        ending.set()

    watching = asyncio.create_task(end(), name="until-taken")
    try:
        yield ending
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def first(*awaitables: Awaitable[object]) -> None:
    """Wait for the first of them; the others are waited for no more."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def _waiting(settings: Settings, why: str) -> AsyncIterator[None]:
    """Be alive, and not ready, for whoever asks."""
    health = Health()
    health.because("broker", why)
    supervisor = Supervisor.of(os.environ)
    async with serving(settings.http_address, health, lambda: 0):
        supervisor.tell("READY=1")
        telling = asyncio.create_task(supervisor.keep_told(health, marked=False))
        try:
            yield
        finally:
            telling.cancel()


def _words(holder: Claim | None) -> str:
    if holder is None:
        return "another Gridbeat serves this broker"
    return (
        f"another Gridbeat serves this broker: instance {holder.instance} on {holder.host}, "
        f"process {holder.pid}, ledger {holder.ledger[:8]}"
    )
