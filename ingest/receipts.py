"""Receipts: what is on disk, told to the device that may now forget it.

They are cumulative, so QoS 0 is enough and the newest says all. They leave in rounds `APART_S`
apart: one who speaks after a silence is answered at once, one who sends much gets one a round. The
contract (§3) asks for an answer within a second.
"""

import asyncio
from collections.abc import Mapping

from devices import codec, topics
from devices.messages import Receipt
from ingest.clock import SystemClock, TickClock
from ingest.committed import Covered
from ingest.source import Source
from store.coverages import Key

APART_S = 0.1
"""Less costs the service and the broker a message more; more holds up a device that empties its
store, which has at most 20 records under way. So long, too, until the next look where nothing can
be said, as when a session is there before the connection on which we speak."""


class Receipts:
    """Tells devices what is kept in `ledger`, by its name."""

    def __init__(self, source: Source, clock: SystemClock | TickClock, ledger: str) -> None:
        self._source = source
        self._clock = clock
        self.ledger = ledger
        self._waiting: dict[Key, Covered] = {}
        self._photos: dict[str, list[str]] = {}
        self._next = 0.0  # when the next round may leave, on the loop's clock

    def tell(self, receipts: Mapping[Key, Covered], photos: Mapping[str, list[str]]) -> None:
        """Tell the devices now, or, where others were told a moment ago, soon."""
        for device, names in photos.items():
            self._photos.setdefault(device, []).extend(names)
        if receipts and not self._waiting:
            asyncio.get_running_loop().call_at(self._next, self._leave)
        for key, covered in receipts.items():
            before = self._waiting.get(key)
            self._waiting[key] = covered if before is None else covered.after(before)

    def _leave(self) -> None:
        loop = asyncio.get_running_loop()
        self._next = loop.time() + APART_S
        if not self._source.can_publish:  # said now it were gone, and the device would ask in 30 s
            loop.call_at(self._next, self._leave)
            return
        waiting, self._waiting = self._waiting, {}
        for key, covered in waiting.items():
            self._send(key, covered)

    def _send(self, key: Key, covered: Covered) -> None:
        device, epoch = key
        receipt = Receipt(
            ledger=self.ledger,
            epoch=epoch,
            upto=covered.upto,
            missing=covered.missing,
            photos=tuple(self._photos.pop(device, ())),
            now=self._clock.now(),
        )
        for site in (covered.site, *sorted(covered.besides)):
            topic = topics.receipt(site, device)
            self._source.publish(topic, codec.encode_receipt(receipt), qos=0)
