"""`gridbeat device`: handhelds and readers."""

from typing import Annotated

import typer

from cli import access
from cli.options import Json, Language, Since, Site, Until, asked, group, language, settings, wall

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


for command in (access.enroll, access.rotate, access.suspend, access.resume, access.retire):
    app.command()(command)
