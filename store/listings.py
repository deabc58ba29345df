"""The ledger's queries behind the listings.

Each yields the rows of `store.rows` in order of time, the oldest first, as `store.walking` reads.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Engine, RowMapping, and_, case, func, select

from devices.ids import Instant
from devices.proofs import Proof
from rules.presence import Seen, stale, state
from rules.promises import Verdict
from store.database import reading
from store.entries import EntryKind, ViaCode, time_source
from store.holdings import HELD, Rounds, with_holder
from store.obligations import Plans
from store.progress import standing_of
from store.rows import (
    CheckinRow,
    DeviceRow,
    EventOut,
    GapRow,
    HazardRow,
    Overdue,
    Phase,
    QuarantineRow,
    QuotaRow,
    RoundRow,
)
from store.tables import (
    Arrival,
    Checkpoint,
    Correction,
    Device,
    DeviceState,
    Entry,
    EventRow,
    GridNode,
    Hazard,
    Obligation,
    Person,
    Plan,
    PlanVersion,
    Quarantine,
    Site,
    VerdictRow,
    table_of,
)
from store.taps import REPLAYED, TAP
from store.walking import (
    ALL,
    NOWHERE,
    PAGE,
    Filter,
    SitePlace,
    Stream,
    merged,
    per_site,
    site_places,
    walk,
)
from store.workers import heard_until, sure_from

ENTRY, CORRECTION, EVENT = table_of(Entry), table_of(Correction), table_of(EventRow)
ARRIVAL = table_of(Arrival)
OBLIGATION, VERDICT, HAZARD = table_of(Obligation), table_of(VerdictRow), table_of(Hazard)
SITE, CHECKPOINT, DEVICE = table_of(Site), table_of(Checkpoint), table_of(Device)
PERSON, PLAN, NODE = table_of(Person), table_of(Plan), table_of(GridNode)
STATE, QUARANTINE, VERSION = table_of(DeviceState), table_of(Quarantine), table_of(PlanVersion)


# Check-ins --------------------------------------------------------------------------------------

_READS = with_holder(
    ENTRY.outerjoin(CORRECTION, CORRECTION.c.entry_id == ENTRY.c.id)
    .outerjoin(ARRIVAL, ARRIVAL.c.id == ENTRY.c.arrival_id)
    .outerjoin(TAP, TAP.c.entry_id == ENTRY.c.id)
    .outerjoin(CHECKPOINT, CHECKPOINT.c.id == ENTRY.c.checkpoint_id)
    .outerjoin(DEVICE, DEVICE.c.id == ENTRY.c.device_id)
    .outerjoin(PERSON, PERSON.c.id == ENTRY.c.person_id)
)
_CHECKIN = (
    select(
        ENTRY.c.site_id,
        CHECKPOINT.c.slug.label("checkpoint"),
        ENTRY.c.tag,
        DEVICE.c.slug.label("device"),
        PERSON.c.slug.label("person"),
        ENTRY.c.epoch,
        ENTRY.c.seq,
        ENTRY.c.at,
        ENTRY.c.received_at,
        ENTRY.c.via,
        ENTRY.c.body,
        CORRECTION.c.at.label("corrected_at"),
        CORRECTION.c.how.label("corrected_how"),
        case((REPLAYED == 1, Proof.REPLAYED.value), else_=TAP.c.proof).label("proof"),
        *HELD,
    )
    .select_from(_READS)
    .where(ENTRY.c.kind == EntryKind.CHECKIN.value)
)


def _checkin_streams(place: SitePlace) -> tuple[Stream, Stream]:
    """Those whose time stands, and those that were corrected, each by the time that counts."""
    told = _CHECKIN.where(ENTRY.c.site_id == place.id, CORRECTION.c.entry_id.is_(None))
    corrected = _CHECKIN.where(CORRECTION.c.site_id == place.id)
    return (
        Stream(query=told, key=(ENTRY.c.at, ENTRY.c.id)),
        Stream(query=corrected, key=(CORRECTION.c.at, CORRECTION.c.entry_id)),
    )


def checkins(engine: Engine, asked: Filter) -> Iterator[CheckinRow]:
    """Check-ins by the time that counts: the corrected one if there is one, else the device's."""
    rounds = Rounds()
    for row, place in per_site(engine, asked, _checkin_streams):
        values = _without(row, "site_id", "via", "person", *(column.name for column in HELD))
        source = time_source(values.pop("body"))
        via = ViaCode(row["via"] or ViaCode.NFC).name.lower()
        person = row["person"] or _holder(engine, row, rounds)
        yield CheckinRow(
            **values,
            person=person,
            person_by_tag=person is not None and row["person"] is None,
            via=via,
            time_source=source.value,
            site=place.slug,
            timezone=place.timezone or "UTC",
        )


def _holder(engine: Engine, row: RowMapping, rounds: Rounds) -> str | None:
    """Whose tag the device read before, where it still holds."""
    holder: str | None = row["holder"]
    if holder is None or row["held_since"] is None:
        return holder
    at = row["at"] if row["corrected_at"] is None else row["corrected_at"]
    with reading(engine) as connection:
        return rounds.whose(connection, holder, row["held_since"], row["held_at"], at)


