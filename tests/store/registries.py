"""Ledgers and registry files for tests: a real SQLite file each, and random files to apply."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import Engine

from store.database import open_engine, reading
from store.picture import Picture, load_picture
from store.registry import Holding, Kind, Report, apply, load_holding, read_document
from tests.blank import blank

NOW = 1_788_235_200_000
"""2026-09-01T12:00:00+08:00, in ms."""

EXAMPLE = Path(__file__).parents[2] / "examples" / "registry.yaml"
SITES = ("school-01", "school-02")
PEOPLE = ("p-001", "p-002")
POINTS = ("gate", "hall", "lab")
TAGS = tuple(f"04A2B3C4D5E6{number:02X}" for number in range(8))


class Ledger:
    """A ledger that registry files are applied to, each a second after the one before."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.now = NOW

    def apply(self, said: Any, *, dry_run: bool = False) -> Report:
        data = said if isinstance(said, bytes) else json.dumps(said, ensure_ascii=False).encode()
        self.now += 1_000
        return apply(
            self.engine,
            read_document(data),
            now=self.now,
            author="test",
            source="test.yaml",
            dry_run=dry_run,
        )

    def picture(self) -> Picture:
        with reading(self.engine) as connection:
            return load_picture(connection)

    def holding(self) -> Holding:
        with reading(self.engine) as connection:
            return load_holding(connection)

    def living(self) -> Any:
        """Everything that is not retired, by its names: what the last file said."""
        holding = self.holding()
        things = {
            (kind, key): dict(held.values)
            for kind in Kind
            for key, held in holding.things[kind].items()
            if not held.retired
        }
        return things, dict(holding.bound)


@contextmanager
def a_ledger(folder: Path) -> Iterator[Ledger]:
    """A new ledger in `folder`."""
    for leftover in folder.glob("gridbeat.db*"):
        leftover.unlink()
    engine = open_engine(blank(folder / "gridbeat.db"))
    try:
        yield Ledger(engine)
    finally:
        engine.dispose()


def checkpoint(slug: str, *tags: str, **more: Any) -> dict[str, Any]:
    return {"id": slug, "name": slug.title(), "tags": list(tags), **more}


def plan(slug: str, *route: str, **more: Any) -> dict[str, Any]:
    return {
        "id": slug,
        "name": slug.title(),
        "route": list(route),
        "windows": ["22:00-23:00"],
        **more,
    }


def site(slug: str, **more: Any) -> dict[str, Any]:
    return {"id": slug, "name": slug.title(), "timezone": "Asia/Shanghai", **more}


# Random files ------------------------------------------------------------------------------------


@st.composite
def registries(draw: st.DrawFn) -> dict[str, Any]:
    """A file that names both sites and both people, and deals tags and devices out at random."""
    tags = list(draw(st.permutations(TAGS)))
    devices = list(draw(st.permutations(("hh-1", "hh-2", "hh-3"))))
    grids = [
        {"id": "bureau", "name": "Bureau", "tree": "sector", "level": 1},
        {"id": "town", "name": "Town", "tree": "sector", "level": 2, "parent": "bureau"},
    ]
    people = [
        {"id": slug, "name": draw(names), "roles": ["guard"], "tags": some(draw, tags, 1)}
        for slug in PEOPLE
    ]
    return {
        "calendar": draw(st.sampled_from(["cn", "every-day"])),
        "grids": grids,
        "people": people,
        "sites": [draw_site(draw, slug, tags, devices) for slug in SITES],
    }


names = st.sampled_from(["东门", "西门", "实验楼"])


def some(draw: st.DrawFn, pool: list[str], most: int) -> list[str]:
    return [pool.pop() for _ in range(draw(st.integers(0, min(most, len(pool)))))]


def draw_site(draw: st.DrawFn, slug: str, tags: list[str], devices: list[str]) -> dict[str, Any]:
    areas = draw(st.sets(st.sampled_from(["east", "west"])))
    area = st.sampled_from([None, *sorted(areas)])
    points = sorted(draw(st.sets(st.sampled_from(POINTS), min_size=1)))
    return site(
        slug,
        belongs_to=draw(st.sampled_from([[], ["bureau"], ["town"]])),
        areas=[
            {"id": name, "name": draw(names), "leader": draw(st.sampled_from([None, *PEOPLE]))}
            for name in sorted(areas)
        ],
        checkpoints=[
            checkpoint(point, *some(draw, tags, 2), area=draw(area), name=draw(names))
            for point in points
        ],
        devices=[{"id": device} for device in some(draw, devices, 2)],
        plans=[
            plan(name, *draw(st.permutations(points)), grace=draw(st.sampled_from(["0s", "5m"])))
            for name in sorted(draw(st.sets(st.sampled_from(["day", "night"]))))
        ],
    )
