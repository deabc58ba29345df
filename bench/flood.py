"""What a device that sends rubbish costs the others: CPU of the writer, beside a good check-in's.

    python bench/flood.py [--messages N] [--batch N]

The reader and the writer on a ledger, without a broker, in this process: `us` is CPU (all of the
process) for one message of each kind, `ratio` that over a good check-in's. Everything is read,
placed, committed and counted as in the service. *garbage* cannot be read: from the thousand and
first on it is only counted. *schema* says who it is, and no tag. *conflict* is another
content under a known identity, *unknown-tag* a tag that nobody registered: both make an event each.
JSON goes to stdout.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.load import Handheld
from bench.stand import Stand, fleet, wall
from bench.told import add_out, conclude
from devices import topics
from ingest.judged import Judged
from ingest.reader import Reader
from ingest.source import MAIN, Delivery
from ingest.writer import Writer
from store import workers
from store.arrivals import ArrivalBook
from store.database import open_engine, writing
from store.picture import load_picture

Make = Callable[[Handheld, int, int], bytes]
"""The bytes of a device's message of that number, at that time (ms since the epoch)."""


def _checkin(handheld: Handheld, number: int, at: int, **more: object) -> bytes:
    tag = handheld.tags[number % len(handheld.tags)]
    said = {"seq": number, "at": at, "sent": at, "tag": tag, "person": handheld.person}
    return json.dumps({**said, **more}).encode()


KINDS: Mapping[str, Make] = {
    "checkin": _checkin,
    "garbage": lambda _, number, at: b"garbage %d at %d" % (number, at),
    "schema": lambda h, number, at: _checkin(h, number, at, epoch=1, tag=[number]),
    "unknown-tag": lambda h, number, at: _checkin(h, number, at, epoch=2, tag=f"04{number:010X}"),
    "conflict": lambda h, number, at: _checkin(h, number, at, bat=1),
}


def measure(asked: argparse.Namespace) -> dict[str, object]:
    """Each kind in turn, from one device."""
    with tempfile.TemporaryDirectory(prefix="gridbeat-bench-") as name:
        stand = Stand(Path(name), fleet(5))
        handheld, engine = stand.fleet[0], open_engine(f"sqlite:///{stand.database}")
        now, instance, judged = wall(), "bench", Judged()
        with writing(engine) as connection:
            workers.start_worker(connection, instance, "system", now)
            judged.load(connection)
            picture = load_picture(connection)
        book = ArrivalBook(now, steps=True)
        writer = Writer(engine, instance, judged, book, None, sampling=False)
        writer.books.marks.picture = picture
        reader = Reader(picture=picture, marker=topics.marker(instance))
        topic = f"patrol/v1/{handheld.site}/{handheld.slug}/up/checkin"
        us: dict[str, float] = {}
        for kind, make in KINDS.items():
            used = 0.0
            for start in range(0, asked.messages, asked.batch):
                numbers = range(start, min(start + asked.batch, asked.messages))
                said = [
                    Delivery(MAIN, topic, make(handheld, n, now + n), False, (1, 1))
                    for n in numbers
                ]
                began = time.process_time()
                items = [item for delivery in said for item in reader.read(delivery, now)]
                writer.commit(items, now)
                used += time.process_time() - began
            us[kind] = used / asked.messages * 1e6
        engine.dispose()
    return {
        "us": {kind: round(cost, 1) for kind, cost in us.items()},
        "ratio": {kind: round(cost / us["checkin"], 2) for kind, cost in us.items()},
        "messages": asked.messages,
        "batch": asked.batch,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=5_000, help="of each kind")
    parser.add_argument("--batch", type=int, default=500)
    add_out(parser)
    asked = parser.parse_args()
    if min(asked.messages, asked.batch) < 1:
        parser.error("at least one")
    conclude(measure(asked), asked.out)


if __name__ == "__main__":
    main()
