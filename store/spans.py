"""What people decide for a span of time: excuses, silences, substitutions.

Each has an end, an author and a reason, is an action in the append-only door, and a row by which it
is found. Spans are [since, until).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, and_, insert, or_, select, update

from devices.ids import Instant
from rules.promises import Decision, Do
from store.entries import NewAction, append_action
from store.obligations import OBLIGATION, OneRow
from store.prepared import Prepared, paged
from store.tables import Excuse, Person, Plan, Silence, Site, Substitution, table_of

EXCUSE = table_of(Excuse)
SILENCE = table_of(Silence)
SUBSTITUTION = table_of(Substitution)
SITE = table_of(Site)
PLAN = table_of(Plan)
PERSON = table_of(Person)

LONGEST_MS = 366 * 86_400_000
"""Nothing is decided for longer: who still wants it in a year says so again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spanned:
    """From when to when, who said so, why, and at which instant."""

    since: Instant
    until: Instant
    author: str
    reason: str
    at: Instant

    def __post_init__(self) -> None:
        if self.until <= self.since:
            raise ValueError("it ends before it begins: give an end after its beginning")
        if self.until - self.since > LONGEST_MS:
            raise ValueError("it would hold for more than a year: give an earlier end")
        if not self.reason.strip() or not self.author.strip():
            raise ValueError("it needs an author and a reason: say who and why")


def excuse(
    connection: Connection, site_id: int, plan_id: int | None, span: Spanned, about: str
) -> int:
    """Excuse what opens in the span, of a site or one plan; returns how many were judged before."""
    _write(connection, EXCUSE, {"site_id": site_id, "plan_id": plan_id}, span, "excuse", about)
    judged = and_(
        OBLIGATION.c.site_id == site_id,
        OBLIGATION.c.opens >= span.since,
        OBLIGATION.c.opens < span.until,
        OBLIGATION.c.revision > 0,
        OBLIGATION.c.wake.is_(None),
    )
    if plan_id is not None:
        judged = and_(judged, OBLIGATION.c.plan_id == plan_id)
    asleep = update(OBLIGATION).where(judged).values(wake=OBLIGATION.c.due)
    return connection.execute(asleep).rowcount


def excuse_of(connection: Connection, row: OneRow) -> Decision | None:
    """The excuse that covers an obligation, the one given first, as a decision about it."""
    return next(iter(excuses_of(connection, [row]).get(row.id, ())), None)


def excuses_of(connection: Connection, rows: Sequence[OneRow]) -> dict[int, list[Decision]]:
    """All that cover each of a page of obligations, as they were given, by its id."""
    page = [(row.id, row.site_id, row.plan_id, row.opens) for row in rows]
    found: dict[int, list[Decision]] = {}
    for obligation, author, at, reason in _EXCUSES_OF.all(connection, page=page):
        made = Decision(do=Do.EXCUSE, author=author, at=at, reason=reason)
        found.setdefault(obligation, []).append(made)
    return found


_PAGE = paged("page", "obligation", "site", "plan", "opens")
_EXCUSES_OF = Prepared(
    select(_PAGE.c.obligation, EXCUSE.c.author, EXCUSE.c.made_at, EXCUSE.c.reason)
    .join(
        EXCUSE,
        and_(
            EXCUSE.c.site_id == _PAGE.c.site,
            EXCUSE.c.until > _PAGE.c.opens,
            EXCUSE.c.since <= _PAGE.c.opens,
            or_(EXCUSE.c.plan_id.is_(None), EXCUSE.c.plan_id == _PAGE.c.plan),
        ),
    )
    .order_by(EXCUSE.c.id)
)


def silence(connection: Connection, kind: str | None, site_id: int | None, span: Spanned) -> int:
    """Have events of a kind, of a site, or both not told in the span; returns its id."""
    about = f"{kind or 'all events'} of {'all sites' if site_id is None else site_id}"
    of = {"kind": kind, "site_id": site_id}
    return _write(connection, SILENCE, of, span, "silence", about)


def end_silence(connection: Connection, number: int, *, author: str, now: Instant) -> bool:
    """End a silence now, before its time; False where none of that id still holds."""
    holds = and_(SILENCE.c.id == number, SILENCE.c.until > now)
    row = connection.execute(select(SILENCE).where(holds)).first()
    if row is None:
        return False
    body = {"do": "end-silence", "about": str(number)}
    append_action(connection, NewAction(author=author, at=now, site_id=row.site_id, body=body))
    connection.execute(update(SILENCE).where(holds).values(until=now))
    return True


