"""docs/readers.md shows what works: its registry is applied, and covers every reader."""

import re
from pathlib import Path

from devices.adapters.table import ADAPTERS
from store.database import reading
from store.registry import read_document
from store.registry.applying import examine
from store.registry.held import load_holding
from tests.store.registries import a_ledger

DOC = Path(__file__).parents[2] / "docs" / "readers.md"


def test_the_registry_in_the_readers_page_is_accepted(tmp_path: Path) -> None:
    """A school may copy it: nothing in it is refused, and each protocol of the table is shown."""
    text = DOC.read_text(encoding="utf-8")
    (block,) = [b for b in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "sites:" in b]
    document = read_document(block.encode())
    with a_ledger(tmp_path) as ledger, reading(ledger.engine) as connection:
        examine(document, load_holding(connection))
    assert {device.protocol for device in document.devices()} == set(ADAPTERS)
    for protocol in ADAPTERS:
        assert f"| `{protocol}` |" in text
