"""`gridbeat series`: the time series, in InfluxDB or from the ledger."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from cli.options import Json, Since, Site, Until, asked, group, settings, wall

app = group()


@app.command()
def status(context: typer.Context, json: Json = False) -> None:
    """Show where the series is and how far behind the ledger."""
    from dataclasses import asdict

    from cli.output import emit, say
    from desk.ledger import opened
    from desk.series import series_status

    chosen = settings(context)
    with opened(chosen) as engine:
        found = series_status(engine, chosen, wall())
    if json:
        emit(asdict(found))
        return
    if found.url is None:
        say("no InfluxDB is set (influx_url): the ledger answers the same questions")
        return
    say(f"{found.url}")
    for source, behind in found.behind.items():
        say(f"  {source:8} {'up to date' if not behind else f'{behind} behind'}")
    say(f"  refused for good: {found.rejected}")
    if found.last_reject is not None:
        say(f"  the last: {found.last_reject}")


@app.command()
def rebuild(context: typer.Context) -> None:
    """Have the service write everything again, for a database that is new or was lost."""
    from cli.output import say
    from desk.ledger import opened
    from desk.series import rebuild as start_over

    chosen = settings(context)
    with opened(chosen) as engine:
        start_over(engine, chosen)
    say("the service writes the whole ledger again; follow it with: gridbeat series status")


@app.command()
def ask(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="checkins-per-hour, coverage-per-day, site-state-now."),
    ],
    site: Site = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
) -> None:
    """Answer a named question, from InfluxDB or the ledger; without a span, of the last day.

    Hours and days are cut in UTC, as InfluxDB cuts them, and printed with the sites' offset.
    """
    from cli.output import Column, emit_rows, table
    from desk.ledger import opened
    from desk.series import ask as ask_series

    chosen = settings(context)
    with opened(chosen) as engine:
        answers = ask_series(engine, chosen, name, asked(site, since, until))
    if json:
        emit_rows(answers)
        return
    names = list(answers[0]) if answers else []
    columns = [Column(en=name, zh=name, cell=_cell(name), fold=True) for name in names]
    table(columns, answers, "en", ("No answers: nothing happened in that span.", ""))


def _cell(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: "" if row[name] is None else str(row[name])
