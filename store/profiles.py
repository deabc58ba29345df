"""Period profiles as the ledger keeps them: each for some sites or all, for one plan or every one.

Adding one, or ending it, is a revision of the registry: the service follows, and remakes what has
not opened.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from devices.ids import Instant
from rules.profiles import Profile
from store.calendars import Scope, change, revise
from store.reach import holds_for, sites_below
from store.tables import PeriodProfile, table_of

PROFILE = table_of(PeriodProfile)


class ProfileExists(ValueError):  # noqa: N818 - read by the operator
    """A profile of this id holds already: end it first, or choose another id."""


class UnknownProfile(LookupError):  # noqa: N818 - read by the operator
    """No profile of this id holds: `gridbeat profile list` has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A profile, for whom, and who gave it when and why. `plan`: its slug; None: every plan."""

    profile: Profile
    scope: Scope
    plan: str | None
    author: str
    reason: str
    at: Instant


class Profiles:
    """The profiles that have not been ended, by site and plan."""

    def __init__(self, connection: Connection) -> None:
        query = select(PROFILE).where(PROFILE.c.ended_at.is_(None)).order_by(PROFILE.c.id)
        self._rows = connection.execute(query).all()
        self._profiles = {row.id: Profile.from_json(row.document) for row in self._rows}
        self._below = sites_below(connection) if self._rows else {}

    def of(self, site_id: int, plan: str) -> tuple[Profile, ...]:
        """Those that may change a plan of a site."""
        return tuple(
            self._profiles[row.id]
            for row in self._rows
            if row.plan in (None, plan) and holds_for(row, site_id, self._below)
        )

    def marks(self, site_id: int) -> tuple[str, ...]:
        """What names those of a site, to see whether they are others than before."""
        rows = (row for row in self._rows if holds_for(row, site_id, self._below))
        return tuple(f"profile {row.id}" for row in rows)


def give(connection: Connection, given: Given) -> None:
    """Put a profile in force. Raises `ProfileExists`."""
    slug = given.profile.slug
    held = select(PROFILE.c.id).where(PROFILE.c.slug == slug, PROFILE.c.ended_at.is_(None))
    if connection.execute(held).first() is not None:
        raise ProfileExists(f"a special period called {slug!r} holds already")
    values = {
        "slug": slug,
        "site_id": given.scope.site_id,
        "node_id": given.scope.node_id,
        "plan": given.plan,
        "document": given.profile.to_json(),
        "author": given.author,
        "reason": given.reason,
        "made_at": given.at,
    }
    connection.execute(insert(PROFILE).values(values))
    revise(connection, given.author, given.reason, change("profile", "added", slug), given.at)


def end(connection: Connection, slug: str, *, author: str, reason: str, now: Instant) -> None:
    """End a profile; what has opened under it stays. Raises `UnknownProfile`."""
    holds = update(PROFILE).where(PROFILE.c.slug == slug, PROFILE.c.ended_at.is_(None))
    if connection.execute(holds.values(ended_at=now)).rowcount == 0:
        raise UnknownProfile(f"no special period in force is called {slug!r}")
    revise(connection, author, reason, change("profile", "retired", slug), now)


def current(connection: Connection) -> list[Given]:
    """Every profile that has not been ended."""
    query = select(PROFILE).where(PROFILE.c.ended_at.is_(None)).order_by(PROFILE.c.id)
    return [
        Given(
            profile=Profile.from_json(row.document),
            scope=Scope(site_id=row.site_id, node_id=row.node_id),
            plan=row.plan,
            author=row.author,
            reason=row.reason,
            at=row.made_at,
        )
        for row in connection.execute(query)
    ]
