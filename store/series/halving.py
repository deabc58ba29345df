"""Finds the lines a database refuses: halve what it refused until the bad line is alone.

InfluxDB keeps the good lines of a request and still answers 400, without saying which were bad
(facts, section InfluxDB). Writing the good ones again changes nothing, so halving is safe.
"""

from collections.abc import Sequence

from store.series.ports import PartialWrite, Reject, SeriesWriter, TooLarge


class HalvingWriter:
    """A writer whose `PartialWrite` names every bad line, after every good one is in."""

    def __init__(self, inner: SeriesWriter) -> None:
        self._inner = inner

    async def write(self, lines: Sequence[str]) -> None:
        """Write all lines that can be written.

        Raises `PartialWrite` with all that cannot, `Retryable` or `Permanent` as they come: then
        part of the lines may be in, and all are to be written again.
        """
        rejected = await self._attempt(lines)
        if rejected:
            raise PartialWrite(
                f"{len(rejected)} of {len(lines)} lines were refused for good, the first because: "
                f"{rejected[0].error}",
                accepted=len(lines) - len(rejected),
                rejected=rejected,
            )

    async def close(self) -> None:
        await self._inner.close()

    async def _attempt(self, lines: Sequence[str]) -> list[Reject]:
        try:
            await self._inner.write(lines)
        except PartialWrite as refusal:
            if refusal.rejected:
                return list(refusal.rejected)
            if refusal.accepted == 0 or len(lines) == 1:
                return [Reject(line, str(refusal)) for line in lines]
        except TooLarge as refusal:
            if len(lines) == 1:
                return [Reject(lines[0], str(refusal))]
        else:
            return []
        middle = len(lines) // 2
        return await self._attempt(lines[:middle]) + await self._attempt(lines[middle:])
