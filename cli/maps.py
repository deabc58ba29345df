"""`gridbeat checkin map`: how exports of wands' software are read, and the options that say so."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import Author, Json, Language, by, group, language, settings, wall

if TYPE_CHECKING:
    from desk.wandmaps import WandMap

maps = group()

Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="A heading: time=打点时间; also date place tag person device. Repeatable.",
        metavar="ROLE=HEADING",
    ),
]
Places = Annotated[
    list[str] | None,
    typer.Option("--place", help="A vendor's place name: 东门岗=gate-east.", metavar="NAME=ID"),
]
People = Annotated[
    list[str] | None,
    typer.Option("--person", help="A vendor's person name: 张三=p-017.", metavar="NAME=ID"),
]
Numbers = Annotated[
    list[str] | None,
    typer.Option("--machine", help="A machine number: 3=wand-1.", metavar="NUMBER=ID"),
]
Shape = Annotated[
    str | None,
    typer.Option("--time-format", help="How times are written, as %d/%m/%Y %H:%M.", metavar="FMT"),
]
Offset = Annotated[
    str | None,
    typer.Option(
        "--offset", help="What the wands' clocks keep, as +08:00; else the site's time zone."
    ),
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", help="utf-8, gbk, big5 …; else it is detected.")
]
Sheet_ = Annotated[str | None, typer.Option("--sheet", help="Of a spreadsheet; else the first.")]
Accept = Annotated[
    str | None,
    typer.Option(
        "--accept", help="Let rows that come after due count, and why: your word.", metavar="NOTE"
    ),
]


def said_as_map(*told: Any) -> "WandMap":
    """What the options of a command say, as a map."""
    from desk.wandmaps import WandMap

    column, place, person, machine, *texts = told
    columns: dict[str, list[str]] = {}
    for role, name in _pairs("--column", column):
        columns.setdefault(role, []).append(name)
    names = ("time_format", "offset", "encoding", "sheet", "accept")
    return WandMap.from_document(
        {
            "columns": columns,
            "places": dict(_pairs("--place", place)),
            "people": dict(_pairs("--person", person)),
            "devices": dict(_pairs("--machine", machine)),
            **{name: text for name, text in zip(names, texts, strict=True) if text is not None},
        }
    )


def _pairs(option: str, told: list[str] | None) -> Iterator[tuple[str, str]]:
    from desk.errors import UsageError

    for text in told or ():
        name, sign, value = text.rpartition("=") if option != "--column" else text.partition("=")
        if not sign or not name.strip() or not value.strip():
            example = "time=打点时间" if option == "--column" else "东门岗=gate-east"
            raise UsageError(f"{option} {text!r} is no pair", f"write it as {example}")
        yield name.strip(), value.strip()


Name = Annotated[str, typer.Argument(metavar="NAME", help="The map's, as jwm-v7.")]


@maps.command("list")
def list_(context: typer.Context, json: Json = False, lang: Language = None) -> None:
    """List saved maps: how exports of some software are read."""
    from cli.output import Column, emit_rows, table
    from desk.ledger import opened
    from desk.times import rfc3339
    from desk.wandmaps import saved

    with opened(settings(context)) as engine:
        rows = [
            {
                "name": one.name,
                "author": one.author,
                "saved_at": rfc3339(one.saved_at),
                "map": one.map.to_document(),
            }
            for one in saved(engine)
        ]
    if json:
        emit_rows(rows)
        return
    columns = [
        Column(en="map", zh="对照表", cell=lambda row: row["name"]),
        Column(en="places", zh="点位", cell=lambda row: _count(row, "places"), right=True),
        Column(en="people", zh="人员", cell=lambda row: _count(row, "people"), right=True),
        Column(en="by", zh="保存人", cell=lambda row: row["author"]),
        Column(en="saved", zh="保存时间", cell=lambda row: row["saved_at"]),
    ]
    table(columns, rows, language(lang), ("No maps.", "没有对照表。"))


def _count(row: dict[str, Any], table: str) -> str:
    return str(len(row["map"].get(table, ())))


@maps.command()
def show(context: typer.Context, name: Name, json: Json = False) -> None:
    """Print a map as YAML, as `save NAME FILE` reads it; `auto` has the headings that are known."""
    from cli.output import emit, say
    from desk.ledger import opened
    from desk.wandmaps import BUILT_IN, as_yaml, find
    from devices.wands import HEADINGS

    with opened(settings(context)) as engine:
        found = find(engine, name)
    document = found.to_document()
    if name == BUILT_IN:
        document = {"columns": {role.value: list(names) for role, names in HEADINGS.items()}}
    if json:
        emit(document)
        return
    say(as_yaml(document).rstrip())


@maps.command()
def save(
    context: typer.Context,
    name: Name,
    file: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="YAML, as `show` prints it."),
    ] = None,
    column: Columns = None,
    place: Places = None,
    person: People = None,
    machine: Numbers = None,
    time_format: Shape = None,
    offset: Offset = None,
    encoding: Encoding = None,
    sheet: Sheet_ = None,
    accept: Accept = None,
    author: Author = None,
    lang: Language = None,
) -> None:
    """Save a map: a file replaces what is saved, options are put on top of it."""
    from cli.output import say
    from desk.ledger import opened, present
    from desk.wandmaps import WandMap, read_map, saved
    from desk.wandmaps import save as keep

    said = said_as_map(column, place, person, machine, time_format, offset, encoding, sheet, accept)
    with opened(settings(context)) as engine:
        if file is not None:
            base = read_map(file)
        else:
            base = {one.name: one.map for one in saved(engine)}.get(name, WandMap())
        who = by(author, present(engine, wall()))
        changed = keep(engine, name, base.changed(said), by=who)
    zh = language(lang) == "zh"
    if not changed:
        say("没有变化" if zh else "nothing to change")
        return
    say(f"已保存 {name}" if zh else f"saved {name}")


@maps.command()
def delete(
    context: typer.Context, name: Name, author: Author = None, lang: Language = None
) -> None:
    """Delete a map; what was imported by it stays."""
    from cli.output import say
    from desk.ledger import opened, present
    from desk.wandmaps import remove

    with opened(settings(context)) as engine:
        remove(engine, name, by=by(author, present(engine, wall())))
    say(f"已删除 {name}" if language(lang) == "zh" else f"deleted {name}")
