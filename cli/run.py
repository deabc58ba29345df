"""`gridbeat ingest` and `gridbeat demo`: what runs, and goes on running."""

from typing import Annotated

import typer

from cli.options import Json, Language, by, language, settings, wall


def ingest(context: typer.Context) -> None:
    """Run the service until it is told to stop.

    From MQTT into the ledger, and what follows from it. SIGTERM or Ctrl-C ends it cleanly.
    """
    from desk.keeper import keeping
    from ingest.running import run

    chosen = settings(context)
    with keeping(chosen):
        run(chosen)


def demo(
    scenario: Annotated[
        str, typer.Option("--scenario", help="As `firmware-sim scenarios` lists them, or a file.")
    ] = "normal-day",
    seed: Annotated[
        int | None, typer.Option("--seed", help="Another day; else the scenario's own.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, help="How long it takes; 0: as fast as it goes.")
    ] = 30,
    tls: Annotated[
        bool, typer.Option("--tls", help="All MQTT by TLS, with a private authority.")
    ] = False,
    json: Json = False,
    lang: Language = None,
) -> None:
    """Play one school day of three schools through the real path, and check every verdict."""
    from cli.demo import run

    raise typer.Exit(
        run(
            scenario=scenario,
            seed=seed,
            seconds=seconds,
            tls=tls,
            as_json=json,
            lang=language(lang),
            by=by("demo", wall()),
        )
    )
