"""The ledger on a small disk of its own, and what is read from it in the end.

It is read with plain SQL, not with the service's code.
"""

import contextlib
import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

from firmware_sim.setcheck import Element, Round

KINDS = {1: "checkin", 2: "hazard", 3: "sos"}
DISK_MB = 256


_TOLD_SINGLY = """
    SELECT kind, subject, revision FROM event
     WHERE id <= ? AND id NOT IN (SELECT event_row FROM outbox)
       AND NOT (kind IN ('round.completed', 'round.incomplete', 'round.missed', 'round.unknown',
                         'round.amended', 'checkpoint.overdue') AND EXISTS (
           SELECT 1 FROM event gap
            WHERE gap.kind = 'service.gap' AND json_extract(gap.data, '$.singly') = 0
              AND event.raised_at BETWEEN json_extract(gap.data, '$.since')
                  AND max(json_extract(gap.data, '$.until'), gap.raised_at) + 60000))
       AND kind <> 'device.offline'
"""
"""Decision 12: a storm after a gap of our own is one `service.gap`. Devices that fell silent
together are a digest too."""


class Disk:
    """A tmpfs of some MiB where mounting is allowed; `skipped` says why where it is not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "disk"
        self.folder.mkdir()
        self.skipped: str | None = None
        self._ballast = self.folder / "ballast"
        options = ("-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(self.folder))
        mounted = subprocess.run(("mount", *options), capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.skipped = f"no tmpfs can be mounted here: {mounted.stderr.strip()}"

    def fill(self) -> None:
        """Not a byte is left."""
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while file.write(bytes(64 * 1024)):
                pass

    def free(self) -> None:
        """There is room again."""
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        if self.skipped is None:
            subprocess.run(("umount", "--lazy", str(self.folder)), check=False)


class Ledger:
    """Reads the ledger's file beside the service."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """A question in SQL."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=10)) as asked:
            return asked.execute(query, values).fetchall()

    def entries(self) -> tuple[Element, ...]:
        """Every row that a device said."""
        rows = self.rows(
            "SELECT device.slug, epoch, seq, kind, at, tag FROM entry"
            " JOIN device ON device.id = entry.device_id"
        )
        return tuple(Element(d, e, s, KINDS[k], at, tag) for d, e, s, k, at, tag in rows)

    def newest_event(self) -> int:
        """The key of the latest one; 0 where there is none."""
        return int(self.rows("SELECT coalesce(max(id), 0) FROM event")[0][0])

    def events(self, upto: int) -> frozenset[tuple[str, str, int]]:
        """Kind, subject and revision of the events up to that key, less what a digest tells."""
        return frozenset(self.rows(_TOLD_SINGLY, upto))

    def rejected(self) -> frozenset[str]:
        """The check-ins that the series refused for good, by their names."""
        lines = self.rows("SELECT line FROM series_reject WHERE line LIKE 'checkin,%'")
        return frozenset(name_of(line) for (line,) in lines)

    def rounds(self, due_by: int) -> tuple[Round, ...]:
        """All rounds that fell due, as their latest verdict says. Instants in ms."""
        rows = self.rows(
            "SELECT o.key, site.slug, o.opens, o.closes, o.waiting, v.missing, pv.terms"
            "  FROM obligation o JOIN site ON site.id = o.site_id"
            "  JOIN plan_version pv ON pv.id = o.plan_version_id"
            "  LEFT JOIN verdict v ON v.obligation_id = o.id AND v.revision ="
            "       (SELECT max(revision) FROM verdict w WHERE w.obligation_id = o.id)"
            " WHERE o.kind = 'round' AND o.due <= ?",
            due_by,
        )
        return tuple(_round(row) for row in rows)

    def outbox(self) -> dict[str, int]:
        """Events still to be told, by channel."""
        return dict(self.rows("SELECT channel, count(*) FROM outbox GROUP BY channel"))

    def copy(self, folder: Path) -> None:
        """For whoever looks into it later."""
        with (
            closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(folder / "gridbeat.db")) as target,
        ):
            source.backup(target)

    def quarantined(self) -> dict[str, int]:
        """Copies in quarantine by reason."""
        return dict(self.rows("SELECT reason, sum(copies) FROM quarantine GROUP BY reason"))


def _round(row: tuple[Any, ...]) -> Round:
    key, site, opens, closes, waiting, missing, terms = row
    return Round(
        key=key,
        site=site,
        opens=opens,
        closes=closes,
        route=tuple(stop["slug"] for stop in json.loads(terms)["route"]),
        missing=tuple(json.loads(missing or "[]")),
        waiting=waiting,
        judged=missing is not None,
    )


def name_of(line: str) -> str:
    """`event_id` of a check-in's line."""
    return line.split('event_id="', 1)[1].split('"', 1)[0]


def free_mb(folder: Path) -> int:
    """MiB free where the ledger lies."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize // 2**20
