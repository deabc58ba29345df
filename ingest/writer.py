"""Commit: one batch, one transaction; nothing is acknowledged that is not in it.

    append entries (once) → arrivals, corrections → facts that events follow from → quarantine
    → statuses → coverage → contacts → the marker

Runs in the ledger's writer thread. What it remembers beside the tables (coverage, presence, the
open span, what was judged) is dropped or put back when a transaction fails.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Connection, Engine, insert
from sqlalchemy.dialects.sqlite import insert as upsert

from devices.coverage import NOTHING
from devices.ids import Identity, Instant
from devices.messages import CheckIn, Hazard, Sos
from devices.reasons import Reason
from devices.topics import is_ours
from ingest.books import Books
from ingest.committed import Committed, Covered
from ingest.following import Following
from ingest.judged import Judged
from ingest.reader import Item, Marked, Pictured, Said, Taken
from rules import events
from rules.clocks import odd
from store import alarms, entries, workers
from store.arrivals import ArrivalBook, correct_entry, span_at
from store.coverages import Key
from store.database import check_place, writing
from store.events import raise_notices
from store.folding import fold, unfolded
from store.lags import Heard
from store.quarantine import Asked, State, Suspect, settle
from store.series import lines
from store.tables import Photo, Sample

PHOTO = Photo.__table__  # type: ignore[attr-defined]
SAMPLE = Sample.__table__  # type: ignore[attr-defined]


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
        self.books = Books(arrivals=arrivals)
        self.first_tick = first_tick
        self.sampling = sampling
        self._taken_up = False

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
            check_place(self.engine)  # committed into a file that is gone: not to be receipted
        except BaseException:
            self.books.forget()
            self._taken_up = False
            raise
        self._taken_up = True
        self.books.arrivals.keep()
        self.first_tick = done.first_tick
        return done

    def _take_up(self, connection: Connection) -> None:
        """Fold what a run that ended, or a transaction that failed, has left unfolded."""
        for trace in unfolded(connection, self.instance):
            self.books.presence.heard_before(connection, trace.device_id, trace.received_at)
            if trace.receipted:
                key = (trace.device, trace.epoch)
                self.books.coverage.add(connection, key, (trace.seq,))


class _Batch:
    """One transaction."""

    def __init__(self, writer: Writer, connection: Connection, now: Instant) -> None:
        self._writer = writer
        self._connection = connection
        self._now = now
        self._done = Committed()
        self._books = writer.books
        self._following = Following(connection, writer.books, writer.judged, self._done)
        self._notices = self._following.notices
        self._receipts: dict[Key, str] = {}
        self._besides: dict[Key, set[str]] = {}
        self._strangers: set[str] = set()
        self._again: set[int] = set()
        self._first_id = 0
        self._spans: dict[int, int] = {}
        self._first_tick = writer.first_tick
        self._folds = False

    def write(self, items: Sequence[Item]) -> Committed:
        """The steps of the module's first lines, in their order."""
        self._append(items)
        met: dict[tuple[int, Instant], None] = {}
        for item in items:
            if type(item) is Taken:
                if id(item) not in self._again:
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
        # what is told again takes no id: a span that begins behind it would begin too high
        self._first_id = next_id = entries.next_id(self._connection)
        span: list[Taken] = []
        for item in items:
            if type(item) is Taken:
                span.append(item)
            elif isinstance(item, Suspect):
                place = self._books.arrivals.span(self._connection, self._first_id)
                self._spans[id(item)] = place
            elif isinstance(item, Said):
                if item.status.sent is not None and not item.retained:
                    self._books.arrivals.hear_status(item.device.id, item.status.sent)
            elif isinstance(item, Marked):
                next_id = self._append_span(next_id, span)
                span = []
                self._close(item)
        self._append_span(next_id, span)

    def _append_span(self, next_id: int, span: Sequence[Taken]) -> int:
        """Append the records of one span, and what follows from the new ones; returns the next
        id."""
        if not span:
            return next_id
        arrival = self._books.arrivals.span(self._connection, self._first_id)
        rows = [taken.row for taken in span]
        appended = entries.append(self._connection, rows, next_id, arrival)
        numbered: Sequence[tuple[int, Taken]] = list(enumerate(span, next_id))
        if again := {*appended.duplicates, *appended.conflicts}:
            self._again.update(id(span[index]) for index in again)
            numbered = [each for index, each in enumerate(numbered) if index not in again]
        counted = self._count(span)
        self._time(numbered)
        self._following.follow(numbered)
        if counted:
            for _, taken in numbered:
                if taken.identity in counted:
                    self._following.find(taken)
        self._done.accepted += len(numbered)
        self._done.duplicate += len(appended.duplicates)
        for index in appended.conflicts:
            self._conflict(span[index])
        return next_id + len(span)

    def _count(self, span: Sequence[Taken]) -> set[Identity]:
        """Into what receipts will cover. Returns those that counted already: told before, or
        lost."""
        told: defaultdict[tuple[str, int, str], list[int]] = defaultdict(list)
        for taken in span:
            if taken.device.keeps:
                key = (taken.device.slug, taken.message.epoch, taken.listens_at)
                told[key].append(taken.message.seq)
        counted: set[Identity] = set()
        for (device, epoch, site), seqs in told.items():
            self._answer((device, epoch), site)
            again = self._books.coverage.add(self._connection, (device, epoch), seqs)
            counted.update(Identity(device, epoch, seq) for seq in again)
        return counted

    def _time(self, numbered: Iterable[tuple[int, Taken]]) -> None:
        """What new live records tell of their devices' clocks."""
        told: defaultdict[int, list[Instant]] = defaultdict(list)
        contradicted: set[int] = set()
        for _, taken in numbered:
            message = taken.message
            if message.sent is None or taken.retained:
                continue
            told[taken.device.id].append(message.sent)
            if message.sent_up is not None and message.up is not None and _is_odd(message):
                contradicted.add(taken.device.id)
        for device_id, sent in told.items():
            heard = Heard(min(sent), max(sent), len(sent))
            self._books.arrivals.hear(device_id, heard, odd=device_id in contradicted)

    def _close(self, marked: Marked) -> None:
        books, connection = self._books, self._connection
        closed = books.arrivals.close(connection, marked.at, marked.came)
        for moved in closed.moved:
            self._following.moved(moved)
        if closed.skews:
            self._notices += books.skews.turns(connection, closed.skews, books.arrivals.after)
        self._done.marker = self._books.arrivals.after
        self._done.markers.append(marked.at)
        if self._first_tick is None:
            self._first_tick = marked.at

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
            self._books.presence.heard(self._connection, device_id, at)
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
        new = self._books.quarantine.keep(self._connection, suspect, arrival)
        self._done.quarantined += new
        if suspect.site is None or suspect.device is None or not is_ours(suspect.topic):
            return
        key, stranger = (suspect.device, suspect.epoch or 0), suspect.bucket == ""
        if stranger:
            self._strangers.add(suspect.device)
        if suspect.seq is not None:
            self._books.coverage.add(self._connection, key, (suspect.seq,), stranger=stranger)
        self._answer(key, suspect.site)

    def _hear(self, said: Said) -> None:
        """A status: presence, where counting starts, what is lost for good."""
        status, device = said.status, said.device
        if not self._books.presence.status(
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
        for first, last in self._books.coverage.born(self._connection, key, status.oldest):
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
        row = taken.row
        appended = entries.append(connection, [row], next_id, arrival)
        if appended.conflicts:
            return State.KEPT
        if appended.duplicates:
            self._done.duplicate += 1
            return State.DUPLICATE
        self._following.follow([(next_id, taken)])
        self._following.find(taken)
        moved = correct_entry(connection, next_id, self._books.arrivals.lags)
        if moved is not None:
            self._following.moved(moved)
        self._books.marks.doubt(taken.site.id, row.at)
        self._done.accepted += 1
        return State.TAKEN

    def _picture(self, pictured: Pictured) -> None:
        self._keep_photo(pictured)
        self._books.presence.heard(self._connection, pictured.device.id, pictured.received_at)
        device = pictured.device
        key = (device.slug, self._books.presence.epoch(self._connection, device.id))
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
        writer, books, connection = self._writer, self._books, self._connection
        books.marks.flush(connection)
        if self._folds:
            books.coverage.flush(connection, self._now)
            books.presence.flush(connection)
            fold(connection, writer.instance)
        if self._done.marker is not None:
            marks = {"marker_at": self._done.marker, "first_tick": self._first_tick}
            workers.advance(connection, writer.instance, **marks)
        self._done.first_tick = self._first_tick
        self._done.told = raise_notices(connection, self._notices, self._now) > 0
        for key, site in self._receipts.items():
            upto, missing = books.coverage.view(connection, key)
            if upto == NOTHING and key[0] in self._strangers:
                continue
            besides = frozenset(self._besides.get(key, ()))
            told = Covered(site=site, upto=upto, missing=missing, besides=besides)
            self._done.receipts[key] = told


def _is_odd(message: CheckIn | Hazard | Sos) -> bool:
    """Whether a record's uptime contradicts its clock."""
    age = (message.sent_up or 0) - (message.up or 0)
    return age >= 0 and odd(message.at, message.sent, age)


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
