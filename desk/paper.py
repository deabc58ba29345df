"""Plain text that fits a page: 80 columns of a fixed pitch on A4, Chinese signs two wide."""

from collections.abc import Iterable, Iterator
from unicodedata import east_asian_width

COLUMNS = 80

_WIDE = frozenset("WF")


def width(text: str) -> int:
    """How many columns `text` takes in a fixed pitch."""
    return sum(2 if east_asian_width(sign) in _WIDE else 1 for sign in text)


def fitted(lines: Iterable[str], columns: int = COLUMNS) -> Iterator[str]:
    """The lines, those too long broken: between words, or where there are none, anywhere.

    What follows of a line stands two columns further in than its beginning.
    """
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        while width(line) > columns:
            cut = _cut(line, columns, len(indent))
            yield line[:cut].rstrip()
            line = indent + line[cut:].lstrip()  # noqa: PLW2901 - what is left of it
        yield line


def _cut(line: str, columns: int, indent: int) -> int:
    """Where to break: after the last space or Chinese stop that fits, if there is a good one."""
    taken = end = 0
    for end, sign in enumerate(line):  # noqa: B007
        taken += width(sign)
        if taken > columns:
            break
    good = max(
        (line.rfind(stop, indent, end) for stop in (" ", "，", "、", "；", "：")), default=-1
    )
    return good + 1 if good > max(indent, end // 2) else end
