"""Looks at every part we depend on: how it is, and what to do about it."""

import asyncio
import ctypes
from collections.abc import Iterator

from sqlalchemy import Engine, func, select

from desk import broker, ledgerchecks
from desk.checks import Check, State, few
from desk.devices import away, deaf_since
from desk.errors import UnreachableError
from desk.ledger import present
from desk.pings import Ping, ping
from desk.readiness import ready
from desk.status import Service, services
from desk.times import span
from desk.trustchecks import access, certificates, tags
from devices.ids import Instant
from store.brokers import ACCESS, AUTHORITY, TrustRefused, remedy
from store.database import (
    ledger_path,
    open_engine,
    reading,
)
from store.listings import ENTRY
from store.lock import holder
from store.series.connect import series_writer
from store.series.ports import Retryable, SeriesError
from store.settings import ClockKind, Settings
from store.tallies import tally

AHEAD_MS = 5_000
"""What was received cannot lie further in our future than this, unless our clock went back."""

DROPPED_WARNS = 1
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronized


def doctor(settings: Settings, wall: Instant) -> Iterator[Check]:
    """Every check in turn. Nothing raises: what fails is a check's answer."""
    engine = open_engine(settings.database_url)
    try:
        database = ledgerchecks.database(engine)
        yield database
        yield ledgerchecks.disk(ledger_path(engine), settings.disk_floor_mb)
        yield from ledgerchecks.log(ledger_path(engine), settings.wal_limit_mb)
        usable = database.state in (State.OK, State.WARN)
        if usable:
            yield from ledgerchecks.registry(engine)
            yield _service(engine, settings, wall)
            yield from _devices(engine, wall)
            yield from access(engine, settings.broker_dir)
            yield from tags(engine, settings)
        else:
            yield from _without_ledger(engine, settings)
        yield from _broker(settings, wall)
        yield from certificates(settings, wall)
        yield from _series(settings, engine if usable else None, wall)
        yield _clock(engine if usable else None, settings, wall)
    finally:
        engine.dispose()


# The service ------------------------------------------------------------------------------------


def _service(engine: Engine, settings: Settings, wall: Instant) -> Check:
    ran = services(engine, wall)
    mine = next((service for service in ran if service.instance == settings.instance), None)
    said = ready(settings)
    if said is not None and said.startswith("silent: "):  # it waits, as it was told to
        return Check(what="service", state=State.OK, detail=said)
    if mine is None:
        detail = f"instance {settings.instance} never ran on this ledger"
        return Check(what="service", state=State.WARN, detail=detail, remedy="gridbeat ingest")
    if said is not None and said != "":
        detail = f"instance {mine.instance} runs and is not ready: {said}"
        return Check(what="service", state=State.WRONG, detail=detail, remedy=_MENDED)
    if said == "" and mine.alive is not False:
        detail = f"instance {mine.instance} is ready; clock {mine.clock}"
        return Check(what="service", state=State.OK, detail=detail)
    if mine.alive is not False:
        return _unanswered(mine, settings, wall)
    silent = "never" if mine.marker_at is None else f"{(wall - mine.marker_at) // 1000} s ago"
    detail = f"instance {mine.instance} is not running; its last marker came back: {silent}"
    return Check(what="service", state=State.WRONG, detail=detail, remedy="gridbeat ingest")


def _without_ledger(engine: Engine, settings: Settings) -> Iterator[Check]:
    """Of a service that cannot be looked up in the ledger: whether one is there all the same."""
    said, by = ready(settings), holder(ledger_path(engine))
    if said is None and by is None:
        return
    who = f"one answers at {settings.http_address}" if by is None else f"{by} is running"
    detail = f"{who}; {said or ('it says it is ready' if said == '' else 'it does not answer')}"
    yield Check(what="service", state=State.WRONG, detail=detail, remedy=_STOP)


_STOP = "see to its ledger first (above); stop it before you make or restore another one"


def _unanswered(mine: Service, settings: Settings, wall: Instant) -> Check:
    """Nobody answers for one whose last marker may be as old as it is: killed just now, perhaps."""
    seen = f"its last marker came back {(wall - (mine.marker_at or wall)) // 1000} s ago"
    if mine.alive is None:
        seen = "it took its clock from MQTT"
    elif settings.http_address is None:
        detail = f"instance {mine.instance}: {seen}; clock {mine.clock}"
        return Check(what="service", state=State.OK, detail=detail)
    where = "for it" if settings.http_address is None else f"at {settings.http_address}"
    detail = f"instance {mine.instance}: {seen}, and nobody answers {where} now"
    remedy = "gridbeat ingest, if it has ended; else give http_address as the service has it"
    return Check(what="service", state=State.WARN, detail=detail, remedy=remedy)


def _devices(engine: Engine, wall: Instant) -> Iterator[Check]:
    """Who cannot be reached, as far as anybody listens: the longest away first."""
    if deaf_since(engine, wall) is not None:
        return
    gone = away(engine, wall)
    if not gone:
        return
    now = present(engine, wall)
    named = [
        f"{row.id} ({row.state} {span(now - (row.state_since_at or 0), 'en')})" for row in gone
    ]
    yield Check(
        what="devices",
        state=State.WARN,
        detail=f"{len(gone)} cannot be reached: {few(named)}",
        remedy="look at their charge and network; gridbeat device show ID tells more",
    )


_MENDED = "mend what it names; it recovers by itself"


# The broker -------------------------------------------------------------------------------------


