"""Which rounds each device of a site is to be told of, against what it was last told.

A site's devices are all told the same. A site that has none of its own is walked with the portable
ones of the grid above it, as `store.evidence.reachable` has it: there, those are told.
"""

import hashlib
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, select, text, union_all, update
from sqlalchemy.dialects.sqlite import insert as upsert

from devices import codec, topics
from devices.ids import Instant
from devices.messages import Rounds, RoundToWalk
from rules.clocks import SKEWED
from rules.handouts import AHEAD_MS, is_told, next_change, sheet
from rules.obligations import settle
from rules.promises import Known, Verdict
from rules.promises import Obligation as Promise
from store.evidence import CORRECTION, ENTRY, deciding_reads
from store.obligations import LONGEST_MS, OBLIGATION, ObligationRow, Plans, siblings
from store.prepared import Prepared
from store.spans import EXCUSE, excuse_of
from store.tables import Checkpoint, Device, Handout, Site, table_of

HANDOUT = table_of(Handout)
SITE = table_of(Site)
DEVICE = table_of(Device)
CHECKPOINT = table_of(Checkpoint)

NOTHING = codec.encode_rounds(Rounds(rounds=()))
"""What a device is told while nothing is open: a list without rounds."""
WITHDRAWN = b""
"""Takes away what is retained for a device that is told nothing any more."""
AGAIN_MS = 600_000
"""A site is looked at again by then at the latest: rounds are made, and excused, meanwhile."""
SEEN_MS = AHEAD_MS + AGAIN_MS
"""A round that is made so long before it opens, or longer, is found by the next look in time."""


