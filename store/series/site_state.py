"""How every site stands at one instant, counted in the ledger."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, RowMapping, text

from devices.ids import Instant
from rules.presence import SILENCES
from store.obligations import LONGEST_MS
from store.series.lines import SiteState
from store.workers import sure_from

# One index range a site (obligation_site_opens), whatever the ledger's age.
_ROUNDS = text("""
    SELECT site.slug AS site,
           count(*) FILTER (WHERE standing = 'pending' AND :now < closes) AS open_rounds,
           count(*) FILTER (WHERE standing = 'pending' AND closes <= :now AND :now < due) AS due,
           count(*) FILTER (WHERE standing = 'missed' AND opens >= :dawn) AS missed_today,
           count(*) FILTER (WHERE standing = 'completed' AND opens >= :dawn) AS completed_today
      FROM site
     CROSS JOIN obligation ON obligation.site_id = site.id
           AND opens > :horizon AND opens <= :now
     WHERE site.timezone = :timezone AND obligation.kind = 'round'
     GROUP BY site.slug
""")
_SITES = text("SELECT slug, timezone FROM site WHERE retired_at IS NULL ORDER BY slug")
_HAZARDS = text("""
    SELECT site.slug AS site, count(*) AS open_hazards
      FROM hazard JOIN site ON site.id = hazard.site_id
     WHERE hazard.closed_at IS NULL GROUP BY site.slug
""")
_SOS = text("""
    SELECT site.slug AS site, count(*) AS sos
      FROM open_event
      JOIN event ON event.id = open_event.event_row
      JOIN site ON site.id = event.site_id
     WHERE open_event.kind = 'sos.raised' GROUP BY site.slug
""")
_DEVICES = text("""
    SELECT site.slug AS site,
           count(*) FILTER (
               WHERE device_state.online
                 AND (device.heartbeat_ms IS NULL
                      OR max(coalesce(device_state.heard_at, 0), :sure_from)
                         + :silences * device.heartbeat_ms > :now)
           ) AS devices_online,
           max(device_state.heard_at) AS heard_at
      FROM device
      JOIN site ON site.id = device.site_id
      JOIN device_state ON device_state.device_id = device.id
     WHERE device.retired_at IS NULL GROUP BY site.slug
""")


def site_states(connection: Connection, now: Instant, site: str | None = None) -> list[SiteState]:
    """The state of every site in the registry (or of one), by slug.

    `today` is the site's own day, by when a round opens. Devices that belong to a grid node are of
    no site and are not counted.
    """
    zones = {row.slug: row.timezone for row in connection.execute(_SITES)}
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for zone in sorted(set(zones.values())):
        _fold(found, connection.execute(_ROUNDS, _span(zone, now)).mappings())
    for query in (_HAZARDS, _SOS):
        _fold(found, connection.execute(query).mappings())
    heard = {"now": now, "sure_from": sure_from(connection, now), "silences": SILENCES}
    _fold(found, connection.execute(_DEVICES, heard).mappings())
    return [_state(slug, now, found[slug]) for slug in zones if site in (None, slug)]


def dawn(now: Instant, timezone: str) -> Instant:
    """When the site-local day that holds `now` began; or, if skipped, would have."""
    zone = ZoneInfo(timezone)
    today = datetime.fromtimestamp(now / 1000, UTC).astimezone(zone)
    start = today.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return round(start.timestamp() * 1000)


def _span(timezone: str, now: Instant) -> dict[str, Any]:
    return {
        "timezone": timezone,
        "now": now,
        "dawn": dawn(now, timezone),
        "horizon": now - LONGEST_MS,
    }


def _fold(found: defaultdict[str, dict[str, Any]], rows: Iterable[RowMapping]) -> None:
    for row in rows:
        found[row["site"]].update(row)


def _state(slug: str, now: Instant, row: dict[str, Any]) -> SiteState:
    heard_at = row.get("heard_at")
    return SiteState(
        site=slug,
        at=now,
        due=row.get("due", 0),
        open_rounds=row.get("open_rounds", 0),
        missed_today=row.get("missed_today", 0),
        completed_today=row.get("completed_today", 0),
        open_hazards=row.get("open_hazards", 0),
        sos=row.get("sos", 0),
        devices_online=row.get("devices_online", 0),
        last_seen_s=None if heard_at is None else max(now - heard_at, 0) // 1000,
    )