def _broker(settings: Settings, wall: Instant) -> Iterator[Check]:
    address = settings.mqtt_url
    try:
        told = asyncio.run(ping(settings))
    except UnreachableError as error:
        cause = error.__cause__
        detail = f"{error}: {cause}" if cause else str(error)
        if isinstance(cause, TrustRefused):
            yield Check(what="broker", state=State.WRONG, detail=detail, remedy=AUTHORITY)
            return
        yield Check(what="broker", state=State.UNREACHABLE, detail=detail, remedy=remedy(detail))
        return
    if told.back_ms is None:
        detail = f"{address} lets us in, but a message to ourselves does not come back"
        yield Check(what="broker", state=State.WRONG, detail=detail, remedy=ACCESS)
        return
    version = f", {told.version}" if told.version else ""
    detail = f"{address}{version}, there and back in {told.back_ms} ms"
    yield Check(what="broker", state=State.OK, detail=detail)
    yield from _losses(told)
    yield from _persistence(settings, wall)


def _losses(told: Ping) -> Iterator[Check]:
    if told.dropped is not None and told.dropped >= DROPPED_WARNS:
        yield Check(
            what="broker",
            state=State.WARN,
            detail=f"it has dropped {told.dropped} messages since it started",
            remedy="raise max_queued_messages and max_queued_bytes; look which client is slow",
        )


def _persistence(settings: Settings, wall: Instant) -> Iterator[Check]:
    """Whether our own broker really saves; started as another user it silently does not."""
    folder = settings.broker_dir
    pid = broker.running(folder)
    if pid is None:
        return
    saved = folder / "mosquitto.db"
    age = wall / 1_000 - saved.stat().st_mtime if saved.exists() else None
    if age is None or age > 60:
        when = "never" if age is None else f"{age:.0f} s ago"
        yield Check(
            what="broker",
            state=State.WRONG,
            detail=f"it does not save to {saved} (last: {when}): a restart would lose sessions",
            remedy="see that the folder belongs to the user it runs as (`user` in mosquitto.conf)",
        )


# The series -------------------------------------------------------------------------------------


def _series(settings: Settings, engine: Engine | None, wall: Instant) -> Iterator[Check]:
    if settings.influx_url is None:
        detail = "influx_url is not set: the ledger answers the same questions"
        yield Check(what="series", state=State.OFF, detail=detail)
        return
    try:
        asyncio.run(_writable(settings))
    except Retryable as error:
        yield Check(what="series", state=State.UNREACHABLE, detail=str(error), remedy=_INFLUX)
    except SeriesError as error:
        yield Check(what="series", state=State.WRONG, detail=str(error), remedy=_INFLUX)
    else:
        yield Check(what="series", state=State.OK, detail=f"{settings.influx_url} takes our lines")
    if engine is None:
        return
    with reading(engine) as connection:
        found = tally(connection, present(engine, wall))
    if found.series_behind:
        detail = f"{found.series_behind} rows of the ledger are not in it yet"
        yield Check(
            what="series", state=State.WARN, detail=detail, remedy="the service feeds it by itself"
        )
    if found.series_rejects:
        detail = f"{found.series_rejects} lines were refused for good (table series_reject)"
        yield Check(what="series", state=State.WARN, detail=detail, remedy="gridbeat series status")


_INFLUX = "see that it runs, and influx_url, its database or bucket, and its user or token"


async def _writable(settings: Settings) -> None:
    writer = series_writer(settings)
    if writer is None:
        return
    try:
        await writer.write([])
    finally:
        await writer.close()


# The clock --------------------------------------------------------------------------------------


def _clock(engine: Engine | None, settings: Settings, wall: Instant) -> Check:
    if settings.clock is ClockKind.MQTT:
        detail = "now comes from patrol/v1/sim/clock (clock = mqtt): for replays only"
        return Check(what="clock", state=State.WARN, detail=detail, remedy="set clock to system")
    newest = None if engine is None else _newest(engine)
    if newest is not None and newest > wall + AHEAD_MS:
        ahead = (newest - wall) // 1000
        detail = f"the newest entry was received {ahead} s in our future: this clock went back"
        return Check(what="clock", state=State.WRONG, detail=detail, remedy=_NTP)
    return kept(_adjtimex())


_NTP = "set the clock, and have it kept by NTP (systemd-timesyncd or chrony)"


def kept(told: int | None) -> Check:
    """Whether the clock, sane otherwise, is kept by NTP: by what adjtimex(2) answers.

    Negative where a sandbox does not let it be asked, None where there is no such call.
    """
    if told is None or told < 0:
        detail = "sane against the ledger; whether it is synchronized cannot be asked here"
        return Check(what="clock", state=State.OK, detail=detail)
    if told == _TIME_ERROR:
        detail = "the system does not say that its clock is synchronized"
        return Check(what="clock", state=State.WARN, detail=detail, remedy=_NTP)
    return Check(what="clock", state=State.OK, detail="sane against the ledger, and synchronized")


def _newest(engine: Engine) -> Instant | None:
    last = select(func.max(ENTRY.c.id)).scalar_subquery()
    with reading(engine) as connection:
        found = connection.execute(select(ENTRY.c.received_at).where(ENTRY.c.id == last)).scalar()
    return None if found is None else Instant(found)


def _adjtimex() -> int | None:
    """What the kernel says of its clock, asked only (`modes` is 0); None without such a call."""
    try:
        return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))
    except (OSError, AttributeError):
        return None
