"""A small ledger with fixed times: two sites, an evening of rounds, a gap, a hazard, bad input.

It is made through the store's own doors, judged by the rules, and the same at every run.
"""

import functools
import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, select

from devices.ids import Instant
from devices.reasons import Reason
from rules.events import follow
from rules.notices import service_gap, sos_raised
from rules.obligations import Known, flip, settle
from store import obligations, registry
from store.arrivals import ArrivalBook
from store.database import open_engine, writing
from store.entries import EntryKind, EntryRow, ViaCode, append, next_id
from store.events import raise_notices
from store.evidence import reads_for
from store.hazards import take_step
from store.lags import Heard
from store.listings import CHECKPOINT, DEVICE, PERSON, SITE
from store.presence import PresenceBook
from store.quarantine import QuarantineBook, Suspect
from store.verdicts import flipped
from tests.blank import blank

REGISTRY = """\
calendar: every-day
grids:
  - {id: bureau, name: 滦州市教育局, tree: sector, level: 1}
  - {id: street, name: 响嘡街道, tree: territory, level: 1}
people:
  - {id: p-017, name: 保安甲, roles: [guard]}
devices:
  - {id: insp-01, grid: bureau}
sites:
  - id: school-01
    name: 第三中学
    timezone: Asia/Shanghai
    belongs_to: [bureau, street]
    checkpoints:
      - {id: gate-east, name: 东门, tags: ["04A2B3C4D5E680"]}
      - {id: lab, name: 实验楼, tags: ["04A2B3C4D5E681"]}
    devices:
      - {id: hh-0101}
    plans:
      - {id: night, name: 夜间巡更, route: [gate-east, lab], windows: ["22:00-23:00"], grace: 5m}
      - {id: lab-gap, name: 实验楼间隔, route: [lab], windows: ["20:00-23:30"], every: 2h}
  - id: school-02
    name: Harbour School
    timezone: Europe/London
    belongs_to: [bureau, street]
    checkpoints:
      - {id: hall, name: Hall, tags: ["04B2B3C4D5E680"]}
    devices:
      - {id: hh-0201}
    plans:
      - {id: noon, name: Noon, route: [hall], windows: ["12:00-13:00"]}
"""


