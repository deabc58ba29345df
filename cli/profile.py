"""`gridbeat profile`: special periods (特殊时期), in which more is owed."""

from typing import Annotated

import typer

from cli.options import Author, Json, Language, Site, by, group, language, settings, wall

app = group()


@app.command()
def add(
    context: typer.Context,
    slug: Annotated[str, typer.Argument(metavar="ID", help="As in exams-2026.")],
    since: Annotated[str, typer.Option("--from", help="The first day.", metavar="DATE")],
    until: Annotated[str, typer.Option("--to", help="The last day.", metavar="DATE")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is written down.")],
    name: Annotated[str | None, typer.Option("--name", help="What people call it.")] = None,
    visits: Annotated[
        int, typer.Option("--visits", min=1, max=20, help="How many times as often.")
    ] = 1,
    every: Annotated[
        str | None, typer.Option("--every", help="The longest gap, as in 1h.", metavar="SPAN")
    ] = None,
    window: Annotated[
        list[str] | None,
        typer.Option("--window", help="A further window, as in 12:00-13:00; repeatable."),
    ] = None,
    site: Site = None,
    grid: Annotated[
        str | None, typer.Option("--grid", help="Only the sites below this grid.", metavar="ID")
    ] = None,
    plan: Annotated[
        str | None, typer.Option("--plan", help="Only plans of this id.", metavar="ID")
    ] = None,
    author: Author = None,
) -> None:
    """Owe more for some days; only rounds that open within them, and have not opened, change."""
    from cli.output import say
    from desk.errors import UsageError
    from desk.ledger import opened, present
    from desk.profiles import Asked, give
    from devices.ids import is_slug

    if not is_slug(slug):
        raise UsageError(f"{slug!r} is no id", "write a-z, 0-9 and -, as exams-2026")
    asked = Asked(
        slug=slug,
        name=name or slug,
        since=since,
        until=until,
        visits=visits,
        every=every,
        windows=tuple(window or ()),
        site=site,
        grid=grid,
        plan=plan,
    )
    with opened(settings(context)) as engine:
        give(engine, asked, by=by(author, present(engine, wall())), reason=reason)
    say(f"{slug}: {since} – {until}")


@app.command("list")
def list_(context: typer.Context, json: Json = False, lang: Language = None) -> None:
    """List special periods that have not been ended: what, when, for whom, who and why."""
    from cli.output import Column, emit_rows, table
    from desk.ledger import opened
    from desk.profiles import current
    from desk.times import rfc3339

    with opened(settings(context)) as engine:
        rows = [
            {
                **given.profile.to_json(),
                "for": whom,
                "plan": given.plan,
                "author": given.author,
                "reason": given.reason,
                "made_at": rfc3339(given.at),
            }
            for given, whom in current(engine)
        ]
    if json:
        emit_rows(rows)
        return
    columns = [
        Column(en="period", zh="特殊时期", cell=lambda row: f"{row['name']} ({row['slug']})"),
        Column(en="days", zh="日期", cell=lambda row: f"{row['from']} – {row['to']}"),
        Column(en="for", zh="范围", cell=lambda row: f"{row['for']}/{row['plan'] or '*'}"),
        Column(en="by", zh="决定人", cell=lambda row: row["author"]),
        Column(en="reason", zh="理由", cell=lambda row: row["reason"], fold=True),
    ]
    table(columns, rows, language(lang), ("None.", "没有特殊时期。"))


@app.command()
def end(
    context: typer.Context,
    slug: Annotated[str, typer.Argument(metavar="ID", help="As `profile list` shows it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it no longer holds.")],
    author: Author = None,
) -> None:
    """End a special period; rounds that have opened keep what they owe."""
    from cli.output import say
    from desk.ledger import opened, present
    from desk.profiles import end as stop

    with opened(settings(context)) as engine:
        stop(engine, slug, by=by(author, present(engine, wall())), reason=reason)
    say(f"{slug}: ended")
