"""What bears on an obligation: the reads of its site and window."""

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Integer, bindparam, func, select, tuple_

from devices.ids import Identity, Instant, identity_of
from devices.proofs import Proof
from rules.clocks import right
from rules.promises import ByTag, Decision, Do, Gap, Obligation, Quota, Read, Round, Trust
from store.decisions import of_read
from store.entries import EntryKind, ViaCode
from store.holdings import TOLD, Rounds, Tag, tags_before
from store.prepared import Prepared, paged
from store.presence import anything_arrived
from store.tables import (
    Arrival,
    Checkpoint,
    Correction,
    Device,
    Entry,
    Person,
    table_of,
)
from store.taps import REPLAYED, TAP, proof_of

ENTRY = table_of(Entry)
ARRIVAL = table_of(Arrival)
CORRECTION = table_of(Correction)
CHECKPOINT = table_of(Checkpoint)
DEVICE = table_of(Device)
PERSON = table_of(Person)

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
    ENTRY.c.body,
    ENTRY.c.via,
    TAP.c.proof,
    REPLAYED.label("replayed"),
)
_JOINED = (
    ENTRY.join(ARRIVAL, ARRIVAL.c.id == ENTRY.c.arrival_id)
    .join(CHECKPOINT, CHECKPOINT.c.id == ENTRY.c.checkpoint_id)
    .join(DEVICE, DEVICE.c.id == ENTRY.c.device_id)
    .outerjoin(PERSON, PERSON.c.id == ENTRY.c.person_id)
    .outerjoin(CORRECTION, CORRECTION.c.entry_id == ENTRY.c.id)
    .outerjoin(TAP, TAP.c.entry_id == ENTRY.c.id)
)
_ANYWHERE = (
    ENTRY.join(ARRIVAL, ARRIVAL.c.id == ENTRY.c.arrival_id)
    .join(DEVICE, DEVICE.c.id == ENTRY.c.device_id)
    .outerjoin(CHECKPOINT, CHECKPOINT.c.id == ENTRY.c.checkpoint_id)
    .outerjoin(PERSON, PERSON.c.id == ENTRY.c.person_id)
    .outerjoin(CORRECTION, CORRECTION.c.entry_id == ENTRY.c.id)
    .outerjoin(TAP, TAP.c.entry_id == ENTRY.c.id)
)


def _as_told(site: Any, since: Any, until: Any) -> Any:
    """The check-ins of a site in [since, until), by the device's clock, that nobody corrected."""
    return (
        select(*_COLUMNS)
        .select_from(_JOINED)
        .where(
            ENTRY.c.site_id == site,
            ENTRY.c.at >= since,
            ENTRY.c.at < until,
            ENTRY.c.kind == EntryKind.CHECKIN.value,
            CORRECTION.c.entry_id.is_(None),
        )
    )


def _corrected(site: Any, since: Any, until: Any) -> Any:
    """Those of which a third time lies there."""
    return (
        select(*_COLUMNS)
        .select_from(_JOINED)
        .where(
            CORRECTION.c.site_id == site,
            CORRECTION.c.at >= since,
            CORRECTION.c.at < until,
            ENTRY.c.kind == EntryKind.CHECKIN.value,
        )
    )


_ONE: tuple[Any, Any, Any] = (bindparam("site"), bindparam("since"), bindparam("until"))
_AS_TOLD, _CORRECTED = _as_told(*_ONE), _corrected(*_ONE)
_READS = (Prepared(_AS_TOLD), Prepared(_CORRECTED))
_PAGE = paged("page", "id", "site", "since", "until")
_SPAN = (_PAGE.c.site, _PAGE.c.since, _PAGE.c.until)
_AS_TOLD_ON_PAGE = Prepared(
    _as_told(*_SPAN).add_columns(_PAGE.c.id).limit(bindparam("most", type_=Integer))
)
_CORRECTED_ON_PAGE = Prepared(_corrected(*_SPAN).add_columns(_PAGE.c.id))


def reads_for(
    connection: Connection,
    site_id: int,
    promise: Obligation,
    until: Instant,
    *,
    who: bool = False,
) -> list[Read]:
    """The check-ins of the site in `[opens - early, until)`, by corrected time if there is one.

    `who`: also by whose tag, where a read says nothing itself; else only where it bears on the
    verdict.
    """
    who = who or (isinstance(promise.terms, Round) and promise.terms.people > 1)
    rounds = Rounds() if who else None
    span = {"site": site_id, "since": promise.opens - promise.early, "until": until}
    rows: list[Sequence[Any]]
    if isinstance(promise.terms, Quota):  # of months of check-ins, only those that count
        here = CHECKPOINT.c.slug.in_(promise.places)
        queries = (_AS_TOLD.where(here), _CORRECTED.where(here))
        rows = [row for query in queries for row in connection.execute(query, span)]
    else:
        rows = [row for query in _READS for row in query.all(connection, **span)]
    return [_read(connection, row, promise.due, rounds) for row in rows]


