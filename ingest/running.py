"""One process of the service: from its settings until it is told to stop."""

import asyncio
import gc
import signal
import sys
from dataclasses import replace

import uvloop

from ingest.beginning import begin
from ingest.holding import Holding
from ingest.ledger import Ledger
from ingest.logs import log_from
from ingest.service import PARTS, Parts, Service
from ingest.standby import may_serve, may_work, until_taken
from store import workers
from store.brokers import trust
from store.database import check_schema, ledger_path, open_engine
from store.keyring import keyring
from store.lock import LedgerLock
from store.settings import Settings

SWITCH_S = 0.0005
"""How long one of our threads may keep the interpreter from another. With Python's 5 ms the loop
gets it late, turn after turn, behind the writer and the readers: at 2,000 check-ins a second, this
brought the median of a call for help to a third and less. A check-in costs the same."""
GC_AFTER = 50_000
"""Objects more than were freed before the collector looks for cycles; Python's default is 700."""


def run(settings: Settings, parts: Parts = PARTS) -> None:
    """Run the service until SIGTERM or SIGINT.

    Raises `SchemaOutdated` where the ledger needs `gridbeat db upgrade`, `TrustRefused` where
    `mqtt_ca_file` cannot be used, `KeyringError` where the tags' master keys cannot be read,
    `LedgerInUse` where another service works on the ledger, `BrokerTaken` where one is at the
    broker, and OSError where the HTTP address is taken. A broker that cannot be reached is waited
    for.
    """
    sys.setswitchinterval(SWITCH_S)
    _quiet_collector()
    log_from(settings.log_level)
    engine = open_engine(settings.database_url)
    check_schema(engine)
    trust(settings.mqtt_url, settings.mqtt_ca_file)
    parts = replace(parts, keyring=keyring(settings))
    words = f"gridbeat ingest {settings.instance} with {settings.mqtt_url}"
    lock = LedgerLock(ledger_path(engine), words)
    ledger = Ledger(engine)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings, ledger, lock, parts))
    finally:
        ledger.close()
        engine.dispose()
        lock.release()


def _quiet_collector() -> None:
    """What imports left goes; from here on the collector looks seldom.

    Neither the picture of the registry nor a batch, some ten thousand objects that die with it, has
    a cycle: while a district's is loaded, looking for them took longer than loading it.
    """
    gc.collect()
    gc.set_threshold(GC_AFTER, 10, 10)


async def _run(settings: Settings, ledger: Ledger, lock: LedgerLock, parts: Parts) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    if not await may_work(lock, settings, stopping):
        return
    holding = Holding(settings, await ledger.read(workers.ledger_uuid))
    async with holding.kept():
        while await may_serve(holding, settings, stopping):
            begun = await begin(settings, ledger, parts.clock)
            gc.freeze()  # what was made until now stays: it need not be walked again and again
            async with until_taken(holding, stopping) as ending:
                await Service(settings, ledger, begun, holding, parts).run(ending)
