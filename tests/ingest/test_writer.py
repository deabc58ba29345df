"""Committing: once, whole or not at all, and what a receipt may then claim."""

import json

import pytest

from devices.reasons import Reason
from store.quarantine import MAX_ENTRIES
from tests.ingest.bench import NOW, delivery, marker
from tests.ingest.school import GATE, LAB, checkin, up

KEY = ("hh-1", 0)


def records(bench):
    return [seq for (seq,) in bench.rows("SELECT seq FROM entry ORDER BY seq")]


def test_an_identity_counts_once(bench):
    """The same record in one batch, in the next, or after a restart is one entry; each is
    receipted."""
    said = delivery(up("checkin"), checkin(1, NOW))
    again = delivery(up("checkin"), {**checkin(1, NOW), "sent": NOW + 9_000})
    first = bench.take(said, again)
    assert (first.accepted, first.duplicate) == (1, 1)
    bench.restart()
    second = bench.take(again)
    assert (second.accepted, second.duplicate) == (0, 1)
    assert second.receipts[KEY].upto == 1
    assert records(bench) == [1]


@pytest.mark.parametrize("apart", [False, True], ids=["one batch", "two batches"])
def test_one_identity_with_two_contents_is_never_silent(bench, apart):
    """Other content under a known identity goes to quarantine, with an event, and is receipted."""
    one = delivery(up("checkin"), checkin(1, NOW, GATE))
    other = delivery(up("checkin"), checkin(1, NOW, LAB))
    if apart:
        bench.take(one)
        done = bench.take(other)
    else:
        done = bench.take(one, other)
    assert done.quarantined == 1
    assert done.receipts[KEY].upto == 1
    assert bench.rows("SELECT tag FROM entry") == [(GATE,)]
    (kept,) = bench.rows("SELECT reason, payload FROM quarantine")
    assert kept == (Reason.IDENTITY_CONFLICT.value, other.payload)
    assert list(bench.latest()) == [("device.identity-conflict", "hh-1/0/1")]
    assert bench.take(other).quarantined == 0


def test_what_is_in_quarantine_is_receipted(bench):
    """A record that cannot be read but has an identity is covered: its device may forget it."""
    bad = delivery(up("checkin"), {"seq": 2, "at": "noon"})
    done = bench.take(delivery(up("checkin"), checkin(1, NOW)), bad)
    assert (done.receipts[KEY].upto, done.receipts[KEY].missing) == (2, ((0, 0),))


def test_a_call_that_overtakes_covers_nothing_below_it(bench):
    """sos comes before what was recorded earlier: the receipt says that the rest is still
    missing."""
    done = bench.take(delivery(up("sos"), {"seq": 9, "at": NOW}))
    assert done.receipts[KEY].missing == ((0, 8),)
    birth = delivery(up("status"), {"online": True, "oldest": 7})
    assert bench.take(birth).receipts[KEY].missing == ((7, 8),)
    assert not [kind for kind, _ in bench.latest() if kind == "device.gap"]


def test_the_first_record_seen_covers_nothing_below_it(bench):
    """A birth without `oldest`, the first record gone with the broker: the second's receipt must
    not make the device forget the first."""
    bench.take(delivery(up("status"), {"online": True, "queue": 0}))
    done = bench.take(delivery(up("checkin"), checkin(2, NOW)))
    assert (done.receipts[KEY].upto, done.receipts[KEY].missing) == (2, ((0, 1),))
    done = bench.take(delivery(up("checkin"), checkin(1, NOW)))
    assert done.receipts[KEY].missing == ((0, 0),)
    birth = delivery(up("status"), {"online": True, "oldest": 3})
    assert bench.take(birth).receipts[KEY].missing == ()
    assert not [kind for kind, _ in bench.latest() if kind == "device.gap"]


def test_what_a_device_lost_is_told_and_leaves_the_receipt(bench):
    """Gaps below the `oldest` of a birth are lost for good, and one event says so."""
    bench.take(*(delivery(up("checkin"), checkin(seq, NOW)) for seq in (1, 5)))
    done = bench.take(delivery(up("status"), {"online": True, "oldest": 4}))
    assert done.receipts[KEY].missing == ((4, 4),)
    (gap,) = bench.latest().values()
    assert (gap[2]["first"], gap[2]["last"]) == (2, 3)


