"""Looks at every part we depend on: how it is, and what to do about it."""

import asyncio
import ctypes
import shutil
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from desk import broker
from desk.census import census
from desk.checks import Check, State
from desk.devices import away, deaf_since
from desk.errors import UnreachableError
from desk.ledger import present
from desk.pings import Ping, ping
from desk.status import services
from desk.times import span
from desk.trustchecks import access, certificates, tags
from devices.ids import Instant
from store.database import (
    WAL_LIMIT_BYTES,
    SchemaOutdated,
    check_schema,
    ledger_path,
    open_engine,
    reading,
    writing,
)
from store.listings import ENTRY
from store.series.connect import series_writer
from store.series.ports import Retryable, SeriesError
from store.settings import ClockKind, Settings
from store.tallies import tally
from store.wal import log_bytes, readers

QUICK_S = 3.0
"""The integrity check of a large ledger is given this long; the backup's is a whole one."""

AHEAD_MS = 5_000
"""What was received cannot lie further in our future than this, unless our clock went back."""

DROPPED_WARNS = 1
SOME = 5
"""How many are named where many are meant."""
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronized
_MIB = 2**20


def doctor(settings: Settings, wall: Instant) -> Iterator[Check]:
    """Every check in turn. Nothing raises: what fails is a check's answer."""
    engine = open_engine(settings.database_url)
    try:
        database = _database(engine)
        yield database
        yield _disk(ledger_path(engine), settings.disk_floor_mb)
        yield from _log(ledger_path(engine), settings.wal_limit_mb)
        usable = database.state in (State.OK, State.WARN)
        if usable:
            yield from _registry(engine)
            yield _service(engine, settings, wall)
            yield from _devices(engine, wall)
            yield from access(engine, settings.broker_dir)
            yield from tags(engine, settings)
        yield from _broker(settings)
        yield from certificates(settings, wall)
        yield from _series(settings, engine if usable else None, wall)
        yield _clock(engine if usable else None, settings, wall)
    finally:
        engine.dispose()


# The ledger -------------------------------------------------------------------------------------


def _database(engine: Engine) -> Check:
    path = ledger_path(engine)
    try:
        schema = check_schema(engine)
        began = time.monotonic()
        with writing(engine):
            waited = time.monotonic() - began
        damage, whole = _integrity(engine)
    except SchemaOutdated as error:
        return Check(what="database", state=State.WRONG, detail=str(error), remedy=_UPGRADE)
    except SQLAlchemyError as error:
        detail = f"{path}: {getattr(error, 'orig', error)}"
        return Check(what="database", state=State.UNREACHABLE, detail=detail, remedy=_USABLE)
    if damage:
        detail = f"{path} is damaged: {damage}"
        return Check(what="database", state=State.WRONG, detail=detail, remedy=_DAMAGED)
    size = path.stat().st_size / _MIB
    looked = "sound" if whole else f"sound as far as looked ({QUICK_S:.0f} s)"
    detail = f"{path}, {size:.1f} MiB, schema {schema.revision}, {looked}"
    if waited > 1:
        detail += f"; another process held it for {waited:.1f} s"
        return Check(what="database", state=State.WARN, detail=detail, remedy=_HELD)
    return Check(what="database", state=State.OK, detail=detail)


_UPGRADE = "gridbeat db upgrade"
_USABLE = "see that the file is yours and its disk not full, then look again"
_DAMAGED = "stop the service, keep the file, and put the last `gridbeat db backup` in its place"
_HELD = "see who else writes into it for so long"


def _integrity(engine: Engine) -> tuple[str | None, bool]:
    """What is damaged, if anything, and whether all of it was looked at in the time given."""
    until = time.monotonic() + QUICK_S
    with reading(engine) as connection:
        driver = connection.connection.driver_connection
        if not isinstance(driver, sqlite3.Connection):
            return None, False
        driver.set_progress_handler(lambda: int(time.monotonic() > until), 20_000)
        try:
            found = driver.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError:
            return None, False
        finally:
            driver.set_progress_handler(None, 0)
    return (None if found == "ok" else str(found)), True


def _disk(path: Path, floor_mb: int) -> Check:
    folder = next(parent for parent in path.parents if parent.exists())
    free = shutil.disk_usage(folder).free // _MIB
    detail = f"{free} MiB free for {path.parent}; the service stops below {floor_mb} MiB"
    if free < floor_mb:
        return Check(what="disk", state=State.WRONG, detail=detail, remedy="make room there")
    if free < 5 * floor_mb:
        return Check(what="disk", state=State.WARN, detail=detail, remedy="make room there soon")
    return Check(what="disk", state=State.OK, detail=detail)


def _log(path: Path, limit_mb: int) -> Iterator[Check]:
    """The write-ahead log, once it is larger than it may be with nobody in its way."""
    size = log_bytes(path)
    if size <= WAL_LIMIT_BYTES:
        return
    who = ", ".join(map(str, readers(path))) or "nobody that this system shows"
    detail = f"{size // _MIB} MiB beside the ledger; read now by {who}"
    yield Check(
        what="log",
        state=State.WRONG if size > limit_mb * _MIB else State.WARN,
        detail=f"{detail}; above {limit_mb} MiB the service stops reading",
        remedy="end the program that keeps the ledger open: then it shrinks by itself",
    )


