"""Instants that lie near each other, taken together."""

from collections.abc import Iterator, Sequence

from devices.ids import Instant


def clusters(times: Sequence[Instant], reach_ms: int) -> Iterator[tuple[Instant, Instant]]:
    """First and last of each run of `times` (ascending, not empty) with no gap above `reach_ms`."""
    since = until = times[0]
    for at in times[1:]:
        if at - until > reach_ms:
            yield since, until
            since = at
        until = at
    yield since, until
