"""Commit: one batch, one transaction; nothing is acknowledged that is not in it.

    append entries (once) → arrivals, corrections → facts that events follow from → quarantine
    → statuses → coverage → contacts → the marker

Runs in the ledger's writer thread. What it remembers beside the tables (coverage, presence, the
open span, what was judged) is dropped or put back when a transaction fails.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, Engine, insert
from sqlalchemy.dialects.sqlite import insert as upsert

from devices.coverage import NOTHING
from devices.ids import Identity, Instant
from devices.messages import CheckIn, Hazard, HazardAction, Sos
from devices.proofs import Proof, Proved
from devices.reasons import Reason
from devices.topics import is_ours
from ingest.judged import Judged
from ingest.reader import Item, Marked, Pictured, Said, Taken
from rules import events
from rules.clocks import odd
from rules.events import Notice
from rules.oddities import unproven_tag
from store import alarms, calls, entries, hazards, taps, workers
from store.arrivals import ArrivalBook, Moved, correct_entry, span_at
from store.coverages import CoverageBook, Key
from store.database import writing
from store.entries import EntryRow
from store.events import raise_notices
from store.folding import fold, unfolded
from store.holdings import Followed, HolderBook, followed, hold
from store.marks import MarkBook
from store.presence import PresenceBook
from store.quarantine import Asked, QuarantineBook, State, Suspect, settle
from store.series import lines
from store.skews import SkewBook
from store.tables import Photo, Sample

PHOTO = Photo.__table__  # type: ignore[attr-defined]
SAMPLE = Sample.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """What a receipt to a device may claim: its topic's site, and coverage of one epoch.

    `besides`: other sites that the device spoke from just now; it may listen at any of them.
    """

    site: str
    upto: int
    missing: tuple[tuple[int, int], ...]
    besides: frozenset[str] = frozenset()

    def after(self, before: "Covered") -> "Covered":
        """The newest, told wherever the one before would have been told."""
        sites = {before.site, *before.besides, *self.besides} - {self.site}
        return replace(self, besides=frozenset(sites)) if sites else self


@dataclass(slots=True, kw_only=True)
class Committed:
    """What one batch came to; counts are of records."""

    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    ignored: dict[tuple[str, str], int] = field(default_factory=dict)  # protocol, why
    marker: Instant | None = None
    markers: list[Instant] = field(default_factory=list)  # all of them, as they came
    first_tick: Instant | None = None
    receipts: dict[Key, Covered] = field(default_factory=dict)
    photos: dict[str, list[str]] = field(default_factory=dict)
    visits: set[tuple[int, int | None]] = field(default_factory=set)  # by site; None: any may be
    told: bool = False  # events wait in the outbox
    touched: bool = False  # judged obligations want another look


class Writer:
    """Writes batches for one instance of the service, in the ledger's writer thread."""

    def __init__(
        self,
        engine: Engine,
        instance: str,
        judged: Judged,
        arrivals: ArrivalBook,
        first_tick: Instant | None,
        *,
        sampling: bool,
    ) -> None:
        self.engine = engine
        self.instance = instance
        self.judged = judged
        self.arrivals = arrivals
        self.first_tick = first_tick
        self.coverage = CoverageBook()
        self.presence = PresenceBook()
        self.quarantine = QuarantineBook()
        self.skews = SkewBook()
        self.marks = MarkBook()
        self.holders = HolderBook()
        self.sampling = sampling
        self._taken_up = False
        self._books = (
            self.arrivals,
            self.coverage,
            self.presence,
            self.quarantine,
            self.skews,
            self.marks,
            self.holders,
        )

    def commit(self, items: Sequence[Item], now: Instant) -> Committed:
        """Write one batch. Raises what the database raises; then nothing of it is kept."""
        return self._in_one(now, lambda batch: batch.write(items))

    def retake(self, entry: Asked, items: Sequence[Item], now: Instant) -> Committed:
        """Take an entry of the quarantine after all, if it can be read and placed now."""
        return self._in_one(now, lambda batch: batch.retake(entry, items))

    def receive(self, items: Sequence[Item], now: Instant) -> Committed:
        """Write what came in beside the sessions, at this very instant: no marker tells of it."""
        return self._in_one(now, lambda batch: batch.receive(items))

    def _in_one(self, now: Instant, work: Callable[["_Batch"], Committed]) -> Committed:
        try:
            with writing(self.engine) as connection:
                if not self._taken_up:
                    self._take_up(connection)
                done = work(_Batch(self, connection, now))
        except BaseException:
            for book in self._books:
                book.forget()
            self._taken_up = False
            raise
        self._taken_up = True
        self.arrivals.keep()
        self.first_tick = done.first_tick
        return done

    def _take_up(self, connection: Connection) -> None:
        """Fold what a run that ended, or a transaction that failed, has left unfolded."""
        for trace in unfolded(connection, self.instance):
            self.presence.heard_before(connection, trace.device_id, trace.received_at)
            if trace.receipted:
                key = (trace.device, trace.epoch)
                self.coverage.add(connection, key, trace.seq)


