"""`gridbeat device`: handhelds and readers."""

from typing import Annotated

import typer

from cli import access
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
    """List devices by id with their last status; a span asks when they were last heard."""
    from cli.devices import columns, tell_standing
    from cli.listing import Shape, show
    from store.listings import devices

    shape = Shape(query=devices, columns=columns, empty=("No devices.", "没有设备。"))
    show(context, shape, asked(site, since, until), as_json=json, lang=language(lang))
    if not json:
        tell_standing(settings(context), wall(), language(lang))


@app.command("show")
def show_(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="The device's id.")],
    json: Json = False,
    lang: Language = None,
) -> None:
    """Show one device: whether it is there, what it last said, what is wrong with it."""
    from cli.devices import show_device

    show_device(settings(context), id_, wall(), as_json=json, lang=language(lang))


@app.command()
def message(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="DEVICE", help="The device's id.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What its holder is to read.")],
    severity: Annotated[
        str, typer.Option("--severity", help="critical, high, medium, low or info.")
    ] = "info",
    author: Author = None,
    wait: Wait = 5,
    json: Json = False,
    lang: Language = None,
) -> None:
    """Send words to who holds a device; who sent them, and when, is written down."""
    from cli.devices import tell_sent
    from desk.ledger import opened, present
    from desk.words import send, told

    with opened(settings(context)) as engine:
        sent = send(engine, id_, text, severity, by(author, present(engine, wall())))
        taken = told(engine, sent, patience(wait))
        tell_sent(engine, sent, taken, wall(), as_json=json, lang=language(lang))


for command in (access.enroll, access.rotate, access.suspend, access.resume, access.retire):
    app.command()(command)
