"""`gridbeat`: the operators' commands. This file names them; each group has a file of its own.

Nothing heavy is imported before a command runs, so that `gridbeat --help` is there at once.
"""

import gc
import sys
from typing import Annotated

import typer

from cli import (
    broker,
    calendar,
    checkin,
    config,
    contract,
    db,
    device,
    event,
    gap,
    hazard,
    plan,
    profile,
    quarantine,
    quota,
    registry,
    review,
    round,
    run,
    series,
    spans,
    state,
    tag,
    tls,
)
from cli.options import Flags

GC_AFTER = 50_000
"""Objects more than were freed before the collector looks for cycles; Python's default is 700. What
a command imports stays: looking it through again and again was a quarter of a command's time."""

app = typer.Typer(
    name="gridbeat",
    help="Gridbeat (网格巡): keeps every patrol check-in and says at once what was missed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would add a tenth of a second to every --help
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"gridbeat {version('gridbeat')}")
        raise typer.Exit


@app.callback()
def _flags(
    context: typer.Context,
    config_file: Annotated[
        str | None,
        typer.Option("--config", help="The settings file, else ./gridbeat.toml.", metavar="FILE"),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option("--database-url", help="The ledger: sqlite:////folder/file.", metavar="URL"),
    ] = None,
    mqtt_url: Annotated[
        str | None,
        typer.Option(
            "--mqtt-url", help="The broker: mqtts://user:password@host:port.", metavar="URL"
        ),
    ] = None,
    mqtt_insecure: Annotated[
        bool,
        typer.Option(
            "--mqtt-insecure", help="Allow a broker beyond loopback without TLS or without a user."
        ),
    ] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = Flags(
        config=config_file,
        database_url=database_url,
        mqtt_url=mqtt_url,
        mqtt_insecure=mqtt_insecure or None,
    )


app.command()(run.ingest)
app.command()(run.demo)
app.command()(state.status)
app.command()(state.doctor)
GROUPS = (
    ("checkin", "Check-ins: tags that were read.", checkin.app),
    ("round", "Rounds: what was owed, and what became of it.", round.app),
    ("review", "Late reads that wait for a person's word.", review.app),
    ("gap", "Longest gaps between two visits of a checkpoint.", gap.app),
    ("quota", "Visits owed so many times in a period.", quota.app),
    ("event", "Events: what happened that somebody should know.", event.app),
    ("hazard", "Hazards and their handling.", hazard.app),
    ("tag", "Tags that prove presence.", tag.app),
    ("device", "Handhelds and readers.", device.app),
    ("contract", "Whether a device keeps the contract.", contract.app),
    ("quarantine", "What came in and could not be taken.", quarantine.app),
    ("registry", "Sites, checkpoints, people, devices, plans.", registry.app),
    ("plan", "Plans, and what they would owe.", plan.app),
    ("calendar", "What kind of day each date is.", calendar.app),
    ("silence", "Events that are not told for a while.", spans.app),
    ("profile", "Special periods, in which more is owed.", profile.app),
    ("broker", "Our own Mosquitto.", broker.app),
    ("tls", "Certificates for our own broker.", tls.app),
    ("db", "The ledger's database.", db.app),
    ("series", "The time series, in InfluxDB or from the ledger.", series.app),
    ("config", "The settings in force.", config.app),
)
for name, words, group in GROUPS:
    app.add_typer(group, name=name, help=words)


def main() -> None:
    """The console script. Every way out has its exit code; a traceback is never the answer."""
    gc.set_threshold(GC_AFTER)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal in GBK or ASCII lacks some signs
    try:
        app(prog_name="gridbeat")
    except Exception as error:
        from cli.failure import tell

        sys.exit(tell(error))


if __name__ == "__main__":
    main()
