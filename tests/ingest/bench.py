"""The reader and the writer on a real ledger, without a broker: deliveries in, rows out."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from devices import topics
from devices.ids import Instant
from ingest.committed import Committed
from ingest.judged import Judged
from ingest.reader import Item, Reader
from ingest.source import MAIN, SOS, Delivery
from ingest.writer import Writer
from store import workers
from store.arrivals import ArrivalBook
from store.database import reading, writing
from tests.ingest.school import DOCUMENT, up
from tests.store.registries import NOW, Ledger, a_ledger

MARKER = topics.marker("test")


def delivery(topic: str, said: Any, *, retained: bool = False) -> Delivery:
    """What the broker brings: through the sos session where that reads it."""
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    session = SOS if topic.endswith("/sos") else MAIN
    return Delivery(session, topic, payload, retained, (1, 1))


def marker(at: Instant) -> Delivery:
    """Our own marker, come back."""
    return delivery(MARKER, {"now": at})


class Bench:
    """One instance's way in. `at` is our clock."""

    def __init__(self, ledger: Ledger, at: Instant) -> None:
        self.ledger = ledger
        self.at = at
        self.restart()

    def restart(self) -> None:
        """What a new process begins with: nothing remembered beside the ledger."""
        with writing(self.ledger.engine) as connection:
            workers.start_worker(connection, "test", "system", self.at)
            before = workers.worker(connection, "test")
            judged = Judged()
            judged.load(connection)
        after = before["marker_at"] if before and before["marker_at"] else self.at
        book = ArrivalBook(after, steps=True)
        self.writer = Writer(self.ledger.engine, "test", judged, book, None, sampling=True)
        self.reader = Reader(picture=self.ledger.picture(), marker=MARKER, after=after)

    def read(self, *deliveries: Delivery) -> list[Item]:
        """The items of deliveries received now."""
        return [item for each in deliveries for item in self.reader.read(each, self.at)]

    def take(self, *deliveries: Delivery) -> Committed:
        """Read and commit one batch."""
        return self.writer.commit(self.read(*deliveries), self.at)

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """A question to the ledger."""
        with reading(self.ledger.engine) as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def latest(self, *, but: Sequence[str] = ()) -> dict[tuple[str, str], tuple[Any, ...]]:
        """The revision that holds of every event that was not withdrawn, without when it was
        seen."""
        found = {}
        for row in self.rows("SELECT kind, subject, state, at, data FROM event ORDER BY revision"):
            found[row[0], row[1]] = (row[2], row[3], json.loads(row[4]))
        return {
            key: value
            for key, value in found.items()
            if key[0] not in but and not value[2].get("withdrawn")
        }


@contextmanager
def a_bench(folder: Path, document: dict[str, Any] | None = None) -> Iterator[Bench]:
    """A bench on a new ledger with the school's registry."""
    with a_ledger(folder) as ledger:
        ledger.apply(DOCUMENT if document is None else document)
        yield Bench(ledger, NOW + 60_000)


__all__ = ["MARKER", "NOW", "Bench", "a_bench", "delivery", "marker", "up"]
