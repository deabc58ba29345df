"""`gridbeat checkin import`: what wands' software exported."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.maps import (
    Accept,
    Columns,
    Encoding,
    Numbers,
    Offset,
    People,
    Places,
    Shape,
    Sheet_,
    said_as_map,
)
from cli.options import Author, Json, Language, Site, Wait, by, language, patience, settings, wall

if TYPE_CHECKING:
    from desk.sheets import Sheet
    from desk.wandheads import Header
    from desk.wandimport import Outcome, Taken
    from desk.wandmaps import WandMap


def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV or xlsx.")],
    map_: Annotated[
        str | None,
        typer.Option("--map", help="A saved map, or a YAML file; else usual headings are known."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", help="The wand, where no column tells it.", metavar="ID"),
    ] = None,
    site: Site = None,
    column: Columns = None,
    place: Places = None,
    person: People = None,
    machine: Numbers = None,
    time_format: Shape = None,
    offset: Offset = None,
    encoding: Encoding = None,
    sheet: Sheet_ = None,
    accept: Accept = None,
    without_person: Annotated[
        bool,
        typer.Option(
            "--without-person",
            help="Keep new rows although nobody knows their person: they stay without one.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what is new, known and unreadable.")
    ] = False,
    wait: Wait = 10,
    author: Author = None,
    json: Json = False,
    lang: Language = None,
) -> None:
    """Import what a wand's software exported: what is new, once; late reads wait for your word."""
    from cli.output import emit, say
    from desk.ledger import opened, present
    from desk.wandfiles import Whose
    from desk.wandimport import Asked, Outcome, outcome, take

    said = said_as_map(column, place, person, machine, time_format, offset, encoding, sheet, None)
    with opened(settings(context)) as engine:
        asked = Asked(
            path=file,
            map=_find(engine, map_).changed(said),
            map_name=map_ or "auto",
            whose=Whose(device=device, site=site),
            accept=accept,
            without_person=without_person,
            dry_run=dry_run,
        )
        taken = take(engine, asked, by=by(author, present(engine, wall())))
        became = Outcome(changed=(), waiting=0, awake=0)
        if not dry_run:
            became = outcome(engine, taken, patience(wait))
    if json:
        emit(_document(file, taken, became, dry_run=dry_run))
        return
    for line in _lines(file, taken, became, zh=language(lang) == "zh", dry_run=dry_run):
        say(line)


def _find(engine: Any, name: str | None) -> "WandMap":
    from desk.wandmaps import find, read_map

    if name is not None and name.endswith((".yaml", ".yml")):
        return read_map(Path(name))
    return find(engine, name)


# What is told -------------------------------------------------------------------------------------

TOLD = 20
"""Unreadable rows a person is told one by one; --json tells all, quarantine keeps all."""


def _document(file: Path, taken: "Taken", became: "Outcome", *, dry_run: bool) -> dict[str, Any]:
    from desk.times import rfc3339

    sheet, header = taken.sheet, taken.header
    return {
        "file": file.name,
        "dry_run": dry_run,
        "kind": sheet.kind,
        "encoding": sheet.encoding,
        "separator": sheet.separator,
        "sheet": sheet.sheet,
        "detected": sheet.detected,
        "header_row": header.row,
        "unused_columns": list(header.unused),
        "columns": {role.value: name for role, name in header.headings.items()},
        "new": len(taken.new),
        "known": taken.known,
        "blank": taken.blank,
        "accepted": taken.accepted,
        "to_the_minute": taken.to_the_minute,
        "known_without_person": taken.unnamed,
        "unknown_people": taken.unknown_people,
        "namesakes": taken.namesakes,
        "unreadable": [
            {"row": bad.row, "column": bad.column, "why": bad.why, "cells": list(bad.cells)}
            for bad in taken.unreadable
        ],
        "records": [
            {
                "row": one.row,
                "device": one.device.slug,
                "site": one.site.slug,
                "at": rfc3339(one.at, one.site.timezone),
                "stands_for": one.what,
            }
            for one in taken.new
        ],
        "changed": [{"round": key, "was": was, "now": now} for key, was, now in became.changed],
        "waiting": became.waiting,
        "to_be_looked_at": became.awake,
    }


