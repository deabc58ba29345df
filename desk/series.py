"""The time series: how far it has come, fed again from the beginning, and asked by name."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Engine, func, select

from desk.errors import DeskError, UnreachableError, UsageError
from desk.ledger import present
from desk.listing import Asked, refused
from desk.times import rfc3339
from desk.zones import zone_of
from devices.ids import Instant
from store.database import reading
from store.series.connect import series_questions
from store.series.feeder import rebuild as rewind
from store.series.ports import Retryable, SeriesError
from store.series.questions import Questions
from store.series.sources import REJECT
from store.settings import Settings
from store.tallies import series_lags
from store.walking import Filter, UnknownSite, site_places

DAY_MS = 86_400_000

Ask = Callable[[Questions, str | None, Instant, Instant], Awaitable[Sequence[Any]]]

QUESTIONS: dict[str, Ask] = {
    "checkins-per-hour": lambda asked, *span: asked.checkins_per_hour(*span),
    "coverage-per-day": lambda asked, *span: asked.coverage_per_day(*span),
    "site-state-now": lambda asked, site, *_: asked.site_state_now(site),
}
INSTANTS = frozenset({"hour", "day", "at"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesStatus:
    """Where the series is, how far behind each of its sources is, what it refused for good."""

    url: str | None
    behind: dict[str, int]
    rejected: int
    last_reject: str | None


def series_status(engine: Engine, settings: Settings, wall: Instant) -> SeriesStatus:
    """How the feeding of the series stands."""
    now = present(engine, wall)
    with reading(engine) as connection:
        rejected = connection.execute(select(func.count()).select_from(REJECT)).scalar_one()
        last = connection.execute(
            select(REJECT.c.line, REJECT.c.error).order_by(REJECT.c.id.desc()).limit(1)
        ).first()
        return SeriesStatus(
            url=settings.influx_url,
            behind=dict(series_lags(connection, now)),
            rejected=rejected,
            last_reject=None if last is None else f"{last.error}: {last.line}",
        )


def rebuild(engine: Engine, settings: Settings) -> None:
    """Have the service write the whole series again. Raises `DeskError` where there is none."""
    if settings.influx_url is None:
        raise DeskError("there is no InfluxDB to fill", "set GRIDBEAT_INFLUX_URL")
    rewind(engine)


def ask(engine: Engine, settings: Settings, name: str, asked: Asked) -> list[dict[str, Any]]:
    """Answer a named question, without a span about the last day.

    Raises `UsageError` for a question nobody knows, `DeskError` for a site that nobody knows,
    `UnreachableError` when nobody answers.
    """
    question = QUESTIONS.get(name)
    if question is None:
        raise UsageError(f"no question is called {name!r}", f"ask one of {', '.join(QUESTIONS)}")
    now = present(engine, asked.now)
    span = asked.read(engine)
    try:
        site_places(engine, span.site)
    except UnknownSite as error:
        raise refused(error) from None
    try:
        answers = asyncio.run(_ask(settings, engine, question, span, now))
    except Retryable as error:
        raise UnreachableError(
            f"InfluxDB at {settings.influx_url} does not answer",
            "see that it runs; without influx_url the ledger answers",
        ) from error
    except SeriesError as error:
        raise DeskError(str(error), "gridbeat doctor") from error
    with reading(engine) as connection:
        zone = zone_of(connection, asked.site)
    return [_plain(answer, None if zone is None else str(zone)) for answer in answers]


async def _ask(
    settings: Settings, engine: Engine, question: Ask, span: Filter, now: Instant
) -> Sequence[Any]:
    asked = series_questions(settings, engine, now=lambda: now)
    since = now - DAY_MS if span.since is None else span.since
    try:
        return await question(
            asked, span.site, since, now + 1 if span.until is None else span.until
        )
    finally:
        await asked.close()


def _plain(answer: Any, zone: str | None) -> dict[str, Any]:
    """As values; instants with the offset of the sites' time, where they have one."""
    values = {field.name: getattr(answer, field.name) for field in fields(answer)}
    return {
        name: rfc3339(value, zone) if name in INSTANTS else value for name, value in values.items()
    }
