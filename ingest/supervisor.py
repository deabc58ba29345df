"""What is told to the supervisor that started us: systemd, with `Type=notify` and `WatchdogSec=`.

The protocol is sd_notify(3): a datagram to the socket that NOTIFY_SOCKET names. Whoever started us
otherwise names none, and nothing is told.

The watchdog is fed by the pipeline's own progress. Our marker comes back through it each second, so
it always gets on, unless it hangs or something stands in its way that we know of and that a restart
would not mend: a broker that is away, a full disk, a ledger somebody holds.
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress

from ingest.health import Health

PINGS = 3
"""Within the time the watchdog allows: one that is late or lost is not yet the end."""
TELL_S = 5.0
"""How often the status is told where there is no watchdog."""


class Supervisor:
    """The way to whoever started us. `address` None: nobody listens."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self._address = None if address is None else address.replace("@", "\0", 1)
        self._watchdog_s = watchdog_s

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Supervisor":
        """The one that `environment` names; its watchdog only where it is meant for us."""
        micros = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_s = int(micros) / 1e6 if micros.isdigit() and meant else None
        return cls(environment.get("NOTIFY_SOCKET") or None, watchdog_s)

    def tell(self, *words: str) -> None:
        """Say `READY=1`, `STOPPING=1` or the like. One that is gone is no fault of ours."""
        if self._address is None:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
            way.connect(self._address)
            way.sendall("\n".join(words).encode())

    async def keep_told(self, health: Health, *, marked: bool) -> None:
        """Tell how we are, and feed the watchdog for as long as the pipeline gets on.

        `marked`: our own markers come back through it. With a simulator's clock they do not, and
        the pipeline may rightly have nothing to do.
        """
        seen = -1
        while True:
            batches, why = health.batches, health.unready
            words = [f"STATUS={'; '.join(why) or 'ready'}"]
            if batches != seen or why or not marked:
                words.append("WATCHDOG=1")
            seen = batches
            self.tell(*words)
            await asyncio.sleep(TELL_S if self._watchdog_s is None else self._watchdog_s / PINGS)
