"""A generated district in a ledger: its registry, and what its plans owe.

Rows go straight into the tables: reading and applying a file of 10,000 schools would take minutes,
and is not what is measured on it. What is owed is then made by the service's own code
(`ingest.owing`).
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, insert

from bench.load import Handheld
from ingest.ledger import Ledger
from ingest.owing import Owing
from rules.plans import Plan, PlanCheckpoint, Window
from store import workers
from store.database import writing
from store.tables import (
    Checkpoint,
    Contact,
    Device,
    DeviceState,
    Person,
    PlanVersion,
    Presence,
    RegistryRevision,
    Site,
    Tag,
    table_of,
)
from store.tables import Plan as PlanTable

T = TypeVar("T")

INSTANCE = "gridbeat"
DAY_MS = 86_400_000
GRACE_MS = 60_000
HEARTBEAT_MS = DAY_MS
"""No device of a district falls silent during a run: what nobody visits is missed, not unknown."""
PAGE = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class District:
    """`sites` schools of `points` checkpoints and `handhelds`, each with `plans` plans.

    Every plan owes a round of all checkpoints in each of `windows`, by UTC.
    """

    sites: int
    plans: int
    points: int
    handhelds: int = 1
    windows: tuple[Window, ...]

    def fill(self, engine: Engine, now: int, *, since: int) -> None:
        """Write the registry as of `since`, and every handheld as heard from until now."""
        for table, rows in self._rows(now, since):
            for page in paged(rows, PAGE):
                with writing(engine) as connection:
                    connection.execute(insert(table), list(page))
        with writing(engine) as connection:
            _past(connection, now, since)

    def fleet(self, sites: int) -> tuple[Handheld, ...]:
        """The devices of the last `sites` sites: their rounds are the last to fall due."""
        return tuple(
            Handheld(
                slug=_handheld(number, handheld),
                site=f"school-{number:06}",
                person=_guard(number, handheld),
                tags=tuple(_tag(number, point) for point in range(self.points)),
            )
            for handheld in range(self.handhelds)
            for number in range(self.sites - sites, self.sites)
        )

    def _rows(self, now: int, since: int) -> Iterator[tuple[Table, Iterable[dict[str, Any]]]]:
        """Tables and their rows. Ids count from 1, sites first, so that they need not be asked."""
        every = range(self.sites)
        devices = range(self.sites * self.handhelds)
        yield table_of(Person), (_person(*divmod(number, self.handhelds)) for number in devices)
        yield table_of(Site), (_site(number) for number in every)
        yield table_of(Checkpoint), self._checkpoints(every)
        yield table_of(Tag), self._tags(every)
        yield (
            table_of(Device),
            (_device(*divmod(number, self.handhelds), since) for number in devices),
        )
        yield (
            table_of(DeviceState),
            ({"device_id": number + 1, "online": True, "heard_at": now} for number in devices),
        )
        yield (
            table_of(Presence),
            ({"device_id": number + 1, "at": since, "online": True} for number in devices),
        )
        yield (
            table_of(Contact),
            ({"device_id": number + 1, "since": since, "until": now} for number in devices),
        )
        yield table_of(PlanTable), self._plans(every)
        yield table_of(PlanVersion), self._versions(every, since)

    def _checkpoints(self, every: range) -> Iterator[dict[str, Any]]:
        for number in every:
            for point in range(self.points):
                yield {"site_id": number + 1, "slug": _point(point), "name": _point(point)}

    def _tags(self, every: range) -> Iterator[dict[str, Any]]:
        for number in every:
            for point in range(self.points):
                key = number * self.points + point + 1
                yield {"uid": _tag(number, point), "checkpoint_id": key, "since": 0}

    def _plans(self, every: range) -> Iterator[dict[str, Any]]:
        for number in every:
            for plan in range(self.plans):
                yield {"site_id": number + 1, "slug": f"plan-{plan}"}

    def _versions(self, every: range, since: int) -> Iterator[dict[str, Any]]:
        """One Plan is checked and turned into JSON; the others differ from it by two names."""
        route = tuple(PlanCheckpoint(slug=_point(p), name=_point(p)) for p in range(self.points))
        plan = Plan(
            site="school",
            slug="plan",
            name="beat",
            timezone="UTC",
            route=route,
            windows=self.windows,
            grace=GRACE_MS,
        )
        terms = plan.to_json()
        for number in every:
            for which in range(self.plans):
                yield {
                    "plan_id": number * self.plans + which + 1,
                    "version": 1,
                    "digest": "",
                    "terms": terms | {"site": f"school-{number:06}", "slug": f"plan-{which}"},
                    "applied_at": since,
                    "effective_at": since,
                }


def _site(number: int) -> dict[str, Any]:
    name = f"school-{number:06}"
    calendar = {"base": "every-day", "terms": None}
    return {"slug": name, "name": name, "timezone": "UTC", "calendar": calendar}


def _handheld(number: int, handheld: int) -> str:
    return f"hh-{number:06}-{handheld}"


def _guard(number: int, handheld: int) -> str:
    return f"guard-{number:06}-{handheld}"


def _person(number: int, handheld: int) -> dict[str, Any]:
    name = _guard(number, handheld)
    return {"slug": name, "name": name, "roles": ["guard"]}


def _device(number: int, handheld: int, since: int) -> dict[str, Any]:
    return {
        "slug": _handheld(number, handheld),
        "site_id": number + 1,
        "protocol": "patrol",
        "heartbeat_ms": HEARTBEAT_MS,
        "enrolled_at": since,
    }


def _point(point: int) -> str:
    return f"point-{point:02}"


def _tag(number: int, point: int) -> str:
    return f"04{number:08X}{point:04X}"


def _past(connection: Connection, now: int, since: int) -> None:
    """An instance has run until now, and the registry was applied before."""
    workers.start_worker(connection, INSTANCE, "system", now)
    workers.advance(connection, INSTANCE, marker_at=now)
    values = {"applied_at": since, "author": "bench", "source": "bench", "digest": ""}
    connection.execute(insert(table_of(RegistryRevision)).values(**values, changes=[]))


def paged(values: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """`values` in tuples of `size`, the last one shorter."""
    left = iter(values)
    while page := tuple(islice(left, size)):
        yield page


class Timed(Ledger):
    """A ledger that notes how long each of its write transactions took, commit included.

    Alone on its database: what waits for other writers would be counted too.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.took_ms: list[float] = []
        self.cpu_ms: list[float] = []

    async def write(self, work: Callable[[Connection], T]) -> T:
        begun, cpu = time.perf_counter(), time.process_time()
        done = await super().write(work)
        self.took_ms.append((time.perf_counter() - begun) * 1_000)
        self.cpu_ms.append((time.process_time() - cpu) * 1_000)
        return done


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """How long it took to make what is owed; `transactions`: ms of each write.

    `cpu_seconds`, `cpu_transactions`: the same in CPU time, which other work on the machine makes
    hardly longer.
    """

    seconds: float
    cpu_seconds: float
    transactions: tuple[float, ...]
    cpu_transactions: tuple[float, ...]


def owe(engine: Engine, now: int) -> Made:
    """Have the service's own code make what opens up to its horizon."""

    async def make(ledger: Ledger) -> None:
        await Owing(ledger=ledger, instance=INSTANCE, by_ticks=False).make(now)

    ledger = Timed(engine)
    begun, cpu = time.perf_counter(), time.process_time()
    try:
        asyncio.run(make(ledger))
        return Made(
            seconds=time.perf_counter() - begun,
            cpu_seconds=time.process_time() - cpu,
            transactions=tuple(ledger.took_ms),
            cpu_transactions=tuple(ledger.cpu_ms),
        )
    finally:
        ledger.close()
