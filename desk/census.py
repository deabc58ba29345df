"""What the registry holds, and what it lacks to be of use."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, exists, func, select

from devices import topics
from devices.wands import PROTOCOL as WAND
from store.listings import CHECKPOINT, DEVICE, PLAN, SITE, STATE
from store.tables import RegistryRevision, Tag, table_of

REVISION = table_of(RegistryRevision)
TAG = table_of(Tag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """Something that is missing, where, and what to do."""

    what: str
    which: tuple[str, ...]
    remedy: str

    @property
    def count(self) -> int:
        """How many lack it."""
        return len(self.which)


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """How much the registry holds (the retired left out), and what it lacks."""

    version: int
    sites: int
    checkpoints: int
    devices: int
    plans: int
    gaps: tuple[Lack, ...]


def census(connection: Connection) -> Census:
    """Count the registry and look for what it lacks."""
    tables = (SITE, CHECKPOINT, DEVICE, PLAN)
    sites, checkpoints, devices, plans = (
        connection.execute(
            select(func.count()).select_from(table).where(table.c.retired_at.is_(None))
        ).scalar_one()
        for table in tables
    )
    lacks = (
        Lack(what=what, which=tuple(_named(connection, query)), remedy=remedy)
        for what, query, remedy in _LACKS
    )
    return Census(
        version=connection.execute(select(func.max(REVISION.c.id))).scalar() or 0,
        sites=sites,
        checkpoints=checkpoints,
        devices=devices,
        plans=plans,
        gaps=tuple(lack for lack in lacks if lack.which),
    )


def _named(connection: Connection, query: object) -> Sequence[str]:
    rows = connection.execute(query)  # type: ignore[call-overload]
    return ["/".join(row) for row in rows]


def _lives(table: object) -> ColumnElement[bool]:
    return table.c.retired_at.is_(None)  # type: ignore[attr-defined, no-any-return]


_LACKS = (
    (
        "sites without a plan",
        select(SITE.c.slug).where(
            _lives(SITE), ~exists().where(PLAN.c.site_id == SITE.c.id, _lives(PLAN))
        ),
        "nothing is owed there: add `plans` and apply the registry again",
    ),
    (
        "sites no device may report from",
        select(SITE.c.slug).where(
            _lives(SITE),
            ~exists().where(DEVICE.c.site_id == SITE.c.id, _lives(DEVICE)),
            ~exists().where(DEVICE.c.node_id.is_not(None), _lives(DEVICE)),
        ),
        "add `devices` and apply the registry again",
    ),
    (
        "checkpoints without a tag",
        select(SITE.c.slug, CHECKPOINT.c.slug)
        .join(SITE, SITE.c.id == CHECKPOINT.c.site_id)
        .where(
            _lives(CHECKPOINT),
            ~exists().where(TAG.c.checkpoint_id == CHECKPOINT.c.id, TAG.c.until.is_(None)),
        ),
        "nobody can check in there: add `tags` and apply the registry again",
    ),
    (
        "devices without a credential",
        select(DEVICE.c.slug).where(
            _lives(DEVICE), DEVICE.c.enrolled_at.is_(None), DEVICE.c.protocol == topics.PROTOCOL
        ),
        "gridbeat device enroll ID, and write its password into the device",
    ),
    (
        "devices never heard of",
        select(DEVICE.c.slug)
        .outerjoin(STATE, STATE.c.device_id == DEVICE.c.id)
        .where(_lives(DEVICE), STATE.c.heard_at.is_(None), DEVICE.c.protocol != WAND),
        "switch them on; see that address, user and password are theirs",
    ),
)
