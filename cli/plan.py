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
        typer.Option(
            "--file",
            exists=True,
            dir_okay=False,
            help="As this registry file has it, before it is applied.",
        ),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=400)] = 14,
    first: Annotated[
        str | None, typer.Option("--from", help="The first day; today by default.", metavar="DATE")
    ] = None,
    ics: Annotated[
        Path | None, typer.Option("--ics", help="Write the rounds as iCalendar, too.")
    ] = None,
    json: Json = False,
    lang: Language = None,
) -> None:
    """Show the rounds a plan would owe, and why each day is what it is."""
    from cli.output import emit_rows, note
    from cli.preview import as_rows, show

    spoken = language(lang)
    found = _found(context, file, plan)
    owing = list(found.days(first_day(first, found.plan.timezone), days))
    rows = list(as_rows(found, owing, spoken))
    if json:
        emit_rows(rows)
    else:
        show(rows, spoken)
    if ics is not None:
        from desk.icalendar import exported

        ics.write_bytes(exported(found, owing, wall(), zh=spoken == "zh"))
        note(f"{ics}: {sum(len(day.owed) for day in owing)}")


def _found(context: typer.Context, file: Path | None, name: str) -> "Previewed":
    """The plan of the file or of the ledger; a file needs no ledger, but heeds one."""
    from desk.ledger import opened
    from desk.plans import applied, in_file

    if file is None:
        with opened(settings(context)) as engine:
            return applied(engine, name)

    from desk.errors import UnreachableError
    from store.database import SchemaOutdated
    from store.lock import LedgerInUse

    try:
        with opened(settings(context)) as engine:
            return in_file(file, name, engine)
    except (SchemaOutdated, LedgerInUse, UnreachableError):
        return in_file(file, name)


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
