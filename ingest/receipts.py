"""Receipts: what is on disk, told to the device that may now forget it.

They are cumulative, so QoS 0 is enough and the newest says all. A device that sends much gets one in
`APART_S`; every input is answered within a second (contract §3).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

from devices import codec, topics
from devices.messages import Receipt
from ingest.clock import SystemClock, TickClock
from ingest.source import Source
from ingest.writer import Covered
from store.coverages import Key

APART_S = 0.1
REMEMBERED = 20_000
"""Devices whose last receipt is remembered; what is forgotten only costs one receipt too early."""


class Receipts:
    """Tells devices what is kept."""

    def __init__(self, source: Source, clock: SystemClock | TickClock, ledger: str) -> None:
        self._source = source
        self._clock = clock
        self._ledger = ledger
        self._waiting: dict[Key, Covered] = {}
        self._photos: dict[str, list[str]] = {}
        self._last: OrderedDict[Key, float] = OrderedDict()

    def tell(self, receipts: Mapping[Key, Covered], photos: Mapping[str, list[str]]) -> None:
        """Tell each device now, or, where it was told a moment ago, soon."""
        loop = asyncio.get_running_loop()
        for device, names in photos.items():
            self._photos.setdefault(device, []).extend(names)
        for key, covered in receipts.items():
            due = self._last.get(key, 0.0) + APART_S
            if key not in self._waiting:
                if due <= loop.time():
                    loop.call_soon(self._send, key)
                else:
                    loop.call_at(due, self._send, key)
            self._waiting[key] = covered

    def _send(self, key: Key) -> None:
        covered = self._waiting.pop(key)
        device, epoch = key
        receipt = Receipt(
            ledger=self._ledger,
            epoch=epoch,
            upto=covered.upto,
            missing=covered.missing,
            photos=tuple(self._photos.pop(device, ())),
            now=self._clock.now(),
        )
        topic = topics.receipt(covered.site, device)
        self._source.publish(topic, codec.encode_receipt(receipt), qos=0)
        self._last[key] = asyncio.get_running_loop().time()
        self._last.move_to_end(key)
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)
