"""The score: what the service holds in the end against what the simulator knows to be true."""

import json
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select

from devices.ids import Instant
from rules.events import EventKind
from rules.promises import Standing
from store.database import reading
from store.entries import EntryKind
from store.events import outbox_depth
from store.hazards import ENTRY, HAZARD
from store.listings import events, quotas, rounds
from store.obligations import next_wake
from store.quarantine import QUARANTINE
from store.rows import QuotaRow, RoundRow
from store.walking import Filter
from store.workers import WORKER

SETTLED_S = 30.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing in which the service and the truth part."""

    what: str
    ours: Any
    truth: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A missed round by name; instants in ms, `timezone` the site's."""

    id: str
    site: str
    plan: str
    opens_at: Instant
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What the demo ends with. Rates are per real second; `series` None without InfluxDB."""

    scenario: str
    seed: int
    seconds: float
    sent: int
    kept: int
    duplicates: int
    quarantined: int
    rounds: Mapping[str, int]
    missed: tuple[Missed, ...]
    amended: int
    overdue: int
    hazards: int
    sos: int
    published: int
    series: int | None
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether every verdict, and every count, is the simulator's own."""
        return not self.differences


def settled(engine: Engine, last_tick: Instant) -> bool:
    """Wait until the last tick has taken effect and nothing is left to judge or to tell."""
    deadline = time.monotonic() + SETTLED_S
    while time.monotonic() < deadline:
        with reading(engine) as connection:
            marker = connection.execute(select(func.max(WORKER.c.marker_at))).scalar()
            wake = next_wake(connection)
            waiting = outbox_depth(connection)
        judged = wake is None or wake > last_tick
        if judged and not waiting and marker is not None and marker >= last_tick:
            return True
        time.sleep(POLL_S)
    return False


def score(engine: Engine, truth: Path, summary: Mapping[str, Any], influx: str | None) -> Score:
    """Compare the ledger, and the series where there is one, with `verdicts.json` in `truth`."""
    told: dict[str, Any] = json.loads((truth / "verdicts.json").read_text(encoding="utf-8"))
    last = told["last_tick"]
    settled(engine, last)
    owed: Iterator[RoundRow | QuotaRow] = chain(
        rounds(engine, Filter()), quotas(engine, Filter(), now=last)
    )
    held = [row for row in owed if row.revision > 0]
    counts = told["counts"]
    kept = _entries(engine)[EntryKind.CHECKIN]
    series = None if influx is None else _series(influx, kept)
    overdue = sorted(_overdue(engine))
    ours = {
        "checkins": kept,
        "hazards": _count(engine, HAZARD),
        "sos": _events(engine, EventKind.SOS_RAISED),
        "quarantined": _count(engine, QUARANTINE),
    }
    pairs: list[tuple[str, Any, Any]] = [(what, ours[what], counts[what]) for what in ours]
    pairs.append(("overdue stretches", overdue, sorted([*told["overdue"], *told["withdrawn"]])))
    if series is not None:
        pairs.append(("check-ins in the series", series, kept))
    counted = [Difference(what=what, ours=a, truth=b) for what, a, b in pairs if a != b]
    return Score(
        scenario=told["scenario"],
        seed=told["seed"],
        seconds=summary["real_seconds"],
        sent=counts["checkins"] + counts["duplicates_sent"],
        kept=kept,
        duplicates=counts["duplicates_sent"],
        quarantined=ours["quarantined"],
        rounds=Counter(row.verdict for row in held),
        missed=tuple(_missed(row) for row in held if row.verdict == Standing.MISSED),
        amended=_events(engine, EventKind.ROUND_AMENDED),
        overdue=len(overdue),
        hazards=ours["hazards"],
        sos=ours["sos"],
        published=summary["published"],
        series=series,
        differences=(*_verdicts(held, told["rounds"]), *counted),
    )


def _verdicts(held: Iterable[Any], told: Mapping[str, Any]) -> Iterator[Difference]:
    ours = {row.id: (row.verdict, row.expected, row.visited, sorted(row.missing)) for row in held}
    true = {
        id_: (round_["verdict"], round_["expected"], round_["visited"], sorted(round_["missing"]))
        for id_, round_ in told.items()
    }
    for id_ in sorted(ours.keys() | true.keys()):
        if ours.get(id_) != true.get(id_):
            yield Difference(what=f"round {id_}", ours=ours.get(id_), truth=true.get(id_))


def _missed(row: Any) -> Missed:
    return Missed(
        id=row.id, site=row.site, plan=row.plan, opens_at=row.opens_at, timezone=row.timezone
    )


def _entries(engine: Engine) -> Counter[EntryKind]:
    query = select(ENTRY.c.kind, func.count()).group_by(ENTRY.c.kind)
    with reading(engine) as connection:
        return Counter({EntryKind(kind): count for kind, count in connection.execute(query)})


def _count(engine: Engine, table: Any) -> int:
    with reading(engine) as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _events(engine: Engine, kind: EventKind) -> int:
    return sum(event.kind == kind for event in events(engine, Filter()))


def _overdue(engine: Engine) -> set[str]:
    kind = EventKind.CHECKPOINT_OVERDUE
    return {event.subject for event in events(engine, Filter()) if event.kind == kind}


def _series(influx: str, wanted: int) -> int:
    """How many check-ins InfluxDB holds, once it has them all or has had its time."""
    asked = {"db": "gridbeat", "q": "SELECT count(event_id) FROM checkin"}
    url = f"{influx}/query?{urllib.parse.urlencode(asked)}"
    deadline = time.monotonic() + SETTLED_S
    while True:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback
            found = json.load(answer)["results"][0].get("series")
        count = int(found[0]["values"][0][1]) if found else 0
        if count >= wanted or time.monotonic() > deadline:
            return count
        time.sleep(POLL_S)
