"""What long running leaves behind: rows of every table that grows, straight into the ledger.

The ledger must hold the registry of `tests.ingest.school`, and nothing else. All of it is over, and
a day old or more, but for what a crash leaves: a span that is open, entries that are not folded.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from devices.ids import Instant

DAY_MS = 86_400_000
STEP_MS = 1_500_000
"""Between two check-ins: a longer history is not a denser one."""
EPOCH = 7
"""In which all devices count, with a check-in's number as `seq`."""
UNFOLDED = 3

_FILL = """
WITH RECURSIVE
  number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :size),
  each(n, t, device, site, point) AS (
    SELECT n, :until - (:size - n) * :step, 1 + n % 4, 1 + (n % 4 = 3), 1 + n % 2 + (n % 4 = 3)
      FROM number)
INSERT INTO {table} ({columns}) SELECT {values} FROM each {joins} WHERE n % {every} = 0
"""


class Rows(NamedTuple):
    """Those of one table. `values`: of the check-in `n` at `t`, read by `device` at the checkpoint
    `point` of `site`; one for every how-manieth."""

    table: str
    columns: str
    values: str
    every: int = 5
    joins: str = ""


def _event(kind: str, revision: int, state: str, data: str = "{}", every: int = 5) -> Rows:
    return Rows(
        "event",
        "event_id, kind, severity, site_id, subject, at, raised_at, revision, state, message, data",
        f"'{kind}/{revision}/' || n, '{kind}', 'high', 1, 'hh-1/' || n, t, t, {revision},"
        f""" '{state}', '{{"zh": "", "en": ""}}', '{data}'""",
        every,
    )


def _obligation(kind: str, plan: str, every: int, overran: str = "NULL") -> Rows:
    point = "2" if kind == "gap" else "NULL"
    return Rows(
        "obligation",
        "key, kind, site_id, plan_id, plan_version_id, checkpoint_id, opens, closes, due, standing,"
        " revision, expected, visited, alarm, scored, overran",
        f"'{kind}/' || n, '{kind}', 1, plan.id, version.id, {point}, t, t + 600000, t + 900000,"
        f" 'completed', 1, 2, 2, 0, 1, {overran}",
        every,
        f"JOIN plan ON plan.slug = '{plan}' JOIN plan_version version ON version.plan_id = plan.id",
    )


_CLOCK = '{"device": "hh-1", "skew_ms": 600000}'
_SPAN = "since, until, author, reason, made_at, entry_id"
_ITS = "t, t + 1000, 'somebody', 'because', t, n"

LEFT: tuple[Rows, ...] = (
    Rows("arrival", "id, after, before, first_entry", "n, t, t + 1000, n", 1),
    Rows(
        "entry",
        "id, kind, device_id, epoch, seq, site_id, checkpoint_id, at, sent, received_at,"
        " arrival_id, tag, via, digest",
        f"n, 1, device, {EPOCH}, n, site, point, t, t + 5, t + 40, n, '04A2B3C4D5E680', 1, n",
        1,
    ),
    Rows("correction", "entry_id, site_id, at, how", "n, site, t - 60000, 'ahead'"),
    Rows("contact", "device_id, since, until", "device, t, t + 30000", 1),
    Rows("presence", "device_id, at, online", "device, t, n % 8 < 4", 1),
    Rows("outage", "what, since, until", "'service', t, t + 20000"),
    Rows("outage", "what, since, until", "'broker', t, t + 20000"),
    Rows("device_firmware", "device_id, at, firmware", "device, t, n"),
    Rows(
        "holding",
        "entry_id, device_id, epoch, seq, site_id, person_id, at, lasts, by_round",
        f"n, device, {EPOCH}, n, 1, 1, t, 3600000, 0",
    ),
    Rows("mark", "entry_id, kind, site_id, at, data", "n, 'too-fast', site, t, '{}'"),
    Rows(
        "decision",
        "id, do, obligation_key, author, at, reason",
        "n, 'excuse', 'round/' || n, 'somebody', t, 'because'",
    ),
    Rows("excuse", f"site_id, {_SPAN}", f"1, {_ITS}"),
    Rows("silence", f"kind, {_SPAN}", f"'round.missed', {_ITS}"),
    Rows("substitution", f"plan_id, person_id, for_id, {_SPAN}", f"1, 1, 1, {_ITS}"),
    Rows(
        "device_message",
        "slug, device_id, site_id, text, severity, author, made_at, entry_id, told_at",
        "'old-' || n, device, site, 'hello', 'low', 'somebody', t, n, t",
    ),
    Rows(
        "hazard",
        "id, site_id, reported_at, received_at, state, grade, closed_at, revision, changed",
        "'old/' || n, 1, t, t, 'closed', 'major', t, 2, n",
    ),
    Rows("hazard_step", "hazard, entry_id", "'old/' || n, n"),
    Rows(
        "quarantine",
        "topic, device, bucket, reason, detail, received_at, day, size, sha256, payload, whole,"
        " copies, state",
        "'old', 'hh-1', 'hh-1', 'not-json', 'not JSON', t, t / 86400000, 1, n, 'x', 1, 1, 'kept'",
    ),
    _obligation("round", "day", 1),
    _obligation("gap", "gap", 5, "t + 950000"),
    _obligation("quota", "day", 100),
    _event("round.completed", 1, "resolved", every=1),
    _event("round.missed", 1, "open"),
    _event("sos.raised", 1, "open"),
    _event("sos.raised", 2, "resolved"),
    _event("device.clock-skew", 1, "open", _CLOCK),
    _event("device.clock-skew", 2, "resolved", _CLOCK),
    _event("calendar.unknown", 1, "open"),
    _event("calendar.unknown", 2, "resolved"),
    _event("service.gap", 1, "resolved", '{"until": 0}'),
    _event("hazard.opened", 1, "open"),
    _event("hazard.opened", 2, "resolved"),
    _event("checkpoint.overdue", 1, "open"),
    _event("checkpoint.overdue", 2, "resolved"),
)

_AND = (
    "INSERT INTO verdict"
    " (obligation_id, revision, standing, at, judged_at, reason, missing, late, document)"
    " SELECT id, 1, standing, due, due, 'complete', '[]', '[]', '{}' FROM obligation"
    "  WHERE revision = 1",
    "INSERT INTO arrival (after, first_entry) SELECT :now, max(id) + 1 FROM entry",
    "INSERT INTO worker (instance, clock, started_at, marker_at, folded_entry)"
    " SELECT 'gridbeat', 'system', :now, :now, max(id) - :unfolded FROM entry",
    "INSERT INTO entry (kind, site_id, at, received_at, author, body)"
    " VALUES (4, 1, :now, :now, 'somebody', '{}')",
    "INSERT INTO cursor SELECT 'series.event', max(id) FROM event",
    "INSERT INTO cursor SELECT 'series.round', max(id) FROM verdict",
    "INSERT INTO cursor SELECT 'series.hazard', max(changed) FROM hazard",
    "INSERT INTO cursor SELECT 'series.checkin', max(id) FROM entry",
)


def leave(ledger: Path, size: int, *, now: Instant) -> None:
    """Leave `size` check-ins of until a day ago, and all that came of them; the service was there
    until `now`."""
    span = {"until": now - DAY_MS, "step": STEP_MS, "size": size}
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        for rows in LEFT:
            connection.execute(_FILL.format(**rows._asdict()), span)
        for statement in _AND:
            connection.execute(statement, {"now": now, "unfolded": UNFOLDED})
        connection.execute("COMMIT")


def analyze(ledger: Path) -> None:
    """Have SQLite look at how many rows there are, as an operator may."""
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("ANALYZE")
