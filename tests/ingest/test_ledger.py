"""Whose turn it is at the ledger."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest import ledger as module
from ingest.ledger import Ledger
from store.database import open_engine
from tests.filled import fill


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    engine = open_engine(fill(tmp_path))
    made = Ledger(engine)
    yield made
    made.close()
    engine.dispose()


async def test_what_can_wait_waits_for_verdicts(ledger: Ledger) -> None:
    """While more is due than one page of the watch, marks, absences and handouts rest."""
    await ledger.turn()
    ledger.verdicts_wait(True)
    others = asyncio.create_task(ledger.turn())
    assert await asyncio.wait({others}, timeout=0.05) == (set(), {others})
    ledger.verdicts_wait(False)
    async with asyncio.timeout(5):
        await others


async def test_nobody_waits_for_ever(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long verdicts take, the others get a page in from time to time."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    ledger.verdicts_wait(True)
    async with asyncio.timeout(5):
        await ledger.turn()
