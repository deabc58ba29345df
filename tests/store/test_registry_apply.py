"""Applying registry files: twice changes nothing, what goes comes back, all or nothing."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from rules.plans import Plan
from store.database import reading, writing
from store.registry import Action, Key, Kind, RegistryRefused
from store.registry.applying import REVISION
from store.registry.held import VERSION
from tests.store.registries import (
    EXAMPLE,
    SITES,
    TAGS,
    Ledger,
    a_ledger,
    checkpoint,
    plan,
    registries,
    site,
)

LAWS = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with a_ledger(tmp_path) as made:
        yield made


def versions(ledger: Ledger) -> list[Any]:
    with reading(ledger.engine) as connection:
        return list(connection.execute(select(VERSION).order_by(VERSION.c.id)))


def revisions(ledger: Ledger) -> list[Any]:
    with reading(ledger.engine) as connection:
        return list(connection.execute(select(REVISION).order_by(REVISION.c.id)))


# Laws --------------------------------------------------------------------------------------------


@LAWS
@given(said=registries())
def test_applying_twice_changes_nothing(tmp_path: Path, said: dict[str, Any]) -> None:
    """The second time there is no change, no new version and no row in the history."""
    with a_ledger(tmp_path) as ledger:
        first = ledger.apply(said)
        before = ledger.living()
        second = ledger.apply(said)
        assert not second.changes
        assert second.version == first.version == len(revisions(ledger))
        assert ledger.living() == before


@LAWS
@given(first=registries(), second=registries())
def test_what_is_retired_comes_back(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """What lives is what the last file says, whatever was applied before; ids stay."""
    with a_ledger(tmp_path) as ledger:
        ledger.apply(first)
        once, ids = ledger.living(), ledger.holding().ids()
        ledger.apply(second)
        ledger.apply(first)
        assert ledger.living() == once
        after = ledger.holding().ids()
        assert all(after[kind][key] == number for kind in ids for key, number in ids[kind].items())


@LAWS
@given(first=registries(), second=registries())
def test_a_dry_run_tells_and_does_nothing(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """A dry run says exactly what the real one then does, and leaves the ledger as it was."""
    with a_ledger(tmp_path) as ledger:
        ledger.apply(first)
        before, version = ledger.living(), ledger.picture().version
        told = ledger.apply(second, dry_run=True)
        assert (ledger.living(), ledger.picture().version) == (before, version)
        assert ledger.apply(second).lines() == told.lines()


@LAWS
@given(files=st.lists(registries(), min_size=2, max_size=4))
def test_a_read_is_placed_as_of_its_own_time(tmp_path: Path, files: list[dict[str, Any]]) -> None:
    """What a tag stood for at an instant is still known after it has moved on."""
    with a_ledger(tmp_path) as ledger:
        seen = []
        for said in files:
            ledger.apply(said)
            seen.append((ledger.now, ledger.picture()))
        last = ledger.picture()
        for at, then in seen:
            for number in then.sites_by_id:
                for tag in TAGS:
                    was = then.place(number, tag, at)
                    if was.checkpoint_id is not None or was.person_id is not None:
                        assert last.place(number, tag, at)[:2] == was[:2]


@LAWS
@given(files=st.lists(registries(), min_size=1, max_size=4))
def test_each_plan_has_one_version_in_force(tmp_path: Path, files: list[dict[str, Any]]) -> None:
    """A living plan has exactly one version that is not superseded, a retired one has none."""
    with a_ledger(tmp_path) as ledger:
        for said in files:
            ledger.apply(said)
        plans = ledger.holding().things[Kind.PLAN]
        current = [row.plan_id for row in versions(ledger) if row.superseded_at is None]
        assert sorted(current) == sorted(held.id for held in plans.values() if not held.retired)
        for row in versions(ledger):
            assert Plan.from_json(row.terms).digest() == row.digest


# Examples ----------------------------------------------------------------------------------------


def test_the_example_is_applied_whole(ledger: Ledger) -> None:
    """examples/registry.yaml makes three schools, and the history says who applied what."""
    report = ledger.apply(EXAMPLE.read_bytes())
    assert report.changes.counts()[Kind.SITE] == {Action.ADDED: 3}
    assert "+ plan school-01/lab-gap" in report.lines()
    (row,) = revisions(ledger)
    assert (row.author, row.source, row.applied_at) == ("test", "test.yaml", ledger.now)
    assert len(row.changes) == len(report.lines())
    assert not ledger.apply(EXAMPLE.read_bytes()).changes


def test_a_change_is_told_in_words(ledger: Ledger) -> None:
    """Each changed value is told as it was and as it is, spans of time as people write them."""
    ledger.apply({"sites": [site("school-01", checkpoints=[checkpoint("gate", "0401")],
                                 plans=[plan("night", "gate", grace="5m")])]})  # fmt: skip
    report = ledger.apply({
        "calendar": "every-day",
        "sites": [site("school-01", name="三中", checkpoints=[checkpoint("gate", "0402")],
                       devices=[{"id": "hh-1"}], plans=[plan("night", "gate", grace="10m")])],
    })  # fmt: skip
    assert report.lines() == (
        "~ site school-01: name School-01 → 三中; base cn → every-day",
        "~ checkpoint school-01/gate: tags [0401] → [0402]",
        "+ device hh-1",
        "~ plan school-01/night: grace 5m → 10m",
    )


def test_a_file_retires_only_inside_the_sites_it_names(ledger: Ledger) -> None:
    """Sites, people, grids and grid devices that a file does not name are left alone."""
    ledger.apply(EXAMPLE.read_bytes())
    report = ledger.apply({"sites": [site("school-03", belongs_to=["luanzhou", "yanshan-street"])]})
    retired = {str(c.key) for c in report.changes.things if c.action is Action.RETIRED}
    assert retired == {
        "school-03/gate",
        "school-03/kitchen",
        "school-03/playground",
        "hh-0301",
        "school-03/daily",
    }
    picture = ledger.picture()
    school = picture.sites["school-03"]
    assert picture.place(school.id, "04B10000000301", ledger.now - 1).slug == "gate"
    assert picture.place(school.id, "04B10000000301", ledger.now).slug is None


def test_only_a_changed_plan_gets_a_new_version(ledger: Ledger) -> None:
    """A new version is written when the snapshot's digest changes, and only then."""
    gate = checkpoint("gate", "0401")
    said = {"sites": [site("school-01", checkpoints=[gate], plans=[plan("night", "gate")])]}
    ledger.apply(said)
    gate["tags"] = ["0402"]
    ledger.apply(said)
    assert [row.version for row in versions(ledger)] == [1]
    gate["name"] = "东门"
    ledger.apply(said)
    first, second = versions(ledger)
    assert (first.superseded_at, second.version) == (ledger.now, 2)
    assert (second.applied_at, second.effective_at, second.superseded_at) == (
        ledger.now,
        None,
        None,
    )


