"""`gridbeat plan`: what a plan would owe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import Json, Language, group, language, settings

if TYPE_CHECKING:
    from desk.plans import Previewed

app = group()


@app.callback()
def plans() -> None:
    """Keep `plan` a group while it has one command."""


@app.command()
def preview(
    context: typer.Context,
    plan: Annotated[str, typer.Argument(metavar="SITE/PLAN", help="As in school-01/night.")],
    file: Annotated[
        Path | None,
        typer.Option("--file", help="As this registry file has it, before it is applied."),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=400)] = 14,
    first: Annotated[
        str | None, typer.Option("--from", help="The first day; today by default.", metavar="DATE")
    ] = None,
    json: Json = False,
    lang: Language = None,
) -> None:
    """Show the rounds a plan would owe, and why each day is what it is."""
    from cli.output import emit_rows
    from desk.plans import applied, in_file

    if file is not None:
        found = in_file(file, plan)
    else:
        from desk.ledger import opened

        with opened(settings(context)) as engine:
            found = applied(engine, plan)
    rows = list(_rows(found, first_day(first, found.plan.timezone), days, language(lang)))
    if json:
        emit_rows(rows)
    else:
        _table(rows, language(lang))


def first_day(text: str | None, timezone: str) -> Any:
    """The date asked for, else today in the zone."""
    from datetime import date, datetime
    from zoneinfo import ZoneInfo

    from desk.errors import UsageError

    if text is None:
        return datetime.now(ZoneInfo(timezone)).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--from {text!r} is no date", "write it as 2026-09-01") from None


def _rows(found: "Previewed", first: Any, days: int, lang: str) -> Any:
    from desk.times import rfc3339
    from rules.words import DAYS

    zone = found.plan.timezone
    for day in found.days(first, days):
        yield {
            "date": day.day.date.isoformat(),
            "classes": sorted(day.day.classes),
            "why": day.day.why_zh if lang == "zh" else day.day.why,
            "known": day.day.known,
            "words": ", ".join(
                DAYS[name].zh if lang == "zh" else DAYS[name].en for name in sorted(day.day.classes)
            ),
            "owed": [
                {
                    "id": owed.key,
                    "opens_at": rfc3339(owed.opens, zone),
                    "closes_at": rfc3339(owed.closes, zone),
                    "due_at": rfc3339(owed.due, zone),
                }
                for owed in day.owed
            ],
        }


def _table(rows: list[dict[str, Any]], lang: str) -> None:
    from cli.output import Column, table

    def windows(row: dict[str, Any]) -> str:
        owed = {(one["opens_at"][11:16], one["closes_at"][11:16]): None for one in row["owed"]}
        return "  ".join(f"{opens}–{closes}" for opens, closes in owed) or "—"

    columns = [
        Column(en="day", zh="日期", cell=lambda row: row["date"]),
        Column(en="class", zh="日别", cell=lambda row: row["words"]),
        Column(en="why", zh="依据", cell=lambda row: row["why"]),
        Column(en="rounds", zh="巡查", cell=windows, fold=True),
    ]
    table(columns, rows, lang, "No days.")
