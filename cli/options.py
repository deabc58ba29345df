"""Options that several commands share, and what stands before the command."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from desk.acts import By
    from desk.listing import Asked
    from store.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="For scripts: JSON on stdout, nothing else.")]
Site = Annotated[str | None, typer.Option("--site", help="Only this site.", metavar="ID")]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        help="From then on: 2026-09-01, 2026-09-01T22:00+08:00, 22:00, today, 2h, 7d. "
        "Days and hours are of the sites' time, not this machine's; where the sites have several "
        "zones, say --site.",
        metavar="TIME",
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", help="Up to then; a day as a whole. As --since.", metavar="TIME"),
]
Author = Annotated[
    str | None,
    typer.Option("--author", help="Who does this; else who is logged in.", metavar="NAME"),
]
Language = Annotated[
    str | None,
    typer.Option("--lang", help="zh or en; else as the system's locale says.", metavar="LANG"),
]

Wait = Annotated[int, typer.Option("--wait", help="Seconds to wait for the service.")]


def group() -> typer.Typer:
    """A group of commands. No rich help: it would add a tenth of a second to every --help."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What was said before the command; None was not."""

    config: str | None = None
    database_url: str | None = None
    mqtt_url: str | None = None
    mqtt_insecure: bool | None = None


def settings(context: typer.Context) -> "Settings":
    """The settings in force; variables that set nothing are told. Raises `SettingsError`."""
    import sys

    from store.settings import load_settings, unknown_variables
    from store.settingsfile import CONFIG

    flags = context.obj if isinstance(context.obj, Flags) else Flags()
    if flags.config is not None:
        os.environ[CONFIG] = flags.config
    for variable in unknown_variables():
        sys.stderr.write(f"gridbeat: {variable}\n")
    return load_settings(
        database_url=flags.database_url,
        mqtt_url=flags.mqtt_url,
        mqtt_insecure=flags.mqtt_insecure,
    )


def wall() -> int:
    """Now, in milliseconds since the epoch: the one clock read of a command."""
    import time

    return time.time_ns() // 1_000_000


def patience(seconds: float) -> "Callable[[], bool]":
    """Asked before each further look: pauses a moment, and says whether to look once more."""
    import time

    until = time.monotonic() + seconds

    def once_more() -> bool:
        time.sleep(0.1)
        return time.monotonic() < until

    return once_more


def asked(site: str | None, since: str | None, until: str | None) -> "Asked":
    """What a listing is asked for, now."""
    from desk.listing import Asked

    return Asked(site=site, since=since, until=until, now=wall())


def by(author: str | None, now: int) -> "By":
    """Who acts, and when."""
    import getpass

    from desk.acts import By

    return By(author=author or getpass.getuser(), now=now)


def language(asked_for: str | None = None) -> str:
    """`zh` or `en`: as asked for, else as the locale says. Raises `UsageError` for others."""
    if asked_for is not None:
        if asked_for in ("zh", "en"):
            return asked_for
        from desk.errors import UsageError

        raise UsageError(f"--lang {asked_for!r} is not known", "write zh or en")
    told = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return "zh" if next(filter(None, told), "").startswith("zh") else "en"
