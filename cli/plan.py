"""`gridbeat plan`: what a plan would owe; excuses and substitutions for spans of time."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import Author, Json, Language, by, group, language, settings, wall
from cli.spans import From, Reason, Until

if TYPE_CHECKING:
    from desk.plans import Previewed

app = group()


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


@app.command()
def excuse(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="SITE[/PLAN]", help="A site, or one plan of it.")],
    until: Until,
    reason: Reason,
    since: From = None,
    author: Author = None,
) -> None:
    """Excuse the rounds that open in a span; they stay, as excused, unless they were kept."""
    from cli.output import say
    from desk.ledger import opened, present
    from desk.spans import Asked
    from desk.spans import excuse as give

    with opened(settings(context)) as engine:
        who = by(author, present(engine, wall()))
        judged = give(engine, name, Asked(since=since, until=until, reason=reason), by=who)
    say(f"{name}: excused until {until} by {who.author}; {judged} judged before")


@app.command()
def excuses(context: typer.Context, json: Json = False, lang: Language = None) -> None:
    """List excuses for spans of time, those that have ended too."""
    from cli.spans import show
    from desk.ledger import opened
    from desk.spans import excuses as every

    with opened(settings(context)) as engine:
        rows = every(engine)
    show(rows, json=json, lang=language(lang))


@app.command()
def substitute(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="SITE/PLAN", help="As in school-01/night.")],
    person: Annotated[str, typer.Option("--person", help="Who walks.", metavar="ID")],
    instead_of: Annotated[str, typer.Option("--for", help="In whose place.", metavar="ID")],
    until: Until,
    reason: Reason,
    since: From = None,
    author: Author = None,
) -> None:
    """Write down who walks in somebody's place; who answers stays who it was."""
    from cli.output import say
    from desk.ledger import opened, present
    from desk.spans import Asked
    from desk.spans import substitute as write

    asked = Asked(since=since, until=until, reason=reason)
    with opened(settings(context)) as engine:
        who = by(author, present(engine, wall()))
        write(engine, name, (person, instead_of), asked, by=who)
    say(f"{name}: {person} walks for {instead_of} until {until}")


@app.command()
def substitutions(context: typer.Context, json: Json = False, lang: Language = None) -> None:
    """List who walks, or walked, in whose place."""
    from cli.spans import show
    from desk.ledger import opened
    from desk.spans import substitutions as every

    with opened(settings(context)) as engine:
        rows = every(engine)
    show(rows, json=json, lang=language(lang))


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
