"""`gridbeat device enroll`, `rotate`, `suspend`, `resume`, `retire`: who may speak."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Author, Json, by, settings, wall

if TYPE_CHECKING:
    from desk.access import Enrolled
    from desk.acts import By
    from rules.access import Step
    from store.settings import Settings

Id = Annotated[str, typer.Argument(metavar="ID", help="The device's id in the registry.")]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Why; it is written down.", metavar="TEXT")
]


def enroll(
    context: typer.Context,
    id_: Id,
    renew: Annotated[
        bool, typer.Option("--renew", help="A new password; what it had stops working at once.")
    ] = False,
    author: Author = None,
    json: Json = False,
) -> None:
    """Make a device's credential on our broker; its password is shown this once."""
    from desk.access import enroll
    from desk.ledger import opened

    chosen, who = settings(context), by(author, wall())
    with opened(chosen) as engine:
        made = enroll(engine, chosen.broker_dir, id_, by=who, renew=renew)
    _show(chosen, made, who, as_json=json)


def rotate(
    context: typer.Context,
    id_: Id,
    overlap: Annotated[
        str, typer.Option("--overlap", help="How long the old one works on: 2h, 7d.")
    ] = "7d",
    finish: Annotated[
        bool, typer.Option("--finish", help="End the old one now; no new one is made.")
    ] = False,
    author: Author = None,
    json: Json = False,
) -> None:
    """Make a new credential while the old one works on for a while; shown this once.

    The new one has a user name of its own: write both, name and password, into the device.
    """
    from desk.access import rotate
    from desk.devices import device
    from desk.ledger import opened
    from desk.times import parse_span
    from rules.access import Step

    if finish:
        _move(context, id_, Step.FINISH, author, None, as_json=json)
        return
    chosen, who, span = settings(context), by(author, wall()), parse_span("--overlap", overlap)
    with opened(chosen) as engine:
        zone = device(engine, id_, who.now).row.timezone
        made = rotate(engine, chosen.broker_dir, id_, by=who, overlap=span)
    _show(chosen, made, who, zone, as_json=json)


def suspend(
    context: typer.Context,
    id_: Id,
    reason: Reason = None,
    author: Author = None,
    json: Json = False,
) -> None:
    """Shut a device out at once, its open connection too, until `resume`: lost, or in doubt.

    In the middle of a rotation it ends the old password for good: only the new one comes back.
    """
    from rules.access import Step

    _move(context, id_, Step.SUSPEND, author, reason, as_json=json)


def resume(
    context: typer.Context,
    id_: Id,
    reason: Reason = None,
    author: Author = None,
    json: Json = False,
) -> None:
    """Let a suspended device speak again, with the newest password it was given."""
    from rules.access import Step

    _move(context, id_, Step.RESUME, author, reason, as_json=json)


def retire(
    context: typer.Context,
    id_: Id,
    reason: Reason = None,
    author: Author = None,
    json: Json = False,
) -> None:
    """Shut a device out for good, and clear what the broker keeps of it.

    Take it out of the registry file as well: a file that names it brings it back.
    """
    from rules.access import Step

    _move(context, id_, Step.RETIRE, author, reason, as_json=json)


def _move(
    context: typer.Context,
    id_: str,
    step: "Step",
    author: str | None,
    reason: str | None,
    *,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from cli.output import emit, note, say
    from cli.settled import end
    from desk.access import move
    from desk.ledger import opened
    from desk.settling import follow
    from rules.access import Step

    chosen, who = settings(context), by(author, wall())
    with opened(chosen) as engine:
        moved = move(engine, chosen.broker_dir, id_, step, by=who, reason=reason)
    settled = follow(chosen, who)
    if as_json:
        emit(asdict(moved) | {"live": settled.remark is None, "remark": settled.remark})
    else:
        say(f"{moved.device}: {moved.was} → {moved.access}")
        if step is Step.RETIRE:
            note("Take it out of the registry file as well: a file that names it brings it back.")
    end(settled)


def _show(
    chosen: "Settings",
    made: "Enrolled",
    who: "By",
    zone: str | None = None,
    *,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from cli.output import emit, note
    from cli.settled import end
    from desk.times import rfc3339

    until = None if made.until is None else rfc3339(made.until, zone)
    if not as_json:
        _tell(chosen, made, until)
    # The ledger knows the password's hash alone: whoever will not wait for the broker has it still.
    settled, remark = None, "nobody waited for the broker; then: gridbeat broker sync"
    try:
        from desk.settling import follow  # takes its time as well

        settled = follow(chosen, who)
    finally:
        said = remark if settled is None else settled.remark
        if as_json:
            emit(asdict(made) | {"until": until, "live": said is None, "remark": said})
        elif settled is None:
            note(remark)
    end(settled)


def _tell(chosen: "Settings", made: "Enrolled", until: str | None) -> None:
    """The credential for people, on the screen before anything else is waited for."""
    from cli.output import note, say
    from desk.broker import TLS_FOLDER

    say(f"user name  {made.username}\nclient id  {made.client_id}\npassword   {made.password}")
    sys.stdout.flush()
    note("The password is kept nowhere in plain: write it into the device now.")
    authority = chosen.broker_dir / TLS_FOLDER / "ca.crt"
    if authority.exists():
        note(f"By TLS it trusts {authority}: give it a copy.")
    if made.old is not None:
        note(f"What it has now ({made.old}) works until {until}.")
