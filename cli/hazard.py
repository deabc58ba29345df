"""`gridbeat hazard`: hazards and their handling."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Json, Language, Since, Site, Until, asked, group, language, settings

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
    """List hazards by when they were reported; on stderr, steps whose report has not come."""
    from cli.listing import Shape, show
    from store.listings import hazards

    shape = Shape(query=hazards, columns=_columns, empty=("No hazards.", "没有隐患。"))
    show(context, shape, asked(site, since, until), as_json=json, lang=language(lang))
    _tell_unreported(context, zh=language(lang) == "zh")


def _tell_unreported(context: typer.Context, *, zh: bool) -> None:
    from cli.output import note
    from desk.cases import unreported
    from desk.ledger import opened

    with opened(settings(context)) as engine:
        found = unreported(engine)
    if found:
        told = ", ".join(f"{hazard} ({steps})" for hazard, steps in found)
        note(
            f"以下编号有处理步骤而没有上报：{told}"
            if zh
            else f"steps were told of these ids, and no report has come: {told}"
        )


@app.command()
def show(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="device/epoch/seq of the report.")],
    json: Json = False,
    lang: Language = None,
) -> None:
    """Show one hazard with every step of its handling."""
    from cli.cases import show_hazard

    show_hazard(settings(context), id_, as_json=json, lang=language(lang))


def _columns(look: "Look") -> "list[Column]":
    from cli.cases import GRADES, HAZARD_STATES
    from cli.output import Column, mark

    return [
        Column(en="reported", zh="上报", cell=lambda row: look.time(row, "reported_at")),
        Column(en="site", zh="校区", cell=lambda row: look.names.site(row.site)),
        Column(
            en="checkpoint",
            zh="点位",
            cell=lambda row: look.names.checkpoint(row.site, row.checkpoint),
        ),
        Column(en="grade", zh="级别", cell=lambda row: mark(GRADES, row.grade, look.lang)),
        Column(en="state", zh="状态", cell=lambda row: mark(HAZARD_STATES, row.state, look.lang)),
        Column(en="text", zh="内容", cell=lambda row: row.text or row.category or "", fold=True),
        Column(en="id", zh="编号", cell=lambda row: row.id),
    ]
