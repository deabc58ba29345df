"""Plans before they are applied: which rounds they would owe, and why each day is what it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sqlalchemy import Connection, Engine, select

from desk.errors import DeskError
from rules.calendar import Calendar
from rules.plans import Plan, WindowDay, window_days
from rules.profiles import Profile, on_days
from rules.promises import Obligation
from store.calendars import Tables
from store.database import reading
from store.listings import PLAN, SITE, VERSION
from store.profiles import Profiles
from store.registry import read_registry
from store.spans import SpanRow, excuses

NOWHERE = -1
"""No site's key: of what was decided, that which is for all sites."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previewed:
    """A plan, the calendar it would be judged by, and what was decided for some of its days."""

    plan: Plan
    calendar: Calendar
    profiles: tuple[Profile, ...] = ()
    excuses: tuple[SpanRow, ...] = ()

    def days(self, first: date, count: int) -> Iterator[WindowDay]:
        """`count` days from `first` on: each with its class, and what opens on it."""
        on = on_days(self.plan, self.profiles)
        return window_days(self.plan, self.calendar, first, count, on)

    def held(self, when: date) -> tuple[Profile, ...]:
        """The special periods of a date."""
        return tuple(profile for profile in self.profiles if profile.holds(when))

    def excuse(self, owed: Obligation) -> SpanRow | None:
        """The excuse that covers what opens then, the one given first."""
        return next((e for e in self.excuses if e.since_at <= owed.opens < e.until_at), None)


def in_file(path: Path, name: str, engine: Engine | None = None) -> Previewed:
    """The plan `site/plan` as a registry file has it. Raises `RegistryRefused` or `DeskError`.

    With a ledger, what was decided in it (day tables, special periods, excuses) is laid over it.
    """
    document = read_registry(path)
    known = {}
    for site in document.sites:
        for spec in site.plans:
            known[f"{site.slug}/{spec.slug}"] = (site, spec)
    if name not in known:
        raise _unknown(name, sorted(known))
    site, spec = known[name]
    plan = site.plan(spec)
    if engine is None:
        return Previewed(plan=plan, calendar=document.calendar)
    with reading(engine) as connection:
        return _decided(connection, plan, document.calendar)


def applied(engine: Engine, name: str) -> Previewed:
    """The plan `site/plan` as the registry in force has it. Raises `DeskError`."""
    query = (
        select(SITE.c.slug.label("site"), PLAN.c.slug, VERSION.c.terms, SITE.c.calendar)
        .join(PLAN, PLAN.c.site_id == SITE.c.id)
        .join(VERSION, VERSION.c.plan_id == PLAN.c.id)
        .where(VERSION.c.superseded_at.is_(None))
    )
    with reading(engine) as connection:
        known = {f"{row.site}/{row.slug}": row for row in connection.execute(query)}
        if name not in known:
            raise _unknown(name, sorted(known))
        found = known[name]
        calendar = Calendar.from_json(found.calendar)
        return _decided(connection, Plan.from_json(found.terms), calendar)


def _decided(connection: Connection, plan: Plan, calendar: Calendar) -> Previewed:
    """What the ledger has decided for the site and plan; of a new site, what is for all."""
    query = select(SITE.c.id).where(SITE.c.slug == plan.site)
    site_id = connection.execute(query).scalar() or NOWHERE
    tables = Tables(connection)
    return Previewed(
        plan=plan,
        calendar=calendar.with_tables(tables.of(tables.ids(site_id))),
        profiles=Profiles(connection).of(site_id, plan.slug),
        excuses=tuple(
            row
            for row in excuses(connection)
            if row.site == plan.site and row.plan in (None, plan.slug)
        ),
    )


def _unknown(name: str, known: list[str]) -> DeskError:
    listed = ", ".join(known[:10]) or "none"
    return DeskError(f"no plan is called {name!r}", f"write site/plan, one of: {listed}")
