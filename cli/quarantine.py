"""`gridbeat quarantine`: what came in and could not be taken."""

from typing import TYPE_CHECKING, Annotated, Any

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
) -> None:
    """Show one entry with its bytes."""
    from cli.cases import show_quarantined

    show_quarantined(settings(context), id_, as_json=json, raw=raw)


def _columns(look: "Look") -> "list[Column]":
    from cli.output import Column

    return [
        Column(en="id", zh="编号", cell=lambda row: str(row.id), right=True),
        Column(en="received", zh="收到", cell=lambda row: look.time(row, "received_at")),
        Column(en="reason", zh="原因", cell=lambda row: row.reason),
        Column(en="topic", zh="主题", cell=_topic, fold=True),
        Column(en="detail", zh="说明", cell=lambda row: row.detail, fold=True),
        Column(en="bytes", zh="字节", cell=lambda row: str(row.size), right=True),
        Column(en="times", zh="次数", cell=lambda row: str(row.copies), right=True),
    ]


def _topic(row: Any) -> str:
    """Without what all of ours begin with."""
    return str(row.topic).removeprefix("patrol/v1/")
