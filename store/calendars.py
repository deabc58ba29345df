"""Tables of day classes as the ledger keeps them: versioned by name, each for some sites or all.

Importing one, or ending it, is a revision of the registry: the service follows, and remakes what
has not opened. What was made keeps the calendar it was made by (`calendar_version`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from devices.ids import Instant
from rules.calendar import Calendar
from rules.daytables import DayTable
from store.reach import holds_for, sites_below
from store.tables import CalendarTable, CalendarVersion, RegistryRevision, table_of

TABLE = table_of(CalendarTable)
CALENDAR = table_of(CalendarVersion)
REVISION = table_of(RegistryRevision)


class UnknownTable(LookupError):  # noqa: N818 - read by the operator
    """No table of this name is in force: `gridbeat calendar list` has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The site, or the grid node above them, for which something holds; neither: all sites."""

    site_id: int | None = None
    node_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """A table as it was handed in. `digest`: of its rows, years and scope."""

    table: DayTable
    scope: Scope
    author: str
    source: str
    digest: str
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A table that is in force, and for whom."""

    id: int
    scope: Scope
    table: DayTable
    author: str
    source: str
    imported_at: Instant


def current(connection: Connection) -> list[Held]:
    """Every table in force, the one imported first first."""
    query = select(TABLE).where(TABLE.c.ended_at.is_(None)).order_by(TABLE.c.id)
    return [_held(row) for row in connection.execute(query)]


def _held(row: Row[*tuple[Any, ...]]) -> Held:
    return Held(
        id=row.id,
        scope=Scope(site_id=row.site_id, node_id=row.node_id),
        table=DayTable.from_json(row.document),
        author=row.author,
        source=row.source,
        imported_at=row.imported_at,
    )


class Tables:
    """The tables in force, by site."""

    def __init__(self, connection: Connection) -> None:
        query = select(TABLE).where(TABLE.c.ended_at.is_(None)).order_by(TABLE.c.id)
        self._rows = connection.execute(query).all()
        self._tables = {row.id: DayTable.from_json(row.document) for row in self._rows}
        self._below = sites_below(connection) if self._rows else {}

    def ids(self, site_id: int) -> tuple[int, ...]:
        """Which tables hold for a site."""
        return tuple(row.id for row in self._rows if holds_for(row, site_id, self._below))

    def of(self, ids: Sequence[int]) -> tuple[DayTable, ...]:
        """The tables of these ids."""
        return tuple(self._tables[number] for number in ids)


def calendar_of(connection: Connection, site_id: int, document: Any) -> Calendar:
    """The calendar of a site: the registry's, with the bureau's tables over it."""
    tables = Tables(connection)
    return Calendar.from_json(document).with_tables(tables.of(tables.ids(site_id)))


def take(connection: Connection, told: Import) -> Held | None:
    """Put a table in force in the place of the one of its name; None where it changes nothing."""
    name = TABLE.c.name == told.table.name
    before = connection.execute(select(TABLE).where(name, TABLE.c.ended_at.is_(None))).first()
    if before is not None and before.digest == told.digest:
        return None
    versions = select(func.max(TABLE.c.version)).where(name)
    version = (connection.execute(versions).scalar() or 0) + 1
    table = DayTable(
        name=told.table.name, version=version, rows=told.table.rows, covers=told.table.covers
    )
    _end(connection, told.table.name, told.at)
    row = connection.execute(
        insert(TABLE)
        .values(
            name=table.name,
            version=version,
            site_id=told.scope.site_id,
            node_id=told.scope.node_id,
            imported_at=told.at,
            author=told.author,
            source=told.source,
            digest=told.digest,
            document=table.to_json(),
        )
        .returning(TABLE)
    ).one()
    action = "added" if before is None else "changed"
    revise(connection, told.author, told.source, change("calendar", action, table.name), told.at)
    return _held(row)


def retire(connection: Connection, name: str, *, author: str, reason: str, now: Instant) -> None:
    """End a table: nothing takes its place. Raises `UnknownTable`."""
    if not _end(connection, name, now):
        raise UnknownTable(f"no table of days in force is called {name!r}")
    revise(connection, author, reason, change("calendar", "retired", name), now)


def _end(connection: Connection, name: str, now: Instant) -> bool:
    query = update(TABLE).where(TABLE.c.name == name, TABLE.c.ended_at.is_(None))
    return connection.execute(query.values(ended_at=now)).rowcount > 0


def change(kind: str, action: str, name: str) -> dict[str, Any]:
    """A change as the registry's history keeps it."""
    return {"kind": kind, "action": action, "site": None, "id": name, "what": []}


def revise(
    connection: Connection, author: str, source: str, changed: dict[str, Any], now: Instant
) -> None:
    """Make a revision of the registry, so that the service looks at its plans again."""
    values = {"applied_at": now, "author": author, "source": source, "digest": ""}
    connection.execute(insert(REVISION).values(**values, changes=[changed]))


def version_id(connection: Connection, calendar: Calendar) -> int:
    """The key of the shared snapshot of a calendar, which is written when it is new."""
    digest = calendar.digest()
    query = select(CALENDAR.c.id).where(CALENDAR.c.digest == digest)
    found: int | None = connection.execute(query).scalar()
    if found is not None:
        return found
    new = insert(CALENDAR).values(digest=digest, document=calendar.to_json())
    return int(connection.execute(new.returning(CALENDAR.c.id)).scalar_one())


def version_of(connection: Connection, number: int | None) -> Calendar | None:
    """The calendar of a snapshot; None where none was kept."""
    query = select(CALENDAR.c.document).where(CALENDAR.c.id == number)
    document = connection.execute(query).scalar()
    return None if document is None else Calendar.from_json(document)
