"""Applying a registry file."""

from pathlib import Path

from desk.acts import By
from desk.ledger import opened
from store import registry
from store.settings import Settings


def apply(settings: Settings, file: Path, *, by: By, dry_run: bool = False) -> registry.Report:
    """Make the ledger's registry what `file` says. Raises `RegistryRefused` with every problem."""
    document = registry.read_registry(file)
    with opened(settings) as engine:
        return registry.apply(
            engine, document, now=by.now, author=by.author, source=str(file), dry_run=dry_run
        )