class Change(NamedTuple):
    """A device has to be told something else. `digest` None: its handout is taken away."""

    site_id: int
    device_id: int
    topic: str
    payload: bytes
    digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What a look at one site came to. `left`: checkpoints whose visit would change something now,
    until `wake`."""

    site_id: int
    changes: tuple[Change, ...]
    left: frozenset[int]
    wake: Instant | None


def all_sites(connection: Connection) -> list[int]:
    """Every site that may have rounds, or was told of some."""
    query = select(SITE.c.id).where(SITE.c.retired_at.is_(None)).union(select(HANDOUT.c.site_id))
    return list(connection.execute(query).scalars())


def look(connection: Connection, site_id: int, plans: Plans, now: Instant) -> Desk:
    """What the devices of a site are to be told at `now`, and when time may change it."""
    site = _SITE.first(connection, site=site_id)
    slug, retired = site if site else ("", True)
    walks = _NONE if retired else _walks(connection, site_id, plans, now)
    payload = codec.encode_rounds(Rounds(rounds=walks.told))
    holders = {} if retired else dict(_holders(connection, site_id))
    known = {row[0]: (row[1], row[2]) for row in _TOLD.all(connection, site=site_id)}
    digest = hashlib.sha256(payload).hexdigest()[:16]
    changes = [
        Change(site_id, device_id, topics.rounds(slug, name), payload, digest)
        for device_id, name in holders.items()
        if (known[device_id][1] != digest if device_id in known else payload != NOTHING)
    ]
    changes += [
        Change(site_id, device_id, topics.rounds(slug, name), WITHDRAWN, None)
        for device_id, (name, _) in known.items()
        if device_id not in holders
    ]
    return Desk(
        site_id=site_id,
        changes=tuple(changes),
        left=_left(connection, site_id, walks.left),
        wake=None if retired else min(walks.wake or now + AGAIN_MS, now + AGAIN_MS),
    )


def told(connection: Connection, changes: Iterable[Change], now: Instant) -> None:
    """The broker has taken these."""
    taken: list[dict[str, Any]] = []
    withdrawn: list[dict[str, Any]] = []
    for change in changes:
        whose = {"site_id": change.site_id, "device_id": change.device_id}
        if change.digest is None:
            withdrawn.append(whose)
        else:
            taken.append({**whose, "digest": change.digest, "told_at": now})
    if taken:
        _TAKEN.each(connection, taken)
    if withdrawn:
        _WITHDRAWN.each(connection, withdrawn)


def forget(connection: Connection) -> None:
    """The broker has lost what it kept: nobody knows what devices were told."""
    connection.execute(update(HANDOUT).values(digest=None))


class _Walks(NamedTuple):
    """The rounds to be told, what is left of those that can be walked now, and when time changes
    either."""

    told: tuple[RoundToWalk, ...]
    left: frozenset[str]
    wake: Instant | None


_NONE = _Walks((), frozenset(), None)


def _walks(connection: Connection, site_id: int, plans: Plans, now: Instant) -> _Walks:
    walks: list[RoundToWalk] = []
    left: set[str] = set()
    ahead = _NEXT.first(connection, site=site_id, after=now + AHEAD_MS)
    changes = [] if ahead is None or ahead[0] is None else [ahead[0] - AHEAD_MS]
    near = {"site": site_id, "since": now - LONGEST_MS, "until": now + AHEAD_MS, "now": now}
    excused = _EXCUSED.first(connection, site=site_id, since=near["since"]) is not None
    for row in map(ObligationRow._make, _NEAR.all(connection, **near)):
        if not is_told(row.opens, row.closes, now):
            continue
        if (change := next_change(row.opens, row.closes, now)) is not None:
            changes.append(change)
        if excused and excuse_of(connection, row) is not None:
            continue
        promise = plans.promise(connection, row)
        so_far = _so_far(connection, row, promise, plans, now)
        found = sheet(promise, plans.owed_by(connection, row), so_far)
        walks.append(found.round)
        if (begins := promise.opens - promise.early) <= now:
            left |= found.left
        else:
            changes.append(begins)
    return _Walks(tuple(walks), frozenset(left), min(changes, default=None))


def _so_far(
    connection: Connection, row: ObligationRow, promise: Promise, plans: Plans, now: Instant
) -> Verdict | None:
    """How a round stands; None where nobody has begun it, nor can have, but by a clock that would
    be told of."""
    begins = promise.opens - promise.early
    if begins > now + SKEWED:
        return None
    if _BEGUN.first(connection, site=row.site_id, since=begins, until=promise.due) is None:
        return None
    rivals = siblings(connection, row, plans)
    # All of its reads: one whose clock is a moment ahead of ours was made none the less.
    reads = deciding_reads(connection, row.site_id, promise, promise.due, marker=now, rivals=rivals)
    if not reads:
        return None
    known = Known(marker=now, siblings=rivals)
    return settle(promise, reads, known, min(now, promise.due - 1))


def _holders(connection: Connection, site_id: int) -> Sequence[tuple[int, str]]:
    own = _OWN.all(connection, site=site_id)
    rows = own or connection.execute(_PORTABLE, {"site": site_id}).all()
    return [(row[0], row[1]) for row in rows]


def _left(connection: Connection, site_id: int, slugs: Set[str]) -> frozenset[int]:
    rows = _POINTS.all(connection, site=site_id) if slugs else ()
    return frozenset(row[0] for row in rows if row[1] in slugs)


_SITE = Prepared(
    select(SITE.c.slug, SITE.c.retired_at.is_not(None)).where(SITE.c.id == bindparam("site"))
)
_NEAR = Prepared(
    select(*(OBLIGATION.c[name] for name in ObligationRow._fields))
    .where(
        OBLIGATION.c.site_id == bindparam("site"),
        OBLIGATION.c.opens > bindparam("since"),
        OBLIGATION.c.opens <= bindparam("until"),
        OBLIGATION.c.closes > bindparam("now"),
        OBLIGATION.c.kind == "round",
    )
    .order_by(OBLIGATION.c.opens, OBLIGATION.c.key)
)
_NEXT = Prepared(
    select(func.min(OBLIGATION.c.opens)).where(
        OBLIGATION.c.site_id == bindparam("site"),
        OBLIGATION.c.opens > bindparam("after"),
        OBLIGATION.c.kind == "round",
    )
)
_EXCUSED = Prepared(
    select(EXCUSE.c.id)
    .where(EXCUSE.c.site_id == bindparam("site"), EXCUSE.c.until > bindparam("since"))
    .limit(1)
)
_BEGUN = Prepared(
    union_all(
        *(
            select(read.c.site_id).where(
                read.c.site_id == bindparam("site"),
                read.c.at >= bindparam("since"),
                read.c.at < bindparam("until"),
            )
            for read in (ENTRY, CORRECTION)
        )
    ).limit(1)
)
_TOLD = Prepared(
    select(HANDOUT.c.device_id, DEVICE.c.slug, HANDOUT.c.digest)
    .join(DEVICE, DEVICE.c.id == HANDOUT.c.device_id)
    .where(HANDOUT.c.site_id == bindparam("site"))
)
_OWN = Prepared(
    select(DEVICE.c.id, DEVICE.c.slug).where(
        DEVICE.c.site_id == bindparam("site"),
        DEVICE.c.retired_at.is_(None),
        DEVICE.c.protocol == topics.PROTOCOL,
    )
)
_FRESH = upsert(HANDOUT)
_TAKEN = Prepared(
    _FRESH.on_conflict_do_update(
        index_elements=["site_id", "device_id"],
        set_={"digest": _FRESH.excluded.digest, "told_at": _FRESH.excluded.told_at},
    ),
    columns=("site_id", "device_id", "digest", "told_at"),
)
_WITHDRAWN = Prepared(
    delete(HANDOUT).where(
        HANDOUT.c.site_id == bindparam("site_id"), HANDOUT.c.device_id == bindparam("device_id")
    )
)
_PORTABLE = text("""
    WITH RECURSIVE above (id) AS (
        SELECT node_id FROM site_grid WHERE site_id = :site
        UNION
        SELECT node.parent_id FROM grid_node node JOIN above ON node.id = above.id
         WHERE node.parent_id IS NOT NULL
    )
    SELECT device.id, device.slug FROM device JOIN above ON device.node_id = above.id
     WHERE device.retired_at IS NULL AND device.protocol = 'patrol'
""")
_POINTS = Prepared(
    select(CHECKPOINT.c.id, CHECKPOINT.c.slug).where(CHECKPOINT.c.site_id == bindparam("site"))
)
