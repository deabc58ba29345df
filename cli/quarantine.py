"""`gridbeat quarantine`: what came in and could not be taken."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import (
    Author,
    Json,
    Language,
    Since,
    Site,
    Until,
    Wait,
    asked,
    by,
    group,
    language,
    patience,
    settings,
    wall,
)

if TYPE_CHECKING:
    from cli.listing import Look
    from cli.output import Column

app = group()

Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="As `list` shows them.")]
Reason = Annotated[
    str | None, typer.Option("--reason", help="All of one reason, as unknown-device.")
]


@app.command("list")
def list_(
    context: typer.Context,
    site: Site = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
    lang: Language = None,
) -> None:
    """List what is in quarantine by when it came in, with the reason."""
    from cli.listing import Shape, show
    from store.listings import quarantine

    shape = Shape(query=quarantine, columns=_columns, empty=("Nothing.", "没有内容。"))
    show(context, shape, asked(site, since, until), as_json=json, lang=language(lang))


@app.command()
def show(
    context: typer.Context,
    id_: Annotated[int, typer.Argument(metavar="ID", help="As `quarantine list` shows it.")],
    raw: Annotated[
        bool, typer.Option("--raw", help="Only the bytes, as they came, on stdout.")
    ] = False,
    json: Json = False,
    lang: Language = None,
) -> None:
    """Show one entry with its bytes."""
    from cli.cases import show_quarantined

    show_quarantined(settings(context), id_, as_json=json, raw=raw, lang=language(lang))


@app.command()
def retry(
    context: typer.Context,
    ids: Ids = None,
    reason: Reason = None,
    site: Site = None,
    author: Author = None,
    wait: Wait = 10,
    lang: Language = None,
) -> None:
    """Take entries after all, once the registry is right: by their own times, once."""
    from cli.output import say
    from desk.ledger import opened, present
    from desk.quarantine import Choice, outcome
    from desk.quarantine import retry as ask

    zh = language(lang) == "zh"
    with opened(settings(context)) as engine:
        choice = Choice(ids=ids or (), reason=reason, site=site)
        asked_for = ask(engine, choice, by=by(author, present(engine, wall())))
        found = outcome(engine, asked_for, patience(wait))
    for state, count in sorted(found.items()):
        words = _STATES[state.value]
        say(f"{count}  {words[zh]}")


@app.command()
def drop(
    context: typer.Context,
    note: Annotated[str, typer.Option("--note", help="Why: it is written down.")],
    ids: Ids = None,
    reason: Reason = None,
    site: Site = None,
    author: Author = None,
    lang: Language = None,
) -> None:
    """Drop entries: their bytes go; that they were there, and who dropped them, stays."""
    from cli.output import say
    from desk.ledger import opened, present
    from desk.quarantine import Choice
    from desk.quarantine import drop as let_go

    zh = language(lang) == "zh"
    with opened(settings(context)) as engine:
        choice = Choice(ids=ids or (), reason=reason, site=site)
        gone = let_go(engine, choice, by=by(author, present(engine, wall())), note=note)
    say(f"{len(gone)}  {_STATES['dropped'][zh]}")


def _state(look: "Look", row: Any) -> str:
    """How an entry stands, in a word."""
    return _SHORT.get(row.state, row.state) if look.lang == "zh" else str(row.state)


_SHORT = {
    "kept": "保留",
    "asked": "已请求",
    "taken": "已收录",
    "duplicate": "重复",
    "stale": "过期",
    "dropped": "已丢弃",
}

_STATES = {
    "kept": ("kept: still cannot be read or placed", "仍无法读取或归位，保留"),
    "asked": ("asked: the service will take it when it runs", "已请求，服务运行后处理"),
    "taken": ("taken", "已收录"),
    "duplicate": ("duplicate: the ledger had it already", "重复，台账中已有"),
    "stale": ("stale: a status of the past says nothing now", "过期状态，不再有意义"),
    "dropped": ("dropped", "已丢弃"),
}


def _columns(look: "Look") -> "list[Column]":
    from cli.output import Column
    from desk.details import said

    return [
        Column(en="id", zh="编号", cell=lambda row: str(row.id), right=True),
        Column(en="received", zh="收到", cell=lambda row: look.time(row, "received_at")),
        Column(en="state", zh="状态", cell=lambda row: _state(look, row)),
        Column(en="reason", zh="原因", cell=lambda row: row.reason),
        Column(en="topic", zh="主题", cell=_topic, fold=True),
        Column(en="detail", zh="说明", cell=lambda row: said(row.detail, look.lang), fold=True),
        Column(en="bytes", zh="字节", cell=lambda row: str(row.size), right=True),
        Column(en="times", zh="次数", cell=lambda row: str(row.copies), right=True),
    ]


def _topic(row: Any) -> str:
    """Without what all of ours begin with."""
    from devices import topics

    return str(row.topic).removeprefix(f"{topics.ROOT}/")
