"""A small reader of line protocol, written from InfluxDB's description of it, for tests only."""

from dataclasses import dataclass

Value = str | int | float | bool


@dataclass(frozen=True)
class Point:
    measurement: str
    tags: dict[str, str]
    fields: dict[str, Value]
    time: int


def parse(line: str) -> Point:
    """Raises ValueError for what InfluxDB would refuse."""
    if "\n" in line:
        raise ValueError("a line break")
    head, rest = _split(line, " ", quotes=False, most=2)
    fields, time = _split(rest, " ")
    measurement, *tags = _split(head, ",", quotes=False)
    return Point(
        measurement,
        dict(_pair(tag) for tag in tags),
        {name: _value(value) for name, value in map(_raw_pair, _split(fields, ","))},
        int(time),
    )


def _split(text: str, by: str, *, quotes: bool = True, most: int | None = None) -> list[str]:
    """Split at separators that are not escaped and, where quotes count, not within them."""
    found: list[str] = []
    start, at, quoted = 0, 0, False
    while at < len(text) and len(found) + 1 != most:
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == '"' and quotes:
            quoted = not quoted
        elif text[at] == by and not quoted:
            found.append(text[start:at])
            start = at + 1
        at += 1
    return [*found, text[start:]]


def _raw_pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise ValueError(f"no pair: {text}")
    return name, value


def _pair(text: str) -> tuple[str, str]:
    name, value = _raw_pair(text)
    for escaped in ", =":
        value = value.replace(f"\\{escaped}", escaped)
    return name, value


def _value(text: str) -> Value:
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return _unquote(text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    return int(text[:-1]) if text.endswith("i") else float(text)


def _unquote(text: str) -> str:
    out, at = [], 0
    while at < len(text):
        at += text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\")
        out.append(text[at])
        at += 1
    return "".join(out)
