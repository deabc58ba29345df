"""A series held in memory: it merges points as InfluxDB does, and refuses what it is told to."""

from collections.abc import Callable, Sequence

from store.series.ports import MAX_LINES, PartialWrite, Reject, TooLarge
from tests.store.series.protocol import Point, parse


class MemoryWriter:
    """Keeps points by measurement, tags and time; says 400 to what does not parse, as InfluxDB."""

    def __init__(self, most_lines: int = MAX_LINES) -> None:
        self.points: dict[tuple[str, tuple[tuple[str, str], ...], int], Point] = {}
        self.requests = 0
        self.before_write: Callable[[Sequence[str]], None] = lambda lines: None
        self._most_lines = most_lines

    async def write(self, lines: Sequence[str]) -> None:
        self.requests += 1
        self.before_write(lines)
        if len(lines) > self._most_lines:
            raise TooLarge(f"{len(lines)} lines are too many")
        bad: list[Reject] = []
        for line in lines:
            try:
                self._keep(parse(line))
            except ValueError as error:
                bad.append(Reject(line, str(error)))
        if bad:
            raise PartialWrite(f"unable to parse: {bad[0].error}")

    async def close(self) -> None:
        pass

    def count(self, measurement: str) -> int:
        return sum(key[0] == measurement for key in self.points)

    def fields(self, measurement: str) -> list[dict[str, object]]:
        return [dict(p.fields) for key, p in self.points.items() if key[0] == measurement]

    def _keep(self, point: Point) -> None:
        key = (point.measurement, tuple(sorted(point.tags.items())), point.time)
        known = self.points.get(key)
        merged = {**known.fields, **point.fields} if known else point.fields
        self.points[key] = Point(point.measurement, point.tags, merged, point.time)
