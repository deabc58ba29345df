"""Owing: follows the registry, and makes what its plans owe ahead of time.

A changed plan or calendar remakes only what has not opened; what is open keeps what it owed.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from devices.ids import Instant
from ingest.ledger import Ledger
from rules.events import EventKind, Notice, calendar_known, calendar_unknown
from rules.plans import unknown_years, years_asked
from rules.promises import Obligation
from store import obligations, workers
from store.events import open_events, raise_notices
from store.obligations import InForce
from store.picture import Picture

log = structlog.get_logger()

T = TypeVar("T")

HORIZON_MS = 36 * 3_600_000
"""How far ahead obligations are made."""
STEP_MS = 12 * 3_600_000
"""How far the horizon falls behind before it is made up: a day is always there, and the plans are
read twice a day."""
PAGE = 500
"""Obligations written in one transaction, so that it stays under 50 ms."""
PLANS = 20
"""Plans remade in one transaction, for the same reason."""
READ = 200
"""Plans read at once: of a hundred thousand, not all are to be in memory."""

Owed = tuple[InForce, list[Obligation]]


@dataclass(slots=True, kw_only=True)
class Owing:
    """What one instance has made, and until when.

    `by_ticks`: the clock is a simulator's; then nothing is owed before `first_tick`, though the
    service may first look when others have followed it.
    """

    ledger: Ledger
    instance: str
    by_ticks: bool
    made_until: Instant | None = None
    first_tick: Instant | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A plan that ends while its rounds are being made must not leave some of them behind."""

    async def follow(self, before: Picture | None, picture: Picture, now: Instant) -> None:
        """Take up what a new version of the registry changed.

        `before` None: any calendar may be another one, as after a start.
        """
        async with self._turn:
            await self._take_up(before, picture, now)

    async def make(self, now: Instant) -> None:
        """Make what opens up to the horizon, if it has come near."""
        async with self._turn:
            await self._make(now)

    async def _take_up(self, before: Picture | None, picture: Picture, now: Instant) -> None:
        effective = self._begins(now) if self.by_ticks else None
        fresh = set(await self.ledger.write(lambda c: obligations.take_up(c, effective)))
        changed = fresh | (_all(picture) if before is None else _other_calendars(before, picture))
        until = self.made_until
        if not changed or until is None:
            return
        for plans in batched(sorted(changed), PLANS):
            await self._remake(plans, fresh, now, until)
        log.info("plans.followed", plans=len(changed), changed=len(fresh))

    async def _remake(
        self, plans: Sequence[int], fresh: Set[int], now: Instant, until: Instant
    ) -> None:
        def read(connection: Connection) -> list[Owed]:
            return [
                (version, _owed(version, version.since if version.plan_id in fresh else now, until))
                for version in obligations.in_force(connection, now, plans)
            ]

        owed = await self.ledger.read(read)
        await self.ledger.write(lambda c: _rewrite(c, plans, owed, now))

    async def _make(self, now: Instant) -> None:
        made = self.made_until
        if made is not None and made >= now + HORIZON_MS - STEP_MS:
            return
        since = made if made is not None else self._begins(now) if self.by_ticks else 0
        until = now + HORIZON_MS
        plans = await self.ledger.read(lambda c: obligations.plans_in_force(c, since))
        unknown: list[Notice] = []
        for some in batched(plans, READ):
            owed, doubts = await self.ledger.read(
                partial(_owing, plans=some, since=since, until=until)
            )
            unknown += doubts
            for page in _paged(owed):
                await self.ledger.write(partial(obligations.write_all, owed=page))
        await self.ledger.write(lambda c: self._made(c, until, unknown, now))
        self.made_until = until

    def _begins(self, now: Instant) -> Instant:
        """From when on plans that are taken up now count, by a simulator's clock."""
        return now if self.made_until is not None or self.first_tick is None else self.first_tick

    def _made(
        self, connection: Connection, until: Instant, unknown: list[Notice], now: Instant
    ) -> None:
        workers.advance(connection, self.instance, made_until=until)
        raise_notices(connection, unknown, now)


def _owing(
    connection: Connection, plans: Sequence[int], since: Instant, until: Instant
) -> tuple[list[Owed], list[Notice]]:
    """What some plans owe, and the years of which nobody has told them the days."""
    versions = obligations.in_force(connection, since, plans)
    doubts = [notice for version in versions for notice in _unknown(version, since, until)]
    return [(version, _owed(version, since, until)) for version in versions], doubts


def _paged(owed: Iterable[Owed]) -> Iterator[list[Owed]]:
    """The same in pages of `PAGE` obligations at most."""
    page: list[Owed] = []
    size = 0
    for version, promises in owed:
        for start in range(0, len(promises), PAGE):
            part = promises[start : start + PAGE]
            if size + len(part) > PAGE:
                yield page
                page, size = [], 0
            page.append((version, part))
            size += len(part)
    if page:
        yield page


def _owed(version: InForce, since: Instant, until: Instant) -> list[Obligation]:
    """What a version owes."""
    return _spared(version, lambda: version.owed(since, until))


def _spared(version: InForce, asked: Callable[[], list[T]]) -> list[T]:
    """The answer; nothing, said aloud, where the plan makes the rules raise: the others go on."""
    try:
        return asked()
    except Exception as error:
        plan = version.plan
        log.exception("plan.raised", plan=plan.slug, site=plan.site, error=str(error))
        return []


def _rewrite(
    connection: Connection,
    plans: Iterable[int],
    owed: Sequence[Owed],
    now: Instant,
) -> None:
    for plan_id in plans:
        obligations.remove_unopened(connection, plan_id, now)
    obligations.write_all(connection, owed)
    raise_notices(connection, _known_again(connection, [version for version, _ in owed]), now)


def batched(values: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    """`values` in tuples of `size`, the last one shorter (itertools has it from 3.12 on)."""
    left = iter(values)
    while batch := tuple(islice(left, size)):
        yield batch


def _all(picture: Picture) -> set[int]:
    return {plan.plan_id for plan in picture.plans()}


def _other_calendars(before: Picture, picture: Picture) -> set[int]:
    """Plans of the sites whose calendar, day tables or time zone are others now."""
    changed = {
        site.id
        for site in picture.sites.values()
        if (old := before.site_by_id(site.id)) is not None
        and (old.calendar, old.timezone, old.decided)
        != (site.calendar, site.timezone, site.decided)
    }
    return {plan.plan_id for plan in picture.plans() if plan.site_id in changed}


def _known_again(connection: Connection, versions: Sequence[InForce]) -> list[Notice]:
    """The years that nobody had told, and that the calendar of a plan tells now."""
    open_ = open_events(connection, EventKind.CALENDAR_UNKNOWN)
    doubts = {event["subject"]: event["at"] for event in open_}
    if not doubts:
        return []
    plans = {f"{version.plan.site}/{version.plan.slug}": version for version in versions}
    found = []
    for subject, at in doubts.items():
        name, _, year = subject.rpartition("/")
        version = plans.get(name)
        if version is not None and not years_asked(version.plan, version.calendar, (int(year),)):
            found.append(calendar_known(version.plan, int(year), at))
    return found


def _unknown(version: InForce, since: Instant, until: Instant) -> list[Notice]:
    """The years in which the plan asks for day classes that nobody has told."""
    begin = max(since, until - HORIZON_MS)
    years = _spared(
        version, lambda: list(unknown_years(version.plan, version.calendar, begin, until))
    )
    return [calendar_unknown(version.plan, year, until) for year in years]
