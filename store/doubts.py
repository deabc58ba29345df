"""Which reads are worth a look for marks: a few comparisons in memory for each.

The hot path only notes a doubt. Once the doubt's span has closed, so that times no longer move,
`store.marks` looks at the site around it.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert

from devices.ids import Instant
from devices.proofs import Proved
from rules.marks import BURST, BURST_MS, CARRIED_MS, REACH_MS, Place, too_far
from store.entries import EntryRow
from store.picture import Picture
from store.prepared import Prepared
from store.tables import Doubt, table_of
from store.taps import furthest

DOUBT = table_of(Doubt)

REMEMBERED = 100_000
"""Devices, people and tags remembered; beyond it all are forgotten, which costs a look each."""


@dataclass(slots=True)
class _Paces:
    """What a picture says of how fast reads may follow each other. `ordered`: sites by id."""

    version: int
    least: Mapping[int, int]
    ordered: frozenset[int]
    places: Mapping[int, Place]


@dataclass(slots=True)
class MarkBook:
    """Remembers each device's, person's and tag's last read. For the ledger's writer only."""

    picture: Picture | None = None
    _paces: _Paces | None = None
    _blind: Instant | None = None
    _last: dict[int, tuple[Instant, int]] = field(default_factory=dict)  # when, which checkpoint
    _times: dict[int, deque[Instant]] = field(default_factory=dict)
    _bursting: set[int] = field(default_factory=set)
    _tags: dict[str, tuple[Instant, int]] = field(default_factory=dict)  # when, by which device
    _counters: dict[int, tuple[int, Instant]] = field(default_factory=dict)
    _doubts: set[tuple[int, Instant]] = field(default_factory=set)  # which site, when

    def forget(self) -> None:
        """The transaction did not commit: the next reads are looked at, whatever they are."""
        self._doubts.clear()
        self._empty()

    def _empty(self) -> None:
        """Nothing is remembered: for a while every read that might follow another is looked at."""
        self._blind = None
        remembered = (self._last, self._times, self._bursting, self._tags, self._counters)
        for each in remembered:
            each.clear()

    def read(self, row: EntryRow, person_id: int | None = None) -> None:
        """A new read of a checkpoint; `person_id`: whose it is by what is remembered."""
        paces, site, at, device = self._current(), row.site_id, row.at, row.device_id
        if paces is None or site is None or row.checkpoint_id is None or device is None:
            return
        if self._blind is None:
            self._blind = row.received_at + REACH_MS
        odd = site in paces.ordered
        odd |= self._follows(paces, site, device, row.checkpoint_id, at)
        if person_id is not None:
            odd |= self._follows(paces, site, -person_id, row.checkpoint_id, at)
        odd |= self._bursts(device, at)
        odd |= self._carried(row.tag or "", device, at)
        if odd:
            self._doubts.add((site, at))

    def tapped(self, connection: Connection, row: EntryRow, proved: Proved) -> None:
        """A new read that carries a proof: worth a look but where it is plainly the next one.

        What an earlier run has read is asked of the ledger: behind a replay, the next ones too are
        no higher than what was read before it.
        """
        enrolment, ctr = proved.enrolment_id or 0, proved.ctr or 0
        last = self._counters.get(enrolment) or furthest(connection, enrolment)
        if last is not None and ctr > last[0] and row.at >= last[1]:
            self._counters[enrolment] = (ctr, row.at)
            return
        highest, latest = last or (ctr, row.at)
        self._counters[enrolment] = (max(ctr, highest), max(row.at, latest))
        if row.site_id is not None:
            self.doubt(row.site_id, row.at)

    def doubt(self, site: int, at: Instant) -> None:
        """Marks around `at` may be other ones now."""
        self._doubts.add((site, at))

    def flush(self, connection: Connection) -> bool:
        """Write the doubts down; whether there were any."""
        if not self._doubts:
            return False
        _DOUBT.each(connection, [{"site_id": site, "at": at} for site, at in sorted(self._doubts)])
        self._doubts.clear()
        if len(self._last) + len(self._tags) + len(self._counters) > REMEMBERED:
            self._empty()
        return True

    def _follows(self, paces: _Paces, site: int, who: int, checkpoint: int, at: Instant) -> bool:
        """Whether it came out of time's order, or too soon after the read before.

        `who`: a device, or a person, less than 0.
        """
        last = self._last.get(who)
        if last is None:
            self._last[who] = (at, checkpoint)
            return self._is_blind(at)
        before, elsewhere = last
        if at < before:
            return True  # what is remembered stays the latest
        self._last[who] = (at, checkpoint)
        if elsewhere == checkpoint:
            return False
        took = at - before
        if took < paces.least.get(site, 0):
            return True
        if not paces.places:
            return False
        one, other = paces.places.get(elsewhere), paces.places.get(checkpoint)
        return one is not None and other is not None and too_far(one, other, took) is not None

    def _bursts(self, device: int, at: Instant) -> bool:
        """Whether the device passes what is usual with this read: the ones after it say no more."""
        times = self._times.get(device)
        if times is None:
            times = self._times[device] = deque(maxlen=BURST)
        few, since = len(times) < BURST, times[0] if times else at
        times.append(at)
        if few:
            return self._is_blind(at)
        if at - since >= BURST_MS:
            self._bursting.discard(device)
            return False
        if device in self._bursting:
            return False
        self._bursting.add(device)
        return True

    def _carried(self, tag: str, device: int, at: Instant) -> bool:
        """Whether nobody can have carried the tag here from the device that read it before."""
        before = self._tags.get(tag)
        if before is None or before[0] <= at:
            self._tags[tag] = (at, device)
        return before is not None and before[1] != device and at - before[0] < CARRIED_MS

    def _is_blind(self, at: Instant) -> bool:
        """Whether what came before `at` may have been forgotten, or heard by an earlier run."""
        return self._blind is None or at < self._blind

    def _current(self) -> _Paces | None:
        picture, paces = self.picture, self._paces
        if picture is None:
            return None
        if paces is None or paces.version != picture.version:
            paces = self._paces = _paces(picture)
        return paces


def _paces(picture: Picture) -> _Paces:
    least: dict[int, int] = {}
    ordered: set[int] = set()
    for plan in picture.plans():
        least[plan.site_id] = max(least.get(plan.site_id, 0), plan.min_gap)
        if plan.ordered:
            ordered.add(plan.site_id)
    places = {
        point.id: Place(point.lat, point.lon)
        for point in picture.checkpoints.values()
        if point.lat is not None and point.lon is not None
    }
    return _Paces(picture.version, least, frozenset(ordered), places)


_DOUBT = Prepared(insert(DOUBT), columns=("site_id", "at"))
