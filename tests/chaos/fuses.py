"""The instants at which a service is killed, and the parts through which it passes them.

Each part is the real one with a fuse in it: at its `count`th passage of one named point the process
kills itself (SIGKILL), as if the machine had gone.
"""

import os
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from ingest.service import PARTS, Parts
from ingest.source import Delivery, Source
from ingest.writer import Committed, Writer
from store.series.ports import SeriesWriter
from store.settings import Settings


class Point(StrEnum):
    """Where a crash may tell most (issue 4)."""

    AFTER_RECEIVE = "after-receive"
    BEFORE_COMMIT = "before-commit"
    AFTER_COMMIT = "after-commit"
    BEFORE_ACKS = "before-acks"
    BETWEEN_BATCH_AND_CURSOR = "between-batch-and-cursor"
    BETWEEN_SEND_AND_MARK = "between-send-and-mark"


@dataclass(slots=True, kw_only=True)
class Fuse:
    """Burns at the `count`th passage of `point`; without a point, never."""

    point: str | None = None
    count: int = 1

    def passes(self, point: Point) -> None:
        if point != self.point:
            return
        self.count -= 1
        if self.count <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


class FusedSource:
    """A source of messages, whichever it is."""

    def __init__(self, inner: Source, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    async def take(self, limit: int) -> Sequence[Delivery]:
        taken = await self._inner.take(limit)
        self._fuse.passes(Point.AFTER_RECEIVE)
        return taken

    def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        self._fuse.passes(Point.BEFORE_ACKS)
        self._inner.acknowledge(deliveries)

    def publish(self, topic: str, payload: bytes, **how: Any) -> Any:
        sending = self._inner.publish(topic, payload, **how)
        return _FusedSending(sending, self._fuse) if "/events/" in topic else sending

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _FusedSending:
    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    async def done(self, timeout_s: float) -> bool:
        taken = await self._inner.done(timeout_s)
        if taken:
            self._fuse.passes(Point.BETWEEN_SEND_AND_MARK)
        return bool(taken)


class FusedSeries:
    """A writer of the series: what it wrote is there, and no cursor says so yet."""

    def __init__(self, inner: SeriesWriter, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    async def write(self, lines: Sequence[str]) -> None:
        await self._inner.write(lines)
        if lines:
            self._fuse.passes(Point.BETWEEN_BATCH_AND_CURSOR)

    async def close(self) -> None:
        await self._inner.close()


class FusedWriter(Writer):
    """The writer of the ledger."""

    fuse = Fuse()

    def commit(self, items: Any, now: int) -> Committed:
        self.fuse.passes(Point.BEFORE_COMMIT)
        done = super().commit(items, now)
        self.fuse.passes(Point.AFTER_COMMIT)
        return done


def fused(fuse: Fuse, parts: Parts = PARTS) -> Parts:
    """`parts` with the fuse in each."""

    def source(*args: Any, **named: Any) -> Any:
        return FusedSource(parts.source(*args, **named), fuse)

    def series(settings: Settings) -> Any:
        writer = parts.series(settings)
        return None if writer is None else FusedSeries(writer, fuse)

    def writer(base: Any, *args: Any, **named: Any) -> Any:
        made = type("Fused", (FusedWriter, base), {"fuse": fuse})
        return made(*args, **named)

    return Parts(source=source, writer=partial(writer, parts.writer), series=series)
