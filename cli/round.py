"""`gridbeat round`: what was owed, and what became of it."""

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


@app.command("list")
def list_(
    context: typer.Context,
    site: Site = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
    lang: Language = None,
) -> None:
    """List rounds by when they open, each with the verdict that holds."""
    from cli.listing import Shape, show
    from store.listings import rounds

    shape = Shape(query=rounds, columns=_columns, empty=("No rounds.", "没有巡更轮次。"))
    show(context, shape, asked(site, since, until), as_json=json, lang=language(lang))


@app.command()
def explain(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `round list --json` shows it.")],
    json: Json = False,
    lang: Language = None,
) -> None:
    """Tell what a round owed, every read with its times, and each verdict with its reason."""
    from cli.explain import show

    show(settings(context), id_, as_json=json, lang=language(lang))


@app.command()
def excuse(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `round list --json` shows it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why nobody is to blame.")],
    author: Author = None,
    lang: Language = None,
) -> None:
    """Excuse a round that was not kept, or one still to come. It stays, as excused."""
    from rules.promises import Do

    _decide(context, id_, Do.EXCUSE, reason, author, lang)


@app.command("call-missed")
def call_missed(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `round list --json` shows it.")],
    reason: Annotated[str, typer.Option("--reason", help="How that was found out.")],
    author: Author = None,
    lang: Language = None,
) -> None:
    """Call a round missed that stays unknown: no device could have told."""
    from rules.promises import Do

    _decide(context, id_, Do.CALL_MISSED, reason, author, lang)


def _decide(
    context: typer.Context,
    key: str,
    do: "Do",
    reason: str,
    author: str | None,
    lang: str | None,
) -> None:
    from cli.output import say
    from desk.decisions import decide_round
    from desk.ledger import opened, present
    from rules.words import DOINGS

    spoken = language(lang)
    with opened(settings(context)) as engine:
        who = by(author, present(engine, wall()))
        decide_round(engine, key, do, by=who, reason=reason)
    done = DOINGS[do].zh if spoken == "zh" else DOINGS[do].en
    say(f"{who.author}: {done}  ({key})")


def _columns(look: "Look") -> "list[Column]":
    from cli.output import Column
    from cli.output import verdict as told
    from desk.times import clock

    def missing(row: Any) -> str:
        gap = "、" if look.lang == "zh" else ", "
        return gap.join(look.names.checkpoint(row.site, slug) for slug in row.missing)

    def verdict(row: Any) -> Any:
        """Of one not judged yet whether it is open, or due: neither alarms anybody."""
        shown = row.phase if row.phase in ("open", "due") else row.verdict
        return told(shown, row.scored, look.lang)

    def visited(row: Any) -> str:
        judged = row.revision > 0
        return f"{row.visited if judged else '-'}/{row.expected}"

    return [
        Column(en="opens", zh="开始", cell=lambda row: look.time(row, "opens_at")),
        Column(en="due", zh="截止", cell=lambda row: clock(row.due_at, row.timezone)),
        Column(en="site", zh="校区", cell=lambda row: look.names.site(row.site)),
        Column(en="plan", zh="计划", cell=lambda row: look.names.plan(row.site, row.plan)),
        Column(en="verdict", zh="结论", cell=verdict),
        Column(en="visited", zh="到点", cell=visited, right=True),
        Column(en="missing", zh="缺", cell=missing, fold=True),
    ]