def test_a_hostile_device_is_bounded(bench):
    """However many holes a device leaves, coverage stays small and claims nothing that is not
    kept."""
    said = [checkin(seq, NOW) for seq in range(0, 24_000, 2)]
    for start in range(0, len(said), 200):
        done = bench.take(delivery(up("checkin"), said[start : start + 200]))
    assert len(bench.writer.books.coverage._covered[KEY].missing) <= 5_000
    covered = done.receipts[KEY]
    missing = {seq for first, last in covered.missing for seq in range(first, last + 1)}
    claimed = set(range(covered.upto + 1)) - missing
    assert claimed <= set(records(bench))


def test_quarantine_is_bounded_for_each_device(bench):
    """Beyond 1,000 a device and day only counts, a hash and the first bytes are kept."""
    said = [b"%d not json" % number * 40 for number in range(MAX_ENTRIES + 7)]
    done = bench.take(*(delivery(up("checkin"), each) for each in said))
    assert done.quarantined == len(said)
    whole = bench.rows("SELECT count(*) FROM quarantine WHERE whole")
    assert whole == [(MAX_ENTRIES,)]
    (trace,) = bench.rows("SELECT copies, length(payload) FROM quarantine WHERE NOT whole")
    assert trace == (7, 256)
    bench.take(delivery(up("checkin", "hh-2"), b"another's"))
    assert bench.rows("SELECT count(*) FROM quarantine WHERE bucket = 'hh-2'") == [(1,)]


def test_quarantine_is_bounded_in_bytes(bench):
    """16 MiB a device and day are kept whole, and no more."""
    for number in range(20):
        bench.take(delivery(up("checkin"), bytes([65 + number]) * 2**20))
    ((kept,),) = bench.rows("SELECT sum(length(payload)) FROM quarantine WHERE whole")
    assert kept == 16 * 2**20


def test_a_transaction_that_fails_leaves_nothing_behind(bench):
    """When the ledger refuses, neither rows nor what is remembered beside them are kept."""
    bench.take(delivery(up("checkin"), checkin(1, NOW)), marker(bench.at))
    connection = bench.ledger.engine.raw_connection()
    connection.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE ON worker BEGIN SELECT raise(ABORT, 'no'); END"
    )
    batch = (
        delivery(up("status"), {"online": True, "oldest": 0}),
        delivery(up("checkin"), checkin(2, NOW)),
        delivery(up("checkin"), b"garbage"),
        delivery(up("sos"), {"seq": 3, "at": NOW}),
        marker(bench.at + 1_000),
    )
    with pytest.raises(Exception, match="no"):
        bench.take(*batch)
    assert records(bench) == [1]
    assert bench.writer.books.arrivals.after == bench.at
    connection.execute("DROP TRIGGER refuse")
    connection.close()
    done = bench.take(*batch)
    assert (done.accepted, done.quarantined) == (2, 1)
    assert done.receipts[KEY].upto == 3
    assert records(bench) == [1, 2, 3]


def test_a_clock_that_runs_ahead_is_set_back(bench):
    """`sent` after the marker that followed it: the read moves back by as much, in a row of its
    own."""
    ahead = NOW + 3_600_000
    bench.take(delivery(up("checkin"), checkin(1, ahead)))
    assert bench.rows("SELECT * FROM correction") == []
    bench.take(marker(bench.at + 500))
    assert bench.rows("SELECT at, how FROM correction") == [(bench.at + 500, "ahead")]
    assert bench.rows("SELECT at FROM entry") == [(ahead,)]


def test_a_marker_of_the_past_ends_no_span_before_it_began(bench):
    """Our clock set back: what arrived meanwhile is not taken for sent from the future."""
    bench.take(marker(bench.at))
    bench.take(delivery(up("checkin"), checkin(1, bench.at)))
    bench.take(marker(bench.at - 3_600_000))
    assert bench.rows("SELECT after, before FROM arrival") == [(bench.at, bench.at)]
    assert bench.rows("SELECT * FROM correction") == []


