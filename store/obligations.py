"""Obligations as the ledger keeps them: made from plans, looked up when due, flipped once.

Any number of workers may judge: a flip goes through only where the revision is still the one that
was judged from, so that each verdict is written, and told, once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import structlog
from sqlalchemy import (
    Connection,
    Integer,
    Row,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from devices.ids import Instant
from rules.calendar import Calendar
from rules.periods import LONGEST_DAYS
from rules.plans import Plan, owed
from rules.profiles import Profile, on_days, under
from rules.promises import Gap, Quota, Round, Terms
from rules.promises import Obligation as Promise
from store.calendars import Tables, version_id
from store.prepared import Prepared, paged
from store.profiles import Profiles
from store.tables import (
    Checkpoint,
    Obligation,
    Person,
    PlanVersion,
    ProfiledPlan,
    Site,
    table_of,
)
from store.tables import Plan as PlanTable

log = structlog.get_logger()

OBLIGATION = table_of(Obligation)
VERSION = table_of(PlanVersion)
PERSON = table_of(Person)
PROFILED = table_of(ProfiledPlan)
PLAN = table_of(PlanTable)
SITE = table_of(Site)
CHECKPOINT = table_of(Checkpoint)

KINDS: Mapping[type[Terms], str] = {Round: "round", Gap: "gap", Quota: "quota"}
"""What the table calls each kind of terms."""

DAY_MS = 86_400_000
LONGEST_MS = 3 * DAY_MS
"""No round or gap is open longer, grace included: a window ends within a day of its opening."""
LONGEST_QUOTA_MS = (LONGEST_DAYS + 2) * DAY_MS
LONGEST_EARLY_MS = DAY_MS
REMEMBERED = 5_000
"""Plans kept in memory, some 4 KB each: beyond it all are read again as they are needed."""
LONGEST: Mapping[str, int] = {
    "round": LONGEST_MS,
    "gap": LONGEST_MS,
    "quota": LONGEST_QUOTA_MS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A plan version, what its plan says, and the span `[since, until)` in which it makes
    rounds."""

    id: int
    plan_id: int
    site_id: int
    plan: Plan
    calendar: Calendar
    profiles: tuple[Profile, ...] = ()
    since: Instant
    until: Instant | None

    def owed(self, since: Instant, until: Instant) -> list[Promise]:
        """What opens in `(since, until]` while this version is in force."""
        last = until if self.until is None else min(until, self.until)
        on = on_days(self.plan, self.profiles) if self.profiles else None
        return list(owed(self.plan, self.calendar, max(since, self.since), last, on))

    def under(self, names: tuple[str, ...]) -> Plan:
        """The plan while the profiles of these names hold."""
        return under(self.plan, (found for found in self.profiles if found.slug in names))


# Making what is owed ------------------------------------------------------------------------------


def take_up(connection: Connection, now: Instant | None) -> list[int]:
    """Bring new plan versions into force and end those they replace; returns the plans concerned.

    `now` None: each from the instant it was applied (our clock and the operator's are one). Else
    from `now`: the clock is another's, and the instant of applying means nothing on it.
    """
    fresh = select(VERSION).where(VERSION.c.effective_at.is_(None)).order_by(VERSION.c.id)
    ended = select(VERSION).where(
        VERSION.c.effective_at.is_not(None),
        VERSION.c.superseded_at.is_not(None),
        VERSION.c.ended_at.is_(None),
    )
    plans: list[int] = []
    for row in connection.execute(ended).all():
        _set(connection, row.id, ended_at=row.superseded_at if now is None else now)
        plans.append(row.plan_id)
    for row in connection.execute(fresh).all():
        values = {"effective_at": row.applied_at if now is None else now}
        if row.superseded_at is not None:
            values["ended_at"] = row.superseded_at if now is None else now
        _set(connection, row.id, **values)
        plans.append(row.plan_id)
    return plans


def _set(connection: Connection, version_id: int, **values: Instant) -> None:
    connection.execute(update(VERSION).where(VERSION.c.id == version_id).values(values))


def plans_in_force(connection: Connection, since: Instant) -> list[int]:
    """The plans that make rounds at or after `since`."""
    query = select(VERSION.c.plan_id).where(VERSION.c.effective_at.is_not(None))
    ends = (VERSION.c.ended_at.is_(None)) | (VERSION.c.ended_at > since)
    return list(connection.execute(query.where(ends).distinct().order_by("plan_id")).scalars())