# Rounds and gaps --------------------------------------------------------------------------------

_JUDGED = (
    OBLIGATION.join(PLAN, PLAN.c.id == OBLIGATION.c.plan_id)
    .outerjoin(CHECKPOINT, CHECKPOINT.c.id == OBLIGATION.c.checkpoint_id)
    .outerjoin(
        VERDICT,
        and_(
            VERDICT.c.obligation_id == OBLIGATION.c.id,
            VERDICT.c.revision == OBLIGATION.c.revision,
        ),
    )
)
_OBLIGATION = select(
    OBLIGATION.c.site_id,
    OBLIGATION.c.key.label("id"),
    PLAN.c.slug.label("plan"),
    CHECKPOINT.c.slug.label("checkpoint"),
    OBLIGATION.c.opens.label("opens_at"),
    OBLIGATION.c.closes.label("closes_at"),
    OBLIGATION.c.due.label("due_at"),
    OBLIGATION.c.standing.label("verdict"),
    OBLIGATION.c.revision,
    OBLIGATION.c.expected,
    OBLIGATION.c.visited,
    OBLIGATION.c.alarm,
    OBLIGATION.c.scored,
    VERDICT.c.missing,
    VERDICT.c.late,
    VERDICT.c.reason,
    VERDICT.c.judged_at,
    VERDICT.c.document,
).select_from(_JUDGED)


def _obligations(
    engine: Engine, asked: Filter, kind: str
) -> Iterator[tuple[RowMapping, SitePlace]]:
    def streams(place: SitePlace) -> tuple[Stream]:
        query = _OBLIGATION.where(OBLIGATION.c.site_id == place.id, OBLIGATION.c.kind == kind)
        return (Stream(query=query, key=(OBLIGATION.c.opens, OBLIGATION.c.id)),)

    return per_site(engine, asked, streams)


def rounds(engine: Engine, asked: Filter) -> Iterator[RoundRow]:
    """Rounds by when they open, each with the verdict that holds."""
    for row, place in _obligations(engine, asked, "round"):
        values = _without(row, "site_id", "checkpoint", "alarm", "document", "missing", "late")
        yield RoundRow(
            **values,
            phase=Phase.of(row["verdict"], row["opens_at"], row["closes_at"], asked.now).value,
            missing=tuple(row["missing"] or ()),
            late=tuple(row["late"] or ()),
            site=place.slug,
            timezone=place.timezone or "UTC",
        )


_ROUND_ONLY = ("expected", "visited", "missing", "late", "judged_at")


def gaps(engine: Engine, asked: Filter) -> Iterator[GapRow]:
    """Longest gaps by when their window opens, with the stretches that were too long."""
    for row, place in _obligations(engine, asked, "gap"):
        values = _without(row, "site_id", "alarm", "document", *_ROUND_ONLY)
        yield GapRow(
            **values,
            overdue=row["alarm"],
            stretches=tuple(
                Overdue(start_at=start, breached_at=breached, ended_at=ended)
                for start, breached, ended in (row["document"] or {}).get("stretches", ())
            ),
            site=place.slug,
            timezone=place.timezone or "UTC",
        )


def quotas(engine: Engine, asked: Filter, *, now: Instant) -> Iterator[QuotaRow]:
    """Quotas by when their period begins; those not judged yet as they stand at `now`."""
    plans = Plans()
    for row, place in _obligations(engine, asked, "quota"):
        names = ("site_id", "checkpoint", "alarm", "document", "missing", "late", "visited")
        document = row["document"]
        verdict = Verdict.from_json(document) if document else None
        if verdict is None and row["opens_at"] <= now:
            with reading(engine) as connection:
                verdict = standing_of(connection, row["id"], plans, now)
        yield QuotaRow(
            **_without(row, *names),
            visited=0 if verdict is None else sum(verdict.visits.values()),
            missing=() if verdict is None else verdict.missing,
            met_at=None if verdict is None else verdict.met_at,
            site=place.slug,
            timezone=place.timezone or "UTC",
        )


# Events -----------------------------------------------------------------------------------------


def events(
    engine: Engine, asked: Filter, *, revisions: bool = False, raised: bool = False
) -> Iterator[EventOut]:
    """Events by when they became true, or with `raised` by when they were raised here.

    The revision that holds of each, or with `revisions` all of them.
    """
    query = select(*(column for column in EVENT.c if column.name != "id"))
    if not revisions:
        query = query.where(_holds())
    places = site_places(engine, None if asked.site == ALL else asked.site)
    places = [NOWHERE] if asked.site == ALL else places if asked.site else [*places, NOWHERE]
    by_id = {place.id: place for place in places}
    when = EVENT.c.raised_at if raised else EVENT.c.at
    streams = [
        Stream(query=query.where(EVENT.c.site_id == place.id), key=(when, EVENT.c.id))
        for place in places
    ]
    for row in merged(engine, streams, asked):
        place = by_id[row["site_id"]]
        values = _without(row, "site_id", "event_id")
        yield EventOut(**values, id=row["event_id"], site=place.slug, timezone=place.timezone)


