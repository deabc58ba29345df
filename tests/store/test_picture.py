"""The registry's picture: who may speak from where, and what a tag stands for when."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rules.calendar import Calendar
from store.database import reading
from store.picture import NOWHERE, Picture, registry_version
from tests.store.registries import EXAMPLE, Ledger, a_ledger, checkpoint, site


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with a_ledger(tmp_path) as made:
        yield made


@pytest.fixture
def picture(ledger: Ledger) -> Picture:
    ledger.apply(EXAMPLE.read_bytes())
    return ledger.picture()


def reports_from(picture: Picture, device: str) -> set[str]:
    found = picture.device(device)
    assert found is not None
    return {picture.sites_by_id[number].slug for number in found.site_ids}


def test_a_device_reports_from_its_site_or_below_its_node(picture: Picture) -> None:
    """A site's device from that site alone, a grid node's from every site below the node."""
    assert reports_from(picture, "hh-0101") == {"school-01"}
    assert reports_from(picture, "insp-01") == {"school-01", "school-02"}
    assert picture.device("hh-9999") is None


def test_a_node_reaches_down_through_every_level(ledger: Ledger) -> None:
    """From the top of a tree every site is below; a node without sites reaches none."""
    ledger.apply(EXAMPLE.read_bytes())
    ledger.apply({
        "grids": [{"id": "empty", "name": "E", "tree": "sector", "level": 2, "parent": "luanzhou"}],
        "devices": [{"id": "top", "grid": "luanzhou"}, {"id": "none", "grid": "empty"}],
    })  # fmt: skip
    picture = ledger.picture()
    assert reports_from(picture, "top") == {"school-01", "school-02", "school-03"}
    assert reports_from(picture, "none") == set()


def test_a_retired_device_is_known_as_one(ledger: Ledger) -> None:
    """It is told apart from a stranger, so that its messages are named for what they are."""
    ledger.apply({"sites": [site("school-01", devices=[{"id": "hh-1", "heartbeat": "5m"}])]})
    ledger.apply({"sites": [site("school-01")]})
    device = ledger.picture().device("hh-1")
    assert device is not None
    assert (device.retired, device.heartbeat_ms) == (True, 300_000)


def reader(slug: str, address: str) -> dict[str, str]:
    return {"id": slug, "protocol": "tasmota", "address": address}


def test_a_foreign_reader_is_found_by_its_own_address(ledger: Ledger) -> None:
    """By protocol and address, and after it was replaced the one that has the address now."""
    ledger.apply({"sites": [site("school-01", devices=[reader("old", "tasmota_4A21B7")])]})
    found = ledger.picture().reader("tasmota", "tasmota_4A21B7")
    assert found is not None
    assert (found.slug, found.protocol, found.keeps) == ("old", "tasmota", False)
    assert ledger.picture().reader("zigbee2mqtt", "tasmota_4A21B7") is None
    ledger.apply({"sites": [site("school-01", devices=[{"id": "hh-1"}])]})
    retired = ledger.picture().reader("tasmota", "tasmota_4A21B7")
    assert retired is not None
    assert (retired.slug, retired.retired) == ("old", True)
    ledger.apply({"sites": [site("school-01", devices=[reader("new", "tasmota_4A21B7")])]})
    replaced = ledger.picture().reader("tasmota", "tasmota_4A21B7")
    assert replaced is not None
    assert (replaced.slug, replaced.retired) == ("new", False)


def test_a_tag_stands_for_its_checkpoint_since_ever(picture: Picture) -> None:
    """The first binding of a tag holds for reads from before the file was applied."""
    school = picture.sites["school-01"]
    place = picture.place(school.id, "04A2B3C4D5E681", 0)
    assert (place.slug, place.name, place.person_id) == ("lab", "实验楼", None)
    point = picture.checkpoint(place.checkpoint_id or 0)
    assert point is not None
    assert point is picture.checkpoint_of(school.id, "lab")
    assert (point.site_id, point.area, point.risk) == (school.id, "east", "red")


def test_a_tag_of_another_site_is_not_placed(picture: Picture) -> None:
    """A checkpoint's tag carried to another school stands for nothing there."""
    assert picture.place(picture.sites["school-02"].id, "04A2B3C4D5E681", 0) is NOWHERE
    assert picture.place(picture.sites["school-01"].id, "04FFFFFF", 0) is NOWHERE


def test_a_persons_tag_stands_for_them_everywhere(picture: Picture) -> None:
    """Who walks may walk in any school."""
    for school in picture.sites.values():
        place = picture.place(school.id, "04AAAA0117", 5)
        assert (place.slug, place.checkpoint_id) == ("p-017", None)
        assert place.person_id == picture.people["p-017"].id


def test_a_tag_that_went_and_returned_stands_for_nothing_between(ledger: Ledger) -> None:
    """A binding holds in [since, until): not while its checkpoint was retired."""
    bound = {"sites": [site("school-01", checkpoints=[checkpoint("gate", "0401")])]}
    ledger.apply(bound)
    ledger.apply({"sites": [site("school-01")]})
    gone = ledger.now
    ledger.apply(bound)
    back = ledger.now
    picture = ledger.picture()
    school = picture.sites["school-01"].id
    placed = [picture.place(school, "0401", at).slug for at in (gone - 1, gone, back - 1, back)]
    assert placed == ["gate", None, None, "gate"]


def test_plans_that_have_not_ended_are_at_hand(picture: Picture) -> None:
    """Each says what a check-in asks of it, and the site's calendar can be read."""
    plans = {(picture.sites_by_id[p.site_id].slug, p.slug): p for p in picture.plans()}
    assert len(plans) == 6
    assert (plans["school-01", "night"].min_gap, plans["school-01", "night"].ordered) == (
        20_000,
        False,
    )
    school = picture.site("school-01")
    assert school is not None
    assert Calendar.from_json(school.calendar).terms is not None


def test_the_version_counts_files_that_changed_something(ledger: Ledger) -> None:
    """0 before the first file; up by one at each change, so that followers know to load anew."""
    assert ledger.picture().version == 0
    ledger.apply(EXAMPLE.read_bytes())
    ledger.apply(EXAMPLE.read_bytes())
    ledger.apply({"sites": [site("school-09")]})
    with reading(ledger.engine) as connection:
        assert registry_version(connection) == ledger.picture().version == 2


def test_who_is_not_there_is_not_found(picture: Picture) -> None:
    """Every question about something unknown is answered with None."""
    assert picture.site("school-99") is None
    assert picture.site_by_id(99) is None
    assert picture.person("p-999") is None
    assert picture.checkpoint(999) is None
    assert picture.checkpoint_of(1, "nowhere") is None
