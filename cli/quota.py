"""`gridbeat quota`: visits owed so many times in a period, and how many there were."""

from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from cli.options import Json, Language, Since, Site, Until, asked, group, language, settings, wall

if TYPE_CHECKING:
    from cli.listing import Look
    from cli.output import Column

app = group()


@app.callback()
def quotas() -> None:
    """Keep `quota` a group while it has one command."""


@app.command("list")
def list_(
    context: typer.Context,
    site: Site = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
    lang: Language = None,
) -> None:
    """List quotas by period; those still running with the visits there are so far."""
    from cli.listing import Shape, show
    from desk.ledger import opened, present
    from store.listings import quotas as query

    with opened(settings(context)) as engine:
        now = present(engine, wall())
    shape = Shape(
        query=partial(query, now=now), columns=_columns, empty=("No quotas.", "没有次数要求。")
    )
    show(context, shape, asked(site, since, until), as_json=json, lang=language(lang))


def _columns(look: "Look") -> "list[Column]":
    from cli.output import Column, verdict

    def missing(row: Any) -> str:
        gap = "、" if look.lang == "zh" else ", "
        return gap.join(look.names.checkpoint(row.site, slug) for slug in row.missing)

    def period(row: Any) -> str:
        from desk.times import aware

        first = aware(row.opens_at, row.timezone).date()
        last = aware(row.closes_at - 1, row.timezone).date()
        return str(first) if first == last else f"{first} – {last:%m-%d}"

    return [
        Column(en="period", zh="周期", cell=period),
        Column(en="site", zh="校区", cell=lambda row: look.names.site(row.site)),
        Column(en="plan", zh="计划", cell=lambda row: look.names.plan(row.site, row.plan)),
        Column(
            en="verdict",
            zh="结论",
            cell=lambda row: verdict(row.verdict, row.scored, look.lang),
        ),
        Column(en="visits", zh="次数", cell=lambda row: f"{row.visited}/{row.expected}"),
        Column(en="met", zh="达标", cell=lambda row: look.time(row, "met_at")),
        Column(en="missing", zh="缺", cell=missing, fold=True),
    ]
