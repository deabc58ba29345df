"""Services that are broken on purpose: what the checker must catch, or it proves nothing.

A part is replaced where the service is put together; what stands deeper, in its text
(`tests.laws.copies`); and some break only because their ledger is touched at each start.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from msgspec import structs

from ingest.reader import Taken
from ingest.service import PARTS, Parts
from ingest.writer import Committed, Covered, Writer


class EarlyWriter(Writer):
    """Says that a batch is kept, so that it is acknowledged and receipted, and commits each second:
    faster than the real one."""

    _late: tuple[Any, ...] = ()
    _next = 0.0

    def commit(self, items: Any, now: int) -> Committed:
        self._late += tuple(items)
        done = Committed()
        if monotonic() >= self._next:
            done = super().commit(self._late, now)
            self._late, self._next = (), monotonic() + 1.0
        for item in items:
            if isinstance(item, Taken):
                key = (item.identity.device, item.identity.epoch)
                before = done.receipts.get(key)
                upto = max(item.identity.seq, -1 if before is None else before.upto)
                done.receipts[key] = Covered(site=item.site.slug, upto=upto, missing=())
        return done


class HastyWriter(Writer):
    """Receipts run ahead of what is on disk."""

    def commit(self, items: Any, now: int) -> Committed:
        done = super().commit(items, now)
        ahead = {
            k: structs.replace(c, upto=c.upto + 3, missing=()) for k, c in done.receipts.items()
        }
        done.receipts.update(ahead)
        return done


@dataclass(frozen=True, kw_only=True)
class Broken:
    """How one is made. `text`: module, the passage, the other passage. `sql`: at each start."""

    parts: Parts = PARTS
    text: tuple[str, str, str] | None = None
    sql: str | None = None

    def run(self, parts: Callable[[Parts], Parts]) -> Callable[[Any], None]:
        """What runs the service with these settings."""
        if self.text is None:
            from ingest.running import run

            return lambda settings: run(settings, parts(self.parts))
        from tests.laws.copies import broken

        service = broken(*self.text, wanted=("ingest.running",))["ingest.running"]
        # the copy's own parts: those above are of the healthy rooms
        return lambda settings: service.run(settings, service.PARTS)


BROKEN: Mapping[str, Broken] = {
    "none": Broken(),
    "acks-before-commit": Broken(parts=replace(PARTS, writer=EarlyWriter)),
    "receipts-ahead": Broken(parts=replace(PARTS, writer=HastyWriter)),
    "no-dedupe": Broken(
        text=("store.entries", "ON CONFLICT (device_id, epoch, seq) DO NOTHING", ""),
        sql="DROP INDEX IF EXISTS entry_identity",
    ),
    "outbox-dropped": Broken(sql="DELETE FROM outbox"),
}
