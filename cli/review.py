"""`gridbeat review`: late reads that do not count by themselves, until a person says so."""

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
    from rules.promises import Do

app = group()

Id = Annotated[str, typer.Argument(metavar="ID", help="device/epoch/seq, as `review list` shows.")]
Note = Annotated[str, typer.Option("--note", help="Why: the verdict will tell.")]


@app.command("list")
def list_(
    context: typer.Context,
    site: Site = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
    lang: Language = None,
) -> None:
    """List late reads that wait, by the time they tell, with the rounds they would count for."""
    from cli.listing import Shape, show
    from store.reviews import reviews

    shape = Shape(query=reviews, columns=_columns, empty=("Nothing waits.", "没有待复核的记录。"))
    show(context, shape, asked(site, since, until), as_json=json, lang=language(lang))


@app.command()
def accept(
    context: typer.Context, id_: Id, note: Note, author: Author = None, lang: Language = None
) -> None:
    """Let a late read count: its rounds are judged again with it."""
    from rules.promises import Do

    _decide(context, id_, Do.ACCEPT, note, author, lang)


@app.command()
def reject(
    context: typer.Context, id_: Id, note: Note, author: Author = None, lang: Language = None
) -> None:
    """Let a late read not count. It is kept all the same."""
    from rules.promises import Do

    _decide(context, id_, Do.REJECT, note, author, lang)


def _decide(
    context: typer.Context,
    identity: str,
    do: "Do",
    note: str,
    author: str | None,
    lang: str | None,
) -> None:
    from cli.output import say
    from desk.decisions import decide_read
    from desk.ledger import opened, present
    from rules.words import DOINGS

    spoken = language(lang)
    with opened(settings(context)) as engine:
        who = by(author, present(engine, wall()))
        rounds = decide_read(engine, identity, do, by=who, note=note)
    done = DOINGS[do].zh if spoken == "zh" else DOINGS[do].en
    say(f"{who.author}: {done}  ({identity})")
    for key in rounds:
        say(f"  {key}")


def _columns(look: "Look") -> "list[Column]":
    from cli.output import Column
    from rules.promises import Wait
    from rules.words import WAITS

    def when(row: Any) -> str:
        return look.time(row, "at" if row.corrected_at is None else "corrected_at")

    def place(row: Any) -> str:
        tag = "（人员卡）" if look.lang == "zh" else "(a person's tag)"
        return look.names.checkpoint(row.site, row.checkpoint) or tag

    def why(row: Any) -> str:
        words = WAITS[Wait(row.why)]
        return words.zh if look.lang == "zh" else words.en

    def rounds(row: Any) -> str:
        return "\n".join(row.rounds)

    return [
        Column(en="at", zh="时间", cell=when),
        Column(en="received", zh="收到", cell=lambda row: look.time(row, "received_at")),
        Column(en="site", zh="校区", cell=lambda row: look.names.site(row.site)),
        Column(
            en="checkpoint",
            zh="点位",
            cell=place,
        ),
        Column(en="person", zh="人员", cell=lambda row: look.names.person(row.person)),
        Column(en="why", zh="原因", cell=why, fold=True),
        Column(en="rounds", zh="轮次", cell=rounds, fold=True),
        Column(en="id", zh="编号", cell=lambda row: row.id),
    ]
