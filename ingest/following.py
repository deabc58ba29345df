"""What follows from one new entry: judgements to look at again, marks, cases, calls, alarms."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from devices.ids import Instant
from devices.messages import CheckIn, Hazard, HazardAction
from devices.proofs import Proof, Proved
from ingest.books import Books
from ingest.committed import Committed
from ingest.judged import Judged
from ingest.reader import Taken
from rules import events
from rules.events import Notice
from rules.oddities import unproven_tag
from store import alarms, calls, hazards, taps
from store.arrivals import Moved
from store.entries import EntryKind, EntryRow
from store.holdings import Followed, followed, hold

_Spot = tuple[int, int | None]
"""A site, and which of its checkpoints."""


class Following:
    """Within one transaction. `notices`: what is to be told of it."""

    def __init__(
        self, connection: Connection, books: Books, judged: Judged, done: Committed
    ) -> None:
        self.notices: list[Notice] = []
        self._connection = connection
        self._books = books
        self._judged = judged
        self._done = done

    def follow(self, numbered: Iterable[tuple[int, Taken]]) -> None:
        """New entries of a span, by their ids: reads, steps of cases, calls and what ends them."""
        read: defaultdict[_Spot, list[Instant]] = defaultdict(list)
        for number, taken in numbered:
            message, row = taken.message, taken.row
            if isinstance(message, CheckIn):
                read[row.site_id, row.checkpoint_id].append(row.at)  # type: ignore[index]  # placed
                self._mark(taken, row)
                if taken.unknown_tag:
                    self.notices.append(_unknown_tag(taken))
                elif row.checkpoint_id is None:
                    self._hold(taken, number, row)
                if taken.proved is not None:
                    self._prove(taken, number, row, taken.proved)
            elif isinstance(message, Hazard):
                self.notices += hazards.take_step(self._connection, _case_of(taken), number)
            elif message.cancel is None:
                self.notices += calls.raised(self._connection, taken.site.slug, row)
            else:
                call = row._replace(seq=message.cancel)
                self.notices += calls.cleared(self._connection, taken.site.slug, call)
        for (site_id, checkpoint_id), times in read.items():
            self._touch(site_id, checkpoint_id, times)

    def find(self, taken: Taken) -> None:
        """A new record that was given up as lost: the gap may end with it."""
        lost = (taken.device.id, taken.identity.epoch, taken.identity.seq)
        self.notices += alarms.found_again(self._connection, *lost)

    def _mark(self, taken: Taken, row: EntryRow) -> None:
        """Note whether a read is worth a look, by its own word whose it is, else by the tag's."""
        marks = self._books.marks
        if taken.message.person is not None or row.person_id is not None:
            marks.read(row, row.person_id)
            return
        person, sure = self._books.holders.of(self._connection, row)
        marks.read(row, person)
        if not sure and row.checkpoint_id is not None:
            marks.doubt(taken.site.id, row.at)

    def _hold(self, taken: Taken, number: int, row: EntryRow) -> None:
        """A person's tag: whose the reads after it are, those that came before it among them."""
        holds = taken.site.person_tag_holds
        if row.person_id is not None:
            self._books.holders.held(row, row.person_id, holds)
            self._follow_on(hold(self._connection, number, row, row.person_id, holds))

    def _follow_on(self, reads: Sequence[Followed]) -> None:
        """Look again at reads that may be another person's now."""
        for read in reads:
            self._touch(read.site_id, read.checkpoint_id, [read.at])
            self._books.marks.doubt(read.site_id, read.at)

    def moved(self, moved: Moved) -> None:
        """Look again at what it bore on and bears on, since its time was corrected."""
        if moved.kind is EntryKind.HAZARD:
            self.notices += hazards.take_again(self._connection, moved.entry_id)
            return
        self._touch(moved.site_id, moved.checkpoint_id, [moved.at])
        self._done.visits.add((moved.site_id, None))
        for at in (moved.told_at, moved.at):
            self._books.marks.doubt(moved.site_id, at)
        if moved.checkpoint_id is None:
            times = (moved.told_at, moved.at)
            self._follow_on(followed(self._connection, moved.entry_id, *times))

    def _prove(self, taken: Taken, number: int, row: EntryRow, proved: Proved) -> None:
        """Keep what it proves; a tap that was told before may be another read's from now on."""
        if proved.proof is Proof.PROVEN:  # before it is kept, as the one behind those before it
            self._books.marks.tapped(self._connection, row, proved)
        for rival in taps.keep(self._connection, number, row, proved):
            self._touch(rival.site_id, rival.checkpoint_id, [rival.at])
        if proved.asked is not None and proved.proof is not Proof.PROVEN:
            self.notices.append(_unproven(taken, proved.proof, proved.asked))

    def _touch(self, site_id: int, checkpoint_id: int | None, times: Sequence[Instant]) -> None:
        if checkpoint_id is not None:
            self._done.visits.add((site_id, checkpoint_id))
        touched = self._judged.touch(self._connection, site_id, checkpoint_id, times)
        self._done.touched |= touched > 0


def _unknown_tag(taken: Taken) -> Notice:
    return events.unknown_tag(
        taken.site.slug,
        str(taken.identity),
        taken.row.at,
        device=taken.device.slug,
        tag=taken.row.tag or "",
    )


def _unproven(taken: Taken, proof: Proof, checkpoint: str) -> Notice:
    data = {"device": taken.device.slug, "checkpoint": checkpoint, "tag": taken.row.tag}
    return unproven_tag(taken.site.slug, str(taken.identity), taken.row.at, proof, data)


def _case_of(taken: Taken) -> str:
    """The report that a hazard's entry belongs to: itself, or the one it refers to."""
    message = taken.message
    if isinstance(message, Hazard) and message.ref is not None:
        reports = message.action is HazardAction.REPORT  # a `ref` in a report says nothing
        return str(taken.identity) if reports else message.ref
    return str(taken.identity)