def _lines(
    file: Path, taken: "Taken", became: "Outcome", *, zh: bool, dry_run: bool
) -> Iterator[str]:
    from desk.details import said

    yield f"{file.name}: {_kind(taken.sheet, zh)}"
    yield _header(taken.header, zh)
    counts = (len(taken.new), taken.known, len(taken.unreadable), taken.blank)
    yield (
        "新增 {}，已有 {}，无法读取 {}，空行或合计 {}"
        if zh
        else "new {}, known {}, unreadable {}, blank or totals {}"
    ).format(*counts)
    for bad in taken.unreadable[:TOLD]:
        where = f"第 {bad.row} 行，{bad.column}" if zh else f"row {bad.row}, {bad.column}"
        yield f"  {where}: {said(bad.why, 'zh' if zh else 'en')}"
    if len(taken.unreadable) > TOLD:
        more = len(taken.unreadable) - TOLD
        yield f"  … 另 {more} 行（--json 列出全部）" if zh else f"  … and {more} (--json has all)"
    yield from _remarks(taken, zh)
    if dry_run:
        yield "试运行：未写入" if zh else "dry run: nothing was written"
        return
    if taken.unreadable:
        yield (
            "无法读取的行保留在隔离区，改好对照表后再导入一次即可"
            if zh
            else "what could not be read is in quarantine; mend the map and import the file again"
        )
    yield from _rounds(taken, became, zh)


def _kind(sheet: "Sheet", zh: bool) -> str:
    if sheet.kind == "xlsx":
        return f"xlsx，工作表 {sheet.sheet}" if zh else f"xlsx, sheet {sheet.sheet}"
    found = ("检测得出" if zh else "detected") if sheet.detected else ("指定" if zh else "as told")
    sign = {"\t": "TAB"}.get(sheet.separator or "", sheet.separator)
    return f"CSV, {sheet.encoding} ({found}), {sign!r}"


def _header(header: "Header", zh: bool) -> str:
    columns = ", ".join(f"{role.value}={name}" for role, name in header.headings.items())
    return (
        f"表头在第 {header.row} 行：{columns}" if zh else f"headings in row {header.row}: {columns}"
    )


def _remarks(taken: "Taken", zh: bool) -> Iterator[str]:
    if taken.to_the_minute:
        count = taken.to_the_minute
        yield f"{count} 行的时间只到分钟" if zh else f"{count} rows tell their time to the minute"
    if taken.header.unused:
        names = ", ".join(taken.header.unused)
        yield (
            f"未使用的列：{names}；可用 --column 角色=表头 指定"
            if zh
            else f"columns not used: {names}; --column ROLE=HEADING reads one"
        )
    for name in taken.header.persons:
        yield (
            f"“{name}”像是人员列：导入前请加 --column person={name}，否则须加 --without-person"
            if zh
            else f"{name} looks like persons': --column person={name} reads it; without that the "
            "import asks for --without-person"
        )
    if taken.unnamed:
        yield (
            f"{taken.unnamed} 条已有记录当时未记人员，仍保持原样"
            if zh
            else f"{taken.unnamed} known records were kept without the person named "
            "here, and stay so"
        )
    if taken.unknown_people:
        names = ", ".join(f"{name} ({count})" for name, count in taken.unknown_people.items())
        yield (
            f"登记中没有的人员：{names}；可用 --person 姓名=编号 对照，否则须加 --without-person"
            if zh
            else f"people the registry does not know: {names}; say who with "
            "--person NAME=ID, else the import asks for --without-person"
        )
    if taken.namesakes:
        names = ", ".join(f"{name} ({count})" for name, count in taken.namesakes.items())
        yield (
            f"重名的人员：{names}；请用 --person 姓名=编号 指明是谁，否则须加 --without-person"
            if zh
            else f"several people are called so: {names}; say who is meant with "
            "--person NAME=ID, else the import asks for --without-person"
        )


def _rounds(taken: "Taken", became: "Outcome", zh: bool) -> Iterator[str]:
    from desk.wandimport import counted
    from rules.promises import Standing
    from rules.words import STANDINGS

    if taken.accepted:
        yield (
            f"已采信 {taken.accepted} 条迟到记录" if zh else f"{taken.accepted} late reads accepted"
        )
    for (was, now), count in sorted(counted(became.changed).items()):
        before, after = (STANDINGS[Standing(one)] for one in (was, now))
        yield (
            f"{count} 轮：{before.zh} → {after.zh}"
            if zh
            else f"{count} rounds: {before.en} → {after.en}"
        )
    if became.waiting:
        yield (
            f"{became.waiting} 条到期后才导入，等待复核：gridbeat review list；"
            "或带 --accept 说明 再导入一次"
            if zh
            else f"{became.waiting} late reads wait for a person's word: gridbeat review list, "
            "or import again with --accept NOTE"
        )
    if became.awake:
        yield (
            f"{became.awake} 轮待服务运行后重新判定"
            if zh
            else f"{became.awake} rounds will be judged again when the service runs"
        )
