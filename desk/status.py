"""How things stand, on one screen."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Engine, select

from desk.ledger import present
from desk.readiness import ready
from desk.times import rfc3339
from devices.ids import Instant
from store.database import reading
from store.series.lines import SiteState
from store.series.site_state import site_states
from store.settings import ClockKind, Settings
from store.tallies import Tally, tally
from store.workers import WORKER

ALIVE_MS = 10_000
"""The service publishes a marker each second; ten in a row do not get lost while it lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """An instance of the service. `alive` None: its clock is a simulator's, which tells nothing.

    `unready`: why it is not ready, as it says itself; it runs then, however old its last marker.
    """

    instance: str
    clock: str
    started_at: Instant
    marker_at: Instant | None
    alive: bool | None
    unready: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """`now` is the ledger's: the last tick where a simulator moves the clock."""

    now: Instant
    services: tuple[Service, ...]
    tally: Tally
    sites: tuple[SiteState, ...]
    series: bool


def services(engine: Engine, wall: Instant) -> tuple[Service, ...]:
    """Every instance that ever ran on this ledger, the latest first."""
    query = select(WORKER).order_by(WORKER.c.started_at.desc())
    with reading(engine) as connection:
        rows = connection.execute(query).all()
    return tuple(
        Service(
            instance=row.instance,
            clock=row.clock,
            started_at=row.started_at,
            marker_at=row.marker_at,
            alive=_alive(row.clock, row.marker_at, wall),
        )
        for row in rows
    )


def _alive(clock: str, marker_at: Instant | None, wall: Instant) -> bool | None:
    if clock == ClockKind.MQTT:
        return None
    return marker_at is not None and wall - marker_at <= ALIVE_MS


def _asked(service: Service, settings: Settings) -> Service:
    """One without a young marker, if it is ours, is asked itself: it may wait for its broker."""
    if service.alive is not False or service.instance != settings.instance:
        return service
    told = ready(settings)
    return service if told is None else replace(service, alive=told == "", unready=told or None)


def status(engine: Engine, settings: Settings, wall: Instant) -> Status:
    """How things stand at `wall`."""
    now = present(engine, wall)
    running = tuple(_asked(service, settings) for service in services(engine, wall))
    with reading(engine) as connection:
        return Status(
            now=now,
            services=running,
            tally=tally(connection, now),
            sites=tuple(site_states(connection, now)),
            series=settings.influx_url is not None,
        )


def as_json(found: Status) -> dict[str, Any]:
    """The status as plain values, instants in RFC 3339 (UTC)."""
    return {
        "now": rfc3339(found.now),
        "services": [
            asdict(service)
            | {
                "started_at": rfc3339(service.started_at),
                "marker_at": None if service.marker_at is None else rfc3339(service.marker_at),
            }
            for service in found.services
        ],
        **asdict(found.tally),
        "series": found.series,
        "sites": [asdict(site) | {"at": rfc3339(site.at)} for site in found.sites],
    }
