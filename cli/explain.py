"""How `round explain` prints."""

from typing import TYPE_CHECKING

from cli.output import emit, say
from desk.explain import as_json as explained
from desk.explain import as_lines, explain
from desk.ledger import opened

if TYPE_CHECKING:
    from store.settings import Settings


def show(settings: "Settings", key: str, *, as_json: bool, lang: str) -> None:
    """Print the explanation of a round: an object for scripts, plain lines for people."""
    with opened(settings) as engine:
        found = explain(engine, key)
    if as_json:
        emit(explained(found))
        return
    for line in as_lines(found, lang):
        say(line)
