"""Marks in the ledger: raised, withdrawn, the same whatever order reads come in."""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, select

from devices.ids import Instant
from store import obligations, registry
from store.arrivals import ArrivalBook
from store.database import open_engine, reading, writing
from store.doubts import DOUBT, MarkBook
from store.entries import EntryKind, EntryRow, append, next_id
from store.events import EVENT, raise_notices
from store.listings import CHECKPOINT, DEVICE
from store.marks import MARK, look, resolve
from store.picture import load_picture
from tests.blank import blank
from tests.filled import at

NOW = at("2026-09-01T00:00:00+08:00")
OPENS = at("2026-09-01T22:00:00+08:00")
SECOND = 1_000
REGISTRY = """\
calendar: every-day
grids:
  - {id: bureau, name: B, tree: sector, level: 1}
  - {id: street, name: S, tree: territory, level: 1}
sites:
  - id: school
    name: School
    timezone: Asia/Shanghai
    belongs_to: [bureau, street]
    checkpoints:
      - {id: a, name: A, tags: ["04AA"], pos: {lat: 39.74, lon: 118.70}}
      - {id: b, name: B, tags: ["04BB"], pos: {lat: 39.742, lon: 118.70}}
      - {id: c, name: C, tags: ["04CC"]}
    devices: [{id: h1}, {id: h2}]
    plans:
      - {id: p, name: P, route: [a, b, c], ordered: true, windows: ["22:00-23:00"], min_gap: 20s}
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    url = blank(tmp_path / "gridbeat.db")
    engine = open_engine(url)
    document = registry.read_document(REGISTRY.encode())
    registry.apply(engine, document, now=NOW, author="t", source="t.yaml")
    with writing(engine) as connection:
        obligations.take_up(connection, None)
        for version in obligations.in_force(connection, NOW):
            obligations.write(connection, version, version.owed(NOW, OPENS + 3_600_000))
    yield engine
    engine.dispose()


class Site:
    """Reads as the writer takes them, each looked at when its span has closed."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.seq = connection, 0
        self.book = MarkBook(picture=load_picture(connection))
        self.plans = obligations.Plans()
        self.devices = self._ids(DEVICE)
        self.points = self._ids(CHECKPOINT)

    def _ids(self, table: object) -> dict[str, int]:
        columns = table.c  # type: ignore[attr-defined]
        return {
            row.slug: row.id for row in self.connection.execute(select(columns.slug, columns.id))
        }

    def read(self, device: str, checkpoint: str, when: Instant) -> None:
        """One read, committed, its doubts resolved."""
        entry, self.seq = next_id(self.connection), self.seq + 1
        arrivals = ArrivalBook(when)
        row = EntryRow(
            kind=EntryKind.CHECKIN,
            device_id=self.devices[device],
            epoch=0,
            seq=when - OPENS,
            site_id=1,
            checkpoint_id=self.points[checkpoint],
            person_id=None,
            at=when,
            sent=when,
            received_at=when,
            tag=f"04{checkpoint.upper() * 2}",
            via=1,
            digest=1,
            body=None,
        )
        append(self.connection, [row], entry, arrivals.span(self.connection, entry))
        self.book.read(row)
        self.book.flush(self.connection)
        arrivals.close(self.connection, when + SECOND)
        more = True
        while more:
            looked = look(self.connection, self.plans, 10)
            raise_notices(self.connection, resolve(self.connection, looked), when)
            more = looked.more

    def marks(self) -> set[tuple[str, int]]:
        """The marks that hold: kind and ms after the round opened."""
        query = select(MARK.c.kind, MARK.c.at)
        return {(row.kind, row.at - OPENS) for row in self.connection.execute(query)}

    def events(self) -> dict[tuple[str, str], str]:
        """The events' latest states."""
        query = select(EVENT.c.kind, EVENT.c.subject, EVENT.c.state).order_by(EVENT.c.revision)
        rows = self.connection.execute(query.where(EVENT.c.kind.startswith("checkin.")))
        return {(row.kind, row.subject): row.state for row in rows}


def test_the_missing_first_checkpoint_arrives_late(engine: Engine) -> None:
    """Out of order is raised at once, and withdrawn when what was missing comes in."""
    with writing(engine) as connection:
        site = Site(connection)
        site.read("h1", "b", OPENS + 600 * SECOND)
        subject = ("checkin.out-of-order", f"h1/0/{600 * SECOND}")
        assert site.events() == {subject: "open"}
        site.read("h2", "a", OPENS + 60 * SECOND)
        assert site.events() == {subject: "resolved"}
        assert site.marks() == set()
        latest = select(EVENT.c.data).order_by(EVENT.c.id.desc()).limit(1)
        assert connection.execute(latest).scalar_one()["withdrawn"] is True


READS = (
    ("h1", "a", 60 * SECOND),
    ("h1", "b", 70 * SECOND),
    ("h2", "b", 100 * SECOND),
    ("h1", "c", 300 * SECOND),
)
MARKS = {("too-fast", 70 * SECOND), ("same-tag-two-devices", 100 * SECOND)}


@pytest.mark.parametrize("order", list(permutations(range(4)))[::5])
def test_marks_do_not_hang_on_the_order_of_arrival(engine: Engine, order: tuple[int, ...]) -> None:
    """The same reads leave the same marks, and the same events open (law 3)."""
    with writing(engine) as connection:
        site = Site(connection)
        for index in order:
            device, checkpoint, after = READS[index]
            site.read(device, checkpoint, OPENS + after)
        assert site.marks() == MARKS
        still = {key[0].removeprefix("checkin.") for key, s in site.events().items() if s == "open"}
        assert still == {kind for kind, _ in MARKS}


def test_a_quiet_walk_is_not_looked_at(engine: Engine) -> None:
    """Reads at an ordinary pace cost no question to the ledger, once the start is past."""
    with writing(engine) as connection:
        book = MarkBook(picture=load_picture(connection))
        site = Site(connection)
        book.picture = site.book.picture
        row = EntryRow(*[None] * len(EntryRow._fields))._replace(  # type: ignore[arg-type]
            kind=1, device_id=1, site_id=99, checkpoint_id=3, at=OPENS, received_at=OPENS, tag="x"
        )
        book.read(row)
        later = OPENS + 7_200_000
        for n in range(5):
            book.read(row._replace(at=later + n * 120_000, checkpoint_id=3 + n % 2))
        book.flush(connection)
        assert len(connection.execute(select(DOUBT)).all()) == 1


def test_what_a_device_that_floods_did_is_told_and_written_once(engine: Engine) -> None:
    """Its site is looked at beside the writer, which writes no mark again that stands."""
    with writing(engine) as connection:
        site = Site(connection)
        for n in range(50):
            site.read("h1", "ab"[n % 2], OPENS + n * SECOND)
        site.book.doubt(1, OPENS)
        site.book.flush(connection)
    with reading(engine) as connection:
        looked = look(connection, obligations.Plans(), 10)
    [(_, found)] = looked.found
    assert len(found) == 49
    with writing(engine) as connection:
        driver = connection.connection.driver_connection
        before = driver.total_changes
        assert resolve(connection, looked) == []
        assert driver.total_changes - before == len(looked.doubts) == 1
