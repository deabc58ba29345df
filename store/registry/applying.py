"""`registry apply`: a document is checked, compared with the ledger, and written, whole or not."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, insert

from devices.ids import Instant
from store.database import reading, writing
from store.picture import registry_version
from store.registry.changes import Action, Change, Changes, compare
from store.registry.checks import problems
from store.registry.document import Document
from store.registry.held import Holding, Key, Kind, load_holding
from store.registry.nodes import RegistryRefused
from store.registry.writing import write
from store.tables import RegistryRevision, table_of

REVISION = table_of(RegistryRevision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What applying a file did, or with `dry_run` would do. `version`: the registry's now."""

    changes: Changes
    version: int
    dry_run: bool

    def lines(self) -> tuple[str, ...]:
        """One line a change, as in `~ plan school-01/night: grace 5m → 10m`."""
        return tuple(map(str, self.changes.things))


def apply(
    engine: Engine,
    document: Document,
    *,
    now: Instant,
    author: str,
    source: str,
    dry_run: bool = False,
) -> Report:
    """Make the ledger's registry what the document says; applying it again changes nothing.

    The service may run: it sees the old registry or the new one. Checking and comparing happen
    before the write lock is taken; if another file was applied meanwhile, they happen again.
    Raises RegistryRefused with everything that is wrong; then nothing was written.
    """
    record = {
        "applied_at": now,
        "author": author,
        "source": source,
        "digest": document.digest,
    }
    while True:
        with reading(engine) as connection:
            holding = load_holding(connection)
        changes = examine(document, holding)
        if dry_run or not changes:
            return Report(changes=changes, version=holding.version, dry_run=dry_run)
        with writing(engine) as connection:
            if registry_version(connection) == holding.version:
                write(connection, changes, holding, now)
                version = _record(connection, record, changes)
                return Report(changes=changes, version=version, dry_run=False)


def retire_device(connection: Connection, device: str, *, now: Instant, author: str) -> int:
    """Retire one device as a file does that names it no more; returns the registry's version.

    A file that names it brings it back.
    """
    change = Change(kind=Kind.DEVICE, action=Action.RETIRED, key=Key(None, device), values={})
    changes = Changes(things=(change,), tags={})
    write(connection, changes, load_holding(connection), now)
    record = {"applied_at": now, "author": author, "source": "device retire", "digest": ""}
    return _record(connection, record, changes)


def examine(document: Document, holding: Holding) -> Changes:
    """What the document changes. Raises RegistryRefused where it contradicts itself or others."""
    wrong = problems(document, holding)
    if wrong:
        raise RegistryRefused(wrong)
    return compare(document, holding)


def _record(connection: Connection, record: dict[str, Any], changes: Changes) -> int:
    told = [change.to_json() for change in changes.things]
    connection.execute(insert(REVISION).values(**record, changes=told))
    return registry_version(connection)