def test_a_copy_of_a_marker_ends_no_span(bench):
    """What a crash left unacknowledged comes again, markers too: the span they closed long ago is
    not the one that is open now."""
    bench.take(marker(bench.at), marker(bench.at + 1_000))
    bench.take(delivery(up("checkin"), checkin(1, bench.at + 1_500)))
    bench.take(marker(bench.at), marker(bench.at + 1_000))
    assert bench.rows("SELECT before FROM arrival") == [(None,)]
    bench.take(marker(bench.at + 2_000))
    assert bench.rows("SELECT before FROM arrival") == [(bench.at + 2_000,)]
    assert bench.rows("SELECT * FROM correction") == []


def test_a_hazard_is_its_steps_in_whatever_order(bench):
    """Steps that come before their report wait for it; the case then stands as it should."""
    ref = {"ref": "hh-1/0/1", "at": NOW}
    bench.take(delivery(up("hazard"), {"seq": 3, "action": "verified", **ref, "at": NOW + 3}))
    assert bench.latest() == {}
    bench.take(delivery(up("hazard", "hh-2"), {"seq": 1, "action": "resolved", **ref}))
    bench.take(delivery(up("hazard"), {"seq": 1, "at": NOW, "grade": "major"}))
    assert bench.rows("SELECT state, grade FROM hazard") == [("closed", "major")]
    assert bench.latest()["hazard.closed", "hh-1/0/1"][1] == NOW + 3


def test_a_report_is_a_report_whatever_it_refers_to(bench):
    """A `ref` in a report says nothing, and no step can pose as the report it refers to."""
    bench.take(delivery(up("hazard"), {"seq": 1, "at": NOW, "ref": "hh-9/0/1"}))
    step = {"seq": 2, "at": NOW, "action": "accept", "ref": "hh-1/0/2"}
    bench.take(delivery(up("hazard"), step))
    assert bench.rows("SELECT id FROM hazard") == [("hh-1/0/1",)]


def test_a_call_and_its_taking_back_may_cross(bench):
    """A cancel that comes first clears the call when that comes; a cancel alone tells nothing."""
    cancel = delivery(up("sos"), {"seq": 1, "at": NOW + 5, "cancel": 0})
    bench.take(cancel, delivery(up("sos"), {"seq": 7, "at": NOW + 5, "cancel": 7}))
    assert bench.latest() == {}
    bench.take(delivery(up("sos"), {"seq": 0, "at": NOW}))
    assert bench.latest()["sos.raised", "hh-1/0/0"][0] == "resolved"
    assert bench.latest()["sos.cleared", "hh-1/0/0"][1] == NOW + 5


def online(bench):
    return bench.rows("SELECT at, online FROM presence ORDER BY id")


def test_an_old_will_after_a_new_birth_says_nothing(bench):
    """The will of an earlier boot comes late when a device returns under a new connection."""
    bench.take(delivery(up("status"), {"online": True, "boot": "b2"}))
    bench.take(delivery(up("status"), {"online": False, "boot": "b1"}))
    assert online(bench) == [(bench.at, 1)]
    bench.take(delivery(up("status"), {"online": False, "boot": "b2"}))
    assert [is_online for _, is_online in online(bench)] == [1, 0]


def test_whoever_is_heard_is_there(bench):
    """A record of a device that had gone says that it is back; one the broker kept says nothing."""
    bench.take(delivery(up("status"), {"online": False}))
    bench.take(delivery(up("checkin"), checkin(1, NOW), retained=True))
    assert [is_online for _, is_online in online(bench)] == [0]
    assert bench.rows("SELECT * FROM contact") == []
    bench.take(delivery(up("checkin"), checkin(2, NOW)), marker(bench.at))
    assert [is_online for _, is_online in online(bench)] == [0, 1]
    assert bench.rows("SELECT since, until FROM contact") == [(bench.at, bench.at)]


