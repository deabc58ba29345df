"""`gridbeat ingest` and `gridbeat demo`: what runs, and goes on running."""

from typing import Annotated

import typer

from cli.options import Json, settings


def ingest(context: typer.Context) -> None:
    """Run the service until it is told to stop.

    From MQTT into the ledger, and what follows from it. SIGTERM or Ctrl-C ends it cleanly.
    """
    from ingest.service import run

    run(settings(context))


def demo(
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="How long the day may take.")
    ] = 45,
    json: Json = False,
) -> None:
    """Play a school day through the real path, and check it.

    Three schools, their guards and handhelds, MQTT, ledger and series; every verdict is compared
    with what really happened. Exit 3: one of them is wrong.
    """
    from cli.demo import run

    raise typer.Exit(run(seconds=seconds, as_json=json))
