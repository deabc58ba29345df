"""How `event watch` prints: one line an event, as it is told."""

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.text import Text

from cli.output import SEVERITIES, STATES, Marks, console, dump, mark
from desk.notice import events
from desk.times import rfc3339

if TYPE_CHECKING:
    from store.settings import Settings

INSTANTS = ("at", "raised_at")


def follow(settings: "Settings", site: str | None, *, as_json: bool, lang: str) -> None:
    """Print events until Ctrl-C, which is how it is meant to end."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_follow(settings, site, as_json=as_json, lang=lang))


async def _follow(settings: "Settings", site: str | None, *, as_json: bool, lang: str) -> None:
    screen = console()
    async for event in events(settings, site):
        if as_json:
            sys.stdout.write(dump(_dated(event)) + "\n")
            sys.stdout.flush()
        else:
            screen.print(line(event, lang), soft_wrap=True)


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


def line(event: dict[str, Any], lang: str) -> Text:
    """An event as its line: when, how grave, how it stands, where, what."""
    from datetime import datetime

    at = event.get("at")
    local = datetime.now().astimezone().tzinfo
    when = (
        f"{datetime.fromtimestamp(at / 1000, local):%m-%d %H:%M:%S}" if isinstance(at, int) else ""
    )
    message = event.get("message") or {}
    return Text("  ").join(
        (
            Text(when),
            _padded(SEVERITIES, str(event.get("severity")), lang),
            _padded(STATES, str(event.get("state")), lang),
            Text(str(event.get("site"))),
            Text(str(message.get(lang) or event.get("kind"))),
        )
    )
