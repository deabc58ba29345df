"""What sites, checkpoints and people are called, for tables that people read."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, select

from desk.errors import DeskError
from desk.ledger import opened
from desk.listing import refused
from store.database import SchemaOutdated, reading
from store.listings import CHECKPOINT, PERSON, PLAN, SITE, VERSION
from store.lock import LedgerInUse
from store.settings import Settings
from store.walking import ALL, unknown_site


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names by id; an id without a name stands for itself."""

    sites: dict[str, str]
    checkpoints: dict[tuple[str, str], str]
    plans: dict[tuple[str, str], str]
    people: dict[str, str]

    def site(self, slug: str | None) -> str:
        """A site's name, empty for none."""
        return "" if slug is None else self.sites.get(slug, slug)

    def checkpoint(self, site: str, slug: str | None) -> str:
        """A checkpoint's name, empty for none."""
        return "" if slug is None else self.checkpoints.get((site, slug), slug)

    def plan(self, site: str, slug: str) -> str:
        """A plan's name."""
        return self.plans.get((site, slug), slug)

    def person(self, slug: str | None) -> str:
        """A person's name, empty for none."""
        return "" if slug is None else self.people.get(slug, slug)


def names(engine: Engine) -> Names:
    """All names of the registry, the retired included."""
    with reading(engine) as connection:
        points = select(SITE.c.slug.label("site"), CHECKPOINT.c.slug, CHECKPOINT.c.name).join(
            CHECKPOINT, CHECKPOINT.c.site_id == SITE.c.id
        )
        plans = (
            select(SITE.c.slug.label("site"), PLAN.c.slug, VERSION.c.terms["name"].as_string())
            .join(PLAN, PLAN.c.site_id == SITE.c.id)
            .join(VERSION, VERSION.c.plan_id == PLAN.c.id)
            .order_by(VERSION.c.version)
        )
        return Names(
            sites={r.slug: r.name for r in connection.execute(select(SITE.c.slug, SITE.c.name))},
            checkpoints={(r.site, r.slug): r.name for r in connection.execute(points)},
            plans={(r[0], r[1]): r[2] for r in connection.execute(plans)},
            people={
                r.slug: r.name for r in connection.execute(select(PERSON.c.slug, PERSON.c.name))
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a site is called, and the zone of its time."""

    name: str
    timezone: str


def places(settings: Settings, site: str | None = None) -> Mapping[str, Place]:
    """Every site; none where there is no ledger, as on a machine that only watches.

    Raises `DeskError` where there is one, and `site` is no site of it.
    """
    try:
        with opened(settings) as engine, reading(engine) as connection:
            rows = connection.execute(select(SITE.c.slug, SITE.c.name, SITE.c.timezone)).all()
    except (DeskError, SchemaOutdated, LedgerInUse):
        return {}
    found = {row.slug: Place(name=row.name, timezone=row.timezone) for row in rows}
    if found and site not in (None, ALL, *found):
        raise refused(unknown_site(str(site), list(found)))
    return found
