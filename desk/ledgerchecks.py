"""The doctor's look at the ledger: its file, its disk, its log, and the registry in it."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from desk.census import census
from desk.checks import Check, State, few
from store.database import (
    WAL_LIMIT_BYTES,
    SchemaOutdated,
    check_schema,
    ledger_path,
    reading,
    writing,
)
from store.lock import LedgerInUse
from store.wal import log_bytes, readers

QUICK_S = 3.0
"""The integrity check of a large ledger is given this long; the backup's is a whole one."""

_MIB = 2**20


def database(engine: Engine) -> Check:
    """Whether it can be written, and is sound."""
    path = ledger_path(engine)
    try:
        schema = check_schema(engine)
        began = time.monotonic()
        with writing(engine):
            waited = time.monotonic() - began
        damage, whole = _integrity(engine)
    except LedgerInUse as error:
        return Check(what="database", state=State.WRONG, detail=str(error), remedy=_PUT_BACK)
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


_PUT_BACK = "mv the file back to its place; no `gridbeat db upgrade` while that one runs"
_UPGRADE = "gridbeat db upgrade"
_USABLE = "see that the file is yours and its disk not full, then look again"
_DAMAGED = "stop the service, then: gridbeat db restore FILE, the last backup; it keeps this one"
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


def disk(path: Path, floor_mb: int) -> Check:
    """Whether there is room for more."""
    folder = next(parent for parent in path.parents if parent.exists())
    free = shutil.disk_usage(folder).free // _MIB
    detail = f"{free} MiB free for {path.parent}; the service stops below {floor_mb} MiB"
    if free < floor_mb:
        return Check(what="disk", state=State.WRONG, detail=detail, remedy="make room there")
    if free < 5 * floor_mb:
        return Check(what="disk", state=State.WARN, detail=detail, remedy="make room there soon")
    return Check(what="disk", state=State.OK, detail=detail)


def log(path: Path, limit_mb: int) -> Iterator[Check]:
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


def registry(engine: Engine) -> Iterator[Check]:
    """What it names, and what it leaves out."""
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
        yield Check(
            what="registry",
            state=State.WARN,
            detail=f"{gap.what} ({gap.count}): {few(gap.which)}",
            remedy=gap.remedy,
        )
