"""What bears on an obligation: the reads of its site and window, and who could have told more."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select

from devices.ids import Identity, Instant
from rules.clocks import timing
from rules.promises import Obligation, Quota, Read, Trust
from store.decisions import of_read
from store.entries import EntryKind
from store.prepared import Prepared
from store.presence import anything_arrived, reachable_through
from store.tables import (
    Arrival,
    Checkpoint,
    Correction,
    Device,
    DevicePlace,
    Entry,
    Outage,
    Person,
)

ENTRY = Entry.__table__  # type: ignore[attr-defined]
ARRIVAL = Arrival.__table__  # type: ignore[attr-defined]
CORRECTION = Correction.__table__  # type: ignore[attr-defined]
CHECKPOINT = Checkpoint.__table__  # type: ignore[attr-defined]
DEVICE = Device.__table__  # type: ignore[attr-defined]
PERSON = Person.__table__  # type: ignore[attr-defined]
PLACE = DevicePlace.__table__  # type: ignore[attr-defined]
OUTAGE = Outage.__table__  # type: ignore[attr-defined]

_COLUMNS = (
    ENTRY.c.id,
    ENTRY.c.device_id,
    ENTRY.c.epoch,
    ENTRY.c.seq,
    ENTRY.c.at,
    ENTRY.c.sent,
    ENTRY.c.received_at,
    ARRIVAL.c.after,
    ARRIVAL.c.before,
    CORRECTION.c.at.label("corrected"),
    CORRECTION.c.how,
    CHECKPOINT.c.slug.label("checkpoint"),
    DEVICE.c.slug.label("device"),
    PERSON.c.slug.label("person"),
)
_JOINED = (
    ENTRY.join(ARRIVAL, ARRIVAL.c.id == ENTRY.c.arrival_id)
    .join(CHECKPOINT, CHECKPOINT.c.id == ENTRY.c.checkpoint_id)
    .join(DEVICE, DEVICE.c.id == ENTRY.c.device_id)
    .outerjoin(PERSON, PERSON.c.id == ENTRY.c.person_id)
    .outerjoin(CORRECTION, CORRECTION.c.entry_id == ENTRY.c.id)
)
_AS_TOLD = (
    select(*_COLUMNS)
    .select_from(_JOINED)
    .where(
        ENTRY.c.site_id == bindparam("site"),
        ENTRY.c.at >= bindparam("since"),
        ENTRY.c.at < bindparam("until"),
        ENTRY.c.kind == EntryKind.CHECKIN.value,
        CORRECTION.c.entry_id.is_(None),
    )
)
_CORRECTED = (
    select(*_COLUMNS)
    .select_from(_JOINED)
    .where(
        CORRECTION.c.site_id == bindparam("site"),
        CORRECTION.c.at >= bindparam("since"),
        CORRECTION.c.at < bindparam("until"),
        ENTRY.c.kind == EntryKind.CHECKIN.value,
    )
)


_READS = (Prepared(_AS_TOLD), Prepared(_CORRECTED))


def reads_for(
    connection: Connection, site_id: int, promise: Obligation, until: Instant
) -> list[Read]:
    """The check-ins of the site in `[opens - early, until)`, by corrected time if there is one."""
    span = {"site": site_id, "since": promise.opens - promise.early, "until": until}
    rows: list[Sequence[Any]]
    if isinstance(promise.terms, Quota):  # of months of check-ins, only those that count
        here = CHECKPOINT.c.slug.in_(promise.places)
        queries = (_AS_TOLD.where(here), _CORRECTED.where(here))
        rows = [row for query in queries for row in connection.execute(query, span)]
    else:
        rows = [row for query in _READS for row in query.all(connection, **span)]
    return [_read(connection, row, promise.due) for row in rows]


def read_of(
    connection: Connection, identity: Identity, due: Instant
) -> tuple[int, int, Read] | None:
    """A check-in at a checkpoint, as an obligation due then sees it: its entry, site, and read."""
    query = (
        select(*_COLUMNS, ENTRY.c.site_id)
        .select_from(_JOINED)
        .where(
            DEVICE.c.slug == identity.device,
            ENTRY.c.epoch == identity.epoch,
            ENTRY.c.seq == identity.seq,
            ENTRY.c.kind == EntryKind.CHECKIN.value,
        )
    )
    row = connection.execute(query).first()
    return None if row is None else (row.id, row.site_id, _read(connection, row[:-1], due))


def _read(connection: Connection, row: Sequence[Any], due: Instant) -> Read:
    # Every read of a round comes through here; a row's names would cost more than all the rest.
    entry_id, device_id, epoch, seq, told_at, sent, received_at, after, before = row[:9]
    corrected, how, checkpoint, device, person = row[9:]
    at = told_at if corrected is None else corrected
    late = after >= due
    identity = str(Identity(device, epoch, seq))
    return Read(
        identity=identity,
        checkpoint=checkpoint,
        device=device,
        person=person,
        at=at,
        told_at=told_at,
        trust=_trust(how, told_at, sent, after, before),
        after=after,
        received_at=received_at,
        cut_off=late and not anything_arrived(connection, device_id, at, due),
        decision=of_read(connection, entry_id, identity) if late else None,
    )


def _trust(
    how: str | None, at: Instant, sent: Instant | None, after: Instant, before: Instant | None
) -> Trust:
    """As it was found when the span closed; what has no correction is right, or not proven."""
    if how is not None:
        return Trust(how)
    found = timing(at, sent, after, before).trust
    return found if found is Trust.TRUSTED else Trust.UNPROVEN


def reachable(connection: Connection, site_id: int, since: Instant, until: Instant) -> bool:
    """Whether anybody of the site could have told of a visit at some instant of `[since, until)`.

    False when every device was unreachable throughout, or the broker was. A site without devices
    of its own is walked with those of the grid above it, of which any may come: there, only the
    broker counts.
    """
    if _CUT.first(connection, since=since, until=until) is not None:
        return False
    devices = _DEVICES.all(connection, site=site_id, since=since, until=until)
    return not devices or any(
        reachable_through(connection, device, heartbeat_ms, since, until)
        for device, heartbeat_ms in devices
    )


_CUT = Prepared(
    select(OUTAGE.c.id)
    .where(
        OUTAGE.c.what == "broker",
        OUTAGE.c.since <= bindparam("since"),
        (OUTAGE.c.until.is_(None)) | (OUTAGE.c.until >= bindparam("until")),
    )
    .limit(1)
)
_DEVICES = Prepared(  # those that belonged there then, wherever they do now
    select(DEVICE.c.id, DEVICE.c.heartbeat_ms)
    .distinct()
    .select_from(PLACE.join(DEVICE, DEVICE.c.id == PLACE.c.device_id))
    .where(
        PLACE.c.site_id == bindparam("site"),
        PLACE.c.since < bindparam("until"),
        (PLACE.c.until.is_(None)) | (PLACE.c.until > bindparam("since")),
        (DEVICE.c.retired_at.is_(None)) | (DEVICE.c.retired_at > bindparam("since")),
    )
)
