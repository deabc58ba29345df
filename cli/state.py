"""`gridbeat status` and `gridbeat doctor`: how things stand, and how every part is."""

from typing import TYPE_CHECKING

import typer

from cli.options import Json, Language, language, settings, wall

if TYPE_CHECKING:
    from rich.text import Text

    from desk.checks import Check


def status(context: typer.Context, json: Json = False, lang: Language = None) -> None:
    """Show how things stand, on one screen."""
    from cli.output import emit
    from cli.screen import show
    from desk.ledger import opened
    from desk.names import names
    from desk.status import as_json
    from desk.status import status as stand

    chosen, spoken = settings(context), language(lang)
    with opened(chosen) as engine:
        found = stand(engine, chosen, wall())
        called = names(engine)
    if json:
        emit(as_json(found))
        return
    show(found, called, spoken)


def doctor(context: typer.Context, json: Json = False) -> None:
    """Look at every part: how it is, and what to do.

    Exit 3: something is wrong; 4: a part does not answer.
    """
    from dataclasses import asdict

    from cli.failure import UNREACHABLE, WRONG
    from cli.output import CHECKS, Column, emit_rows, mark, table
    from desk.checks import State, worst
    from desk.doctor import doctor as look

    checks = list(look(settings(context), wall()))
    if json:
        emit_rows([asdict(check) for check in checks])
    else:
        columns = [
            Column(en="part", zh="", cell=lambda row: row.what),
            Column(en="state", zh="", cell=lambda row: mark(CHECKS, row.state, "en")),
            Column(en="how it is", zh="", cell=_told, fold=True),
        ]
        table(columns, checks, "en")
    codes = {State.WRONG: WRONG, State.UNREACHABLE: UNREACHABLE}
    raise typer.Exit(codes.get(worst(checks), 0))


def _told(row: "Check") -> "Text":
    from rich.text import Text

    told = Text(row.detail)
    if row.remedy:
        told.append(f"\n→ {row.remedy}", style="bold")
    return told
