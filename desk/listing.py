"""Listings for people and scripts: what is asked in their words, rows with their times printed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from sqlalchemy import Engine

from desk.errors import DeskError
from desk.ledger import present
from desk.times import parse_since, parse_until, rfc3339
from desk.zones import zone_of
from devices.ids import Instant
from store.database import reading
from store.walking import Filter, UnknownSite

INSTANTS = frozenset({"at"})
"""Fields that are instants, beside all whose name ends in `_at`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a listing is asked for, as it was typed."""

    site: str | None = None
    since: str | None = None
    until: str | None = None
    now: Instant

    def read(self, engine: Engine) -> Filter:
        """As the ledger takes it; dates are in the time of `zone_of`.

        Raises `UsageError` for a time that cannot be read.
        """
        now = present(engine, self.now)
        with reading(engine) as connection:
            zone = zone_of(connection, self.site)
        since = None if self.since is None else parse_since(self.since, self.now, zone)
        until = None if self.until is None else parse_until(self.until, self.now, zone)
        return Filter(site=self.site, since=since, until=until, now=now)


def rows(engine: Engine, asked: Asked, query: Callable[[Engine, Filter], Iterator[Any]]) -> Any:
    """The rows of a listing. Raises `DeskError` for a site that is not in the registry."""
    try:
        yield from query(engine, asked.read(engine))
    except UnknownSite as error:
        raise refused(error) from None


def refused(error: UnknownSite) -> DeskError:
    """A site that is not in the registry, as an operator is told of it."""
    return DeskError(str(error), "gridbeat registry apply FILE makes sites known")


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
