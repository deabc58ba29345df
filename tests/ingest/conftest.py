"""A bench of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest.bench import Bench, a_bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """The reader and the writer on a new ledger with the school's registry."""
    with a_bench(tmp_path) as made:
        yield made
