"""When messages arrived, and what closing a span corrects (contract §6; docs/decisions/0009)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, select

from devices.ids import Instant
from rules.clocks import SKEWED
from store.arrivals import CORRECTION, ArrivalBook
from store.database import open_engine, writing
from store.entries import EntryKind, EntryRow, append, next_id
from store.lags import Heard
from store.listings import DEVICE, SITE
from store.skews import SkewBook
from tests.filled import at, fill

START = at("2026-09-02T09:00:00+08:00")
SECOND, MINUTE = 1_000, 60_000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(fill(tmp_path))
    yield engine
    engine.dispose()


class Stream:
    """Check-ins of one device, each in a span of a second, as the writer keeps them."""

    def __init__(self, connection: Connection, book: ArrivalBook) -> None:
        self.connection, self.book, self.seq = connection, book, 100
        self.device = connection.execute(select(DEVICE.c.id)).scalars().first() or 0
        self.site = connection.execute(select(SITE.c.id)).scalars().first() or 0

    def read(
        self,
        when: Instant,
        told_at: Instant,
        sent: Instant,
        body: str | None = None,
        came: Instant | None = None,
    ) -> int:
        """A read that arrived in [when, when + 1 s]; returns its entry. `came`: when the marker
        after it was back."""
        self.book.close(self.connection, when)
        self.seq, entry = self.seq + 1, next_id(self.connection)
        row = EntryRow(
            kind=EntryKind.CHECKIN,
            device_id=self.device,
            epoch=0,
            seq=self.seq,
            site_id=self.site,
            checkpoint_id=None,
            person_id=None,
            at=told_at,
            sent=sent,
            received_at=when + 500,
            tag="04",
            via=1,
            digest=1,
            body=body,
        )
        append(self.connection, [row], entry, self.book.span(self.connection, entry))
        self.book.hear(self.device, Heard(sent, sent, 1), odd=body is not None)
        self.closed = self.book.close(self.connection, when + SECOND, came)
        return entry

    def corrected(self, entry: int) -> tuple[Instant, str] | None:
        """The third time of an entry and how it was found."""
        query = select(CORRECTION.c.at, CORRECTION.c.how).where(CORRECTION.c.entry_id == entry)
        row = self.connection.execute(query).first()
        return None if row is None else (row.at, row.how)


def test_a_marker_that_was_long_on_its_way_calls_no_clock_ahead(engine: Engine) -> None:
    """What was sent after a marker left and came in before it came back may well be right; what
    was sent after that is ahead, of the same span, and alone is looked at."""
    with writing(engine) as connection:
        stream = Stream(connection, ArrivalBook(START))
        came = START + SECOND + 400
        right = stream.read(START, START, came, came=came)
        ahead = stream.read(START + SECOND, START, came + SECOND + 1, came=came + SECOND)
        assert stream.corrected(right) is None
        assert stream.corrected(ahead) == (START - 1, "ahead")


def test_a_clock_that_is_ahead_is_moved_back(engine: Engine) -> None:
    """What was sent after its span's end happened that much earlier than its device says."""
    with writing(engine) as connection:
        stream = Stream(connection, ArrivalBook(START))
        entry = stream.read(START, START + 9 * MINUTE, START + 10 * MINUTE)
        moved = START + 9 * MINUTE - (10 * MINUTE - SECOND)
        assert stream.corrected(entry) == (moved, "ahead")
        assert [found.at for found in stream.closed.moved] == [moved]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_slow_clock_is_known_by_ten_minutes_of_messages(engine: Engine, restarted: bool) -> None:
    """The third live message with the same lag is moved forward, over a restart too (law 8)."""
    lag = 20 * MINUTE
    with writing(engine) as connection:
        stream = Stream(connection, ArrivalBook(START))
        for minute in range(3):
            if restarted:
                stream.book = ArrivalBook(START)
            when = START + minute * MINUTE
            entry = stream.read(when, when - lag - 5 * SECOND, when - lag)
            found = stream.corrected(entry)
            assert found == (None if minute < 2 else (when - 5 * SECOND, "slow"))


def test_messages_that_come_out_of_a_queue_are_not_slow(engine: Engine) -> None:
    """Delays differ: what was held up keeps its own time."""
    with writing(engine) as connection:
        stream = Stream(connection, ArrivalBook(START))
        for minute in range(4):
            sent = START - 20 * MINUTE - 4 * minute * MINUTE
            entry = stream.read(START + minute * MINUTE, sent, sent)
            assert stream.corrected(entry) is None


def test_the_uptime_counts_where_the_clock_was_set_in_between(engine: Engine) -> None:
    """A clock put right between read and sending tells a wrong `at`; the record's age does not."""
    with writing(engine) as connection:
        stream = Stream(connection, ArrivalBook(START))
        body = '{"up":1000,"sent_up":601000}'
        entry = stream.read(START, START - 9 * 3_600_000, START + 200, body)
        assert stream.corrected(entry) == (START + 200 - 600_000, "uptime")


def test_a_wrong_clock_is_told_once_and_resolved(engine: Engine) -> None:
    """Beyond five minutes somebody is told; when the clock is right again, it is over."""
    with writing(engine) as connection:
        stream, skews = Stream(connection, ArrivalBook(START)), SkewBook()
        told = []
        for minute, ahead in enumerate((SKEWED, SKEWED + 2 * SECOND, SKEWED + 3 * SECOND, 0)):
            when = START + minute * MINUTE
            stream.read(when, when, when + SECOND + ahead)
            told.append(skews.turns(connection, stream.closed.skews, when))
        assert [[notice.state for notice in turn] for turn in told] == [
            [],
            ["open"],
            [],
            ["resolved"],
        ]
        assert told[1][0].subject == told[3][0].subject