def _registry(engine: Engine) -> Iterator[Check]:
    with reading(engine) as connection:
        found = census(connection)
    if not found.sites:
        yield Check(
            what="registry",
            state=State.WRONG,
            detail="no site is known, so every message goes into quarantine",
            remedy="gridbeat registry apply FILE",
        )
        return
    counts = f"{found.sites} sites, {found.checkpoints} checkpoints, {found.devices} devices"
    yield Check(
        what="registry",
        state=State.OK,
        detail=f"version {found.version}: {counts}, {found.plans} plans",
    )
    for gap in found.gaps:
        some = ", ".join(gap.which[:5]) + (f" and {gap.count - 5} more" if gap.count > 5 else "")
        yield Check(
            what="registry",
            state=State.WARN,
            detail=f"{gap.what} ({gap.count}): {some}",
            remedy=gap.remedy,
        )


# The service ------------------------------------------------------------------------------------


def _service(engine: Engine, settings: Settings, wall: Instant) -> Check:
    ran = services(engine, wall)
    mine = next((service for service in ran if service.instance == settings.instance), None)
    ready = _ready(settings)
    if ready is not None and ready.startswith("silent: "):  # it waits, as it was told to
        return Check(what="service", state=State.OK, detail=ready)
    if mine is None:
        detail = f"instance {settings.instance} never ran on this ledger"
        return Check(what="service", state=State.WARN, detail=detail, remedy="gridbeat ingest")
    if ready is not None and ready != "":
        detail = f"instance {mine.instance} runs and is not ready: {ready}"
        return Check(what="service", state=State.WRONG, detail=detail, remedy=_MENDED)
    if mine.alive or (mine.alive is None and ready == ""):
        words = "ready" if ready == "" else "alive"
        detail = f"instance {mine.instance} is {words}; clock {mine.clock}"
        return Check(what="service", state=State.OK, detail=detail)
    if mine.alive is None:
        detail = f"instance {mine.instance} took its clock from MQTT; nobody answers for it now"
        return Check(what="service", state=State.WARN, detail=detail, remedy="gridbeat ingest")
    silent = "never" if mine.marker_at is None else f"{(wall - mine.marker_at) // 1000} s ago"
    detail = f"instance {mine.instance} is not running; its last marker came back: {silent}"
    return Check(what="service", state=State.WRONG, detail=detail, remedy="gridbeat ingest")


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
    more = f" and {len(gone) - SOME} more" if len(gone) > SOME else ""
    yield Check(
        what="devices",
        state=State.WARN,
        detail=f"{len(gone)} cannot be reached: {', '.join(named)}{more}",
        remedy="look at their charge and network; gridbeat device show ID tells more",
    )


_MENDED = "mend what it names; it recovers by itself"


def _ready(settings: Settings) -> str | None:
    """What `/readyz` says: nothing when ready, why not otherwise; None when nobody answers."""
    if settings.http_address is None:
        return None
    try:
        with urllib.request.urlopen(f"http://{settings.http_address}/readyz", timeout=2):
            return ""
    except urllib.error.HTTPError as error:
        return error.read(2_000).decode(errors="replace").strip() or f"status {error.code}"
    except OSError:
        return None


# The broker -------------------------------------------------------------------------------------


def _broker(settings: Settings) -> Iterator[Check]:
    address = settings.mqtt_url
    try:
        told = asyncio.run(ping(settings))
    except UnreachableError as error:
        detail = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
        yield Check(what="broker", state=State.UNREACHABLE, detail=detail, remedy=_BROKER)
        return
    if told.back_ms is None:
        detail = f"{address} lets us in, but a message to ourselves does not come back"
        yield Check(what="broker", state=State.WRONG, detail=detail, remedy=_ACCESS)
        return
    version = f", {told.version}" if told.version else ""
    detail = f"{address}{version}, there and back in {told.back_ms} ms"
    yield Check(what="broker", state=State.OK, detail=detail)
    yield from _losses(told)
    yield from _persistence(settings)


_BROKER = "start it: mosquitto -c DIR/mosquitto.conf (gridbeat broker init makes DIR); see mqtt_url"
_ACCESS = "give the service's user `readwrite patrol/v1/#`, as gridbeat broker init does"


def _losses(told: Ping) -> Iterator[Check]:
    if told.dropped is not None and told.dropped >= DROPPED_WARNS:
        yield Check(
            what="broker",
            state=State.WARN,
            detail=f"it has dropped {told.dropped} messages since it started",
            remedy="raise max_queued_messages and max_queued_bytes; look which client is slow",
        )


def _persistence(settings: Settings) -> Iterator[Check]:
    """Whether our own broker really saves; started as another user it silently does not."""
    folder = settings.broker_dir
    pid = broker.running(folder)
    if pid is None:
        return
    saved = folder / "mosquitto.db"
    age = time.time() - saved.stat().st_mtime if saved.exists() else None
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
    if _synchronized() is False:
        detail = "the system does not say that its clock is synchronized"
        return Check(what="clock", state=State.WARN, detail=detail, remedy=_NTP)
    return Check(what="clock", state=State.OK, detail="sane against the ledger, and synchronized")


_NTP = "set the clock, and have it kept by NTP (systemd-timesyncd or chrony)"


def _newest(engine: Engine) -> Instant | None:
    last = select(func.max(ENTRY.c.id)).scalar_subquery()
    with reading(engine) as connection:
        found = connection.execute(select(ENTRY.c.received_at).where(ENTRY.c.id == last)).scalar()
    return None if found is None else Instant(found)


def _synchronized() -> bool | None:
    """What the kernel knows of its clock (adjtimex); None where it cannot be asked."""
    try:
        return bool(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) != _TIME_ERROR)
    except (OSError, AttributeError):
        return None