def test_a_device_and_a_tag_move_between_sites_of_one_file(ledger: Ledger) -> None:
    """A file that names both sites may move what belongs to one of them to the other."""
    one = site("school-01", checkpoints=[checkpoint("gate", "0401")], devices=[{"id": "hh-1"}])
    two = site("school-02", checkpoints=[checkpoint("hall")])
    ledger.apply({"sites": [one, two]})
    moved = ledger.now + 1_000
    one["checkpoints"], one["devices"] = [checkpoint("gate")], []
    two["checkpoints"], two["devices"] = [checkpoint("hall", "0401")], [{"id": "hh-1"}]
    report = ledger.apply({"sites": [one, two]})
    assert "~ device hh-1: site school-01 → school-02" in report.lines()
    picture = ledger.picture()
    first, second = (picture.sites[slug].id for slug in SITES)
    assert picture.device("hh-1").site_ids == {second}  # type: ignore[union-attr]
    assert picture.place(first, "0401", moved - 1).slug == "gate"
    assert picture.place(first, "0401", moved).slug is None
    assert picture.place(second, "0401", moved).slug == "hall"


def test_what_others_own_cannot_be_taken(ledger: Ledger) -> None:
    """Devices and tags of a site, or person, that the file does not name refuse it."""
    ledger.apply({
        "people": [{"id": "p-1", "name": "甲", "tags": ["0499"]}],
        "sites": [site("school-01", checkpoints=[checkpoint("p-1", "0401")],
                       devices=[{"id": "hh-1"}])],
    })  # fmt: skip
    with pytest.raises(RegistryRefused) as refused:
        ledger.apply({
            "people": [{"id": "p-2", "name": "乙"}],
            "sites": [site("school-02", checkpoints=[checkpoint("gate", "0401", "0499")],
                           devices=[{"id": "hh-1"}])],
        })  # fmt: skip
    text = str(refused.value)
    assert len(refused.value.problems) == 3
    assert "device 'hh-1' belongs to school-01, which this file does not name" in text
    assert "tag '0401' is on checkpoint 'school-01/p-1', which this file does not name" in text
    assert "tag '0499' is on person 'p-1', which this file does not name" in text


def test_what_is_retired_is_free_to_be_taken(ledger: Ledger) -> None:
    """A device or tag that its own site has let go may be named by another file."""
    one = {"sites": [site("school-01", checkpoints=[checkpoint("gate", "0401")],
                          devices=[{"id": "hh-1"}])]}  # fmt: skip
    ledger.apply(one)
    ledger.apply({"sites": [site("school-01")]})
    two = {"sites": [site("school-02", checkpoints=[checkpoint("hall", "0401")],
                          devices=[{"id": "hh-1"}])]}  # fmt: skip
    assert "+ device hh-1 (returns)" in ledger.apply(two).lines()
    picture = ledger.picture()
    assert not picture.devices["hh-1"].retired
    assert picture.devices["hh-1"].site_ids == {picture.sites["school-02"].id}


