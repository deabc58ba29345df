"""`gridbeat gap`: longest gaps between two visits of a checkpoint."""

from typing import TYPE_CHECKING, Any

import typer

from cli.options import Json, Language, Since, Site, Until, asked, group, language

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
    json: Json = False,
    lang: Language = None,
) -> None:
    """List the windows of longest-gap plans, with the stretches that were too long."""
    from cli.listing import Shape, show
    from store.listings import gaps

    shape = Shape(query=gaps, columns=_columns, empty=("No gaps.", "没有间隔要求。"))
    show(context, shape, asked(site, since, until), as_json=json, lang=language(lang))


def _columns(look: "Look") -> "list[Column]":
    from cli.output import Column, verdict
    from desk.times import clock

    def stretches(row: Any) -> str:
        return ", ".join(_stretch(row, stretch) for stretch in row.stretches)

    return [
        Column(en="opens", zh="开始", cell=lambda row: look.time(row, "opens_at")),
        Column(en="due", zh="截止", cell=lambda row: clock(row.due_at, row.timezone)),
        Column(en="site", zh="校区", cell=lambda row: look.names.site(row.site)),
        Column(en="plan", zh="计划", cell=lambda row: look.names.plan(row.site, row.plan)),
        Column(
            en="checkpoint",
            zh="点位",
            cell=lambda row: look.names.checkpoint(row.site, row.checkpoint),
        ),
        Column(
            en="verdict",
            zh="结论",
            cell=lambda row: verdict(row.verdict, row.scored, look.lang),
        ),
        Column(en="overdue since", zh="超时", cell=stretches, fold=True),
    ]


def _stretch(row: Any, stretch: Any) -> str:
    from desk.times import clock

    since = clock(stretch.breached_at, row.timezone)
    if stretch.ended_at is None:
        return f"{since} …"
    return f"{since}–{clock(stretch.ended_at, row.timezone)}"
