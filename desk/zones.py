"""Whose wall clock is meant by `today` or `22:00`: the sites', never this machine's."""

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from store.listings import SITE


def zone_of(connection: Connection, site: str | None) -> tzinfo | None:
    """The site's zone; without one, or for one unknown, the zone that all sites have.

    None where the sites have several, so that it must be said; UTC where there are no sites. A
    retired site counts only while there is no other.
    """
    rows = connection.execute(select(SITE.c.slug, SITE.c.timezone, SITE.c.retired_at)).all()
    mine = [row.timezone for row in rows if row.slug == site]
    zones = mine or [row.timezone for row in rows if row.retired_at is None]
    found = set(zones or [row.timezone for row in rows])
    if not found:
        return UTC
    return ZoneInfo(found.pop()) if len(found) == 1 else None
