"""`gridbeat calendar`: what kind of day each date is, and who says so."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import Author, Json, Language, Site, by, group, language, settings, wall

if TYPE_CHECKING:
    from rules.calendar import Day
    from rules.daytables import DayClass

app = group()

Grid = Annotated[
    str | None, typer.Option("--grid", help="Only the sites below this grid.", metavar="ID")
]


@app.command()
def show(
    context: typer.Context,
    site: Site = None,
    days: Annotated[int, typer.Option("--days", min=1, max=800)] = 14,
    first: Annotated[
        str | None, typer.Option("--from", help="The first day; today by default.", metavar="DATE")
    ] = None,
    json: Json = False,
    lang: Language = None,
) -> None:
    """Show the class of each day and why, for one site or for all."""
    from cli.output import Column, emit_rows, table
    from desk.calendars import of_sites
    from desk.ledger import opened

    spoken = language(lang)
    with opened(settings(context)) as engine:
        found = of_sites(engine, site)
    rows = [
        {"site": one.site, **_day(day, spoken)}
        for one in found
        for day in one.days(_first(first, one.timezone), days)
    ]
    if json:
        emit_rows(rows)
        return
    columns = [
        Column(en="site", zh="校区", cell=lambda row: row["site"]),
        Column(en="day", zh="日期", cell=lambda row: row["date"]),
        Column(en="class", zh="日别", cell=lambda row: row["words"]),
        Column(en="known", zh="有据", cell=lambda row: "✓" if row["known"] else "?"),
        Column(en="why", zh="依据", cell=lambda row: row["why"], fold=True),
    ]
    table(columns, rows, spoken, ("No sites.", "没有校区。"))


def _first(text: str | None, timezone: str) -> Any:
    from cli.plan import first_day

    return first_day(text, timezone)


def _day(day: "Day", lang: str) -> dict[str, Any]:
    from rules.words import DAYS

    zh = lang == "zh"
    return {
        "date": day.date.isoformat(),
        "classes": sorted(day.classes),
        "words": ", ".join(DAYS[k].zh if zh else DAYS[k].en for k in sorted(day.classes)),
        "known": day.known,
        "why": day.why_zh if zh else day.why,
    }


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV, or iCalendar (.ics).")
    ],
    name: Annotated[
        str, typer.Option("--name", help="The table's; a later file of that name replaces it.")
    ],
    author: Author = None,
    site: Site = None,
    grid: Grid = None,
    covers: Annotated[
        list[int] | None,
        typer.Option("--covers", help="A year whose days off are all told here; repeatable."),
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option("--class", help="Of iCalendar events that tell none.", metavar="CLASS"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be imported.")
    ] = False,
    json: Json = False,
    lang: Language = None,
) -> None:
    """Import terms, days off, exams and sensitive periods; rounds that have opened stay."""
    from cli.output import emit, say
    from desk.calendars import Asked, take
    from desk.ledger import opened, present

    asked = Asked(
        path=file,
        name=_slug(name),
        site=site,
        grid=grid,
        covers=tuple(sorted(set(covers or ()))),
        fallback=_class(fallback),
    )
    zh = language(lang) == "zh"
    with opened(settings(context)) as engine:
        done = take(engine, asked, by=by(author, present(engine, wall())), dry_run=dry_run)
    version = None if done.held is None else done.held.table.version
    if json:
        rows = [row.to_json() for row in done.rows]
        told = {"name": name, "version": version, "changed": done.changed, "dry_run": dry_run}
        emit({**told, "rows": rows})
        return
    for row in done.rows:
        one = row.to_json()
        say(f"{one['from']} – {one['to']}  {one['class']:<11} {one['note']}".rstrip())
    if not done.changed:
        say("没有变化" if zh else "nothing to change")
    elif dry_run:
        say("试运行：未写入" if zh else "dry run: nothing was written")
    else:
        say(f"{name} 第{version}版已生效" if zh else f"{name} version {version} is in force")


def _slug(text: str) -> str:
    from desk.errors import UsageError
    from devices.ids import is_slug

    if not is_slug(text):
        raise UsageError(f"--name {text!r} is no name", "write a-z, 0-9 and -, as luanzhou-2026")
    return text


def _class(text: str | None) -> "DayClass | None":
    from desk.errors import UsageError
    from rules.daytables import DayClass

    if text is None:
        return None
    try:
        return DayClass(text)
    except ValueError:
        known = ", ".join(DayClass)
        raise UsageError(f"--class {text!r} is not known", f"write one of {known}") from None


@app.command("list")
def list_(context: typer.Context, json: Json = False, lang: Language = None) -> None:
    """List the tables in force: name, version, who imported them, from when to when."""
    from cli.output import Column, emit_rows, table
    from desk.calendars import held
    from desk.ledger import opened
    from desk.times import rfc3339

    with opened(settings(context)) as engine:
        rows = [
            {
                "name": one.table.name,
                "version": one.table.version,
                "rows": len(one.table.rows),
                "from": min((row.since.isoformat() for row in one.table.rows), default=None),
                "to": max((row.until.isoformat() for row in one.table.rows), default=None),
                "covers": list(one.table.covers),
                "author": one.author,
                "source": one.source,
                "imported_at": rfc3339(one.imported_at),
            }
            for one in held(engine)
        ]
    if json:
        emit_rows(rows)
        return
    columns = [
        Column(en="table", zh="校历表", cell=lambda row: f"{row['name']} v{row['version']}"),
        Column(en="days", zh="日期", cell=lambda row: f"{row['from']} – {row['to']}"),
        Column(en="rows", zh="行数", cell=lambda row: str(row["rows"]), right=True),
        Column(en="by", zh="导入人", cell=lambda row: row["author"]),
        Column(en="from", zh="来源", cell=lambda row: row["source"], fold=True),
    ]
    table(columns, rows, language(lang), ("No tables.", "没有校历表。"))


@app.command()
def retire(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="As `calendar list` shows it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it no longer holds.")],
    author: Author = None,
) -> None:
    """End a table; nothing takes its place."""
    from cli.output import say
    from desk.calendars import retire as end
    from desk.ledger import opened, present

    with opened(settings(context)) as engine:
        end(engine, name, by=by(author, present(engine, wall())), reason=reason)
    say(f"{name}: retired")


@app.command()
def check(
    context: typer.Context,
    days: Annotated[int, typer.Option("--days", min=1, max=800)] = 60,
    json: Json = False,
    lang: Language = None,
) -> None:
    """Look whether every day that a plan asks about is known; exit 3 where one is not."""
    from cli.failure import WRONG
    from cli.output import emit_rows, say
    from desk.calendars import faults
    from desk.ledger import opened, present
    from desk.times import aware

    zh = language(lang) == "zh"
    with opened(settings(context)) as engine:
        found = faults(engine, aware(present(engine, wall()), None).date(), days)
    if json:
        emit_rows(
            {
                "site": one.site,
                "what": one.what,
                "why": one.zh if zh else one.en,
                "remedy": one.remedy,
            }
            for one in found
        )
    else:
        for one in found:
            say(f"{one.site}: {one.zh if zh else one.en}\n  {one.remedy}")
        if not found:
            good = f"今后{days}天的日别均有依据" if zh else f"every day of the next {days} is known"
            say(good)
    if found:
        raise typer.Exit(WRONG)
