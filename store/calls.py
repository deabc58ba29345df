"""Calls for help (sos) as the ledger keeps them: raised by one entry, taken back by another.

The two may arrive in either order; what is told in the end is the same.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Integer, Row, func, literal_column, select

from devices.ids import Identity
from rules.events import Notice, sos_cleared, sos_raised
from store.entries import EntryKind, EntryRow
from store.tables import Device, Entry, Person, table_of

ENTRY = table_of(Entry)
DEVICE = table_of(Device)
PERSON = table_of(Person)
SOS = literal_column(str(EntryKind.SOS.value), Integer)
"""Spelt out, so that the few of all that a device ever told are found by an index of their own."""

_CALLS = (
    select(ENTRY, DEVICE.c.slug.label("device"), PERSON.c.slug.label("person"))
    .join(DEVICE, DEVICE.c.id == ENTRY.c.device_id)
    .outerjoin(PERSON, PERSON.c.id == ENTRY.c.person_id)
    .where(ENTRY.c.kind == SOS)
)


def raised(connection: Connection, site: str, call: EntryRow) -> Sequence[Notice]:
    """What a new call tells: that it was raised, and taken back where that came before it."""
    row = _call(connection, call)
    if row is None:
        return ()
    body: dict[str, Any] = json.loads(row.body) if row.body else {}
    data = {"person": row.person or body.get("person"), "pos": body.get("pos")}
    known = {name: value for name, value in data.items() if value is not None}
    known["silent"] = body.get("silent", False)
    opened = sos_raised(site, _identity(row), row.at, device=row.device, data=known)
    return (opened, *cleared(connection, site, call))


def cleared(connection: Connection, site: str, call: EntryRow) -> Sequence[Notice]:
    """What taking back `call` tells; nothing before the call itself has come."""
    row = _call(connection, call)
    if row is None:
        return ()
    taken_back = (
        select(func.min(ENTRY.c.at))
        .where(ENTRY.c.device_id == call.device_id, ENTRY.c.epoch == call.epoch)
        .where(ENTRY.c.kind == SOS)
        .where(func.json_extract(ENTRY.c.body, "$.cancel") == call.seq)
    )
    at = connection.execute(taken_back).scalar()
    if at is None:
        return ()
    return sos_cleared(site, _identity(row), row.at, at, device=row.device)


def _call(connection: Connection, call: EntryRow) -> Row[*tuple[Any, ...]] | None:
    same = (ENTRY.c.device_id == call.device_id) & (ENTRY.c.epoch == call.epoch)
    calls = func.json_extract(ENTRY.c.body, "$.cancel").is_(None)  # taking back is no call
    return connection.execute(_CALLS.where(same, ENTRY.c.seq == call.seq, calls)).first()


def _identity(row: Row[*tuple[Any, ...]]) -> str:
    return str(Identity(row.device, row.epoch, row.seq))
