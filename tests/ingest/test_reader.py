"""Reading: whose message it is, where it belongs, or why it cannot be taken."""

import copy
import itertools
import json

import pytest
from msgspec.structs import asdict, replace

from devices import content, topics
from devices.codec import MAX_BYTES
from devices.reasons import Reason
from ingest.reader import Marked, Said, Taken
from store.quarantine import Suspect
from tests.ingest.bench import MARKER, NOW, delivery
from tests.ingest.school import BADGE, DOCUMENT, GATE, LAB, SITE, checkin, up


def slugs(bench, item):
    """Checkpoint and person of an item, by name."""
    picture = bench.reader.picture
    point = picture.checkpoint(item.row.checkpoint_id) if item.row.checkpoint_id else None
    person = {info.id: slug for slug, info in picture.people.items()}.get(item.row.person_id)
    return None if point is None else point.slug, person


def test_a_read_is_placed_where_its_tag_hung_at_the_time(bench):
    """A tag that was moved stands for where it was when it was read, not where it is now."""
    moved = copy.deepcopy(DOCUMENT)
    moved["sites"][0]["checkpoints"][0]["tags"] = []
    moved["sites"][0]["checkpoints"][1]["tags"] = [LAB, GATE]
    bench.ledger.now += 3_600_000
    bench.ledger.apply(moved)
    bench.restart()
    then, now = bench.read(
        delivery(up("checkin"), checkin(1, NOW)),
        delivery(up("checkin"), checkin(2, bench.ledger.now + 1)),
    )
    assert slugs(bench, then)[0] == "gate"
    assert slugs(bench, now)[0] == "lab"


def test_a_persons_tag_says_who_and_not_where(bench):
    """Reading a badge is a check-in of that person, of no checkpoint, and no unknown tag."""
    (item,) = bench.read(delivery(up("checkin"), checkin(1, NOW, BADGE)))
    assert slugs(bench, item) == (None, "p-017")
    assert not item.unknown_tag


def test_who_holds_the_device_is_taken_at_its_word(bench):
    """`person` names whoever the registry knows; a pseudonym it does not know stays in the body."""
    known, unknown = bench.read(
        delivery(up("checkin"), checkin(1, NOW, person="p-017")),
        delivery(up("checkin"), checkin(2, NOW, person="p-999")),
    )
    assert slugs(bench, known) == ("gate", "p-017")
    assert slugs(bench, unknown) == ("gate", None)
    assert json.loads(unknown.row.body) == {"person": "p-999"}


def test_a_usual_check_in_is_taken_as_the_general_way_takes_it(bench, monkeypatch):
    """Reading in one step changes nothing: not what is kept, nor what is sent to quarantine."""
    proving = copy.deepcopy(DOCUMENT)
    proving["sites"][0]["checkpoints"][1]["proof"] = "sun"
    bench.ledger.now += 3_600_000
    bench.ledger.apply(proving)
    bench.restart()
    members = {
        "tag": (GATE, LAB, BADGE, "04FFFFFF", "04:a2:b3", "04B2B3C4"),
        "person": (None, "p-017", "p-999", "P 1"),
        "sun": (None, "x"),
        "pos": (None, {"lat": 30, "lon": 1.5}),
        "sent": (None, NOW),
        "later": (None, "x"),
    }
    whose = (("hh-1", SITE), ("hh-9", SITE), ("insp-01", SITE), ("nobody", SITE))
    bodies = [
        {"seq": 1, "at": NOW} | {n: v for n, v in zip(members, each, strict=True) if v is not None}
        for each in itertools.product(*members.values())
    ]
    said = [
        delivery(up("checkin", *who), body, retained=retained)
        for body, who, retained in itertools.product(bodies, whose, (False, True))
    ]
    said.append(delivery(up("checkin"), b" " * MAX_BYTES + json.dumps(checkin(1, NOW)).encode()))
    found = bench.read(*said)
    usual = sum(isinstance(item, Taken) and type(item.message) is content.Usual for item in found)
    assert usual > 100
    monkeypatch.setattr(content, "read_usual", lambda _: None)
    bench.restart()
    assert [plainly(item) for item in found] == [plainly(item) for item in bench.read(*said)]


def plainly(item):
    """An item, whichever way its message was read."""
    if not isinstance(item, Taken):
        return item
    told = {name: getattr(item, name) for name in item.__struct_fields__}
    return told | {"message": asdict(item.message)}


@pytest.mark.parametrize(
    ("device", "site", "reason"),
    [
        ("hh-1", "school-02", Reason.FOREIGN_SITE),
        ("hh-1", "nowhere", Reason.FOREIGN_SITE),
        ("nobody", "school-01", Reason.UNKNOWN_DEVICE),
        ("insp-01", "school-02", Reason.FOREIGN_SITE),
    ],
)
def test_nobody_speaks_for_another_place(bench, device, site, reason):
    """Who is unknown, or not of that site, is not heard, and it is said why."""
    (item,) = bench.read(delivery(up("checkin", device, site), checkin(1, NOW)))
    assert isinstance(item, Suspect)
    assert (item.reason, item.seq) == (reason, 1)


