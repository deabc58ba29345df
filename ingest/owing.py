"""Owing: follows the registry, and makes what its plans owe ahead of time.

A changed plan or calendar remakes only what has not opened; what is open keeps what it owed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy import Connection

from devices.ids import Instant
from ingest.ledger import Ledger
from rules.events import Notice, calendar_unknown
from rules.plans import unknown_years
from rules.promises import Obligation
from store import obligations, workers
from store.events import raise_notices
from store.obligations import InForce
from store.picture import Picture

log = structlog.get_logger()

HORIZON_MS = 26 * 3_600_000
"""How far ahead obligations are made: handhelds show the rounds of the coming day."""
STEP_MS = 3_600_000
"""How far the horizon falls behind before it is made up."""
PAGE = 500
"""Obligations written in one transaction, so that it stays under 50 ms."""


@dataclass(slots=True, kw_only=True)
class Owing:
    """What one instance has made, and until when. `by_ticks`: the clock is a simulator's."""

    ledger: Ledger
    instance: str
    by_ticks: bool
    made_until: Instant | None = None

    async def follow(self, before: Picture | None, picture: Picture, now: Instant) -> None:
        """Take up what a new version of the registry changed."""
        effective = now if self.by_ticks else None
        fresh = set(await self.ledger.write(lambda c: obligations.take_up(c, effective)))
        changed = fresh if before is None else fresh | _other_calendars(before, picture)
        until = self.made_until
        if not changed or until is None:
            return
        versions = await self.ledger.read(lambda c: obligations.in_force(c, now, changed))
        owed = [
            (version, version.owed(version.since if version.plan_id in fresh else now, until))
            for version in versions
        ]
        await self.ledger.write(lambda c: _remake(c, changed, owed, now))
        log.info("plans.changed", plans=len(changed))

    async def make(self, now: Instant) -> None:
        """Make what opens up to the horizon, if it has come near."""
        made = self.made_until
        if made is not None and made >= now + HORIZON_MS - STEP_MS:
            return
        since = made if made is not None else now if self.by_ticks else 0
        until = now + HORIZON_MS
        versions = await self.ledger.read(lambda c: obligations.in_force(c, since))
        for version in versions:
            owed = version.owed(since, until)
            for start in range(0, len(owed), PAGE):
                page = owed[start : start + PAGE]
                await self.ledger.write(partial(_write, version=version, page=page))
        unknown = [notice for version in versions for notice in _unknown(version, since, until)]
        await self.ledger.write(lambda c: self._made(c, until, unknown, now))
        self.made_until = until

    def _made(
        self, connection: Connection, until: Instant, unknown: list[Notice], now: Instant
    ) -> None:
        workers.advance(connection, self.instance, made_until=until)
        raise_notices(connection, unknown, now)


def _write(connection: Connection, version: InForce, page: list[Obligation]) -> None:
    obligations.write(connection, version, page)


def _remake(
    connection: Connection,
    plans: Iterable[int],
    owed: Iterable[tuple[InForce, list[Obligation]]],
    now: Instant,
) -> None:
    for plan_id in plans:
        obligations.remove_unopened(connection, plan_id, now)
    for version, promises in owed:
        obligations.write(connection, version, promises)


def _other_calendars(before: Picture, picture: Picture) -> set[int]:
    """Plans of the sites whose calendar or time zone is another now."""
    changed = {
        site.id
        for site in picture.sites.values()
        if (old := before.site_by_id(site.id)) is not None
        and (old.calendar, old.timezone) != (site.calendar, site.timezone)
    }
    return {plan.plan_id for plan in picture.plans() if plan.site_id in changed}


def _unknown(version: InForce, since: Instant, until: Instant) -> list[Notice]:
    """The years in which the plan asks for day classes that nobody has told."""
    years = unknown_years(version.plan, version.calendar, max(since, until - HORIZON_MS), until)
    return [calendar_unknown(version.plan, year, until) for year in years]
