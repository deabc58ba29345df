"""Plans before they are applied: which rounds they would owe, and why each day is what it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sqlalchemy import Engine, select

from desk.errors import DeskError
from rules.calendar import Calendar
from rules.plans import Plan, WindowDay, window_days
from store.calendars import calendar_of
from store.database import reading
from store.listings import PLAN, SITE, VERSION
from store.registry import read_registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Previewed:
    """A plan and the calendar it would be judged by."""

    plan: Plan
    calendar: Calendar

    def days(self, first: date, count: int) -> Iterator[WindowDay]:
        """`count` days from `first` on: each with its class, and what opens on it."""
        return window_days(self.plan, self.calendar, first, count)


def in_file(path: Path, name: str) -> Previewed:
    """The plan `site/plan` as a registry file has it. Raises `RegistryRefused` or `DeskError`."""
    document = read_registry(path)
    known = {}
    for site in document.sites:
        for spec in site.plans:
            known[f"{site.slug}/{spec.slug}"] = (site, spec)
    if name not in known:
        raise _unknown(name, sorted(known))
    site, spec = known[name]
    return Previewed(plan=site.plan(spec), calendar=document.calendar)


def applied(engine: Engine, name: str) -> Previewed:
    """The plan `site/plan` as the registry in force has it. Raises `DeskError`."""
    query = (
        select(
            SITE.c.slug.label("site"),
            SITE.c.id.label("site_id"),
            PLAN.c.slug,
            VERSION.c.terms,
            SITE.c.calendar,
        )
        .join(PLAN, PLAN.c.site_id == SITE.c.id)
        .join(VERSION, VERSION.c.plan_id == PLAN.c.id)
        .where(VERSION.c.superseded_at.is_(None))
    )
    with reading(engine) as connection:
        known = {f"{row.site}/{row.slug}": row for row in connection.execute(query)}
        if name not in known:
            raise _unknown(name, sorted(known))
        found = known[name]
        calendar = calendar_of(connection, found.site_id, found.calendar)
    return Previewed(plan=Plan.from_json(found.terms), calendar=calendar)


def _unknown(name: str, known: list[str]) -> DeskError:
    listed = ", ".join(known[:10]) or "none"
    return DeskError(f"no plan is called {name!r}", f"write site/plan, one of: {listed}")
