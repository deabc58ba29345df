"""Marks: what is odd about a check-in. Nothing is refused for it; a person may want to know.

A function of the set of reads of a site and of what was owed there (law 3): evidence that
comes later may mark a read, or refute a mark.

    out of order   the checkpoint before it on an ordered route was not visited before it
    too fast       after the device's or person's read before it: sooner than a plan allows (time),
                   or than anybody walks between two known places (speed); or one read too many by
                   one device in ten minutes (burst)
    same tag       another device read that tag so shortly before that nobody carried it there

Whether a proof was replayed (`replayed`) its own counter tells: `rules/replays.py`.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from math import asin, cos, radians, sin, sqrt
from typing import Any, NamedTuple

from msgspec import Struct

from devices.ids import Instant
from rules.promises import Obligation, Round

FASTEST = 15 / 3_600
"""Metres in a millisecond above which nobody walks, 15 km/h (domain: usual settings)."""

SAME_PLACE_M = 50
"""Places nearer than this are one place (domain: usual settings); no speed is told within it."""

BURST = 8
BURST_MS = 600_000
"""More reads than `BURST` by one device within `BURST_MS` are too many (domain: usual settings)."""

CARRIED_MS = 60_000
"""Sooner than this after another device's read of the same tag, nobody has carried it there."""

REACH_MS = 2 * BURST_MS
"""How far in time a read may bear on the marks of others by pace, tag or burst."""

EARTH_M = 6_371_000


class MarkKind(StrEnum):
    """The words are those of the events' kinds (contract §4)."""

    OUT_OF_ORDER = "out-of-order"
    TOO_FAST = "too-fast"
    SAME_TAG = "same-tag-two-devices"
    REPLAYED = "replayed"


class Why(StrEnum):
    """Why a read was too fast, or is a replay; of several the first of these is told."""

    TIME = "time"
    SPEED = "speed"
    BURST = "burst"
    REPEAT = "repeat"
    COUNTER = "counter"


class Place(NamedTuple):
    """Where a checkpoint is: degrees, WGS-84."""

    lat: float
    lon: float


class Seen(Struct, frozen=True, kw_only=True):
    """A read of a checkpoint's tag. `at`: as it holds, corrected where its clock was wrong.

    `imported`: it came from a file, so that its marks are no alarm. `touched`: a tag was read, and
    not a region or beacon that any number of phones may be in at once.
    """

    identity: str
    tag: str
    checkpoint: str
    device: str
    person: str | None
    at: Instant
    imported: bool = False
    touched: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What was owed around the reads, and where the checkpoints are, as far as that is known."""

    rounds: Sequence[Obligation] = ()
    places: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One thing odd about one read; `data` says by which other read, and how much."""

    kind: MarkKind
    read: Seen
    data: Mapping[str, Any]


def marks(reads: Iterable[Seen], ground: Ground) -> tuple[Mark, ...]:
    """The marks of `reads`, which are all reads of a site within some time.

    Those of the first `REACH_MS` lack what was before them: do not ask about these.
    """
    ordered = sorted(reads, key=lambda read: (read.at, read.identity))
    found: dict[tuple[str, MarkKind], Mark] = {}
    for rule in (_pace, _bursts, _same_tag, _order):
        for mark in rule(ordered, ground):
            found.setdefault((mark.read.identity, mark.kind), mark)
    return tuple(found[key] for key in sorted(found))


def metres(one: Place, other: Place) -> float:
    """The way between two places over a sphere (haversine)."""
    lat, lon = radians(other.lat - one.lat), radians(other.lon - one.lon)
    half = sin(lat / 2) ** 2 + cos(radians(one.lat)) * cos(radians(other.lat)) * sin(lon / 2) ** 2
    return 2 * EARTH_M * asin(sqrt(min(half, 1.0)))


def too_far(one: Place, other: Place, took: int) -> float | None:
    """How far (m) two places are apart that nobody walks between in `took` ms; else None."""
    way = metres(one, other)
    return way if way > SAME_PLACE_M and way > took * FASTEST else None


