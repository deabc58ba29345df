"""Which records of one (device, epoch) are on disk: the arithmetic of receipts (contract §3)."""

from bisect import bisect_left, bisect_right
from typing import Any, Self

from devices.ids import MAX_SAFE

Range = tuple[int, int]
"""A closed range of `seq`: both ends belong to it."""

NOTHING = -1
"""`upto` of a receipt that covers nothing."""

MAX_RANGES = 32
"""How many missing ranges a receipt tells."""

MOST_RANGES = 5_000
"""How many are kept: a device that stores 10,000 records may leave out every second one. A hostile
one must not make this grow for ever."""


class Coverage:
    """The set of kept (or given up) `seq` of one (device, epoch), as what is missing from it.

    Covered is every `seq` in [start, upto] outside `missing`, whose ranges are closed,
    disjoint, not adjacent and ascending. `start` is where counting began; where it was only
    the first `seq` seen, a lower `seq` or a lower `oldest` moves it down, and what lies between
    becomes missing: a guess is taken back, nothing covered ever is.

    With `MOST_RANGES` missing, a `seq` that would make one more is not counted: it stays missing,
    or above `upto`, and counts when it is told again. So a receipt claims less than is kept, never
    more.

    A range costs some 100 bytes; every operation but `union` finds its place by bisection.
    """

    __slots__ = ("missing", "start", "upto")

    def __init__(self, start: int, upto: int, missing: list[Range]) -> None:
        self.start = start
        self.upto = upto
        self.missing = missing

    @classmethod
    def opening_at(cls, first: int) -> Self:
        """Nothing covered yet; counting starts at `first` (a birth's `oldest`, or a `seq`)."""
        if not 0 <= first <= MAX_SAFE:
            raise ValueError(f"seq must be 0 to 2**53-1, not {first}")
        return cls(first, first - 1, [])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Coverage):
            return NotImplemented
        return self.to_state() == other.to_state()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Coverage({self.start}, {self.upto}, {self.missing})"

    def __contains__(self, seq: int) -> bool:
        return self.start <= seq <= self.upto and self._place(seq) is None

    def add(self, seq: int) -> None:
        """`seq` is on disk."""
        full = len(self.missing) >= MOST_RANGES
        if seq == self.upto + 1:
            self.upto = seq
        elif seq > self.upto:
            if full:
                return
            self.missing.append((self.upto + 1, seq - 1))
            self.upto = seq
        elif seq < self.start:
            self.open_below(seq)
            self.add(seq)
        else:
            self._fill(seq, full)

    def open_below(self, oldest: int) -> None:
        """The device stores `oldest`: what counting skipped from there on is missing.

        Needed when a record overtakes its birth (sos has a session of its own): counting
        began at that record, and its older ones are not kept.
        """
        if oldest >= self.start:
            return
        if len(self.missing) >= MOST_RANGES:
            oldest = 0  # once and for all, or every lower one would add a range
        first, self.start = self.start, oldest
        if self.upto < first:
            self.upto = oldest - 1
        elif self.missing and self.missing[0][0] == first:
            self.missing[0] = (oldest, self.missing[0][1])
        else:
            self.missing.insert(0, (oldest, first - 1))

    def close_below(self, oldest: int) -> list[Range]:
        """The device stores nothing below `oldest`: the missing ranges there are lost.

        They are returned, to be told as `device.gap`, and count as covered from now on. The
        caller must have added everything received before this was said.
        """
        lost: list[Range] = []
        end = bisect_left(self.missing, (oldest, 0))
        lost.extend(self.missing[:end])
        del self.missing[:end]
        if lost and lost[-1][1] >= oldest:
            self.missing.insert(0, (oldest, lost[-1][1]))
            lost[-1] = (lost[-1][0], oldest - 1)
        if self.upto < oldest - 1:
            lost.append((self.upto + 1, oldest - 1))
            self.upto = oldest - 1
        return lost

    def receipt_view(self, limit: int = MAX_RANGES) -> tuple[int, tuple[Range, ...]]:
        """`upto` and `missing` of a receipt: the lowest `limit` ranges, and no further.

        Where more are missing, `upto` stops before the first range left out.
        """
        if len(self.missing) > limit:
            return self.missing[limit][0] - 1, tuple(self.missing[:limit])
        return self.upto, tuple(self.missing)

    def union(self, other: "Coverage") -> "Coverage":
        """What either covers: two workers' views of one (device, epoch) as one."""
        start, upto = min(self.start, other.start), max(self.upto, other.upto)
        missing = _common(self._absent(start, upto), other._absent(start, upto))
        if missing and missing[-1][1] == upto:
            upto = missing.pop()[0] - 1
        return Coverage(start, upto, missing)

    def to_state(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return {"start": self.start, "upto": self.upto, "missing": [list(r) for r in self.missing]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """What `to_state` wrote. Raises ValueError where it is not a coverage."""
        try:
            start, upto = int(state["start"]), int(state["upto"])
            missing = [(int(first), int(last)) for first, last in state["missing"]]
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the state of a coverage: {state!r}") from error
        ends = [start - 2, *(last for _, last in missing)]
        apart = all(first > end + 1 for end, (first, _) in zip(ends, missing, strict=False))
        filled = all(first <= last < upto for first, last in missing)
        if not (apart and filled and 0 <= start <= upto + 1):
            raise ValueError(f"not the state of a coverage: {state!r}")
        return cls(start, upto, missing)

    def _absent(self, start: int, upto: int) -> list[Range]:
        """What of [start, upto], wider than this coverage, is not covered."""
        above = (self.upto + 1, upto)
        if self.upto < self.start:
            return _real((start, upto))
        return [*_real((start, self.start - 1)), *self.missing, *_real(above)]

    def _place(self, seq: int) -> int | None:
        """Index of the missing range that holds `seq`."""
        index = bisect_right(self.missing, (seq, MAX_SAFE + 1)) - 1
        return index if index >= 0 and seq <= self.missing[index][1] else None

    def _fill(self, seq: int, full: bool) -> None:
        index = self._place(seq)
        if index is None:
            return
        first, last = self.missing[index]
        if full and first < seq < last:
            return
        self.missing[index : index + 1] = _real((first, seq - 1), (seq + 1, last))


def _real(*ranges: Range) -> list[Range]:
    return [found for found in ranges if found[0] <= found[1]]


def _common(ours: list[Range], theirs: list[Range]) -> list[Range]:
    """What lies in a range of both ascending lists, neighbours joined."""
    common: list[Range] = []
    mine = its = 0
    while mine < len(ours) and its < len(theirs):
        first = max(ours[mine][0], theirs[its][0])
        last = min(ours[mine][1], theirs[its][1])
        if common and common[-1][1] + 1 == first <= last:
            common[-1] = (common[-1][0], last)
        elif first <= last:
            common.append((first, last))
        if ours[mine][1] < theirs[its][1]:
            mine += 1
        else:
            its += 1
    return common
