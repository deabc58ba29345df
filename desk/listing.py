"""Listings for people and scripts: what is asked in their words, rows with their times printed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, select

from desk.errors import DeskError
from desk.ledger import present
from desk.times import parse_since, parse_until, rfc3339
from devices.ids import Instant
from store import listings
from store.database import reading
from store.listings import SITE
from store.walking import ALL, Filter, UnknownSite

INSTANTS = frozenset({"at"})
"""Fields that are instants, beside all whose name ends in `_at`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a listing is asked for, as it was typed. `local`: the zone of dates without a site."""

    site: str | None = None
    since: str | None = None
    until: str | None = None
    now: Instant
    local: tzinfo = UTC

    def read(self, engine: Engine) -> Filter:
        """As the ledger takes it; dates are the site's where one is asked for.

        Raises `UsageError` for a time that cannot be read.
        """
        zone = _zone(engine, self.site) or self.local
        since = None if self.since is None else parse_since(self.since, self.now, zone)
        until = None if self.until is None else parse_until(self.until, self.now, zone)
        now = present(engine, self.now)
        return Filter(site=self.site, since=since, until=until, now=now)


def _zone(engine: Engine, site: str | None) -> tzinfo | None:
    if site is None or site == ALL:
        return None
    with reading(engine) as connection:
        name = connection.execute(select(SITE.c.timezone).where(SITE.c.slug == site)).scalar()
    return None if name is None else ZoneInfo(name)


def rows(engine: Engine, asked: Asked, query: Callable[[Engine, Filter], Iterator[Any]]) -> Any:
    """The rows of a listing. Raises `DeskError` for a site that is not in the registry."""
    try:
        yield from query(engine, asked.read(engine))
    except UnknownSite as error:
        raise DeskError(str(error), "gridbeat registry apply FILE makes sites known") from None


def as_json(row: Any) -> dict[str, Any]:
    """A row as scripts get it: instants in RFC 3339 with the site's offset (UTC without a site)."""
    return _printed(row, getattr(row, "timezone", None))


def _printed(row: Any, timezone: str | None) -> dict[str, Any]:
    names = (field.name for field in fields(row) if field.name != "timezone")
    return {name: _value(name, getattr(row, name), timezone) for name in names}


def _value(name: str, value: Any, timezone: str | None) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and (name in INSTANTS or name.endswith("_at")):
        return rfc3339(value, timezone)
    if isinstance(value, tuple):
        return [_value("", item, timezone) for item in value]
    if is_dataclass(value):
        return _printed(value, timezone)
    return value


def revisions(engine: Engine, asked: Filter) -> Iterator[Any]:
    """Every revision of every event."""
    return listings.events(engine, asked, revisions=True)
