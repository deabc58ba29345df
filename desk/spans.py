"""Excuses, silences and substitutions at the desk: what people decide for a span of time."""

from dataclasses import dataclass
from datetime import tzinfo
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, select

from desk.acts import By
from desk.errors import DeskError, UsageError
from desk.times import parse_end, parse_since
from desk.zones import zone_of
from devices.messages import Severity
from rules.kinds import SEVERITIES, EventKind
from store import spans
from store.database import reading, writing
from store.listings import PERSON, PLAN, SITE
from store.spans import Spanned, SpanRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """From when (None: now) to when, as it was typed, and why."""

    since: str | None
    until: str
    reason: str

    def span(self, by: By, zone: tzinfo | None) -> Spanned:
        """The span in the zone's time. Raises `UsageError`."""
        since = by.now if self.since is None else parse_since(self.since, by.now, zone)
        try:
            return Spanned(
                since=since,
                until=parse_end(self.until, by.now, zone),
                author=by.author,
                reason=self.reason,
                at=by.now,
            )
        except ValueError as cause:
            raise UsageError(
                str(cause),
                "as in --until 2h, --until 2026-09-03T06:00, --from 2026-09-01 --until 2026-09-03",
            ) from None


def excuse(engine: Engine, name: str, asked: Asked, *, by: By) -> int:
    """Excuse what opens in the span, of `site` or `site/plan`; how many had been judged before."""
    with writing(engine) as connection:
        site_id, plan_id, timezone = _place(connection, name)
        return spans.excuse(connection, site_id, plan_id, asked.span(by, ZoneInfo(timezone)), name)


def silence(engine: Engine, kind: str | None, site: str | None, asked: Asked, *, by: By) -> int:
    """Keep events from being told for a span; returns the silence's id.

    Raises `UsageError` for a kind that is none or is critical, or where nothing was named.
    """
    if kind is None and site is None:
        raise UsageError("a silence of everything is none", "name --kind, --site, or both")
    _may_be_silent(kind)
    with writing(engine) as connection:
        site_id = None if site is None else _place(connection, site)[0]
        span = asked.span(by, zone_of(connection, site))
        return spans.silence(connection, kind, site_id, span)


def _may_be_silent(kind: str | None) -> None:
    if kind is None:
        return
    try:
        severity = SEVERITIES[EventKind(kind)]
    except ValueError:
        known = ", ".join(EventKind)
        raise UsageError(f"--kind {kind!r} is not known", f"write one of {known}") from None
    if severity is Severity.CRITICAL:
        raise UsageError(f"{kind} is critical and is never silenced", "acknowledge it instead")


def end_silence(engine: Engine, number: int, *, by: By) -> None:
    """End a silence now. Raises `DeskError` where none of that id holds."""
    with writing(engine) as connection:
        if not spans.end_silence(connection, number, author=by.author, now=by.now):
            raise DeskError(f"no silence {number} holds now", "gridbeat silence list shows them")


def substitute(engine: Engine, name: str, people: tuple[str, str], asked: Asked, *, by: By) -> None:
    """Write down that the first person walks `site/plan` in the place of the second."""
    with writing(engine) as connection:
        _, plan_id, timezone = _place(connection, name)
        if plan_id is None:
            raise UsageError(f"{name!r} is no plan", "write site/plan")
        walks, stands = (_person(connection, slug) for slug in people)
        if walks == stands:
            raise UsageError("nobody walks in their own place", "name two persons")
        span = asked.span(by, ZoneInfo(timezone))
        about = f"{name}: {people[0]} for {people[1]}"
        spans.substitute(connection, plan_id, (walks, stands), span, about)


def excuses(engine: Engine) -> list[SpanRow]:
    """Every excuse."""
    with reading(engine) as connection:
        return list(spans.excuses(connection))


def silences(engine: Engine) -> list[SpanRow]:
    """Every silence."""
    with reading(engine) as connection:
        return list(spans.silences(connection))


def substitutions(engine: Engine) -> list[SpanRow]:
    """Every substitution."""
    with reading(engine) as connection:
        return list(spans.substitutions(connection))


def _place(connection: Connection, name: str) -> tuple[int, int | None, str]:
    """Site, plan and time zone of `site` or `site/plan`. Raises `DeskError`."""
    slug, _, plan = name.partition("/")
    query = select(SITE.c.id, SITE.c.timezone).where(SITE.c.slug == slug)
    site = connection.execute(query).first()
    if site is None:
        raise DeskError(f"no site has the id {slug!r}", "gridbeat status lists the sites")
    if not plan:
        return site.id, None, site.timezone
    mine = (PLAN.c.site_id == site.id) & (PLAN.c.slug == plan)
    plan_id = connection.execute(select(PLAN.c.id).where(mine)).scalar()
    if plan_id is None:
        known = connection.execute(select(PLAN.c.slug).where(PLAN.c.site_id == site.id)).scalars()
        raise DeskError(f"no plan of {slug} is called {plan!r}", f"one of: {', '.join(known)}")
    return site.id, plan_id, site.timezone


def _person(connection: Connection, slug: str) -> int:
    found = connection.execute(select(PERSON.c.id).where(PERSON.c.slug == slug)).scalar()
    if found is None:
        raise DeskError(f"no person has the id {slug!r}", "gridbeat registry apply FILE adds them")
    return int(found)
