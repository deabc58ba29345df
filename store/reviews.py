"""Late reads that wait for a person: they came after due, and nothing vouches for them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, select

from devices.ids import Identity
from rules.holders import LONGEST
from rules.obligations import why_waiting
from rules.promises import Read
from store.database import reading
from store.evidence import read_of
from store.holdings import sites_followed
from store.obligations import LONGEST_MS
from store.rows import ReviewRow
from store.tables import Obligation, VerdictRow, table_of
from store.walking import Filter, site_places

OBLIGATION = table_of(Obligation)
VERDICT = table_of(VerdictRow)

_WAITING = (
    select(OBLIGATION.c.site_id, OBLIGATION.c.key, OBLIGATION.c.due, VERDICT.c.document)
    .join(
        VERDICT,
        and_(
            VERDICT.c.obligation_id == OBLIGATION.c.id,
            VERDICT.c.revision == OBLIGATION.c.revision,
        ),
    )
    .where(OBLIGATION.c.waiting > 0)
    .order_by(OBLIGATION.c.site_id, OBLIGATION.c.opens)
)


def reviews(engine: Engine, asked: Filter) -> Iterator[ReviewRow]:
    """The reads that wait, by the time they tell, each with the rounds it would count for.

    Raises `UnknownSite`.
    """
    places = {place.id: place for place in site_places(engine, asked.site)}
    query = _WAITING
    if asked.site is not None:
        query = query.where(OBLIGATION.c.site_id.in_(places))
    with reading(engine) as connection:
        bears = _bears(connection.execute(query).all())
        rows = [_row(connection, *found, places) for found in bears.items()]
    for row in sorted(rows, key=lambda row: (row.at, row.id)):
        late = asked.until is not None and row.at >= asked.until
        early = asked.since is not None and row.at < asked.since
        if not late and not early:
            yield row


def waiting_at(connection: Connection, site_ids: Iterable[int]) -> set[str]:
    """The identities of the reads that wait in judged obligations of some sites."""
    query = _WAITING.where(OBLIGATION.c.site_id.in_(list(site_ids)))
    return {one for row in connection.execute(query) for one in row.document["waiting"]}


def waiting_for(connection: Connection, identity: str) -> list[int]:
    """The judged obligations in which a read waits: that of a person's tag, of any site."""
    found = connection.execute(_WAITING.add_columns(OBLIGATION.c.id)).all()
    return [row.id for row in found if identity in row.document["waiting"]]


def decided_in(connection: Connection, entry_id: int, site_id: int, read: Read) -> list[int]:
    """The judged obligations whose verdict tells of a decision about a read.

    A person's tag bears on rounds of every site its device may report from, as long as it holds.
    """
    bears = OBLIGATION.c.site_id == site_id
    if followed := sites_followed(connection, entry_id):
        bears = and_(
            OBLIGATION.c.site_id.in_(followed),
            OBLIGATION.c.opens > read.at - LONGEST_MS,
            OBLIGATION.c.opens < read.at + LONGEST,
        )
    query = (
        select(OBLIGATION.c.id, VERDICT.c.document)
        .join(
            VERDICT,
            and_(
                VERDICT.c.obligation_id == OBLIGATION.c.id,
                VERDICT.c.revision == OBLIGATION.c.revision,
            ),
        )
        .where(bears, VERDICT.c.revision > 1)
    )
    found = connection.execute(query).all()
    return [row.id for row in found if _tells(row.document, read.identity)]


def _tells(document: dict[str, Any], identity: str) -> bool:
    return any(made["read"] == identity for made in document.get("decisions", ()))


def _bears(rows: Sequence[Row[*tuple[Any, ...]]]) -> dict[str, list[Row[*tuple[Any, ...]]]]:
    found: defaultdict[str, list[Row[*tuple[Any, ...]]]] = defaultdict(list)
    for row in rows:
        for identity in row.document["waiting"]:
            found[identity].append(row)
    return found


def _row(
    connection: Connection,
    identity: str,
    rows: list[Row[*tuple[Any, ...]]],
    places: dict[int | None, Any],
) -> ReviewRow:
    found = read_of(connection, Identity.parse(identity), rows[0].due)
    if found is None:
        raise LookupError(f"a verdict waits for {identity}, and the ledger does not hold it")
    _, _, read = found
    wait = why_waiting(read)
    place = places[rows[0].site_id]  # its own may be another: a person's tag, read on the way
    return ReviewRow(
        id=identity,
        site=place.slug,
        checkpoint=read.checkpoint or None,
        device=read.device,
        person=read.person,
        at=read.told_at,
        corrected_at=read.at if read.at != read.told_at else None,
        received_at=read.received_at,
        clock=read.trust.value,
        why="" if wait is None else wait.value,
        rounds=tuple(row.key for row in rows),
        timezone=place.timezone or "UTC",
    )