def in_force(
    connection: Connection, since: Instant, plans: Iterable[int] | None = None
) -> list[InForce]:
    """The plan versions that make rounds at or after `since`: all, or those of the given plans."""
    query = (
        select(VERSION, PLAN.c.site_id, SITE.c.calendar)
        .join(PLAN, PLAN.c.id == VERSION.c.plan_id)
        .join(SITE, SITE.c.id == PLAN.c.site_id)
        .where(VERSION.c.effective_at.is_not(None))
        .where((VERSION.c.ended_at.is_(None)) | (VERSION.c.ended_at > since))
        .order_by(VERSION.c.id)
    )
    if plans is not None:
        query = query.where(VERSION.c.plan_id.in_(list(plans)))
    calendars: dict[str, Calendar] = {}
    tables = Tables(connection)
    profiles = Profiles(connection)

    def calendar(row: Row[*tuple[Any, ...]]) -> Calendar:
        ids = tables.ids(row.site_id)
        name = f"{row.calendar} {ids}"
        if name not in calendars:
            calendars[name] = Calendar.from_json(row.calendar).with_tables(tables.of(ids))
        return calendars[name]

    return [
        InForce(
            id=row.id,
            plan_id=row.plan_id,
            site_id=row.site_id,
            plan=plan,
            calendar=calendar(row),
            profiles=profiles.of(row.site_id, row.terms["slug"]),
            since=row.effective_at,
            until=row.ended_at,
        )
        for row in connection.execute(query)
        if (plan := _readable(row)) is not None
    ]


def _readable(row: Row[*tuple[Any, ...]]) -> Plan | None:
    """The plan of a version; None, said aloud, where it is none any more: the others go on."""
    try:
        return Plan.from_json(row.terms)
    except (KeyError, TypeError, ValueError) as error:
        log.error("plan.unreadable", version=row.id, error=str(error))
        return None


def write(connection: Connection, version: InForce, promises: Iterable[Promise]) -> int:
    """Write what a version owes; what stands there already is left alone. Returns how many are
    new."""
    return write_all(connection, [(version, list(promises))])


def write_all(connection: Connection, owed: Iterable[tuple[InForce, Sequence[Promise]]]) -> int:
    """The same for many versions."""
    calendars: dict[int, int] = {}  # versions read together share theirs
    values: list[dict[str, Any]] = []
    for version, promises in owed:
        if not promises:
            continue
        calendar = id(version.calendar)
        if calendar not in calendars:
            calendars[calendar] = version_id(connection, version.calendar)
        values += _values(connection, version, promises, calendars[calendar])
    # What falls due together is flipped together: it lies together, and few pages are written.
    values.sort(key=itemgetter("due"))
    return _WRITE.each(connection, values) if values else 0


def _values(
    connection: Connection, version: InForce, promises: Sequence[Promise], calendar_id: int
) -> list[dict[str, Any]]:
    people = _people(connection, version.plan)
    profiled = _profiled(connection, version, {p.profiles for p in promises if p.profiles})
    checkpoints: dict[str, int] = {}
    if version.plan.every is not None:
        query = select(CHECKPOINT.c.slug, CHECKPOINT.c.id)
        rows = connection.execute(query.where(CHECKPOINT.c.site_id == version.site_id))
        checkpoints = {row.slug: row.id for row in rows}
    return [
        {
            "key": promise.key,
            "kind": KINDS[type(promise.terms)],
            "site_id": version.site_id,
            "plan_id": version.plan_id,
            "plan_version_id": version.id,
            "checkpoint_id": checkpoints[promise.terms.checkpoint]
            if isinstance(promise.terms, Gap)
            else None,
            "opens": promise.opens,
            "closes": promise.closes,
            "due": promise.due,
            "wake": _first_wake(promise),
            "standing": "pending",
            "revision": 0,
            "expected": promise.asked,
            "visited": 0,
            "alarm": False,
            "scored": promise.scored,
            "calendar_id": calendar_id,
            "profiled_id": profiled.get(promise.profiles),
            "owner_id": people.get(version.plan.answers(promise.expected) or "")
            if people
            else None,
        }
        for promise in promises
    ]


def _people(connection: Connection, plan: Plan) -> dict[str, int]:
    """The keys of those who may answer for a plan's checkpoints."""
    leaders = {point.leader for point in plan.route if point.leader is not None}
    if not leaders:
        return {}
    query = select(PERSON.c.slug, PERSON.c.id).where(PERSON.c.slug.in_(leaders))
    return {row.slug: row.id for row in connection.execute(query)}