def substitute(
    connection: Connection, plan_id: int, people: tuple[int, int], span: Spanned, about: str
) -> int:
    """Write down who walks a plan for whom. Who answers for its rounds stays who it was."""
    of = {"plan_id": plan_id, "person_id": people[0], "for_id": people[1]}
    return _write(connection, SUBSTITUTION, of, span, "substitute", about)


def _write(
    connection: Connection,
    table: Table,
    of: dict[str, Any],
    span: Spanned,
    do: str,
    about: str,
) -> int:
    """The row, and before it the action that everything a person does is."""
    site_id = of.get("site_id")
    if "plan_id" in of and site_id is None:
        site_id = connection.execute(
            select(PLAN.c.site_id).where(PLAN.c.id == of["plan_id"])
        ).scalar()
    body = {
        "do": do,
        "about": about,
        "since": span.since,
        "until": span.until,
        "reason": span.reason,
    }
    action = NewAction(author=span.author, at=span.at, site_id=site_id, body=body)
    values = {
        **of,
        "since": span.since,
        "until": span.until,
        "author": span.author,
        "reason": span.reason,
        "made_at": span.at,
        "entry_id": append_action(connection, action),
    }
    new = insert(table).values(values).returning(table.c.id)
    return int(connection.execute(new).scalar_one())


# Listing -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRow:
    """A decision for a span. What does not concern its kind is None."""

    id: int
    site: str | None
    plan: str | None = None
    kind: str | None = None
    person: str | None = None
    instead_of: str | None = None
    since_at: Instant
    until_at: Instant
    author: str
    reason: str
    made_at: Instant
    timezone: str | None


def excuses(connection: Connection) -> Iterator[SpanRow]:
    """Every excuse, by when it begins."""
    joined = EXCUSE.join(SITE, SITE.c.id == EXCUSE.c.site_id).outerjoin(
        PLAN, PLAN.c.id == EXCUSE.c.plan_id
    )
    query = select(EXCUSE, SITE.c.slug, SITE.c.timezone, PLAN.c.slug.label("plan"))
    for row in connection.execute(query.select_from(joined).order_by(EXCUSE.c.since)):
        yield _row(row, site=row.slug, plan=row.plan, timezone=row.timezone)


def silences(connection: Connection) -> Iterator[SpanRow]:
    """Every silence, by when it begins."""
    joined = SILENCE.outerjoin(SITE, SITE.c.id == SILENCE.c.site_id)
    query = select(SILENCE, SITE.c.slug, SITE.c.timezone)
    for row in connection.execute(query.select_from(joined).order_by(SILENCE.c.since)):
        yield _row(row, site=row.slug, kind=row.kind, timezone=row.timezone)


def substitutions(connection: Connection, plan_id: int | None = None) -> Iterator[SpanRow]:
    """Every substitution, or those of one plan, by when it begins."""
    walks, stands = PERSON.alias(), PERSON.alias()
    joined = (
        SUBSTITUTION.join(PLAN, PLAN.c.id == SUBSTITUTION.c.plan_id)
        .join(SITE, SITE.c.id == PLAN.c.site_id)
        .join(walks, walks.c.id == SUBSTITUTION.c.person_id)
        .join(stands, stands.c.id == SUBSTITUTION.c.for_id)
    )
    query = select(
        SUBSTITUTION,
        SITE.c.slug,
        SITE.c.timezone,
        PLAN.c.slug.label("plan"),
        walks.c.slug.label("person"),
        stands.c.slug.label("instead_of"),
    ).select_from(joined)
    if plan_id is not None:
        query = query.where(SUBSTITUTION.c.plan_id == plan_id)
    for row in connection.execute(query.order_by(SUBSTITUTION.c.since)):
        yield _row(
            row,
            site=row.slug,
            plan=row.plan,
            person=row.person,
            instead_of=row.instead_of,
            timezone=row.timezone,
        )


def _row(row: Row[*tuple[Any, ...]], **of: Any) -> SpanRow:
    return SpanRow(
        id=row.id,
        since_at=row.since,
        until_at=row.until,
        author=row.author,
        reason=row.reason,
        made_at=row.made_at,
        **of,
    )