def test_people_and_grids_of_another_file_may_be_named(ledger: Ledger) -> None:
    """A leader or a grid node that stands in the ledger need not stand in the file again."""
    ledger.apply({
        "grids": [{"id": "bureau", "name": "B", "tree": "sector", "level": 1}],
        "people": [{"id": "p-1", "name": "甲"}],
    })  # fmt: skip
    ledger.apply({
        "sites": [site("school-01", belongs_to=["bureau"],
                       areas=[{"id": "east", "name": "东区", "leader": "p-1"}])],
    })  # fmt: skip
    held = ledger.holding().things[Kind.AREA][Key("school-01", "east")]
    assert held.values["leader_id"] == Key(None, "p-1")


def test_a_grid_node_keeps_its_tree(ledger: Ledger) -> None:
    """A node of one tree cannot become one of the other: sites would hang on it twice."""
    node = {"id": "bureau", "name": "B", "tree": "sector", "level": 1}
    ledger.apply({"grids": [node]})
    with pytest.raises(RegistryRefused, match="line 1: grid 'bureau' is of tree sector in"):
        ledger.apply({"grids": [node | {"tree": "territory"}]})


def test_a_refused_file_writes_nothing(ledger: Ledger) -> None:
    """One mistake refuses the whole, good parts included."""
    with pytest.raises(RegistryRefused):
        ledger.apply({"sites": [site("school-01"), site("School 02")]})
    assert ledger.living() == ({}, {})
    assert ledger.picture().version == 0


def test_files_applied_at_once_are_both_applied(ledger: Ledger) -> None:
    """Two operators at the same moment: one after the other, neither overwrites the other."""
    threads = [
        threading.Thread(
            target=ledger.apply,
            args=({"sites": [site(slug, checkpoints=[checkpoint("gate", tag)])]},),
        )
        for slug, tag in zip(SITES, TAGS, strict=False)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(ledger.picture().sites) == set(SITES)
    assert ledger.picture().version == 2


def test_an_enrolment_survives_a_change(ledger: Ledger) -> None:
    """What the registry does not say of a device stays as it is."""
    ledger.apply({"sites": [site("school-01", devices=[{"id": "hh-1"}])]})
    with writing(ledger.engine) as connection:
        connection.execute(text("UPDATE device SET enrolled_at = 7"))
    ledger.apply({"sites": [site("school-01", devices=[{"id": "hh-1", "heartbeat": "5m"}])]})
    with reading(ledger.engine) as connection:
        found = connection.execute(text("SELECT enrolled_at, heartbeat_ms FROM device")).one()
    assert tuple(found) == (7, 300_000)


def places(ledger: Ledger) -> list[tuple[Any, ...]]:
    query = "SELECT s.slug, p.since, p.until FROM device_place p JOIN site s ON s.id = p.site_id"
    with reading(ledger.engine) as connection:
        return [tuple(row) for row in connection.execute(text(f"{query} ORDER BY p.id"))]


def test_an_address_is_one_readers(ledger: Ledger) -> None:
    """Another file cannot take it, and within one it may move from a reader to its replacement."""

    def reader(slug: str, address: str = "x") -> dict[str, str]:
        return {"id": slug, "protocol": "tasmota", "address": address}

    ledger.apply({"sites": [site("school-01", devices=[reader("a")])]})
    with pytest.raises(RegistryRefused, match="so has a, which this file does not name"):
        ledger.apply({"sites": [site("school-02", devices=[reader("b")])]})
    told = ledger.apply({"sites": [site("school-01", devices=[reader("a", "y"), reader("b")])]})
    assert "~ device a: address x → y" in told.lines()


def test_a_device_belongs_where_it_is_until_it_is_moved(ledger: Ledger) -> None:
    """Its first place is its since ever; one that only went and came back never was elsewhere."""
    here = {"sites": [site("school-01", devices=[{"id": "hh-1"}]), site("school-02")]}
    ledger.apply(here)
    ledger.apply({"sites": [site("school-01"), site("school-02")]})
    ledger.apply(here)
    assert places(ledger) == [("school-01", 0, None)]
    ledger.apply({"sites": [site("school-01"), site("school-02", devices=[{"id": "hh-1"}])]})
    moved = ledger.now
    assert places(ledger) == [("school-01", 0, moved), ("school-02", moved, None)]
    device = ledger.picture().devices["hh-1"]
    sites = ledger.picture().sites
    assert [device.was_at(sites["school-02"].id, at) for at in (moved - 1, moved)] == [
        sites["school-01"].id,
        sites["school-02"].id,
    ]