def test_no_contact_of_a_batch_swallows_another(bench):
    """Heartbeats that waited with a later check-in are contacts of their own, in one batch or in
    many."""
    hour, first = 3_600_000, bench.at
    said = []
    for beat in range(4):
        bench.at = first + beat * hour
        said += bench.read(delivery(up("status"), {"online": True}), marker(bench.at))
    bench.at += hour
    said += bench.read(delivery(up("checkin"), checkin(1, bench.at)))
    bench.writer.commit(said, bench.at)
    heard = [since for (since,) in bench.rows("SELECT since FROM contact ORDER BY since")]
    assert heard == [first + beat * hour for beat in range(5)]


def test_a_will_and_what_follows_it_count_in_their_order(bench):
    """Heard after its will, a device is there again: in one batch as in two."""
    will = delivery(up("status"), {"online": False})
    bench.take(will, delivery(up("checkin"), checkin(1, bench.at)))
    assert bench.rows("SELECT online FROM device_state WHERE online IS NOT NULL") == [(1,)]
    bench.take(delivery(up("checkin"), checkin(2, bench.at)), will)
    assert bench.rows("SELECT online FROM device_state WHERE online IS NOT NULL") == [(0,)]


def test_strangers_cannot_fill_the_memory(bench, monkeypatch):
    """A flood of names that no registry knows is receipted up to a bound."""
    monkeypatch.setattr("store.coverages.MAX_STRANGERS", 5)
    said = [delivery(up("checkin", f"x-{n}"), checkin(1, NOW)) for n in range(9)]
    done = bench.take(*said)
    assert len(done.receipts) == 5
    assert done.quarantined == 9


def test_no_entry_lies_before_its_span(bench):
    """What is told again takes no id: a span must not begin behind ids that the next new one gets,
    or no time of that would be corrected, and no series would ever get it."""
    said = [delivery(up("checkin"), checkin(seq, NOW)) for seq in range(1, 6)]
    bench.take(*said[:4], marker(bench.at))
    bench.take(*said[:4], marker(bench.at + 1_000), said[0])
    bench.take(said[4])
    joined = "SELECT seq FROM entry JOIN arrival ON arrival.id = arrival_id"
    assert bench.rows(f"{joined} WHERE entry.id < first_entry") == []
    (top,) = bench.rows("SELECT min(first_entry) - 1 FROM arrival WHERE before IS NULL")
    assert top <= bench.rows("SELECT max(id) FROM entry WHERE seq < 5")[0]


FOLDED = "SELECT device, epoch, json_remove(state, '$.guessed') FROM coverage ORDER BY device"


def test_what_a_crash_left_unfolded_is_folded_at_the_next_start(bench):
    """Coverage and contacts tell the same, whether or not it was killed before a marker."""
    first, then = delivery(up("checkin"), checkin(1, NOW)), delivery(up("checkin"), checkin(4, NOW))
    bench.take(first, marker(bench.at))
    bench.at += 10_000
    bench.take(then)
    assert bench.rows("SELECT until FROM contact") == [(bench.at - 10_000,)]  # a crash comes now
    bench.restart()
    done = bench.take(delivery(up("checkin"), checkin(3, NOW)), marker(bench.at + 1_000))
    assert done.receipts["hh-1", 0].missing == ((0, 0), (2, 2))
    assert bench.rows("SELECT until FROM contact") == [(bench.at,)]
    ((_, _, state),) = bench.rows(FOLDED)
    assert json.loads(state) == {"start": 0, "upto": 4, "missing": [[0, 0], [2, 2]]}


def test_a_failed_transaction_unfolds_nothing(bench):
    """What was held in memory of entries that are kept is not lost with a batch that is not."""
    bench.take(delivery(up("checkin"), checkin(1, NOW)))
    bench.take(delivery(up("checkin"), checkin(2, NOW)))
    with pytest.raises(ZeroDivisionError):
        bench.writer._in_one(bench.at, lambda _: 1 // 0)
    done = bench.take(delivery(up("checkin"), checkin(3, NOW)))
    assert (done.receipts["hh-1", 0].upto, done.receipts["hh-1", 0].missing) == (3, ((0, 0),))