def _holds() -> ColumnElement[bool]:
    """No later revision of the same (kind, subject) exists."""
    later = EVENT.alias()
    newest = (
        select(func.max(later.c.revision))
        .where(later.c.kind == EVENT.c.kind, later.c.subject == EVENT.c.subject)
        .correlate(EVENT)
        .scalar_subquery()
    )
    holds: ColumnElement[bool] = EVENT.c.revision == newest
    return holds


# Hazards, devices, quarantine -------------------------------------------------------------------


def hazards(engine: Engine, asked: Filter) -> Iterator[HazardRow]:
    """Hazards by when they were reported."""
    placed = HAZARD.outerjoin(CHECKPOINT, CHECKPOINT.c.id == HAZARD.c.checkpoint_id).outerjoin(
        PERSON, PERSON.c.id == HAZARD.c.person_id
    )
    taken = ("checkpoint_id", "person_id", "changed", "reported_category")
    query = select(
        *(column for column in HAZARD.c if column.name not in taken),
        CHECKPOINT.c.slug.label("checkpoint"),
        PERSON.c.slug.label("person"),
    ).select_from(placed)
    by_id = {place.id: place for place in site_places(engine, asked.site)}
    if asked.site is not None:
        query = query.where(HAZARD.c.site_id.in_(by_id))
    stream = Stream(query=query, key=(HAZARD.c.reported_at, HAZARD.c.id))
    for row in merged(engine, [stream], asked):
        place = by_id[row["site_id"]]
        yield HazardRow(
            **_without(row, "site_id"), site=place.slug, timezone=place.timezone or "UTC"
        )


_DEVICE = select(
    DEVICE.c.slug.label("id"),
    SITE.c.slug.label("site"),
    SITE.c.timezone,
    NODE.c.slug.label("grid"),
    DEVICE.c.protocol,
    DEVICE.c.address,
    CHECKPOINT.c.slug.label("checkpoint"),
    STATE.c.online,
    STATE.c.turned_at,
    STATE.c.heard_at,
    STATE.c.status_at,
    STATE.c.boot,
    STATE.c.battery,
    STATE.c.rssi,
    STATE.c.queue,
    STATE.c.skew_ms,
    STATE.c.firmware,
    STATE.c.model,
    DEVICE.c.heartbeat_ms,
    DEVICE.c.enrolled_at,
    DEVICE.c.suspended_at,
    DEVICE.c.retired_at,
).select_from(
    DEVICE.outerjoin(SITE, SITE.c.id == DEVICE.c.site_id)
    .outerjoin(CHECKPOINT, CHECKPOINT.c.id == DEVICE.c.checkpoint_id)
    .outerjoin(NODE, NODE.c.id == DEVICE.c.node_id)
    .outerjoin(STATE, STATE.c.device_id == DEVICE.c.id)
)


def devices(engine: Engine, asked: Filter) -> Iterator[DeviceRow]:
    """Devices by id; a span asks for those last heard in it."""
    query = _DEVICE
    if asked.site is not None:
        query = query.where(SITE.c.slug == site_places(engine, asked.site)[0].slug)
    if asked.since is not None:
        query = query.where(STATE.c.heard_at >= asked.since)
    if asked.until is not None:
        query = query.where(STATE.c.heard_at < asked.until)
    with reading(engine) as connection:
        known = heard_until(connection, asked.now)
        sure = sure_from(connection, known)
    for row in walk(engine, Stream(query=query, key=(DEVICE.c.slug, DEVICE.c.id)), PAGE):
        found = state(_seen(row, sure), known)
        yield DeviceRow(
            **_without(row, "turned_at"),
            state=found.presence.value,
            state_since_at=found.since,
            stale=stale(_seen(row, sure), asked.now),
        )


def _seen(row: RowMapping, sure: Instant) -> Seen:
    return Seen(
        device=row["id"],
        site=row["site"],
        retired=row["retired_at"] is not None,
        online=row["online"],
        turned_at=row["turned_at"],
        heard_at=row["heard_at"],
        told_at=row["status_at"],
        boot=row["boot"],
        heartbeat=row["heartbeat_ms"],
        battery=row["battery"],
        sure_from=sure,
    )


_UNLISTED = frozenset({"payload", "day", "bucket", "arrival_id"})


def quarantine(engine: Engine, asked: Filter) -> Iterator[QuarantineRow]:
    """What is in quarantine, by when it came in. The site is as its topic said, known or not."""
    zones = {place.slug: place.timezone for place in site_places(engine, None)}
    query = select(*(c for c in QUARANTINE.c if c.name not in _UNLISTED))
    if asked.site is not None:
        query = query.where(QUARANTINE.c.site == asked.site)
    stream = Stream(query=query, key=(QUARANTINE.c.received_at, QUARANTINE.c.id))
    for row in merged(engine, [stream], asked):
        yield QuarantineRow(**_without(row), timezone=zones.get(row["site"]))


def _without(row: RowMapping, *names: str) -> dict[str, Any]:
    """The row's values less the paging keys and `names`."""
    left_out = {"key_1", "key_2", *names}
    return {name: value for name, value in row.items() if name not in left_out}