def deciding_reads(
    connection: Connection,
    site_id: int,
    promise: Obligation,
    until: Instant,
    *,
    marker: Instant,
    rivals: Sequence[Obligation] = (),
) -> list[Read]:
    """Those of `reads_for` that a verdict by `marker` can hang on.

    All of them; but where tags are read again and again, of the reads that came in time only the
    first of each checkpoint between any two instants at which the promise, or one of its `rivals`,
    begins or ends: the others could only be later ones of the same visit.
    """
    since = promise.opens - promise.early
    ((_, heard),) = _MANY.all(connection, page=[(0, site_id, since, until)])
    plain = isinstance(promise.terms, Round) and promise.terms.plain and not promise.proof
    if not plain or heard <= DENSE * len(promise.places):
        return reads_for(connection, site_id, promise, until)
    ends = {
        end
        for owed in (promise, *rivals)
        for end in (owed.opens - owed.early, owed.opens, owed.closes, owed.due)
    }
    cuts = [since, *sorted(end for end in ends if since < end < until), until]
    in_time = {"site": site_id, "in_time": min(promise.due, marker)}
    rows = _READS[1].all(connection, site=site_id, since=since, until=until)
    for begins, over in pairwise(cuts):
        rows += _FIRSTS.all(connection, since=begins, until=over, **in_time)
    return [_read(connection, row, promise.due, None) for row in rows]


class Asked(NamedTuple):
    """Whose reads are asked for: those of a site in `[opens - early, until)`."""

    site_id: int
    promise: Obligation
    until: Instant


def few_reads(connection: Connection, page: Mapping[int, Asked]) -> dict[int, list[Read]]:
    """`reads_for` each of a page of obligations; of those with many reads, or of which more has to
    be known than their reads, nothing."""
    spans = [
        (number, asked.site_id, asked.promise.opens - asked.promise.early, asked.until)
        for number, asked in page.items()
        if isinstance(asked.promise.terms, Gap)
        or (isinstance(asked.promise.terms, Round) and asked.promise.terms.people <= 1)
    ]
    most = FEW * len(spans)
    rows = _AS_TOLD_ON_PAGE.all(connection, page=spans, most=most + 1)
    if len(rows) > most:
        many = _MANY.all(connection, page=spans)
        spans = [span for span, (_, reads) in zip(spans, many, strict=True) if reads <= FEW]
        rows = _AS_TOLD_ON_PAGE.all(connection, page=spans, most=most)
    rows += _CORRECTED_ON_PAGE.all(connection, page=spans)
    found: dict[int, list[Read]] = {span[0]: [] for span in spans}
    for number, its in groupby(rows, itemgetter(-1)):
        due = page[number].promise.due
        found[number] += [_read(connection, row[:-1], due, None) for row in its]
    return {number: reads for number, reads in found.items() if len(reads) <= FEW}


FEW = 50
"""Reads of an obligation that are taken together with those of others."""
DENSE = 4
"""Reads for each checkpoint of a round, above which only the deciding ones are taken."""

_MANY = Prepared(
    select(
        _PAGE.c.id,
        select(func.count())
        .where(
            ENTRY.c.site_id == _PAGE.c.site,
            ENTRY.c.at >= _PAGE.c.since,
            ENTRY.c.at < _PAGE.c.until,
        )
        .correlate(_PAGE)
        .scalar_subquery(),
    )
)
_FIRST = (
    select(ENTRY.c.checkpoint_id, func.min(ENTRY.c.at))
    .select_from(
        ENTRY.join(ARRIVAL, ARRIVAL.c.id == ENTRY.c.arrival_id).outerjoin(
            CORRECTION, CORRECTION.c.entry_id == ENTRY.c.id
        )
    )
    .where(
        ENTRY.c.site_id == bindparam("site"),
        ENTRY.c.at >= bindparam("since"),
        ENTRY.c.at < bindparam("until"),
        ENTRY.c.kind == EntryKind.CHECKIN.value,
        CORRECTION.c.entry_id.is_(None),
        ARRIVAL.c.after < bindparam("in_time"),
    )
    .group_by(ENTRY.c.checkpoint_id)
    .correlate(None)
)
_FIRSTS = Prepared(
    _AS_TOLD.where(
        (ARRIVAL.c.after >= bindparam("in_time"))
        | tuple_(ENTRY.c.checkpoint_id, ENTRY.c.at).in_(_FIRST)
    )
)


