"""`gridbeat broker`: our own Mosquitto."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Author, Json, by, group, settings, wall

app = group()


@app.callback()
def _group() -> None:
    """Our own Mosquitto."""


@app.command()
def init(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Where; else the setting broker_dir.", metavar="DIR"),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="To listen on.")] = 1883,
    host: Annotated[
        str,
        typer.Option("--host", help="To listen on; beyond loopback all need a password."),
    ] = "127.0.0.1",
    tls: Annotated[
        bool, typer.Option("--tls", help="Devices come by TLS; first: gridbeat tls init.")
    ] = False,
    tls_port: Annotated[
        int, typer.Option("--tls-port", min=1, max=65535, help="For devices, on every address.")
    ] = 8883,
    office_port: Annotated[
        int | None,
        typer.Option(
            "--office-port",
            min=1,
            max=65535,
            help="By TLS as well, for services and walls elsewhere.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Write files anew that were changed; the old stay as .old."),
    ] = False,
    json: Json = False,
) -> None:
    """Make configuration, password and access files; the service's password is shown this once."""
    from cli.output import emit, note, say
    from desk import broker
    from store.addresses import is_loopback

    listeners = broker.Tls(port=tls_port, office=office_port) if tls or office_port else None
    where = folder or settings(context).broker_dir
    made = broker.init(where, port=port, host=host, tls=listeners, force=force)
    conf = made.folder / "mosquitto.conf"
    if json:
        emit(
            {
                "dir": str(made.folder),
                "conf": str(conf),
                "written": list(made.written),
                "mqtt_url": made.mqtt_url,
            }
        )
        return
    say(f"{made.folder}: {', '.join(made.written) or 'nothing to do'}")
    say(f"start it:  mosquitto -c {conf}")
    if made.mqtt_url is not None:
        say(f"the service's own login, shown this once:\n  GRIDBEAT_MQTT_URL={made.mqtt_url}")
        if listeners is None:
            note("On loopback the service may also come without; with it, nothing is ever missed.")
    if listeners is not None:
        note("Nobody comes in without a name now, on loopback neither: mqtt_url needs its user.")
        note("A broker that runs opens its TLS listeners when it is started again.")
    elif not is_loopback(host):
        note("Passwords cross the network in the clear there: better `tls init`, then --tls.")


@app.command()
def sync(context: typer.Context, author: Author = None, json: Json = False) -> None:
    """Make the broker's files what the ledger says of who may speak; twice changes nothing.

    It ends what is due to end, restores what a lost folder held, and clears what the broker keeps
    of retired devices. `gridbeat device …` does it by itself, and `gridbeat ingest` when a rotation
    has had its time.
    """
    from dataclasses import asdict

    from cli.output import emit, say
    from cli.settled import end
    from desk.ledger import opened
    from desk.settling import settle

    chosen = settings(context)
    with opened(chosen) as engine:
        done = settle(chosen, engine, by=by(author, wall()), whole=True)
    if json:
        emit(asdict(done))
    else:
        for words, names in (("let in", done.let_in), ("shut out", done.shut_out)):
            if names:
                say(f"{words}: {', '.join(names)}")
        if not (done.let_in or done.shut_out):
            say("the files said so already")
    end(done)
