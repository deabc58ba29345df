"""Special periods at the desk: more visits, shorter gaps, further windows for some days."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, Engine, select

from desk.acts import By
from desk.calendars import scope_of
from desk.errors import DeskError, UsageError
from rules.durations import parse_duration
from rules.plans import Window
from rules.profiles import Profile
from store import profiles
from store.calendars import Scope
from store.database import reading, writing
from store.listings import NODE, PLAN, SITE
from store.profiles import Given, ProfileExists, UnknownProfile
from store.reach import sites_below


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A special period as it was typed."""

    slug: str
    name: str
    since: str
    until: str
    visits: int = 1
    every: str | None = None
    windows: tuple[str, ...] = ()
    site: str | None = None
    grid: str | None = None
    plan: str | None = None

    def profile(self) -> Profile:
        """As the rules know it. Raises `UsageError`."""
        try:
            return Profile(
                slug=self.slug,
                name=self.name,
                since=date.fromisoformat(self.since),
                until=date.fromisoformat(self.until),
                visits=self.visits,
                every=None if self.every is None else parse_duration(self.every),
                windows=tuple(map(Window.parse, self.windows)),
            )
        except ValueError as cause:
            example = "as in --from 2026-06-01 --to 2026-06-10 --visits 2 --every 1h"
            raise UsageError(str(cause), example) from None


def give(engine: Engine, asked: Asked, *, by: By, reason: str) -> Profile:
    """Put a special period in force. Raises `UsageError` and `DeskError`."""
    profile = asked.profile()
    try:
        with writing(engine) as connection:
            scope = scope_of(connection, asked.site, asked.grid)
            if asked.plan is not None:
                _refuse_unknown(connection, scope, asked.plan)
            given = Given(
                profile=profile,
                scope=scope,
                plan=asked.plan,
                author=by.author,
                reason=reason,
                at=by.now,
            )
            profiles.give(connection, given)
    except ProfileExists as error:
        raise DeskError(str(error), f"gridbeat profile end {asked.slug}") from None
    return profile


def _refuse_unknown(connection: Connection, scope: Scope, plan: str) -> None:
    """Raise `DeskError` where no site that is meant has a plan of this id."""
    query = select(PLAN.c.slug).where(PLAN.c.retired_at.is_(None)).distinct().order_by(PLAN.c.slug)
    if scope.site_id is not None:
        query = query.where(PLAN.c.site_id == scope.site_id)
    elif scope.node_id is not None:
        sites = sites_below(connection).get(scope.node_id, frozenset())
        query = query.where(PLAN.c.site_id.in_(sites))
    known = connection.execute(query).scalars().all()
    if plan not in known:
        remedy = f"one of: {', '.join(known)}" if known else "gridbeat registry apply FILE adds it"
        raise DeskError(f"no plan is called {plan!r}", remedy)


def end(engine: Engine, slug: str, *, by: By, reason: str) -> None:
    """End one; rounds that have opened keep what they owe. Raises `DeskError`."""
    try:
        with writing(engine) as connection:
            profiles.end(connection, slug, author=by.author, reason=reason, now=by.now)
    except UnknownProfile as error:
        raise DeskError(str(error), "gridbeat profile list shows them") from None


def current(engine: Engine) -> list[tuple[Given, str]]:
    """Every one in force, and for whom, by name: a site, a grid, or `*`."""
    with reading(engine) as connection:
        sites = {row.id: row.slug for row in connection.execute(select(SITE.c.id, SITE.c.slug))}
        nodes = {row.id: row.slug for row in connection.execute(select(NODE.c.id, NODE.c.slug))}
        return [
            (given, sites.get(given.scope.site_id) or nodes.get(given.scope.node_id) or "*")
            for given in profiles.current(connection)
        ]
