"""What check-ins prove, as the ledger keeps it.

Of several reads with one enrolment and counter one alone is the tap: the one that came in first
(by the marker before it, then by its device's time, then by its identity). Later ones are replays,
whatever time they tell: else whoever copied a message could take a visit from the one who made it.
"""

from typing import NamedTuple

from sqlalchemy import Connection, Integer, bindparam, func, insert, literal_column, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from devices.ids import Instant
from devices.proofs import Proof, Proved
from store.entries import EntryRow
from store.prepared import Prepared
from store.tables import (
    Arrival,
    Correction,
    Device,
    Doubt,
    Entry,
    Retelling,
    Site,
    TagEnrolment,
    Tap,
    table_of,
)

TAP = table_of(Tap)
ENTRY = table_of(Entry)
ARRIVAL = table_of(Arrival)
CORRECTION = table_of(Correction)
DEVICE = table_of(Device)
SITE = table_of(Site)
DOUBT = table_of(Doubt)
ENROLMENT = table_of(TagEnrolment)
RETELLING = table_of(Retelling)

REPLAYED_SQL = f"""
    tap.proof = '{Proof.PROVEN.value}' AND EXISTS (
        SELECT 1 FROM tap AS other
          JOIN entry AS its ON its.id = other.entry_id
          JOIN arrival AS came ON came.id = its.arrival_id
         WHERE other.enrolment_id = tap.enrolment_id AND other.ctr = tap.ctr
           AND other.entry_id <> tap.entry_id AND other.proof = '{Proof.PROVEN.value}'
           AND (came."after", its.at, its.device_id, its.epoch, its.seq)
             < (arrival."after", entry.at, entry.device_id, entry.epoch, entry.seq))
"""  # noqa: S608  (our own words)
REPLAYED = literal_column(REPLAYED_SQL, Integer)
"""Whether another read came first with the same counter; of `tap` with its `entry`, `arrival`."""

_WRITE = Prepared(insert(TAP), columns=("entry_id", "proof", "enrolment_id", "ctr", "at"))
_SAME = Prepared(
    select(
        ENTRY.c.site_id,
        ENTRY.c.checkpoint_id,
        func.coalesce(CORRECTION.c.at, ENTRY.c.at),
        ENTRY.c.id,
        TAP.c.proof,
    )
    .join(TAP, TAP.c.entry_id == ENTRY.c.id)
    .join(ARRIVAL, ARRIVAL.c.id == ENTRY.c.arrival_id)
    .outerjoin(CORRECTION, CORRECTION.c.entry_id == ENTRY.c.id)
    .where(
        TAP.c.enrolment_id == bindparam("enrolment"),
        TAP.c.ctr == bindparam("ctr"),
        TAP.c.entry_id != bindparam("entry"),
    )
    .order_by(ARRIVAL.c.after, ENTRY.c.at, ENTRY.c.device_id, ENTRY.c.epoch, ENTRY.c.seq)
)
# Said again it gets a new key: the feeder may be writing what was said before.
_TELL_AGAIN = Prepared(
    upsert(RETELLING).on_conflict_do_update(
        index_elements=["entry_id"],
        set_={"id": select(func.max(RETELLING.c.id) + 1).scalar_subquery()},
    ),
    columns=("entry_id",),
)


class Rival(NamedTuple):
    """Where and when another read told the same tap; `at` as it holds."""

    site_id: int
    checkpoint_id: int | None
    at: Instant
    entry_id: int
    proof: str


def keep(connection: Connection, entry_id: int, row: EntryRow, proved: Proved) -> tuple[Rival, ...]:
    """Write down what a new check-in proves.

    Returns the other reads that tell the same tap, as they came in: which of them counts may be
    another one now.
    """
    _WRITE.run(
        connection,
        entry_id=entry_id,
        proof=proved.proof.value,
        enrolment_id=proved.enrolment_id,
        ctr=proved.ctr,
        at=row.at,
    )
    return _rivals(connection, entry_id, proved)


def _rivals(connection: Connection, entry: int, proved: Proved) -> tuple[Rival, ...]:
    if proved.enrolment_id is None:
        return ()
    same = {"enrolment": proved.enrolment_id, "ctr": proved.ctr, "entry": entry}
    rivals = tuple(map(Rival._make, _SAME.all(connection, **same)))
    first = next((rival for rival in rivals if rival.proof == Proof.PROVEN.value), None)
    if first is not None:  # the others are replays whoever came first
        _TELL_AGAIN.run(connection, entry_id=first.entry_id)
    return rivals


class Unkeyed(NamedTuple):
    """A read that carries a message for which there were no keys when it came in."""

    entry_id: int
    device: str
    epoch: int
    seq: int
    site_id: int
    site: str
    checkpoint_id: int | None
    tag: str
    told_at: Instant
    body: str
    proof: str


_UNKEYED = (
    select(
        ENTRY.c.id,
        DEVICE.c.slug,
        ENTRY.c.epoch,
        ENTRY.c.seq,
        ENTRY.c.site_id,
        SITE.c.slug.label("site"),
        ENTRY.c.checkpoint_id,
        ENTRY.c.tag,
        ENTRY.c.at,
        ENTRY.c.body,
        TAP.c.proof,
    )
    .join(ENTRY, ENTRY.c.id == TAP.c.entry_id)
    .join(DEVICE, DEVICE.c.id == ENTRY.c.device_id)
    .join(SITE, SITE.c.id == ENTRY.c.site_id)
    .where(
        TAP.c.proof.in_((Proof.NO_KEY.value, Proof.NOT_ENROLLED.value)),
        ENTRY.c.tag.in_(select(ENROLMENT.c.uid)),
    )
    .order_by(TAP.c.entry_id)
)


def unkeyed(connection: Connection, after: int, limit: int) -> list[Unkeyed]:
    """Reads of tags that are enrolled now, for which no key was there; those behind `after`."""
    page = _UNKEYED.where(TAP.c.entry_id > after).limit(limit)
    return [Unkeyed._make(row) for row in connection.execute(page)]


def prove_again(connection: Connection, read: Unkeyed, proved: Proved) -> tuple[Rival, ...]:
    """Write down what a read proves now that there are keys, and have its marks looked at and its
    point in the series written anew.

    Returns the other reads that tell the same tap.
    """
    values = {"proof": proved.proof.value, "enrolment_id": proved.enrolment_id, "ctr": proved.ctr}
    connection.execute(update(TAP).where(TAP.c.entry_id == read.entry_id).values(values))
    connection.execute(insert(DOUBT).values(site_id=read.site_id, at=read.told_at))
    _TELL_AGAIN.run(connection, entry_id=read.entry_id)
    return _rivals(connection, read.entry_id, proved)


def proof_of(proof: str | None, replayed: int | None) -> Proof:
    """What a read proves, by its row of `tap` (None: it has none) and `REPLAYED`."""
    if proof is None:
        return Proof.BARE
    return Proof.REPLAYED if replayed else Proof(proof)


def furthest(connection: Connection, enrolment_id: int) -> tuple[int, Instant] | None:
    """The highest counter read of a tag, and the latest time; None where none was."""
    found = _FURTHEST.first(connection, enrolment=enrolment_id)
    if found is None or found[0] is None:
        return None
    ctr, at = found
    return ctr, at


_OF_IT = TAP.c.enrolment_id == bindparam("enrolment")
_FURTHEST = Prepared(  # each by its own index
    select(
        select(func.max(TAP.c.ctr)).where(_OF_IT).scalar_subquery(),
        select(func.max(TAP.c.at)).where(_OF_IT).scalar_subquery(),
    )
)
