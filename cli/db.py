"""`gridbeat db`: the ledger's database."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json, group, settings, wall

app = group()


@app.command()
def upgrade(context: typer.Context, json: Json = False) -> None:
    """Make the ledger, or bring it to this program's schema."""
    from cli.output import emit, say
    from store import database

    done = database.upgrade(settings(context).database_url, now=wall())
    if json:
        emit({"path": str(done.path), "before": done.before, "after": done.after})
    elif done.before is None:
        say(f"made {done.path} (schema {done.after})")
    elif done.before == done.after:
        say(f"{done.path} is up to date (schema {done.after})")
    else:
        say(f"{done.path}: schema {done.before} → {done.after}")


@app.command()
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The copy to make; must not exist.")],
    json: Json = False,
) -> None:
    """Copy the ledger while the service writes, and verify the copy."""
    from cli.output import emit, say
    from store import database

    engine = database.open_engine(settings(context).database_url)
    try:
        made = database.backup(engine, file)
    finally:
        engine.dispose()
    if json:
        emit(
            {"path": str(made.path), "bytes": made.size, "schema": made.revision, "rows": made.rows}
        )
    else:
        rows = sum(made.rows.values())
        say(f"{made.path}: {made.size / 2**20:.1f} MiB, {rows} rows, verified")


@app.command()
def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A copy made by `gridbeat db backup`.")],
    json: Json = False,
) -> None:
    """Put a copy in the ledger's place, under a new name; the old ledger is kept aside.

    Stop the service first. Handhelds learn by the new name that nothing they were told since the
    copy holds, and send again what they still have.
    """
    from cli.output import emit, say
    from store.restoring import restore as put_back

    done = put_back(settings(context).database_url, file, now=wall())
    aside = None if done.aside is None else str(done.aside)
    if json:
        emit(
            {
                "path": str(done.path),
                "ledger": done.ledger,
                "schema": done.revision,
                "aside": aside,
            }
        )
        return
    say(f"{done.path} is restored from {file}, as ledger {done.ledger[:8]}")
    if aside is not None:
        say(f"the ledger that was there: {aside}")
    if done.outdated:
        say("its schema is an older one: gridbeat db upgrade")
