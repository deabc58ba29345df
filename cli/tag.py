"""`gridbeat tag`: tags that prove presence."""

from pathlib import Path
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
    from desk.tags import Sheet
    from store.settings import Settings

app = group()

Uid = Annotated[str, typer.Argument(metavar="UID", help="Its seven bytes: 04A2B3C4D5E681.")]
KeysTo = Annotated[
    Path | None,
    typer.Option(
        "--keys-to", help="Write the keys, for the tag's writer, into this new file (0600)."
    ),
]


@app.command("new-key")
def new_key(context: typer.Context, author: Author = None) -> None:
    """Make a master key, encrypted with your passphrase; tags enrolled from now on use it."""
    from cli.output import note, say
    from desk import tags

    chosen = settings(context)
    version = tags.new_key(chosen, by=by(author, wall()))
    say(f"master key {version}  {chosen.tag_keys_file}")
    note("Keep a copy of this file, and the passphrase apart from it: see docs/proof.md.")


@app.command()
def enroll(
    context: typer.Context,
    uid: Uid,
    keys_to: KeysTo = None,
    author: Author = None,
    json: Json = False,
    lang: Language = None,
) -> None:
    """Give a checkpoint's tag keys of its own, and print what is to be written on it."""
    from desk import tags
    from desk.ledger import opened

    chosen = settings(context)
    with opened(chosen) as engine:
        made = tags.enroll(engine, chosen, uid, by=by(author, wall()))
    _show(chosen, made, keys_to, as_json=json, lang=language(lang))


@app.command()
def sheet(
    context: typer.Context,
    uid: Uid,
    keys_to: KeysTo = None,
    json: Json = False,
    lang: Language = None,
) -> None:
    """Print again what is to be written on a tag; its keys only into a file, when asked for."""
    from desk import tags
    from desk.ledger import opened

    chosen = settings(context)
    with opened(chosen) as engine:
        found = tags.sheet(engine, chosen, uid)
    _show(chosen, found, keys_to, as_json=json, lang=language(lang))


@app.command("list")
def list_(
    context: typer.Context,
    site: Site = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
    lang: Language = None,
) -> None:
    """List enrolments of tags: where the tag hangs, and by which master key; a span asks when."""
    from cli.listing import Shape, show
    from desk.tags import listed

    shape = Shape(query=listed, columns=_columns, empty=("No tags.", "没有标签。"))
    show(context, shape, asked(site, since, until), as_json=json, lang=language(lang))


@app.command()
def retire(
    context: typer.Context,
    uid: Annotated[str | None, typer.Argument(metavar="UID", help="The tag.")] = None,
    key: Annotated[
        int | None, typer.Option("--key", help="All tags of this master key.", metavar="VERSION")
    ] = None,
    author: Author = None,
) -> None:
    """Have a tag prove nothing from now on: it is lost, broken, or its key is known."""
    from cli.output import say
    from desk import tags
    from desk.ledger import opened

    with opened(settings(context)) as engine:
        uids = tags.retire(engine, uid, key, by=by(author, wall()))
    for retired in uids:
        say(f"retired  {retired}")


def _show(
    chosen: "Settings", of: "Sheet", keys_to: Path | None, *, as_json: bool, lang: str
) -> None:
    from cli.output import emit, note, say
    from desk import tags
    from desk.paper import fitted

    if keys_to is not None:
        tags.write_keys(chosen, of, keys_to)
    if as_json:
        emit(tags.as_json(of))
    else:
        for line in fitted(tags.as_lines(of, lang)):
            say(line)
    if keys_to is not None:
        note(f"The keys are in {keys_to}: remove it when the tag is written.")


def _columns(look: "Look") -> "list[Column]":
    from cli.output import Column

    def place(row: Any) -> str:
        if row.site is None:
            return "-"
        return f"{look.names.site(row.site)} · {look.names.checkpoint(row.site, row.checkpoint)}"

    return [
        Column(en="tag", zh="标签", cell=lambda row: row.uid),
        Column(en="place", zh="位置", cell=place, fold=True),
        Column(en="key", zh="主密钥", cell=lambda row: str(row.key_version), right=True),
        Column(en="time", zh="次数", cell=lambda row: str(row.generation), right=True),
        Column(en="enrolled", zh="登记", cell=lambda row: look.time(row, "enrolled_at")),
        Column(en="retired", zh="停用", cell=lambda row: look.time(row, "retired_at")),
        Column(en="by", zh="经手", cell=lambda row: row.author),
    ]