class _Batch:
    """One transaction."""

    def __init__(self, writer: Writer, connection: Connection, now: Instant) -> None:
        self._writer = writer
        self._connection = connection
        self._now = now
        self._done = Committed()
        self._notices: list[Notice] = []
        self._receipts: dict[Key, str] = {}
        self._besides: dict[Key, set[str]] = {}
        self._strangers: set[str] = set()
        self._fresh: list[bool] = []
        self._spans: dict[int, int] = {}
        self._first_tick = writer.first_tick
        self._folds = False

    def write(self, items: Sequence[Item]) -> Committed:
        """The steps of the module's first lines, in their order."""
        self._append(items)
        fresh = iter(self._fresh)
        met: dict[tuple[int, Instant], None] = {}
        for item in items:
            if type(item) is Taken:
                if next(fresh):
                    self._meet(item, met)
                continue
            self._folds = True  # no entry tells of it again
            match item:
                case Suspect():
                    self._keep(item)
                case Said():
                    self._heard(met)
                    self._hear(item)
                case Pictured():
                    self._picture(item)
        self._heard(met)
        self._flush()
        return self._done

    # Entries and arrivals: between two markers, all entries of the span in one statement.

    def _append(self, items: Sequence[Item]) -> None:
        next_id = entries.next_id(self._connection)
        span: list[Taken] = []
        for item in items:
            if type(item) is Taken:
                span.append(item)
            elif isinstance(item, Suspect):
                place = self._writer.arrivals.span(self._connection, next_id + len(span))
                self._spans[id(item)] = place
            elif isinstance(item, Said):
                if item.status.sent is not None and not item.retained:
                    self._writer.arrivals.hear_status(item.device.id, item.status.sent)
            elif isinstance(item, Marked):
                next_id = self._append_span(next_id, span)
                span = []
                self._close(item.at)
        self._append_span(next_id, span)

    def _append_span(self, next_id: int, span: Sequence[Taken]) -> int:
        """Append the records of one span, and what follows from the new ones; returns the next
        id."""
        if not span:
            return next_id
        arrival = self._writer.arrivals.span(self._connection, next_id)
        rows = [taken.row.numbered(id_, arrival) for id_, taken in enumerate(span, next_id)]
        appended = entries.append(self._connection, rows)
        again = {*appended.duplicates, *appended.conflicts}
        for index, (taken, row) in enumerate(zip(span, rows, strict=True)):
            counted = taken.device.keeps and self._count(taken)
            new = index not in again
            self._fresh.append(new)
            if new:
                self._time(taken)
                self._follow(taken, row)
                if counted:
                    self._find(taken)
        self._done.accepted += len(span) - len(again)
        self._done.duplicate += len(appended.duplicates)
        for index in appended.conflicts:
            self._conflict(span[index])
        return next_id + len(span)

    def _count(self, taken: Taken) -> bool:
        """Into what its receipt will cover. True where it counted already: told before, or
        lost."""
        key = (taken.identity.device, taken.identity.epoch)
        self._answer(key, taken.listens_at)
        return self._writer.coverage.add(self._connection, key, taken.identity.seq)

    def _time(self, taken: Taken) -> None:
        """What a new live record tells of its device's clock."""
        message = taken.message
        if message.sent is None or taken.retained:
            return
        aged = message.sent_up is not None and message.up is not None
        self._writer.arrivals.hear(taken.device.id, message.sent, odd=aged and _is_odd(message))

    def _close(self, marker: Instant) -> None:
        writer, connection = self._writer, self._connection
        closed = writer.arrivals.close(connection, marker)
        for moved in closed.moved:
            self._moved(moved)
        if closed.skews:
            self._notices += writer.skews.turns(connection, closed.skews, writer.arrivals.after)
        self._done.marker = self._writer.arrivals.after
        self._done.markers.append(marker)
        if self._first_tick is None:
            self._first_tick = marker

    # What follows from one new entry.

    def _follow(self, taken: Taken, row: EntryRow) -> None:
        match taken.message:
            case CheckIn():
                self._touch(taken.site.id, row.checkpoint_id, row.at)
                self._mark(taken, row)
                if taken.unknown_tag:
                    self._notices.append(_unknown_tag(taken))
                elif row.checkpoint_id is None:
                    self._hold(taken, row)
                if taken.proved is not None:
                    self._prove(taken, row, taken.proved)
            case Hazard():
                self._notices += hazards.take_step(self._connection, _case_of(taken), row.id)
            case Sos(cancel=None):
                self._notices += calls.raised(self._connection, taken.site.slug, row)
            case Sos(cancel=int(seq)):
                call = row._replace(seq=seq)
                self._notices += calls.cleared(self._connection, taken.site.slug, call)

    def _find(self, taken: Taken) -> None:
        """A new record that was given up as lost: the gap may end with it."""
        lost = (taken.device.id, taken.identity.epoch, taken.identity.seq)
        self._notices += alarms.found_again(self._connection, *lost)

    def _mark(self, taken: Taken, row: EntryRow) -> None:
        """Note whether a read is worth a look, by its own word whose it is, else by the tag's."""
        marks = self._writer.marks
        if taken.message.person is not None or row.person_id is not None:
            marks.read(row, row.person_id)
            return
        person, sure = self._writer.holders.of(self._connection, row)
        marks.read(row, person)
        if not sure and row.checkpoint_id is not None:
            marks.doubt(taken.site.id, row.at)

    def _hold(self, taken: Taken, row: EntryRow) -> None:
        """A person's tag: whose the reads after it are, those that came before it among them."""
        holds = taken.site.person_tag_holds
        if row.person_id is not None:
            self._writer.holders.held(row, row.person_id, holds)
            self._follow_on(hold(self._connection, row, row.person_id, holds))

    def _follow_on(self, reads: Sequence[Followed]) -> None:
        """Look again at reads that may be another person's now."""
        for read in reads:
            self._touch(read.site_id, read.checkpoint_id, read.at)
            self._writer.marks.doubt(read.site_id, read.at)

    def _moved(self, moved: Moved) -> None:
        """Look again at what a read bore on and bears on, since its time was corrected."""
        self._touch(moved.site_id, moved.checkpoint_id, moved.at)
        self._done.visits.add((moved.site_id, None))
        for at in (moved.told_at, moved.at):
            self._writer.marks.doubt(moved.site_id, at)
        if moved.checkpoint_id is None:
            times = (moved.told_at, moved.at)
            self._follow_on(followed(self._connection, moved.entry_id, *times))

    def _prove(self, taken: Taken, row: EntryRow, proved: Proved) -> None:
        """Keep what it proves; a tap that was told before may be another read's from now on."""
        for rival in taps.keep(self._connection, row, proved):
            self._touch(rival.site_id, rival.checkpoint_id, rival.at)
        if proved.proof is Proof.PROVEN:
            self._writer.marks.tapped(row, proved)
        if proved.asked is not None and proved.proof is not Proof.PROVEN:
            self._notices.append(_unproven(taken, proved.proof, proved.asked))

    def _touch(self, site_id: int, checkpoint_id: int | None, at: Instant) -> None:
        if checkpoint_id is not None:
            self._done.visits.add((site_id, checkpoint_id))
        touched = self._writer.judged.touch(self._connection, site_id, checkpoint_id, at)
        self._done.touched |= touched > 0

    # What is no entry.

    def _meet(self, taken: Taken, met: dict[tuple[int, Instant], None]) -> None:
        """Its device was there: before a will that came after it, and after one that came before.

        A retained one was said some time, not now; of copies the earliest counts (law 3).
        """
        if taken.retained:
            self._folds = True  # its entry does not tell that it was
        else:
            met[taken.device.id, taken.row.received_at] = None

    def _heard(self, met: dict[tuple[int, Instant], None]) -> None:
        for device_id, at in met:
            self._writer.presence.heard(self._connection, device_id, at)
        met.clear()

    def _conflict(self, taken: Taken) -> None:
        identity = taken.identity
        self._keep(
            Suspect(
                topic=taken.topic,
                site=taken.listens_at,
                device=identity.device,
                bucket=identity.device,
                epoch=identity.epoch,
                seq=identity.seq,
                reason=Reason.IDENTITY_CONFLICT,
                detail="the ledger holds other content under this identity",
                received_at=taken.row.received_at,
                payload=taken.raw,
            )
        )
        self._notices.append(
            events.identity_conflict(
                taken.site.slug, str(identity), taken.row.at, device=identity.device
            )
        )

    def _keep(self, suspect: Suspect) -> None:
        """Quarantine; counted into coverage where it has an identity, so that it is receipted."""
        arrival = self._spans.get(id(suspect))
        new = self._writer.quarantine.keep(self._connection, suspect, arrival)
        self._done.quarantined += new
        if suspect.site is None or suspect.device is None or not is_ours(suspect.topic):
            return
        key, stranger = (suspect.device, suspect.epoch or 0), suspect.bucket == ""
        if stranger:
            self._strangers.add(suspect.device)
        if suspect.seq is not None:
            self._writer.coverage.add(self._connection, key, suspect.seq, stranger=stranger)
        self._answer(key, suspect.site)

    def _hear(self, said: Said) -> None:
        """A status: presence, where counting starts, what is lost for good."""
        status, device = said.status, said.device
        if not self._writer.presence.status(
            self._connection, device.id, status, said.received_at, retained=said.retained
        ):
            return
        if self._writer.sampling:
            self._connection.execute(insert(SAMPLE).values(_device_sample(said)))
        key = (device.slug, status.epoch)
        if status.online and device.keeps:
            self._answer(key, said.site.slug)
        if status.oldest is None:
            return
        for first, last in self._writer.coverage.born(self._connection, key, status.oldest):
            lost = Identity(device.slug, status.epoch, first)
            gap = events.device_gap(said.site.slug, lost, last, said.received_at)
            alarms.note(self._connection, device.id, gap, self._now)
            self._notices.append(gap)

    # What came beside the sessions, and what waited in quarantine.

    def receive(self, items: Sequence[Item]) -> Committed:
        """Write what came in now; each record in a span of its own, as short as can be."""
        self._folds = True
        for item in items:
            match item:
                case Taken():
                    state = self._take(item, None, self._now)
                    if state is State.KEPT:
                        self._conflict(item)
                    elif state is State.TAKEN:
                        self._heard({(item.device.id, item.row.received_at): None})
                case Suspect():
                    self._keep(item)
                case Said():
                    self._hear(item)
        self._flush()
        return self._done

    def retake(self, entry: Asked, items: Sequence[Item]) -> Committed:
        """Take what can be taken now, by its own times and its own arrival (issue 3).

        Who sent it is not heard now: it was, then. A status of that time says nothing any more.
        """
        self._folds = True
        state = State.STALE
        if any(isinstance(item, Suspect) for item in items):
            state = State.KEPT
        else:
            for item in items:
                if isinstance(item, Taken):
                    state = self._take(item, entry.arrival_id, entry.received_at)
                elif isinstance(item, Pictured):
                    self._keep_photo(item)
                    state = State.TAKEN
        now = None if state is State.KEPT else self._now
        settle(self._connection, entry.id, state, now)
        self._flush()
        return self._done

    def _take(self, taken: Taken, arrival: int | None, received_at: Instant) -> State:
        """Append one record whose arrival is known: that span, or one of its own."""
        connection, next_id = self._connection, entries.next_id(self._connection)
        if arrival is None:
            arrival = span_at(connection, received_at, next_id)
        row = taken.row.numbered(next_id, arrival)
        appended = entries.append(connection, [row])
        if appended.conflicts:
            return State.KEPT
        if appended.duplicates:
            self._done.duplicate += 1
            return State.DUPLICATE
        self._follow(taken, row)
        self._find(taken)
        moved = correct_entry(connection, next_id, self._writer.arrivals.lags)
        if moved is not None:
            self._moved(moved)
        self._writer.marks.doubt(taken.site.id, row.at)
        self._done.accepted += 1
        return State.TAKEN

    def _picture(self, pictured: Pictured) -> None:
        self._keep_photo(pictured)
        self._writer.presence.heard(self._connection, pictured.device.id, pictured.received_at)
        device = pictured.device
        key = (device.slug, self._writer.presence.epoch(self._connection, device.id))
        self._answer(key, pictured.site.slug)
        self._done.photos.setdefault(device.slug, []).append(pictured.photo.sha256)

    def _keep_photo(self, pictured: Pictured) -> None:
        photo = pictured.photo
        row = upsert(PHOTO).values(
            sha256=photo.sha256,
            device_id=pictured.device.id,
            site_id=pictured.site.id,
            received_at=pictured.received_at,
            media_type=photo.media_type,
            body=photo.data,
        )
        self._connection.execute(row.on_conflict_do_nothing(index_elements=["sha256"]))

    def _answer(self, key: Key, site: str) -> None:
        """Its device waits for a receipt under the topics of that site."""
        if self._receipts.setdefault(key, site) != site:
            self._besides.setdefault(key, set()).add(site)

    def _flush(self) -> None:
        writer, connection = self._writer, self._connection
        writer.marks.flush(connection)
        if self._folds:
            writer.coverage.flush(connection, self._now)
            writer.presence.flush(connection)
            fold(connection, writer.instance)
        if self._done.marker is not None:
            marks = {"marker_at": self._done.marker, "first_tick": self._first_tick}
            workers.advance(connection, writer.instance, **marks)
        self._done.first_tick = self._first_tick
        self._done.told = raise_notices(connection, self._notices, self._now) > 0
        for key, site in self._receipts.items():
            upto, missing = writer.coverage.view(connection, key)
            if upto == NOTHING and key[0] in self._strangers:
                continue
            besides = frozenset(self._besides.get(key, ()))
            told = Covered(site=site, upto=upto, missing=missing, besides=besides)
            self._done.receipts[key] = told


def _is_odd(message: CheckIn | Hazard | Sos) -> bool:
    """Whether a record's uptime contradicts its clock."""
    age = (message.sent_up or 0) - (message.up or 0)
    return odd(message.at, message.sent, age if age >= 0 else None)


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


def _device_sample(said: Said) -> dict[str, object]:
    status = said.status
    gauge = lines.DeviceGauge(
        site=said.site.slug,
        device=said.device.slug,
        at=said.received_at,
        online=status.online,
        battery=status.bat,
        rssi=status.rssi,
        skew_ms=None if status.sent is None or said.retained else status.sent - said.received_at,
        queue=status.queue,
    )
    return {"at": said.received_at, "line": lines.device(gauge)}


def _case_of(taken: Taken) -> str:
    """The report that a hazard's entry belongs to: itself, or the one it refers to."""
    message = taken.message
    if isinstance(message, Hazard) and message.ref is not None:
        reports = message.action is HazardAction.REPORT  # a `ref` in a report says nothing
        return str(taken.identity) if reports else message.ref
    return str(taken.identity)
