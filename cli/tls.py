"""`gridbeat tls`: certificates for our own broker, by a private authority."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Json, group, settings, wall

if TYPE_CHECKING:
    from desk.tls import Certificate, Place
    from store.settings import Settings

app = group()

Names = Annotated[
    list[str] | None,
    typer.Option("--name", help="A host name or address that devices dial; once for each."),
]
Days = Annotated[
    int, typer.Option("--days", min=1, max=3650, help="How long the broker's certificate holds.")
]


@app.callback()
def _group() -> None:
    """Certificates for our own broker, by a private authority."""


@app.command()
def init(context: typer.Context, name: Names = None, days: Days = 397, json: Json = False) -> None:
    """Make a private authority and the broker's certificate for the names devices dial."""
    from cli.output import note, say
    from desk.tls import init

    chosen = settings(context)
    place = _place(chosen)
    made = init(place, name or (), now=wall(), days=days)
    _show(made, as_json=json)
    if json:
        return
    say(f"give devices:     {place.server / 'ca.crt'}")
    say(f"keep private:     {place.authority / 'ca.key'} (needed again only for `tls renew`)")
    note("Next: gridbeat broker init --tls, and start the broker again.")
    if not name:
        note("It names this machine only; name what devices dial with --name, by `tls renew`.")


@app.command()
def renew(context: typer.Context, name: Names = None, days: Days = 397, json: Json = False) -> None:
    """Make the broker's certificate anew, and have the running broker show it."""
    from cli.output import note
    from desk import broker
    from desk.tls import renew

    chosen = settings(context)
    made = renew(_place(chosen), name or (), now=wall(), days=days)
    live = broker.reload(chosen.broker_dir)
    _show(made, as_json=json)
    if not live:
        note(f"No broker runs from {chosen.broker_dir}; it shows the certificate when it starts.")


@app.command()
def show(context: typer.Context, json: Json = False) -> None:
    """Show the broker's certificate: for which names, and until when."""
    from desk.tls import CERT, inspect

    _show(inspect(_place(settings(context)).server / CERT), as_json=json)


def _place(chosen: "Settings") -> "Place":
    from desk.broker import TLS_FOLDER
    from desk.tls import Place

    return Place(authority=chosen.ca_dir, server=chosen.broker_dir / TLS_FOLDER)


def _show(found: "Certificate", *, as_json: bool) -> None:
    from dataclasses import asdict

    from cli.output import emit, say
    from desk.times import rfc3339

    until = rfc3339(found.not_after)
    if as_json:
        emit(asdict(found) | {"path": str(found.path), "not_after": until})
        return
    say(f"certificate:      {found.path}, serial {found.serial}")
    say(f"names:            {', '.join(found.names)}")
    say(f"until:            {until} ({found.days_left(wall())} days)")
