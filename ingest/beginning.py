"""What the ledger says at the start: an instance takes up where its last run left off."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping

from devices.ids import Instant
from ingest.clock import SystemClock, TickClock
from ingest.judged import Judged
from ingest.ledger import Ledger
from store import hazards, workers
from store.arrivals import ArrivalBook, Moved, close_left_open
from store.entries import EntryKind
from store.events import raise_notices
from store.holdings import followed
from store.owngaps import Cause, OwnGap
from store.picture import Picture, load_picture, registry_applied_at
from store.settings import ClockKind, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What the ledger says at the start.

    `marker`: the last one an earlier run committed. `registry_moved`: it may have changed since.
    """

    clock: SystemClock | TickClock
    ledger: str
    picture: Picture
    registry_moved: bool
    judged: Judged
    arrivals: ArrivalBook
    marker: Instant | None
    gap: OwnGap | None
    first_tick: Instant | None
    made_until: Instant | None


async def begin(
    settings: Settings, ledger: Ledger, machine: Callable[[], SystemClock] = SystemClock
) -> Begun:
    """Take up where the last run left off; `machine` makes the clock, where it is the machine's."""

    def take_up(connection: Connection) -> Begun:
        before: RowMapping | None = workers.worker(connection, settings.instance)
        marker = None if before is None else before["marker_at"]
        ticks = settings.clock is ClockKind.MQTT
        clock = TickClock(marker) if ticks else machine()
        gap = None
        if not ticks and marker is not None:
            marker = min(marker, clock.now())  # our clock may have been set back since
            since = workers.begin_outage(connection, "service", marker)
            gap = OwnGap(since=since, cause=Cause.DOWN)
        workers.start_worker(connection, settings.instance, settings.clock.value, clock.now())
        judged = Judged()
        judged.load(connection)
        arrivals = ArrivalBook(clock.now() if marker is None else marker, steps=not ticks)
        if ticks:
            arrivals.resume(connection)
        else:
            for moved in close_left_open(connection, clock.now(), arrivals.lags):
                _look_again(connection, judged, moved, clock.now())
        return Begun(
            clock=clock,
            ledger=workers.ledger_uuid(connection),
            picture=load_picture(connection),
            # a simulator's clock cannot be compared with the operator's
            registry_moved=ticks or marker is None or registry_applied_at(connection) >= marker,
            judged=judged,
            arrivals=arrivals,
            marker=marker,
            gap=gap,
            first_tick=None if before is None else before["first_tick"],
            made_until=None if before is None else before["made_until"],
        )

    return await ledger.write(take_up)


def _look_again(connection: Connection, judged: Judged, moved: Moved, now: Instant) -> None:
    """What bears on something else since its time was corrected (`Following.moved`)."""
    if moved.kind is EntryKind.HAZARD:
        raise_notices(connection, hazards.take_again(connection, moved.entry_id), now)
        return
    judged.touch(connection, moved.site_id, moved.checkpoint_id, [moved.at])
    for read in followed(connection, moved.entry_id, moved.told_at, moved.at):
        judged.touch(connection, read.site_id, read.checkpoint_id, [read.at])
