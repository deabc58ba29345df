"""Reading long tables in order of time without holding anybody up.

A reader may be slow and the table long: rows are read page by page, by key, and between two pages
no transaction is open, so that nothing written meanwhile waits and the WAL does not grow. One site
is one index range; all sites are merged.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from heapq import merge
from typing import Any

from sqlalchemy import ColumnElement, Engine, RowMapping, Select, select, tuple_

from devices.ids import Instant
from store.database import reading
from store.tables import Site, table_of

SITE = table_of(Site)

PAGE = 1_000
"""Rows of a page, shared among the streams that are merged; a page takes a few milliseconds."""

ALL = "all"
"""The site of what belongs to none."""


class UnknownSite(LookupError):  # noqa: N818 - read by the operator: "unknown site"
    """No site of the registry has this id; the message names near ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What to list: one site or all, `[since, until)` or everything; `now` as the ledger counts."""

    site: str | None = None
    since: Instant | None = None
    until: Instant | None = None
    now: Instant = 0


Key = tuple[ColumnElement[Any], ColumnElement[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A query and the two columns, a time and a key, that order it without ties."""

    query: Select[Any]
    key: Key

    def within(self, asked: Filter) -> "Stream":
        """Only what lies in the span asked for."""
        query = self.query
        if asked.since is not None:
            query = query.where(self.key[0] >= asked.since)
        if asked.until is not None:
            query = query.where(self.key[0] < asked.until)
        return Stream(query=query, key=self.key)


def walk(engine: Engine, stream: Stream, page: int) -> Iterator[RowMapping]:
    """Every row of a stream, a page at a time; each page is a transaction of its own."""
    first, second = stream.key
    query = stream.query.add_columns(first.label("key_1"), second.label("key_2"))
    query = query.order_by(first, second).limit(page)
    after: tuple[Any, Any] | None = None
    while True:
        asked = query if after is None else query.where(tuple_(first, second) > after)
        with reading(engine) as connection:
            rows = connection.execute(asked).mappings().all()
        yield from rows
        if len(rows) < page:
            return
        after = rows[-1]["key_1"], rows[-1]["key_2"]


def merged(engine: Engine, streams: Sequence[Stream], asked: Filter) -> Iterator[RowMapping]:
    """The rows of all streams that lie in the span asked for, in order."""
    page = max(PAGE // max(len(streams), 1), 250)
    walks = [walk(engine, stream.within(asked), page) for stream in streams]
    return merge(*walks, key=lambda row: (row["key_1"], row["key_2"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlace:
    """A site as rows name it, and the zone its times are told in; `NOWHERE` for what has none."""

    id: int | None
    slug: str
    timezone: str | None


NOWHERE = SitePlace(id=None, slug=ALL, timezone=None)


def site_places(engine: Engine, site: str | None) -> list[SitePlace]:
    """The site asked for, or all of them, the retired too. Raises `UnknownSite`."""
    with reading(engine) as connection:
        rows = connection.execute(select(SITE.c.id, SITE.c.slug, SITE.c.timezone)).all()
    places = [SitePlace(id=row.id, slug=row.slug, timezone=row.timezone) for row in rows]
    if site is None:
        return places
    found = [place for place in places if place.slug == site]
    if not found:
        raise unknown_site(site, [place.slug for place in places])
    return found


def unknown_site(site: str, known: Sequence[str]) -> UnknownSite:
    """What is said of an id that is none of `known`."""
    near = get_close_matches(site, known, n=3)
    hint = f"; near: {', '.join(near)}" if near else ""
    return UnknownSite(f"no site has the id {site!r}{hint}")


def per_site(
    engine: Engine, asked: Filter, streams: Callable[[SitePlace], Sequence[Stream]]
) -> Iterator[tuple[RowMapping, SitePlace]]:
    """The rows of the streams that `streams` names for each site, in order, with their sites.

    Raises `UnknownSite`.
    """
    places = site_places(engine, asked.site)
    by_id = {place.id: place for place in places}
    every = [stream for place in places for stream in streams(place)]
    for row in merged(engine, every, asked):
        yield row, by_id[row["site_id"]]
