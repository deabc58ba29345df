"""`gridbeat registry`: sites, checkpoints, people, devices, plans."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Author, Json, by, group, settings, wall

if TYPE_CHECKING:
    from store.registry import Report

app = group()


@app.callback()
def _group() -> None:
    """Sites, checkpoints, people, devices, plans."""


@app.command()
def apply(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The registry as YAML.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    author: Author = None,
    json: Json = False,
) -> None:
    """Make the registry what FILE says of the sites it names; a second time changes nothing."""
    from cli.output import emit
    from cli.settled import end
    from desk.registry import apply as apply_file
    from desk.settling import Settled, follow

    chosen, who = settings(context), by(author, wall())
    report = apply_file(chosen, file, by=who, dry_run=dry_run)
    settled = Settled() if dry_run or not report.changes else follow(chosen, who)
    if json:
        changes = [change.to_json() for change in report.changes.things]
        emit({"version": report.version, "dry_run": report.dry_run, "changes": changes})
    else:
        _print(report)
    end(settled)


def _print(report: "Report") -> None:
    from cli.output import say

    for line in report.lines():
        say(line)
    count = len(report.lines())
    if not report.changes:
        say(f"nothing to change; the registry is at version {report.version}")
    elif report.dry_run:
        say(f"{count} changes would be made (dry run: nothing was)")
    else:
        say(f"{count} changes made; the registry is at version {report.version}")
