"""Which devices' clocks are wrong by more than people should bear: their open events.

What a span told of each clock comes in when it closes; only a turn (it became wrong, it is right
again) asks the ledger anything.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, select

from devices.ids import Instant
from rules.clocks import SKEWED
from rules.events import EventKind, Notice
from rules.oddities import clock_right, clock_wrong
from store.events import open_events
from store.tables import Device, DeviceState, Site, table_of

DEVICE = table_of(Device)
STATE = table_of(DeviceState)
SITE = table_of(Site)


class SkewBook:
    """For the ledger's writer only, within its transaction."""

    def __init__(self) -> None:
        self._open: dict[int, dict[str, Any]] | None = None

    def forget(self) -> None:
        """The transaction did not commit: what is open is read again."""
        self._open = None

    def turns(
        self, connection: Connection, skews: Iterable[tuple[int, int]], at: Instant
    ) -> list[Notice]:
        """What is to be told of clocks that were heard, by device and ms ahead, as of `at`."""
        wrong = self._load(connection)
        notices = []
        for device_id, skew_ms in skews:
            if abs(skew_ms) > SKEWED:
                if device_id not in wrong:
                    notices.append(self._opened(connection, device_id, skew_ms, at))
            elif device_id in wrong:
                notices.append(clock_right(**wrong.pop(device_id)))
        return notices

    def _opened(self, connection: Connection, device_id: int, skew_ms: int, at: Instant) -> Notice:
        query = (
            select(DEVICE.c.slug, SITE.c.slug.label("site"), STATE.c.boot)
            .select_from(DEVICE)
            .outerjoin(SITE, SITE.c.id == DEVICE.c.site_id)
            .outerjoin(STATE, STATE.c.device_id == DEVICE.c.id)
            .where(DEVICE.c.id == device_id)
        )
        row = connection.execute(query).one()
        notice = clock_wrong(row.site, row.slug, row.boot, at, skew_ms=skew_ms)
        self._load(connection)[device_id] = {
            "site": row.site,
            "subject": notice.subject,
            "at": at,
            "data": notice.data,
        }
        return notice

    def _load(self, connection: Connection) -> dict[int, dict[str, Any]]:
        if self._open is None:
            self._open = dict(_still_open(connection))
        return self._open


def _still_open(connection: Connection) -> Iterable[tuple[int, dict[str, Any]]]:
    found = open_events(connection, EventKind.DEVICE_CLOCK_SKEW)
    slugs = {event["data"]["device"] for event in found}
    named = select(DEVICE.c.slug, DEVICE.c.id).where(DEVICE.c.slug.in_(slugs))
    ids = {row.slug: row.id for row in connection.execute(named)} if slugs else {}
    for event in found:
        data = {name: event["data"][name] for name in ("device", "skew_ms")}
        told = {name: event[name] for name in ("site", "subject", "at")}
        yield ids[data["device"]], {**told, "data": data}
