"""Who could have told of a visit: the devices that belonged to the site at the time."""

from pathlib import Path

from store.database import reading, writing
from store.presence import PresenceBook, reachable
from tests.store.registries import a_ledger, site


def test_a_device_that_was_moved_could_tell_of_where_it_was(tmp_path: Path) -> None:
    """The old school's windows are judged by it up to the move, the new one's from then on."""
    here, there = site("school-01", devices=[{"id": "hh-1"}]), site("school-02")
    kept = {"id": "hh-2"}
    there["devices"] = [kept]
    with a_ledger(tmp_path) as ledger:
        ledger.apply({"sites": [here, there]})
        heard = ledger.now
        ledger.now += 3_600_000
        here["devices"], there["devices"] = [{"id": "hh-3"}], [{"id": "hh-1"}, kept]
        ledger.apply({"sites": [here, there]})
        moved = ledger.now
        picture = ledger.picture()
        with writing(ledger.engine) as connection:
            book = PresenceBook()
            book.heard(connection, picture.devices["hh-1"].id, heard)
            book.flush(connection)
        first, second = (picture.sites[slug].id for slug in ("school-01", "school-02"))
        before, after = (moved - 600_000, moved - 1), (moved + 1, moved + 600_000)
        with reading(ledger.engine) as connection:
            told = [
                reachable(connection, school, *window)
                for school in (first, second)
                for window in (before, after)
            ]
        assert told == [True, False, False, True]
