"""Special periods in the ledger: what they change, and what they leave."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from desk.acts import By
from desk.errors import DeskError, UsageError
from desk.profiles import Asked, end, give
from ingest.ledger import Ledger
from ingest.owing import Owing
from store import registry
from store.database import open_engine, reading
from store.obligations import OBLIGATION, Plans
from store.picture import load_picture
from store.registry import read_document
from tests.blank import blank
from tests.filled import REGISTRY, at

APPLIED = at("2026-09-01T00:00:00+08:00")
NOON = at("2026-09-01T21:00:00+08:00")
BY = By(author="王", now=NOON)
ASKED = Asked(slug="guard", name="重点时段", since="2026-09-01", until="2026-09-02", visits=2)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    url = blank(tmp_path / "gridbeat.db")
    made = open_engine(url)
    document = read_document(REGISTRY.encode())
    registry.apply(made, document, now=APPLIED, author="tests", source="f")
    yield made
    made.dispose()


def asked(engine: Engine) -> dict[str, object]:
    """What each obligation that stands in the ledger asks, beyond the plain."""
    plans = Plans()
    with reading(engine) as connection:
        rows = connection.execute(select(OBLIGATION).order_by(OBLIGATION.c.key)).all()
        promises = [plans.promise(connection, row) for row in rows]
    return {
        promise.key.split("/", 1)[1]: getattr(promise.terms, "every", None)
        or getattr(promise.terms, "visits", None)
        for promise in promises
        if promise.site == "school-01" and "2026-09-01" in promise.key
    }


def test_only_what_has_not_opened_is_remade(engine: Engine) -> None:
    """At nine the gap of eight o'clock is open and stays; the night to come asks twice."""
    asyncio.run(_follows(engine))


async def _follows(engine: Engine) -> None:
    def picture() -> object:
        with reading(engine) as connection:
            return load_picture(connection)

    ledger = Ledger(engine)
    owing = Owing(ledger=ledger, instance="one", by_ticks=False)
    before = picture()
    await owing.follow(None, before, APPLIED)
    await owing.make(APPLIED)
    plain = asked(engine)
    give(engine, ASKED, by=BY, reason="上级通知")
    during = picture()
    await owing.follow(before, during, NOON)
    gap, night = "lab-gap/2026-09-01T12:00:00Z/lab", "night/2026-09-01T14:00:00Z"
    assert asked(engine) == {**plain, night: (("gate-east", 2), ("lab", 2))}
    assert plain[gap] == 7_200_000
    end(engine, "guard", by=BY, reason="结束")
    await owing.follow(during, picture(), NOON)
    assert asked(engine) == plain
    ledger.close()


def test_what_cannot_be_is_refused(engine: Engine) -> None:
    """Twice the same id, an end of none, a site that is not there, a date that is none."""
    give(engine, ASKED, by=BY, reason="r")
    with pytest.raises(DeskError, match="holds already"):
        give(engine, ASKED, by=BY, reason="r")
    with pytest.raises(DeskError, match="no special period"):
        end(engine, "other", by=BY, reason="r")
    with pytest.raises(DeskError, match="no site"):
        give(engine, Asked(**{**fields(), "slug": "x", "site": "nowhere"}), by=BY, reason="r")
    with pytest.raises(UsageError):
        give(engine, Asked(**{**fields(), "since": "soon"}), by=BY, reason="r")


def fields() -> dict[str, object]:
    return {name: getattr(ASKED, name) for name in Asked.__slots__}
