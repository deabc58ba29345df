"""How `event watch` prints: one line an event, as it is told, in its site's time."""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.text import Text

from cli.options import wall
from cli.output import SEVERITIES, STATES, Marks, console, dump, harmless, mark, note
from desk.names import Place, places
from desk.notice import events
from desk.times import aware, rfc3339, short

if TYPE_CHECKING:
    from store.settings import Settings

INSTANTS = ("at", "raised_at")
NOTICED_S = 120
"""A connection that is lost without a word is noticed only by its keepalive, of a minute."""
ID_SIGNS = 8
"""As many as `event list` shows; `event ack` takes them."""


def follow(settings: "Settings", site: str | None, *, as_json: bool, lang: str) -> None:
    """Print events until Ctrl-C, which is how it is meant to end."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_follow(settings, site, as_json=as_json, lang=lang))


async def _follow(settings: "Settings", site: str | None, *, as_json: bool, lang: str) -> None:
    screen = console()
    known = await asyncio.to_thread(places, settings, site)
    async for event in events(settings, site, _Turns(lang)):
        if as_json:
            sys.stdout.write(dump(_dated(event)) + "\n")
            sys.stdout.flush()
        else:
            screen.print(line(event, lang, known), soft_wrap=True)


class _Turns:
    """Tells that the broker went and came back, and how to see what was told meanwhile."""

    def __init__(self, lang: str) -> None:
        self._zh = lang == "zh"
        self._since = ""

    def __call__(self, back: bool) -> None:
        if not back:
            self._since = rfc3339((wall() // 1_000 - NOTICED_S) * 1_000)
            note(
                "与消息服务器的连接断开，恢复后自动继续（Ctrl-C 结束）"
                if self._zh
                else "the broker is gone; watching goes on when it is back (Ctrl-C ends it)"
            )
            return
        shows = f"gridbeat event list --raised --since {self._since}"
        note(
            f"连接已恢复；期间的事件请看：{shows}"
            if self._zh
            else f"the broker is back; what was told meanwhile: {shows}"
        )


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


def _when(event: dict[str, Any], place: Place | None) -> str:
    """When it became true: in its site's time, or, of no site we know, in a zone that is named."""
    at, zone = event.get("at"), None if place is None else place.timezone
    if not isinstance(at, int):
        return ""
    now = wall()
    return short(at, zone, now) + ("" if zone is not None else f" {aware(now, None):%Z}")


def line(event: dict[str, Any], lang: str, known: Mapping[str, Place]) -> Text:
    """An event as its line: when, which, how grave, how it stands, where, what.

    `known`: names and zones of sites.
    """
    site = str(event.get("site"))
    place = known.get(site)
    message = event.get("message") or {}
    said = Text("  ").join(
        (
            Text(_when(event, place)),
            Text(str(event.get("id") or "")[:ID_SIGNS].ljust(ID_SIGNS)),
            _padded(SEVERITIES, str(event.get("severity")), lang),
            _padded(STATES, str(event.get("state")), lang),
            Text(site if place is None else place.name),
            Text(str(message.get(lang) or event.get("kind"))),
        )
    )
    return harmless(said, lines=False)
