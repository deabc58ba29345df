"""A wand's export taken in: what is new is kept, what is known stays, what cannot be read is told.

    file → sheet → rows → compare with what is kept → (dry run ends here) → page by page into the
    ledger → the service looks at the rounds again

Imported reads have nobody's clock to vouch for them: before due they count as any, after due they
wait for a person's word (docs/decisions/0018), which `accept` gives for the whole file.

A record once kept keeps its person, or none, for good. So a file whose new rows would lose theirs
is refused, unless `without_person` says that this is meant.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from desk.acts import By
from desk.errors import DeskError
from desk.sheets import Sheet, read_sheet
from desk.wandfiles import Readout, Record, Unreadable, Whose, read_rows
from desk.wandheads import Header
from desk.wandmaps import WandMap
from devices.reasons import Reason
from devices.wands import Role
from store import imports
from store.database import reading, writing
from store.entries import NewAction
from store.imports import Book, Row, Stand
from store.picture import Picture, load_picture
from store.quarantine import Suspect
from store.reviews import waiting_at
from store.touching import hurry

PAGE = 50
"""Rows written in one transaction, so that the service never waits long for its own."""
MAX_DETAIL = 400
LONGEST_S = 600
"""How long an import may take before the rounds are looked at with what has come of it so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be imported, and how. `accept`: why rows that come after due shall count.

    `without_person`: new rows whose person nobody knows are kept all the same, without one.
    """

    path: Path
    map: WandMap
    map_name: str
    whose: Whose
    accept: str | None = None
    without_person: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a file came to. `accepted`: rows that count by a person's word since now.

    `unnamed`: known rows that were kept without the person this file names; `rows`: all that were
    read; `before`: how the judged rounds stood that its rows may bear on, for `outcome`.
    """

    sheet: Sheet
    header: Header
    new: tuple[Record, ...]
    known: int
    unreadable: tuple[Unreadable, ...]
    blank: int
    to_the_minute: int
    unknown_people: dict[str, int]
    namesakes: dict[str, int]
    unnamed: int = 0
    accepted: int = 0
    rows: tuple[Row, ...] = ()
    before: dict[int, Stand] = field(default_factory=dict)
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the rounds: changed verdicts, reads that wait, rounds not looked at yet."""

    changed: tuple[tuple[str, str, str], ...]
    waiting: int
    awake: int


def take(engine: Engine, asked: Asked, *, by: By) -> Taken:
    """Import a file. Raises `DeskError` where it cannot be read as a whole; then nothing was kept.

    Importing it again, or another that overlaps it, adds only what is not there.
    """
    sheet = read_sheet(asked.path, asked.map.encoding, asked.map.sheet)
    with reading(engine) as connection:
        picture = load_picture(connection)
    readout = read_rows(sheet, asked.map, picture, asked.whose, by.now)
    rows = [_row(record, picture) for record in readout.records]
    new, known, unnamed, differ = _compare(engine, readout, rows)
    taken = Taken(
        sheet=sheet,
        header=readout.header,
        new=tuple(record for record, _ in new),
        known=known,
        unreadable=tuple(sorted([*readout.unreadable, *differ], key=lambda bad: bad.row)),
        blank=readout.blank,
        to_the_minute=readout.to_the_minute,
        unknown_people=readout.unknown_people,
        namesakes=readout.namesakes,
        unnamed=unnamed,
    )
    if asked.dry_run:
        return taken
    if not asked.without_person:
        _see_that_persons_are_known(taken)
    return _Writing(engine, asked, by).write(taken, [row for _, row in new], rows)


def _see_that_persons_are_known(taken: Taken) -> None:
    """Raises `DeskError` where new rows tell of persons whom nobody could ever add to them."""
    said = dict.fromkeys(one.said for one in taken.new if one.said is not None)
    strangers = ", ".join(name for name in said if name not in taken.namesakes)
    alike = ", ".join(name for name in said if name in taken.namesakes)
    why = [strangers and f"the registry does not know {strangers}"]
    why += [alike and f"it has several people called {alike}"]
    if said:
        raise DeskError(
            f"nothing was imported: {', '.join(filter(None, why))}, and a record once kept "
            "stays without a person",
            "say who they are with --person NAME=ID, or write them into the registry file; "
            "--without-person imports them as they are",
        )
    if taken.new and taken.header.persons:
        names = ", ".join(taken.header.persons)
        raise DeskError(
            f"nothing was imported: the column {names} looks like persons' and is not read, and a "
            "record once kept stays without a person",
            f"--column person={taken.header.persons[0]} reads it; --without-person leaves it",
        )


def outcome(engine: Engine, taken: Taken, wait: Callable[[], bool]) -> Outcome:
    """What became of the rounds; `wait()` says whether to look once more while some are awake."""
    while True:
        with reading(engine) as connection:
            now = imports.stands(connection, taken.spans)
            waiting = waiting_at(connection, taken.spans)
        awake = sum(stand.awake for number, stand in now.items() if number in taken.before)
        if not awake or not wait():
            break
    changed = [
        (was.key, was.standing, now[number].standing)
        for number, was in taken.before.items()
        if number in now and now[number].standing != was.standing
    ]
    return Outcome(
        changed=tuple(sorted(changed)),
        waiting=len(waiting & {row.identity for row in taken.rows}),
        awake=awake,
    )


def _row(record: Record, picture: Picture) -> Row:
    return Row(
        number=record.row,
        device_id=record.device.id,
        device=record.device.slug,
        seq=record.seq,
        digest=record.digest,
        site_id=record.site.id,
        checkpoint_id=record.checkpoint_id,
        person_id=record.person_id,
        hold=record.site.person_tag_holds if record.holds else None,
        at=record.at,
        local=record.local,
        tag=record.tag,
        said=record.said,
        cells=record.cells,
    )


def _compare(
    engine: Engine, readout: Readout, rows: Sequence[Row]
) -> tuple[list[tuple[Record, Row]], int, int, list[Unreadable]]:
    """What is new, how much is known, of that without its person, and what is known otherwise."""
    new: list[tuple[Record, Row]] = []
    known, unnamed, differ = 0, 0, []
    seen: set[tuple[int, int]] = set()
    with reading(engine) as connection:
        for record, row in zip(readout.records, rows, strict=True):
            if (row.device_id, row.seq) in seen:
                known += 1
                continue
            seen.add((row.device_id, row.seq))
            found = imports.there(connection, row)
            if found is None:
                new.append((record, row))
            elif found.digest != row.digest:
                differ.append(_otherwise(readout.header, record, "another record"))
            elif None not in (found.person_id, row.person_id) and found.person_id != row.person_id:
                differ.append(_otherwise(readout.header, record, "another person"))
            else:
                known += 1
                unnamed += found.person_id is None and row.person_id is not None
    return new, known, unnamed, differ


def _otherwise(header: Header, record: Record, what: str) -> Unreadable:
    return Unreadable(
        row=record.row,
        column=header.headings.get(Role.PERSON, Role.PERSON.value),
        why=f"it is kept already, with {what}: gridbeat checkin list shows it",
        site=record.site.slug,
        device=record.device.slug,
        cells=record.cells,
    )


class _Writing:
    """One import's way into the ledger: page by page, each a transaction of its own.

    A crash between two pages loses nothing: the file is imported again, and goes on.
    """

    def __init__(self, engine: Engine, asked: Asked, by: By) -> None:
        self._engine = engine
        self._asked = asked
        self._by = by
        self._reason = asked.accept or asked.map.accept

    def write(self, taken: Taken, new: Sequence[Row], rows: Sequence[Row]) -> Taken:
        """Keep what is new and what cannot be read; say what of it counts by a person's word."""
        spans = imports.spans_of(rows)
        with reading(self._engine) as connection:
            before = imports.stands(connection, spans)
            book = Book(connection)
            strange = [
                bad for bad in taken.unreadable if not book.knows(imports.payload_of(bad.cells))
            ]
            waiting = [row for row in rows if self._reason and imports.waits(connection, row)]
        kept = accepted = 0
        if new or strange or waiting:
            made = self._begin(taken, len(new), len(strange))
            for page in _pages(new):
                with writing(self._engine) as connection:
                    kept += imports.take(connection, page, made)
                    accepted += self._accept(connection, page, made)
            for page in _pages(waiting):
                with writing(self._engine) as connection:
                    accepted += self._accept(connection, page, made)
            for bads in _pages(strange):
                with writing(self._engine) as connection:
                    for bad in bads:
                        book.keep(connection, self._suspect(bad), made.arrival_id)
            with writing(self._engine) as connection:
                hurry(connection, made.wake, self._by.now)
        for page in _pages(rows) if book else ():
            with writing(self._engine) as connection:
                for row in page:
                    book.taken(connection, imports.payload_of(row.cells), self._by.now)
        return replace(
            taken,
            known=taken.known + len(new) - kept,
            accepted=accepted,
            rows=tuple(rows),
            before=before,
            spans=spans,
        )

    def _begin(self, taken: Taken, new: int, strange: int) -> imports.Import:
        body = {
            "do": "checkin-import",
            "file": self._asked.path.name,
            "sha256": hashlib.sha256(self._asked.path.read_bytes()).hexdigest(),
            "map": self._asked.map_name,
            "new": new,
            "known": taken.known,
            "unreadable": strange,
            "accept": self._reason,
        }
        action = NewAction(author=self._by.author, at=self._by.now, site_id=None, body=body)
        wake = self._by.now + LONGEST_S * 1_000
        with writing(self._engine) as connection:
            return imports.begin(connection, action, wake)

    def _accept(self, connection: Connection, rows: Sequence[Row], made: imports.Import) -> int:
        if self._reason is None:
            return 0
        word = {"author": self._by.author, "reason": self._reason}
        return sum(imports.accept(connection, row, made, **word) for row in rows)

    def _suspect(self, bad: Unreadable) -> Suspect:
        return Suspect(
            topic=imports.TOPIC,
            site=bad.site,
            device=bad.device,
            bucket=bad.device or "",
            epoch=None,
            seq=None,
            reason=Reason.UNREADABLE_ROW,
            detail=f"{self._asked.path.name}, row {bad.row}, {bad.column}: {bad.why}"[:MAX_DETAIL],
            received_at=self._by.now,
            payload=imports.payload_of(bad.cells),
        )


def _pages(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[first : first + PAGE] for first in range(0, len(rows), PAGE))


def counted(changed: Sequence[tuple[str, str, str]]) -> Counter[tuple[str, str]]:
    """Changed verdicts by what they were and what they are."""
    return Counter((was, now) for _, was, now in changed)
