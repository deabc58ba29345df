"""Spans of time as people write them: `20s`, `5m`, `2h`, `1d`, `1h30m`; inside, milliseconds."""

import re

UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
"""Milliseconds of each unit, largest first: the order in which they must be written."""

_shape = re.compile("".join(rf"(?:([0-9]{{1,9}}){unit})?" for unit in UNITS)).fullmatch


def parse_duration(text: str) -> int:
    """Milliseconds of `text`, units from largest to smallest, each at most once.

    Raises ValueError, with the remedy, for anything else (no sign, no fraction, no bare number).
    """
    found = _shape(text.strip())
    if found is None or not any(found.groups()):
        raise ValueError(f"{text!r} is no span of time: write 20s, 5m, 2h, 1d or 1h30m")
    counts = zip(found.groups(), UNITS.values(), strict=True)
    return sum(int(count) * unit for count, unit in counts if count)


def format_duration(ms: int) -> str:
    """The shortest text that `parse_duration` reads as `ms`. Raises ValueError below zero."""
    if ms < 0:
        raise ValueError(f"a span of time is not negative: {ms} ms")
    parts = []
    for name, unit in UNITS.items():
        count, ms = divmod(ms, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"