def read_of(
    connection: Connection, identity: Identity, due: Instant
) -> tuple[int, int, Read] | None:
    """A check-in as an obligation due then sees it: its entry, site, and read.

    That of a person's tag is one as well; its `checkpoint` is empty.
    """
    query = (
        select(*_COLUMNS, ENTRY.c.site_id)
        .select_from(_ANYWHERE)
        .where(
            DEVICE.c.slug == identity.device,
            ENTRY.c.epoch == identity.epoch,
            ENTRY.c.seq == identity.seq,
            ENTRY.c.kind == EntryKind.CHECKIN.value,
        )
    )
    row = connection.execute(query).first()
    return (
        None if row is None else (row.id, row.site_id, _read(connection, row[:-1], due, Rounds()))
    )


def _read(connection: Connection, row: Sequence[Any], due: Instant, rounds: Rounds | None) -> Read:
    # Every read of a round comes through here; a row's names would cost more than all the rest.
    (
        entry_id,
        device_id,
        epoch,
        seq,
        told_at,
        sent,
        received_at,
        after,
        before,
        corrected,
        how,
        checkpoint,
        device,
        person,
        body,
        via,
        proof,
        replayed,
    ) = row
    at = told_at if corrected is None else corrected
    late = after >= due
    identity = identity_of(device, epoch, seq)
    by_tag = None
    if rounds is not None and person is None and not (body and TOLD in body):
        person, by_tag = _who(connection, (device_id, device), at, due, rounds)
    return Read(
        identity=identity,
        checkpoint=checkpoint or "",
        device=device,
        person=person,
        at=at,
        told_at=told_at,
        trust=trust_of(how, sent, after, before, via),
        after=after,
        received_at=received_at,
        cut_off=late and not anything_arrived(connection, device_id, at, due),
        decision=of_read(connection, entry_id, identity) if late else None,
        by_tag=by_tag,
        proof=Proof.BARE if proof is None else proof_of(proof, replayed),
    )


def _who(
    connection: Connection, device: tuple[int, str], at: Instant, due: Instant, rounds: Rounds
) -> tuple[str | None, ByTag]:
    """Whose a read is by the persons' tags that count, and by those that arrived before due.

    A tag that came in after due counts as any late evidence does; until then it is as if it had
    not been read, and the latest such waits.
    """
    whose: str | None = None
    waits: str | None = None
    decisions: list[Decision] = []
    settled = False
    device_id, slug = device
    for tag in tags_before(connection, device_id, at):
        since = tag.at if tag.by_round else None
        holds = at < tag.until
        holder = rounds.whose(connection, tag.person, since, tag.site_id, at) if holds else None
        if tag.after < due:
            return (whose if settled else holder), ByTag(holder, waits, tuple(decisions))
        if settled:
            continue
        identity = str(Identity(slug, tag.epoch, tag.seq))
        decided = of_read(connection, tag.entry_id, identity)
        if decided is not None:
            decisions.append(decided)
        if _tag_counts(connection, device_id, tag, due, decided):
            whose, settled = holder, True
        elif decided is None and waits is None and holder is not None:
            waits = identity
    return whose, ByTag(None, waits, tuple(decisions))


def _tag_counts(
    connection: Connection, device_id: int, tag: Tag, due: Instant, decision: Decision | None
) -> bool:
    if decision is not None:
        return decision.do is Do.ACCEPT
    trust = trust_of(tag.how, tag.sent, tag.after, tag.before, tag.via)
    vouched = trust in (Trust.TRUSTED, Trust.UPTIME)
    return vouched and not anything_arrived(connection, device_id, tag.at, due)


def trust_of(
    how: str | None,
    sent: Instant | None,
    after: Instant,
    before: Instant | None,
    via: int | None = None,
) -> Trust:
    """As it was found when the span closed; what has no correction is right, or not proven.

    What an import tells without `sent` has a trust of its own: the import itself was told.
    """
    if how is not None:
        return Trust(how)
    if right(sent, after, before):
        return Trust.TRUSTED
    imported = sent is None and via == ViaCode.IMPORT.value
    return Trust.IMPORTED if imported else Trust.UNPROVEN