def at(text: str) -> Instant:
    """An instant from RFC 3339."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


APPLIED = at("2026-09-01T00:00:00+08:00")
NOW = at("2026-09-02T08:00:00+08:00")

READS = (
    # site, device, seq, checkpoint, tag, person, the device's clock, how far that is ahead
    ("school-01", "hh-0101", 1, "gate-east", "04A2B3C4D5E680", "p-017", "22:05:00", 0),
    ("school-01", "hh-0101", 2, "lab", "04A2B3C4D5E681", "p-017", "23:01:30.250", 0),
    ("school-01", "hh-0101", 3, None, "FFFF", None, "23:10:00", 0),
    ("school-01", "hh-0101", 4, "gate-east", "04A2B3C4D5E680", "p-017", "23:59:00", 600_000),
)


_FOLDER = tempfile.TemporaryDirectory(prefix="gridbeat-filled-")


def fill(folder: Path) -> str:
    """Make the ledger in `folder` and return its URL."""
    made = _template()
    for name in ("gridbeat.db", "registry.yaml"):
        shutil.copy(made / name, folder / name)
    return f"sqlite:///{folder / 'gridbeat.db'}"


@functools.cache
def _template() -> Path:
    """The filled ledger, made once a process; its WAL is in it."""
    folder = Path(_FOLDER.name)
    url = blank(folder / "gridbeat.db")
    path = folder / "registry.yaml"
    path.write_text(REGISTRY, encoding="utf-8")
    engine = open_engine(url)
    document = registry.read_registry(path)
    registry.apply(engine, document, now=APPLIED, author="tests", source="registry.yaml")
    with writing(engine) as connection:
        obligations.take_up(connection, None)
        for version in obligations.in_force(connection, APPLIED):
            obligations.write(connection, version, version.owed(APPLIED, NOW))
        _read_all(connection)
        _hazard(connection)
        _judge(connection)
        _sos(connection)
        _quarantine(connection)
    engine.dispose()
    return folder


def _ids(connection: Connection, table: object) -> dict[str, int]:
    columns = table.c  # type: ignore[attr-defined]
    return {row.slug: row.id for row in connection.execute(select(columns.slug, columns.id))}


def _read_all(connection: Connection) -> None:
    """Four reads; the last by a clock that was ten minutes ahead, and corrected."""
    sites, devices, people = (_ids(connection, table) for table in (SITE, DEVICE, PERSON))
    points = _ids(connection, CHECKPOINT)
    presence = PresenceBook()
    for site, device, seq, checkpoint, tag, person, clock, ahead in READS:
        told = at(f"2026-09-01T{clock}+08:00")
        received = told - ahead + 400
        book = ArrivalBook(received - 400)
        entry = next_id(connection)
        row = EntryRow(
            kind=EntryKind.CHECKIN,
            device_id=devices[device],
            epoch=0,
            seq=seq,
            site_id=sites[site],
            checkpoint_id=None if checkpoint is None else points[checkpoint],
            person_id=None if person is None else people[person],
            at=told,
            sent=told + 100,
            received_at=received,
            tag=tag,
            via=ViaCode.NFC,
            digest=seq,
            body=None,
        )
        append(connection, [row], entry, book.span(connection, entry))
        book.hear(devices[device], Heard(told + 100, told + 100, 1))
        book.close(connection, received + 600)
        presence.heard(connection, devices[device], received)
        presence.flush(connection)


def _hazard(connection: Connection) -> None:
    told = at("2026-09-01T22:20:00+08:00")
    entry = next_id(connection)
    row = EntryRow(
        kind=EntryKind.HAZARD,
        device_id=_ids(connection, DEVICE)["hh-0101"],
        epoch=0,
        seq=5,
        site_id=_ids(connection, SITE)["school-01"],
        checkpoint_id=_ids(connection, CHECKPOINT)["lab"],
        person_id=_ids(connection, PERSON)["p-017"],
        at=told,
        sent=told,
        received_at=told + 300,
        tag=None,
        via=None,
        digest=5,
        body='{"grade":"major","text":"消防通道被堵"}',
    )
    append(connection, [row], entry, 0)
    raise_notices(connection, take_step(connection, "hh-0101/0/5", entry), told + 300)


def _judge(connection: Connection) -> None:
    """Judge everything that was due by `NOW`, each a little after its due."""
    plans = obligations.Plans()
    for row in obligations.awake(connection, NOW, 100):
        promise = plans.promise(connection, row)
        reads = reads_for(connection, row.site_id, promise, NOW)
        known = Known(marker=NOW, reachable=promise.site == "school-01")
        verdict = settle(promise, reads, known, NOW)
        changed = flip(promise, None, verdict)
        if changed is None:
            continue
        flipped(connection, [(row, verdict)], promise.due + 20)
        plan = plans.of(connection, row.plan_version_id)
        raise_notices(connection, follow(changed, plan), promise.due + 20)


def _sos(connection: Connection) -> None:
    told = at("2026-09-01T23:30:00+08:00")
    sos = sos_raised("school-01", "hh-0101/0/6", told, device="hh-0101", data={})
    raise_notices(connection, [sos, service_gap(told - 60_000, told)], told + 50)


def _quarantine(connection: Connection) -> None:
    suspect = Suspect(
        topic="patrol/v1/school-01/hh-0101/up/checkin",
        site="school-01",
        device="hh-0101",
        bucket="hh-0101",
        epoch=None,
        seq=None,
        reason=Reason.NOT_JSON,
        detail="Expecting value: line 1 column 1 (char 0)",
        received_at=at("2026-09-01T22:30:00+08:00"),
        payload=b"garbage\xff{",
    )
    QuarantineBook().keep(connection, suspect)
