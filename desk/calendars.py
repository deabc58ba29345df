"""Calendars at the desk: importing a bureau's days, showing them, looking for what is missing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select

from desk.acts import By
from desk.dayfiles import read
from desk.errors import DeskError
from rules.calendar import Calendar, Day
from rules.daytables import ON_TOP, DayClass, DayRow, DayTable, digest
from rules.plans import Plan
from store import calendars
from store.calendars import Held, Import, Scope, UnknownTable
from store.database import reading, writing
from store.listings import NODE, PLAN, SITE, VERSION

AHEAD_DAYS = 60
"""How far ahead `check` wants days to be known and terms to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A file to be imported: under which name, for whom, and which years it tells in full."""

    path: Path
    name: str
    site: str | None = None
    grid: str | None = None
    covers: tuple[int, ...] = ()
    fallback: DayClass | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did. `held` None: nothing, for it was a dry run or told nothing new."""

    rows: tuple[DayRow, ...]
    held: Held | None
    changed: bool


def take(engine: Engine, asked: Asked, *, by: By, dry_run: bool = False) -> Imported:
    """Import a file as the table of its name. Raises `DayFileRefused` and `DeskError`."""
    rows = read(asked.path, asked.fallback)
    table = DayTable(name=asked.name, version=0, rows=rows, covers=asked.covers)
    with reading(engine) as connection:
        scope = scope_of(connection, asked.site, asked.grid)
        same = {held.table.name: held for held in calendars.current(connection)}.get(asked.name)
    mark = digest([table.to_json(), scope.site_id, scope.node_id])
    if dry_run:
        known = same and replace(same.table, version=0)
        return Imported(
            rows=rows, held=None, changed=(known, same and same.scope) != (table, scope)
        )
    told = Import(
        table=table,
        scope=scope,
        author=by.author,
        source=str(asked.path),
        digest=mark,
        at=by.now,
    )
    with writing(engine) as connection:
        held = calendars.take(connection, told)
    return Imported(rows=rows, held=held, changed=held is not None)


def retire(engine: Engine, name: str, *, by: By, reason: str) -> None:
    """End a table. Raises `DeskError` where none has that name."""
    try:
        with writing(engine) as connection:
            calendars.retire(connection, name, author=by.author, reason=reason, now=by.now)
    except UnknownTable as error:
        raise DeskError(str(error), "gridbeat calendar list shows them") from None


def held(engine: Engine) -> list[Held]:
    """Every table in force."""
    with reading(engine) as connection:
        return calendars.current(connection)


def scope_of(connection: Connection, site: str | None, grid: str | None) -> Scope:
    """For whom something shall hold, by ids. Raises `DeskError` for what is not in the registry."""
    if site is not None and grid is not None:
        raise DeskError("a site and a grid were both named", "name one of them")
    named = (SITE, site) if site is not None else (NODE, grid) if grid is not None else None
    if named is None:
        return Scope()
    table, slug = named
    found = connection.execute(select(table.c.id).where(table.c.slug == slug)).scalar()
    if found is None:
        kind = "site" if table is SITE else "grid"
        raise DeskError(f"no {kind} has the id {slug!r}", "gridbeat registry apply FILE adds it")
    return Scope(site_id=found) if table is SITE else Scope(node_id=found)


# Showing -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCalendar:
    """A site's calendar with everything over it, and the plans that go by it."""

    site: str
    name: str
    timezone: str
    calendar: Calendar
    plans: tuple[Plan, ...]

    def days(self, first: date, count: int) -> Iterator[Day]:
        """`count` days from `first` on."""
        return (self.calendar.day(first + timedelta(days=ahead)) for ahead in range(count))


def of_sites(engine: Engine, site: str | None = None) -> list[SiteCalendar]:
    """The calendars of all sites, or of one. Raises `DeskError` for one that is not there."""
    with reading(engine) as connection:
        tables = calendars.Tables(connection)
        query = select(SITE).where(SITE.c.retired_at.is_(None)).order_by(SITE.c.slug)
        rows = connection.execute(query if site is None else query.where(SITE.c.slug == site)).all()
        plans = _plans(connection)
    if site is not None and not rows:
        raise DeskError(f"no site has the id {site!r}", "gridbeat registry apply FILE adds it")
    return [
        SiteCalendar(
            site=row.slug,
            name=row.name,
            timezone=row.timezone,
            calendar=Calendar.from_json(row.calendar).with_tables(tables.of(tables.ids(row.id))),
            plans=tuple(plans.get(row.id, ())),
        )
        for row in rows
    ]


def _plans(connection: Connection) -> dict[int, list[Plan]]:
    query = (
        select(PLAN.c.site_id, VERSION.c.terms)
        .join(VERSION, VERSION.c.plan_id == PLAN.c.id)
        .where(VERSION.c.superseded_at.is_(None))
    )
    found: dict[int, list[Plan]] = {}
    for row in connection.execute(query):
        found.setdefault(row.site_id, []).append(Plan.from_json(row.terms))
    return found


# Checking ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something a calendar lacks: of which site, what, and what to do about it."""

    site: str
    what: str
    zh: str
    en: str
    remedy: str


def faults(engine: Engine, today: date, ahead: int = AHEAD_DAYS) -> list[Fault]:
    """What is missing for the next `ahead` days, site by site."""
    return [fault for site in of_sites(engine) for fault in _faults(site, today, ahead)]


def _faults(site: SiteCalendar, today: date, ahead: int) -> Iterator[Fault]:
    asking = [plan for plan in site.plans if plan.days is not None]
    if not asking:
        return
    days = list(site.days(today, ahead))
    for year in sorted({day.date.year for day in days if not day.known}):
        yield Fault(
            site=site.site,
            what="unknown-year",
            zh=f"没有{year}年的放假安排：{len(asking)}个计划暂按星期判断，这些轮次不计分",
            en=f"nothing is known of {year}: {len(asking)} plans go by weekdays and are not scored",
            remedy=f"gridbeat calendar import FILE --name cn-{year} --covers {year}",
        )
    if _bounded(site.calendar) and all(DayClass.VACATION in day.classes for day in days):
        yield Fault(
            site=site.site,
            what="no-term",
            zh=f"今后{ahead}天没有任何学期",
            en=f"no term lies in the next {ahead} days",
            remedy="gridbeat calendar import FILE --name … with the next term",
        )
    yield from _never_told(site, asking)


def _bounded(calendar: Calendar) -> bool:
    return calendar.terms is not None or (
        calendar.tables is not None and bool(calendar.tables.terms())
    )


def _never_told(site: SiteCalendar, asking: list[Plan]) -> Iterator[Fault]:
    tables: Any = site.calendar.tables.tables if site.calendar.tables is not None else ()
    told = {row.kind for table in tables for row in table.rows}
    for plan in asking:
        for kind in sorted((plan.days or frozenset()) & ON_TOP):
            if kind not in told:
                yield Fault(
                    site=site.site,
                    what="never-told",
                    zh=f"{plan.name}（{plan.slug}）只在 {kind} 日执行，但没有任何表给出这样的日期",
                    en=f"{plan.name} ({plan.slug}) asks for {kind} days, and no table tells any",
                    remedy=f"gridbeat calendar import FILE --name … with rows of class {kind}",
                )
