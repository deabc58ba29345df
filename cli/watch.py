"""How `event watch` prints: one line an event, as it is told, in its site's time."""

import asyncio
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.text import Text

from cli.output import SEVERITIES, STATES, Marks, console, dump, mark
from desk.names import zones
from desk.notice import events
from desk.times import aware, rfc3339, short

if TYPE_CHECKING:
    from store.settings import Settings

INSTANTS = ("at", "raised_at")
ID_SIGNS = 8
"""As many as `event list` shows; `event ack` takes them."""


def follow(settings: "Settings", site: str | None, *, as_json: bool, lang: str) -> None:
    """Print events until Ctrl-C, which is how it is meant to end."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_follow(settings, site, as_json=as_json, lang=lang))


async def _follow(settings: "Settings", site: str | None, *, as_json: bool, lang: str) -> None:
    screen = console()
    known = await asyncio.to_thread(zones, settings)
    async for event in events(settings, site):
        if as_json:
            sys.stdout.write(dump(_dated(event)) + "\n")
            sys.stdout.flush()
        else:
            screen.print(line(event, lang, known), soft_wrap=True)


def _dated(event: dict[str, Any]) -> dict[str, Any]:
    """The event with its times in RFC 3339 (UTC: the wire does not tell the site's zone)."""
    dates = {name: rfc3339(event[name]) for name in INSTANTS if isinstance(event.get(name), int)}
    return event | dates


def _padded(marks: Marks, value: str, lang: str) -> Text:
    """A mark as wide as the widest of its kind, so that the lines stand under each other."""
    said = mark(marks, value, lang)
    widest = max(mark(marks, each, lang).cell_len for each in marks)
    said.pad_right(max(widest - said.cell_len, 0))
    return said


def _when(event: dict[str, Any], known: Mapping[str, str]) -> str:
    """When it became true: in its site's time, or, of no site we know, in a zone that is named."""
    at, zone = event.get("at"), known.get(str(event.get("site")))
    if not isinstance(at, int):
        return ""
    now = time.time_ns() // 1_000_000
    return short(at, zone, now) + ("" if zone is not None else f" {aware(now, None):%Z}")


def line(event: dict[str, Any], lang: str, known: Mapping[str, str]) -> Text:
    """An event as its line: when, which, how grave, how it stands, where, what.

    `known`: the zones of sites.
    """
    message = event.get("message") or {}
    return Text("  ").join(
        (
            Text(_when(event, known)),
            Text(str(event.get("id") or "")[:ID_SIGNS].ljust(ID_SIGNS)),
            _padded(SEVERITIES, str(event.get("severity")), lang),
            _padded(STATES, str(event.get("state")), lang),
            Text(str(event.get("site"))),
            Text(str(message.get(lang) or event.get("kind"))),
        )
    )
