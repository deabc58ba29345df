"""Tags with keys of their own: enrolled, listed, retired. The keys themselves are not here."""

from collections import defaultdict
from collections.abc import Iterator

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from devices.ids import Instant
from devices.proofs import Enrolment
from store.calendars import change, revise
from store.entries import NewAction, append_action
from store.rows import EnrolmentRow
from store.tables import Checkpoint, Site, Tag, TagEnrolment, table_of

ENROLMENT = table_of(TagEnrolment)
TAG = table_of(Tag)
CHECKPOINT = table_of(Checkpoint)
SITE = table_of(Site)


GENERATIONS = 255
"""How often a tag can be given keys: its generation is one byte of what they are made of."""


class WornOut(ValueError):  # noqa: N818  (the operator's message)
    """The tag was enrolled as often as there are keys for it: take another tag."""


def enrolments(connection: Connection, uid: str | None = None) -> dict[str, tuple[Enrolment, ...]]:
    """By UID, every enrolment there ever was, of one tag or all, the newest first."""
    found: dict[str, list[Enrolment]] = defaultdict(list)
    query = select(ENROLMENT).order_by(ENROLMENT.c.generation.desc())
    if uid is not None:
        query = query.where(ENROLMENT.c.uid == uid)
    for row in connection.execute(query):
        of = Enrolment(row.id, row.generation, row.key_version, row.retired_at)
        found[row.uid].append(of)
    return {uid: tuple(of) for uid, of in found.items()}


def enroll(
    connection: Connection, uid: str, key_version: int, *, author: str, now: Instant
) -> Enrolment:
    """Give a tag new keys of a master key. Earlier ones of it still prove what was tapped then."""
    newest = select(func.max(ENROLMENT.c.generation)).where(ENROLMENT.c.uid == uid)
    generation = (connection.execute(newest).scalar() or 0) + 1
    if generation > GENERATIONS:
        raise WornOut(f"{uid} was enrolled {GENERATIONS} times: take another tag")
    values = {"uid": uid, "generation": generation, "key_version": key_version}
    new = insert(ENROLMENT).values(**values, enrolled_at=now, author=author)
    key = int(connection.execute(new.returning(ENROLMENT.c.id)).scalar_one())
    _told(connection, "enroll-tag", values, author, now)
    return Enrolment(key, generation, key_version)


def retire(
    connection: Connection, uid: str | None, key_version: int | None, *, author: str, now: Instant
) -> tuple[str, ...]:
    """Have a tag, or all tags of a master key, prove nothing from now on; returns their UIDs."""
    holding: ColumnElement[bool] = ENROLMENT.c.retired_at.is_(None)
    if uid is not None:
        holding &= ENROLMENT.c.uid == uid
    if key_version is not None:
        holding &= ENROLMENT.c.key_version == key_version
    retired = update(ENROLMENT).where(holding).values(retired_at=now)
    uids = sorted(set(connection.execute(retired.returning(ENROLMENT.c.uid)).scalars()))
    if uids:
        _told(connection, "retire-tag", {"uids": uids, "key_version": key_version}, author, now)
    return tuple(uids)


def listed(connection: Connection) -> Iterator[EnrolmentRow]:
    """Every enrolment, with where its tag hangs now, by site, checkpoint and generation."""
    query = (
        select(ENROLMENT, SITE.c.slug.label("site"), SITE.c.timezone, CHECKPOINT.c.slug)
        .outerjoin(TAG, (TAG.c.uid == ENROLMENT.c.uid) & TAG.c.until.is_(None))
        .outerjoin(CHECKPOINT, CHECKPOINT.c.id == TAG.c.checkpoint_id)
        .outerjoin(SITE, SITE.c.id == CHECKPOINT.c.site_id)
        .order_by(SITE.c.slug, CHECKPOINT.c.slug, ENROLMENT.c.uid, ENROLMENT.c.generation)
    )
    for row in connection.execute(query):
        yield EnrolmentRow(
            uid=row.uid,
            site=row.site,
            checkpoint=row.slug,
            key_version=row.key_version,
            generation=row.generation,
            enrolled_at=row.enrolled_at,
            retired_at=row.retired_at,
            author=row.author,
            timezone=row.timezone or "UTC",
        )


def asking(connection: Connection) -> dict[str, str]:
    """Tags that hang now at checkpoints that ask for proof: UID → `site/checkpoint`."""
    query = (
        select(TAG.c.uid, SITE.c.slug.label("site"), CHECKPOINT.c.slug)
        .join(CHECKPOINT, CHECKPOINT.c.id == TAG.c.checkpoint_id)
        .join(SITE, SITE.c.id == CHECKPOINT.c.site_id)
        .where(
            TAG.c.until.is_(None),
            CHECKPOINT.c.proof.is_not(None),
            CHECKPOINT.c.retired_at.is_(None),
        )
        .order_by(TAG.c.uid)
    )
    return {row.uid: f"{row.site}/{row.slug}" for row in connection.execute(query)}


def _told(
    connection: Connection, do: str, what: dict[str, object], author: str, now: Instant
) -> None:
    """Written down, and a revision of the registry, so that the service follows."""
    action = NewAction(author=author, at=now, site_id=None, body={"do": do, **what})
    append_action(connection, action)
    named = str(what.get("uid", "tags"))
    revise(
        connection, author, f"gridbeat tag {do.removesuffix('-tag')}", change("tag", do, named), now
    )
