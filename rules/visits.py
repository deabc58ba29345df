"""Counting visits: how often somebody came, who, and in which runs without too long a pause."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from devices.ids import Instant
from rules.promises import Read

Visits = Mapping[str, tuple[Instant, ...]]
"""By checkpoint: when each visit that counts began, in order."""


def visits_of(reads: Iterable[Read], apart: int) -> dict[str, tuple[Instant, ...]]:
    """The visits of each checkpoint: reads at least `apart` ms after the one that counted before.

    Taking the earliest each time makes the most of them, so a further read never takes one away.
    """
    found: dict[str, list[Instant]] = {}
    for at, checkpoint in sorted((read.at, read.checkpoint) for read in reads):
        visits = found.setdefault(checkpoint, [])
        if not visits or at >= visits[-1] + apart:
            visits.append(at)
    return {checkpoint: tuple(visits) for checkpoint, visits in found.items()}


def people_of(reads: Iterable[Read]) -> tuple[str, ...]:
    """Who has read; a read of which nobody said who made it is nobody's."""
    return tuple(sorted({read.person for read in reads if read.person is not None}))


def runs(reads: Iterable[Read], longest: int) -> Iterator[Sequence[Read]]:
    """The walk in pieces: reads of which none is more than `longest` ms after the one before.

    A further read joins pieces or makes one longer, and never takes one apart.
    """
    run: list[Read] = []
    for read in sorted(reads, key=lambda read: (read.at, read.identity)):
        if run and read.at - run[-1].at > longest:
            yield run
            run = []
        run.append(read)
    if run:
        yield run
