"""`gridbeat device`: handhelds and readers."""

from typing import Annotated

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
def enroll(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="The device's id in the registry.")],
    renew: Annotated[
        bool, typer.Option("--renew", help="A new password in place of the one it has.")
    ] = False,
    author: Author = None,
    json: Json = False,
) -> None:
    """Make a device's credential on our broker; its password is shown this once."""
    from dataclasses import asdict

    from cli.output import emit, note, say
    from desk import enrolment
    from desk.ledger import opened

    chosen = settings(context)
    with opened(chosen) as engine:
        made = enrolment.enroll(engine, chosen.broker_dir, id_, by=by(author, wall()), renew=renew)
    remark = enrolment.make_live(chosen, made)
    if json:
        emit(asdict(made) | {"live": remark is None, "remark": remark})
        return
    say(f"user name  {made.username}\nclient id  {made.client_id}\npassword   {made.password}")
    note("The password is kept nowhere in plain: write it into the device now.")
    if remark is not None:
        note(remark)
