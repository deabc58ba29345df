"""`gridbeat event`: what happened that somebody should know."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import (
    Author,
    Json,
    Language,
    Since,
    Site,
    Until,
    asked,
    by,
    group,
    language,
    settings,
    wall,
)

if TYPE_CHECKING:
    from cli.listing import Look
    from cli.output import Column

app = group()


@app.command("list")
def list_(
    context: typer.Context,
    site: Site = None,
    since: Since = None,
    until: Until = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every revision, not only those that hold.")
    ] = False,
    raised: Annotated[
        bool,
        typer.Option(
            "--raised", help="Ordered, and asked for, by when they were raised, not became true."
        ),
    ] = False,
    json: Json = False,
    lang: Language = None,
) -> None:
    """List events by when they became true, each by the revision that holds.

    A handheld that was away tells what happened hours ago: `--raised` finds it by when it was told.
    """
    from functools import partial

    from cli.listing import Shape, show
    from store.listings import events

    query = partial(events, revisions=every, raised=raised)
    columns = partial(_columns, raised=raised)
    shape = Shape(query=query, columns=columns, empty=("No events.", "没有事件。"))
    show(context, shape, asked(site, since, until), as_json=json, lang=language(lang))


@app.command()
def watch(
    context: typer.Context,
    site: Site = None,
    json: Json = False,
    lang: Language = None,
) -> None:
    """Follow events as they are told on MQTT from now on, one line each, until Ctrl-C.

    A broker that goes away is waited for; what was told meanwhile `event list --raised` shows.
    """
    from cli.watch import follow

    follow(settings(context), site, as_json=json, lang=language(lang))


@app.command()
def ack(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `event list` shows it.")],
    author: Author = None,
    note: Annotated[str, typer.Option("--note", help="What was found or done.")] = "",
    json: Json = False,
    lang: Language = None,
) -> None:
    """Say that somebody has taken notice of an event, and who."""
    from cli.output import emit, say
    from desk.ledger import opened, present
    from desk.listing import as_json
    from desk.notice import acknowledge

    spoken = language(lang)
    with opened(settings(context)) as engine:
        event = acknowledge(engine, id_, by=by(author, present(engine, wall())), note=note)
    if json:
        emit(as_json(event))
        return
    done = "已确认" if spoken == "zh" else "acknowledged"
    say(f"{done}: {event.message[spoken]}  ({event.kind}, {event.subject})")


def _columns(look: "Look", *, raised: bool) -> "list[Column]":
    from cli.output import SEVERITIES, STATES, Column, mark

    def message(row: Any) -> str:
        return str(row.message.get(look.lang, row.kind))

    def site(row: Any) -> str:
        return "" if row.timezone is None else look.names.site(row.site)

    told = Column(en="raised", zh="告警时间", cell=lambda row: look.time(row, "raised_at"))
    return [
        *([told] if raised else []),
        Column(en="at", zh="时间", cell=lambda row: look.time(row, "at")),
        Column(
            en="severity", zh="级别", cell=lambda row: mark(SEVERITIES, row.severity, look.lang)
        ),
        Column(en="state", zh="状态", cell=lambda row: mark(STATES, row.state, look.lang)),
        Column(en="site", zh="校区", cell=site),
        Column(en="kind", zh="类别", cell=lambda row: row.kind),
        Column(en="what", zh="内容", cell=message, fold=True),
        Column(en="id", zh="编号", cell=lambda row: row.id[:8]),
    ]