def _profiled(
    connection: Connection, version: InForce, names: set[tuple[str, ...]]
) -> dict[tuple[str, ...], int]:
    """The shared snapshots of what a version owes under each of these sets of profiles."""
    found = {}
    for held in names:
        plan = version.under(held)
        digest = plan.digest()
        mine = (PROFILED.c.plan_version_id == version.id) & (PROFILED.c.digest == digest)
        number = connection.execute(select(PROFILED.c.id).where(mine)).scalar()
        if number is None:
            values = {"plan_version_id": version.id, "digest": digest, "terms": plan.to_json()}
            new = insert(PROFILED).values(values).returning(PROFILED.c.id)
            number = connection.execute(new).scalar_one()
        found[held] = int(number)
    return found


def _first_wake(promise: Promise) -> Instant:
    """The first instant at which something may have to be said of it."""
    terms = promise.terms
    if isinstance(terms, Gap):
        return min(promise.due, promise.opens + terms.every + terms.grace)
    return promise.due


def remove_unopened(connection: Connection, plan_id: int, now: Instant) -> int:
    """Take back what a plan would owe but had not opened; open and judged ones stay.

    Not opened at `now`, or when its version ended: that may be long ago, if nobody was there to
    see.
    """
    ended = case((VERSION.c.ended_at < now, VERSION.c.ended_at), else_=now)
    own = select(ended).where(VERSION.c.id == OBLIGATION.c.plan_version_id).scalar_subquery()
    first = select(func.min(ended)).where(VERSION.c.plan_id == plan_id).scalar_subquery()
    site = select(PLAN.c.site_id).where(PLAN.c.id == plan_id).scalar_subquery()
    unopened = (OBLIGATION.c.opens > own) & (OBLIGATION.c.revision == 0)
    mine = (OBLIGATION.c.plan_id == plan_id) & unopened
    there = (OBLIGATION.c.site_id == site) & (OBLIGATION.c.opens > first)  # by the index
    return connection.execute(delete(OBLIGATION).where(there, mine)).rowcount


_WRITE = Prepared(
    upsert(OBLIGATION).on_conflict_do_nothing(index_elements=["key"]),
    columns=[c.name for c in OBLIGATION.c if c.name not in ("id", "waiting", "overran")],
)

# Looking at what is due ---------------------------------------------------------------------------


def next_wake(connection: Connection) -> Instant | None:
    """The earliest instant at which an obligation wants to be looked at."""
    wake: Instant | None
    ((wake,),) = _NEXT_WAKE.all(connection)
    return wake


_NEXT_WAKE = Prepared(select(func.min(OBLIGATION.c.wake)).where(OBLIGATION.c.wake.is_not(None)))


class ObligationRow(NamedTuple):
    """What of a row of the table is asked for to look at it."""

    id: int
    key: str
    kind: str
    site_id: int
    plan_id: int
    plan_version_id: int
    profiled_id: int | None
    checkpoint_id: int | None
    opens: Instant
    closes: Instant
    due: Instant
    scored: bool
    alarm: bool
    revision: int


class Owed(NamedTuple):
    """What of a row of the table says what it owes, and when."""

    key: str
    opens: Instant
    closes: Instant
    due: Instant
    scored: bool
    plan_version_id: int
    profiled_id: int | None


OneRow = Row[*tuple[Any, ...]] | ObligationRow
"""A row of the table, whole or as much of it as is needed."""


def awake(connection: Connection, until: Instant, limit: int) -> list[ObligationRow]:
    """Obligations whose wake is at or before `until`, earliest first, at most `limit`."""
    return list(map(ObligationRow._make, _AWAKE.all(connection, until=until, most=limit)))


_AWAKE = Prepared(
    select(*(OBLIGATION.c[name] for name in ObligationRow._fields))
    .where(OBLIGATION.c.wake.is_not(None), OBLIGATION.c.wake <= bindparam("until"))
    .order_by(OBLIGATION.c.wake, OBLIGATION.c.id)
    .limit(bindparam("most", type_=Integer))
)


class _Snapshot(NamedTuple):
    """A plan, what each of its obligations owes (None: each checkpoint has its own), and where
    proof is asked."""

    plan: Plan
    terms: Terms | None
    proof: frozenset[str]


