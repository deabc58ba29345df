"""What sites, checkpoints and people are called, for tables that people read."""

from dataclasses import dataclass

from sqlalchemy import Engine, select

from store.database import reading
from store.listings import CHECKPOINT, PERSON, SITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names by id; an id without a name stands for itself."""

    sites: dict[str, str]
    checkpoints: dict[tuple[str, str], str]
    people: dict[str, str]

    def site(self, slug: str | None) -> str:
        """A site's name, empty for none."""
        return "" if slug is None else self.sites.get(slug, slug)

    def checkpoint(self, site: str, slug: str | None) -> str:
        """A checkpoint's name, empty for none."""
        return "" if slug is None else self.checkpoints.get((site, slug), slug)

    def person(self, slug: str | None) -> str:
        """A person's name, empty for none."""
        return "" if slug is None else self.people.get(slug, slug)


def names(engine: Engine) -> Names:
    """All names of the registry, the retired included."""
    with reading(engine) as connection:
        points = select(SITE.c.slug.label("site"), CHECKPOINT.c.slug, CHECKPOINT.c.name).join(
            CHECKPOINT, CHECKPOINT.c.site_id == SITE.c.id
        )
        return Names(
            sites={r.slug: r.name for r in connection.execute(select(SITE.c.slug, SITE.c.name))},
            checkpoints={(r.site, r.slug): r.name for r in connection.execute(points)},
            people={
                r.slug: r.name for r in connection.execute(select(PERSON.c.slug, PERSON.c.name))
            },
        )
