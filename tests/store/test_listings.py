"""The queries behind the listings: filters, order, pages, and that no reader holds the ledger."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, text

from rules.notices import sos_raised
from store import listings, walking
from store.database import open_engine, reading, writing
from store.entries import ENTRY, EntryKind
from store.events import raise_notices
from store.walking import Filter, UnknownSite
from tests.filled import APPLIED, at, fill


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(fill(tmp_path))
    yield engine
    engine.dispose()


def test_without_filters_everything_is_shown(engine: Engine) -> None:
    """Each listing yields every row of its kind when nothing is asked for."""
    found = {
        query.__name__: len(list(query(engine, Filter())))
        for query in (
            listings.checkins,
            listings.rounds,
            listings.gaps,
            listings.events,
            listings.hazards,
            listings.devices,
            listings.quarantine,
        )
    }
    assert found == {
        "checkins": 4,
        "rounds": 2,
        "gaps": 1,
        "events": 6,
        "hazards": 1,
        "devices": 3,
        "quarantine": 1,
    }


def test_a_corrected_checkin_stands_at_its_corrected_time(engine: Engine) -> None:
    """`since` and `until` ask for the time that counts; the row holds all three."""
    corrected = at("2026-09-01T23:49:00.900+08:00")
    (row,) = listings.checkins(engine, Filter(since=corrected, until=corrected + 1))
    assert (row.seq, row.at, row.corrected_at, row.corrected_how) == (
        4,
        at("2026-09-01T23:59:00+08:00"),
        corrected,
        "ahead",
    )
    assert not list(listings.checkins(engine, Filter(since=row.at)))


def test_spans_are_half_open(engine: Engine) -> None:
    """A row at `since` is in, a row at `until` is out."""
    first = at("2026-09-01T22:05:00+08:00")
    assert [r.seq for r in listings.checkins(engine, Filter(since=first, until=first + 1))] == [1]
    assert not list(listings.checkins(engine, Filter(since=first - 1, until=first)))


def test_sites_are_kept_apart(engine: Engine) -> None:
    """A site's listing holds its own rows only; `all` asks for events without a site."""
    assert [r.id for r in listings.rounds(engine, Filter(site="school-02"))] == [
        "school-02/noon/2026-09-01T11:00:00Z"
    ]
    assert [r.kind for r in listings.events(engine, Filter(site="all"))] == ["service.gap"]
    assert [r.id for r in listings.devices(engine, Filter(site="school-02"))] == ["hh-0201"]
    assert not list(listings.quarantine(engine, Filter(site="school-02")))


def test_a_site_nobody_knows_is_said(engine: Engine) -> None:
    """A mistyped site is an error that names near ones, never an empty listing."""
    with pytest.raises(UnknownSite, match="school-01"):
        list(listings.rounds(engine, Filter(site="scool-01")))


def test_only_the_revision_that_holds(engine: Engine) -> None:
    """Of each (kind, subject) the highest revision is listed, or with `revisions` all of them."""
    copied = text(
        "INSERT INTO event (event_id, kind, severity, site_id, subject, at, raised_at, revision,"
        " state, message, data) SELECT 'again', kind, severity, site_id, subject, at, raised_at,"
        " 2, 'acknowledged', message, data FROM event WHERE kind = 'sos.raised'"
    )
    with writing(engine) as connection:
        connection.execute(copied)
    held = [r.revision for r in listings.events(engine, Filter()) if r.kind == "sos.raised"]
    every = [
        r.revision
        for r in listings.events(engine, Filter(), revisions=True)
        if r.kind == "sos.raised"
    ]
    assert (held, every) == ([2], [1, 2])


def test_what_is_told_late_is_found_by_when_it_was_told(engine: Engine) -> None:
    """An alarm of 20:00 that a handheld brings at 22:01 is among what was raised since 22:00."""
    made, told_at = at("2026-09-01T20:00+08:00"), at("2026-09-01T22:01+08:00")
    late = sos_raised("school-01", "hh-0101/0/9", made, device="hh-0101", data={})
    with writing(engine) as connection:
        raise_notices(connection, [late], told_at)
    asked = Filter(since=at("2026-09-01T22:00+08:00"))
    told = [r for r in listings.events(engine, asked, raised=True) if r.site == "school-01"]
    assert (told[0].subject, told[0].at) == ("hh-0101/0/9", made)
    assert [r.raised_at for r in told] == sorted(r.raised_at for r in told)
    assert "hh-0101/0/9" not in [r.subject for r in listings.events(engine, asked)]


def test_pages_miss_and_repeat_nothing(engine: Engine) -> None:
    """Rows of the same instant over many pages come each once, in order of time, over all sites."""
    with writing(engine) as connection:
        connection.execute(
            insert(ENTRY),
            [
                {
                    "kind": EntryKind.CHECKIN.value,
                    "device_id": 1,
                    "epoch": 9,
                    "seq": seq,
                    "site_id": 1 + seq % 2,
                    "at": APPLIED + seq // 700,
                    "received_at": APPLIED,
                    "tag": "AB12",
                    "via": 1,
                }
                for seq in range(2 * walking.PAGE)
            ],
        )
    rows = [r for r in listings.checkins(engine, Filter()) if r.epoch == 9]
    assert sorted(r.seq for r in rows) == list(range(2 * walking.PAGE))
    assert [r.at for r in rows] == sorted(r.at for r in rows)


def test_a_slow_reader_holds_no_transaction(engine: Engine) -> None:
    """Between two rows of a listing the WAL can be emptied whole: nobody is reading."""
    rows = listings.checkins(engine, Filter())
    next(rows)
    with writing(engine) as connection:
        connection.execute(text("UPDATE site SET name = name"))
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0
    assert len(list(rows)) == 3


@pytest.mark.parametrize(
    ("query", "table"), [("checkins", "entry"), ("rounds", "obligation"), ("events", "event")]
)
def test_a_sites_listing_is_one_range_of_an_index(engine: Engine, query: str, table: str) -> None:
    """A site's page is found and sorted by an index: its cost does not grow with the rest."""
    asked: list[tuple[str, tuple[object, ...]]] = []

    def hear(_conn: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        list(getattr(listings, query)(engine, Filter(site="school-01", since=APPLIED)))
    finally:
        event.remove(Engine, "before_cursor_execute", hear)
    statement, parameters = next(
        (s, p) for s, p in asked if f"FROM {table}" in s and "LIMIT" in s and "ORDER BY" in s
    )
    with reading(engine) as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        steps = [row[3] for row in plan]
    assert any(step.startswith(f"SEARCH {table} USING INDEX {table}_site_") for step in steps)
    assert not any("TEMP B-TREE FOR ORDER BY" in step for step in steps)