class Plans:
    """Plan snapshots, parsed once. They never change; `REMEMBERED` of them are kept at most."""

    def __init__(self) -> None:
        self._plans: dict[tuple[Prepared, int], _Snapshot] = {}

    def load(self, connection: Connection, rows: Iterable[OneRow]) -> None:
        """Read what a page of obligations will ask for, and is not known yet, at once."""
        asked: dict[Prepared, set[int]] = {_VERSION_TERMS: set(), _PROFILED_TERMS: set()}
        for row in rows:
            asked[_VERSION_TERMS].add(row.plan_version_id)
            if row.profiled_id is not None:
                asked[_PROFILED_TERMS].add(row.profiled_id)
        for terms, numbers in asked.items():
            new = [(number,) for number in numbers if (terms, number) not in self._plans]
            if new:
                self._read(connection, terms, new)

    def of(self, connection: Connection, version_id: int) -> Plan:
        """The plan as it stood in that version."""
        return self._snapshot(connection, _VERSION_TERMS, version_id).plan

    def promise(self, connection: Connection, row: "OneRow | Owed") -> Promise:
        """The obligation a row of the table stands for, as the rules know it."""
        plan, terms, proof = self._owed_by(connection, row)
        return Promise(
            key=row.key,
            site=plan.site,
            plan=plan.slug,
            terms=terms or _gap(plan, row.key),
            opens=row.opens,
            closes=row.closes,
            due=row.due,
            early=plan.early,
            scored=row.scored,
            profiles=plan.profiles,
            proof=proof,
        )

    def owed_by(self, connection: Connection, row: "OneRow | Owed") -> Plan:
        """The plan as it was for one obligation, with the special periods that held for it."""
        return self._owed_by(connection, row).plan

    def _owed_by(self, connection: Connection, row: "OneRow | Owed") -> _Snapshot:
        if row.profiled_id is None:
            return self._snapshot(connection, _VERSION_TERMS, row.plan_version_id)
        return self._snapshot(connection, _PROFILED_TERMS, row.profiled_id)

    def _snapshot(self, connection: Connection, terms: Prepared, number: int) -> _Snapshot:
        if (terms, number) not in self._plans:
            self._read(connection, terms, [(number,)])
        found = self._plans.get((terms, number))
        if found is None:
            raise LookupError(f"the ledger has no snapshot {number} of a plan")
        return found

    def _read(self, connection: Connection, terms: Prepared, page: list[tuple[int]]) -> None:
        if len(self._plans) + len(page) > REMEMBERED:
            self._plans.clear()
        for number, document in terms.all(connection, page=page):
            plan = Plan.from_json(document)
            owed = None if plan.every else plan.terms()[0]
            self._plans[terms, number] = _Snapshot(plan, owed, plan.proof)


def _gap(plan: Plan, key: str) -> Gap:
    if plan.every is None:
        raise ValueError(f"{key} is owed by a plan without `every`")
    return Gap(checkpoint=key.rpartition("/")[2], every=plan.every, grace=plan.grace)


def siblings(connection: Connection, row: OneRow, plans: Plans) -> tuple[Promise, ...]:
    """The other rounds of the same plan that a read within this one might serve instead."""
    rows = siblings_of(connection, [row], plans).get(row.id, ())
    return tuple(plans.promise(connection, other) for other in rows)


def siblings_of(
    connection: Connection, rows: Iterable[OneRow], plans: Plans
) -> dict[int, list["Owed"]]:
    """The same for each of a page of obligations that has any, by its id."""
    page = []
    for row in rows:
        early = plans.of(connection, row.plan_version_id).early
        span = (row.opens - LONGEST[row.kind], row.opens - early, row.due + early)
        page.append((row.id, row.site_id, row.plan_id, row.kind == "quota", *span))
    found: dict[int, list[Owed]] = {}
    for obligation, *other in _SIBLINGS.all(connection, page=page):
        found.setdefault(obligation, []).append(Owed(*other))
    return found


_PAGE = paged("page", "id", "site", "plan", "quota", "since", "begins", "ends")
_SIBLINGS = Prepared(
    select(_PAGE.c.id, *(OBLIGATION.c[name] for name in Owed._fields)).join(
        OBLIGATION,
        and_(
            OBLIGATION.c.site_id == _PAGE.c.site,
            OBLIGATION.c.opens > _PAGE.c.since,
            OBLIGATION.c.opens < _PAGE.c.ends,
            OBLIGATION.c.due > _PAGE.c.begins,
            OBLIGATION.c.plan_id == _PAGE.c.plan,
            OBLIGATION.c.kind == case((_PAGE.c.quota, text("'quota'")), else_=text("'round'")),
            OBLIGATION.c.id != _PAGE.c.id,
        ),
    )
)
_SNAPSHOTS = paged("page", "id")
_VERSION_TERMS = Prepared(
    select(VERSION.c.id, VERSION.c.terms).join(_SNAPSHOTS, VERSION.c.id == _SNAPSHOTS.c.id)
)
_PROFILED_TERMS = Prepared(
    select(PROFILED.c.id, PROFILED.c.terms).join(_SNAPSHOTS, PROFILED.c.id == _SNAPSHOTS.c.id)
)
