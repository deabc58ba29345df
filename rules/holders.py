"""Who made a read that does not say so itself: whoever's tag its device read before it.

A person's tag says who makes the following reads of that device, in event time: until the next
person's tag, until it has held long enough, or until the end of the round. Whose a read is follows
from the set of reads, so a tag that comes in late changes who made the reads that came before it.
"""

from collections.abc import Iterable
from typing import NamedTuple, Self

from devices.ids import Instant
from rules.durations import format_duration, parse_duration

DAY = 86_400_000
LONGEST = 7 * DAY
"""No person's tag holds longer, in ms, whoever comes after."""
ROUND = "round"


class Hold(NamedTuple):
    """How long a person's tag holds: `lasts` ms at most; `by_round`: only for one round."""

    lasts: int
    by_round: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of `12h` or `round`. Raises ValueError, with the remedy, for anything else."""
        if text == ROUND:
            return cls(DAY, True)
        try:
            lasts = parse_duration(text)
        except ValueError:
            lasts = 0
        if not 60_000 <= lasts <= LONGEST:
            raise ValueError(f"'{text}' is no time to hold: write 1m to 7d, as 12h, or {ROUND}")
        return cls(lasts, False)

    def __str__(self) -> str:
        return ROUND if self.by_round else format_duration(self.lasts)


USUAL = Hold(DAY // 2, False)
"""How long a person's tag holds where the registry says nothing: a shift."""


def round_end(at: Instant, rounds: Iterable[tuple[Instant, Instant]]) -> Instant | None:
    """The due of the round that a tag read at `at` holds for; None where there is none.

    `rounds`: `(opens, due)` of a site's rounds around `at`. The latest due of those open then;
    where none is, that of the next to open, since who goes on a round may say so before it.
    """
    later = [found for found in rounds if found[1] > at]
    open_then = [due for opens, due in later if opens <= at]
    if open_then:
        return max(open_then)
    first = min((opens for opens, _ in later), default=None)
    return max((due for opens, due in later if opens == first), default=None)
