"""`gridbeat device`: handhelds and readers."""

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
    from rich.text import Text

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
    """List devices by id with their last status; a span asks when they were last heard."""
    from cli.listing import Shape, show
    from store.listings import devices

    shape = Shape(query=devices, columns=_columns, empty=("No devices.", "没有设备。"))
    show(context, shape, asked(site, since, until), as_json=json, lang=language(lang))


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


def _columns(look: "Look") -> "list[Column]":
    from cli.output import Column

    def place(row: Any) -> str:
        return look.names.site(row.site) if row.site else f"({row.grid})"

    def percent(row: Any) -> str:
        return "" if row.battery is None else f"{row.battery}%"

    def queue(row: Any) -> str:
        return "" if row.queue is None else str(row.queue)

    return [
        Column(en="id", zh="编号", cell=lambda row: row.id),
        Column(en="site", zh="校区", cell=place),
        Column(en="now", zh="现状", cell=lambda row: _presence(look, row)),
        Column(en="last heard", zh="最后收到", cell=lambda row: look.time(row, "heard_at")),
        Column(en="battery", zh="电量", cell=percent, right=True),
        Column(en="stored", zh="待发", cell=queue, right=True),
        Column(en="enrolled", zh="发证", cell=lambda row: look.time(row, "enrolled_at")),
    ]


def _presence(look: "Look", row: Any) -> "Text":
    from cli.output import mark

    marks = {
        "online": ("✓", "green", "online", "在线"),
        "offline": ("✗", "yellow", "offline", "离线"),
        "never": ("?", "dim", "never heard", "未曾收到"),
        "retired": ("=", "dim", "retired", "已停用"),
    }
    if row.retired_at is not None:
        return mark(marks, "retired", look.lang)
    if row.online is None:
        return mark(marks, "never" if row.heard_at is None else "online", look.lang)
    return mark(marks, "online" if row.online else "offline", look.lang)