def test_a_device_of_a_grid_node_reports_from_the_sites_below_it(bench):
    """An inspector's handheld belongs to the bureau, and may speak at its schools."""
    (item,) = bench.read(delivery(up("checkin", "insp-01"), checkin(1, NOW)))
    assert slugs(bench, item) == ("gate", None)


def test_a_retired_device_is_heard_no_more(bench):
    """What a retired device says is kept in quarantine under that reason."""
    less = copy.deepcopy(DOCUMENT)
    less["sites"][0]["devices"] = [{"id": "hh-2"}]
    bench.ledger.apply(less)
    bench.restart()
    (item,) = bench.read(delivery(up("checkin"), checkin(1, NOW)))
    assert item.reason is Reason.RETIRED_DEVICE


def test_an_array_is_read_element_by_element(bench):
    """One bad element of an array costs none of the others."""
    said = [checkin(1, NOW), {"seq": 2}, checkin(3, NOW)]
    one, two, three = bench.read(delivery(up("checkin"), said))
    assert isinstance(one, Taken)
    assert isinstance(three, Taken)
    assert (two.reason, two.seq) == (Reason.SCHEMA, 2)


def test_the_echo_of_a_call_for_help_is_no_second_one(bench):
    """sos has a session of its own; what the check-ins' session brings of it says nothing."""
    call = delivery(up("sos"), {"seq": 1, "at": NOW})
    assert len(bench.read(call)) == 1
    assert bench.read(replace(call, session="main")) == []


def test_only_the_clock_in_force_marks_time(bench):
    """Our own marker counts; a tick, another instance's marker, or an absurd one, does not."""
    assert bench.read(delivery(MARKER, {"now": 5})) == [Marked(5, bench.at)]
    for topic, said in (
        (topics.CLOCK, {"now": 5}),
        (topics.marker("another"), {"now": 5}),
        (MARKER, b"five"),
        (MARKER, {"now": 2**53 - 1}),
        (MARKER, {"now": -1}),
    ):
        assert bench.read(delivery(topic, said)) == []


def test_zero_is_said(bench):
    """A battery at 0 %, and a call for help taken back whose `seq` is 0, are not nothing."""
    (empty,) = bench.read(delivery(up("checkin"), checkin(1, NOW, bat=0)))
    assert json.loads(empty.row.body) == {"bat": 0}
    (cancel,) = bench.read(delivery(up("sos"), {"seq": 1, "at": NOW, "cancel": 0}))
    assert json.loads(cancel.row.body) == {"cancel": 0}


def test_a_status_says_whether_it_is_live(bench):
    """A status kept by the broker is told from one that was sent just now."""
    topic = up("status")
    live, kept = bench.read(
        delivery(topic, {"online": True}), delivery(topic, {"online": True}, retained=True)
    )
    assert isinstance(live, Said)
    assert (live.retained, kept.retained) == (False, True)


def moved(bench):
    """hh-1 moves to the other school, and that school's file is followed."""
    document = copy.deepcopy(DOCUMENT)
    document["sites"][0]["devices"].remove({"id": "hh-1"})
    document["sites"][1]["devices"].append({"id": "hh-1"})
    bench.ledger.now += 3_600_000
    bench.ledger.apply(document)
    bench.at = bench.ledger.now + 60_000
    bench.restart()
    return bench.ledger.now


def test_a_device_that_was_moved_is_placed_where_it_was_at_the_time(bench):
    """What it read at the old school counts there, whichever school it is told under."""
    at = moved(bench)
    before = checkin(1, at - 1)
    after = checkin(2, at, "04B2B3C4")
    names = {info.id: slug for slug, info in bench.reader.picture.sites.items()}

    def placed(topic, said):
        (item,) = bench.read(delivery(topic, said))
        if isinstance(item, Suspect):
            return item.reason
        return names[item.row.site_id], slugs(bench, item)[0], item.listens_at

    new = up("checkin", site="school-02")
    assert placed(new, before) == ("school-01", "gate", "school-02")
    assert placed(new, after) == ("school-02", "hall", "school-02")
    assert placed(up("checkin"), before) == ("school-01", "gate", "school-01")
    assert placed(up("checkin"), after) is Reason.FOREIGN_SITE


def test_a_status_is_said_now_and_so_is_its_place(bench):
    """A moved device that still speaks under its old school is told so by quarantine."""
    moved(bench)
    old, new = bench.read(
        delivery(up("status"), {"online": True}),
        delivery(up("status", site="school-02"), {"online": True}),
    )
    assert isinstance(old, Suspect)
    assert old.reason is Reason.FOREIGN_SITE
    assert isinstance(new, Said)


def test_receipts_go_where_the_device_listens(bench):
    """A record placed at the old school is receipted under the topics of the new one."""
    at = moved(bench)
    done = bench.take(delivery(up("checkin", site="school-02"), checkin(1, at - 1)))
    assert done.receipts["hh-1", 0].site == "school-02"
    assert bench.rows("SELECT s.slug FROM entry e JOIN site s ON s.id = e.site_id") == [
        ("school-01",)
    ]


def test_a_status_that_was_cleared_says_nothing(bench):
    """Retiring clears the retained status: the echo of it is neither a status nor bad input."""
    assert list(bench.read(delivery(up("status"), b""))) == []