def _pace(reads: Sequence[Seen], ground: Ground) -> Iterator[Mark]:
    found: list[tuple[Seen, Seen, Why, dict[str, int]]] = []
    paced = [
        (owed, owed.terms.min_gap)
        for owed in ground.rounds
        if isinstance(owed.terms, Round) and owed.terms.min_gap > 0
    ]
    for earlier, later in _successive(reads):
        soon = None
        if earlier.checkpoint != later.checkpoint:
            soon = _too_soon(earlier, later, paced, ground.places)
        if soon is not None:
            found.append((later, earlier, *soon))
    found.sort(key=lambda row: (row[0].identity, row[2] is not Why.TIME, row[1].identity))
    for later, earlier, why, limit in found:
        took = later.at - earlier.at
        data = {"why": why.value, "after": earlier.identity, "took_ms": took, **limit}
        yield Mark(kind=MarkKind.TOO_FAST, read=later, data=data)


def _successive(reads: Sequence[Seen]) -> Iterator[tuple[Seen, Seen]]:
    """Each read with the one before it, of the same device and of the same person."""
    by_device: defaultdict[str, list[Seen]] = defaultdict(list)
    by_person: defaultdict[str, list[Seen]] = defaultdict(list)
    for read in reads:
        by_device[read.device].append(read)
        if read.person is not None:
            by_person[read.person].append(read)
    for chain in (*by_device.values(), *by_person.values()):
        yield from pairwise(chain)


def _too_soon(
    earlier: Seen,
    later: Seen,
    paced: Iterable[tuple[Obligation, int]],
    places: Mapping[str, Place],
) -> tuple[Why, dict[str, int]] | None:
    took = later.at - earlier.at
    gaps = [
        gap
        for owed, gap in paced
        if took < gap
        and owed.opens - owed.early <= later.at < owed.due
        and {earlier.checkpoint, later.checkpoint} <= set(owed.expected)
    ]
    if gaps:
        return Why.TIME, {"least_ms": max(gaps)}
    one, other = places.get(earlier.checkpoint), places.get(later.checkpoint)
    if one is None or other is None or (way := too_far(one, other, took)) is None:
        return None
    return Why.SPEED, {"metres": round(way)}


def _bursts(reads: Sequence[Seen], ground: Ground) -> Iterator[Mark]:
    """The read by which a device passes what is usual: one mark for a burst, not one for each."""
    recent: defaultdict[str, deque[Instant]] = defaultdict(deque)
    passed: set[str] = set()
    for read in reads:
        times = recent[read.device]
        times.append(read.at)
        while times[0] <= read.at - BURST_MS:
            times.popleft()
        if len(times) <= BURST:
            passed.discard(read.device)
        elif read.device not in passed:
            passed.add(read.device)
            data = {"why": Why.BURST.value, "reads": len(times), "within_ms": BURST_MS}
            yield Mark(kind=MarkKind.TOO_FAST, read=read, data=data)


def _same_tag(reads: Sequence[Seen], ground: Ground) -> Iterator[Mark]:
    """Two devices, one tag, and no time to carry it; but for patrols that two people walk."""
    latest: dict[tuple[str, str], dict[str, Seen]] = {}
    for read in reads:
        if not read.touched:
            continue
        others = latest.setdefault((read.tag, read.checkpoint), {})
        near = [
            other
            for device, other in others.items()
            if device != read.device and read.at - other.at < CARRIED_MS
        ]
        others[read.device] = read
        if near and not _together(read, ground):
            other = max(near, key=lambda seen: (seen.at, seen.identity))
            data = {"after": other.identity, "took_ms": read.at - other.at}
            yield Mark(kind=MarkKind.SAME_TAG, read=read, data=data)


def _together(read: Seen, ground: Ground) -> bool:
    return any(
        isinstance(owed.terms, Round)
        and owed.terms.people > 1
        and owed.opens - owed.early <= read.at < owed.due
        and read.checkpoint in owed.expected
        for owed in ground.rounds
    )


def _order(reads: Sequence[Seen], ground: Ground) -> Iterator[Mark]:
    """First visits of an ordered round whose checkpoint before was not visited before them.

    By the one before alone: who leaves out the first checkpoint of ten is marked once, not nine
    times.
    """
    for owed in ground.rounds:
        if not isinstance(owed.terms, Round) or not owed.terms.ordered:
            continue
        first: dict[str, Seen] = {}
        for read in reads:
            if owed.opens - owed.early <= read.at < owed.due and read.checkpoint in owed.expected:
                first.setdefault(read.checkpoint, read)
        for before, after in pairwise(owed.expected):
            late, early = first.get(before), first.get(after)
            if early is not None and (late is None or late.at > early.at):
                data = {"round": owed.key, "before": before}
                yield Mark(kind=MarkKind.OUT_OF_ORDER, read=early, data=data)
