"""`gridbeat silence`, and how excuses, silences and substitutions are listed."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Author, Json, Language, Site, by, group, language, settings, wall

if TYPE_CHECKING:
    from store.spans import SpanRow

app = group()

From = Annotated[
    str | None, typer.Option("--from", help="When it begins; now by default.", metavar="TIME")
]
Until = Annotated[
    str,
    typer.Option(
        "--until",
        help="When it ends, in the sites' time: 22:00, 2026-09-03 (a day as a whole); "
        "2h: in two hours.",
        metavar="TIME",
    ),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is written down.")]


@app.command()
def add(
    context: typer.Context,
    until: Until,
    reason: Reason,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only events of this kind.", metavar="KIND")
    ] = None,
    site: Site = None,
    since: From = None,
    author: Author = None,
) -> None:
    """Keep events from being told on MQTT for a span; they are kept and listed as ever."""
    from cli.output import say
    from desk.ledger import opened, present
    from desk.spans import Asked, silence

    asked = Asked(since=since, until=until, reason=reason)
    with opened(settings(context)) as engine:
        who = by(author, present(engine, wall()))
        number = silence(engine, kind, site, asked, by=who)
    say(f"silence {number}: {kind or '*'} {site or '*'}")


@app.command()
def end(
    context: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", help="As `silence list` shows it.")],
    author: Author = None,
) -> None:
    """End a silence before its time."""
    from cli.output import say
    from desk.ledger import opened, present
    from desk.spans import end_silence

    with opened(settings(context)) as engine:
        end_silence(engine, number, by=by(author, present(engine, wall())))
    say(f"silence {number}: ended")


@app.command("list")
def list_(context: typer.Context, json: Json = False, lang: Language = None) -> None:
    """List silences: what, from when to when, who and why."""
    from desk.ledger import opened
    from desk.spans import silences

    with opened(settings(context)) as engine:
        rows = silences(engine)
    show(rows, json=json, lang=language(lang))


def show(rows: "list[SpanRow]", *, json: bool, lang: str) -> None:
    """Print what was decided for spans of time."""
    from cli.output import Column, emit_rows, table
    from desk.listing import as_json
    from desk.times import rfc3339

    if json:
        emit_rows(map(as_json, rows))
        return

    def what(row: "SpanRow") -> str:
        place = "/".join(filter(None, (row.site, row.plan))) or "*"
        people = f" {row.person} ← {row.instead_of}" if row.person else ""
        return f"{row.kind} {place}" if row.kind else f"{place}{people}"

    def span(row: "SpanRow") -> str:
        ends = (rfc3339(at, row.timezone)[:16] for at in (row.since_at, row.until_at))
        return " – ".join(ends)

    columns = [
        Column(en="id", zh="编号", cell=lambda row: str(row.id), right=True),
        Column(en="what", zh="对象", cell=what),
        Column(en="span", zh="起止", cell=span),
        Column(en="by", zh="决定人", cell=lambda row: row.author),
        Column(en="reason", zh="理由", cell=lambda row: row.reason, fold=True),
    ]
    table(columns, rows, lang, ("None.", "没有。"))
