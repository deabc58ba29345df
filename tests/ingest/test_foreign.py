"""Foreign readers: whose they are, where and when they read, and what is kept of it."""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.ids import Instant
from devices.proofs import Proof
from devices.reasons import Reason
from ingest.foreign import Passed
from ingest.reader import Said, Taken
from rules.clocks import timing
from rules.promises import Trust
from store.database import reading, writing
from store.marks import look, resolve
from store.obligations import Plans
from store.quarantine import State, Suspect, asked
from tests.devices.test_adapters import payloads
from tests.ingest.bench import NOW, Bench, a_bench, delivery, marker
from tests.ingest.school import BADGE, DOCUMENT, GATE, LAB, SITE, checkin, up

READERS = [
    {"id": "gate-reader", "protocol": "tasmota", "address": "tasmota_4A21B7"},
    {"id": "door", "protocol": "esphome", "address": "readers/door"},
    {"id": "phone-17", "protocol": "owntracks", "address": "guard17/phone"},
    {"id": "sos-gate", "protocol": "zigbee2mqtt", "address": "hall/sos button"},
    {"id": "wand-3", "protocol": "wand", "address": "7003"},
    {"id": "lora-7", "protocol": "chirpstack", "address": "0102030405060708"},
]
SENSOR, TAG = "tele/tasmota_4A21B7/SENSOR", "readers/door/tag"
PHONE, EVENT = "owntracks/guard17/phone", "owntracks/guard17/phone/event"
ZIGBEE = "zigbee2mqtt/hall/sos button"
UPLINK = "application/APP/device/0102030405060708/event/up"


topics = st.sampled_from(
    [
        *(
            SENSOR,
            "tele/tasmota_4A21B7/STATE",
            "tele/tasmota_4A21B7/LWT",
            TAG,
            "readers/door/status",
        ),
        *(PHONE, EVENT, f"{PHONE}/beacon", ZIGBEE, f"{ZIGBEE}/availability", UPLINK),
        *(UPLINK.replace("/up", "/location"), "owntracks/insp/phone", "zigbee2mqtt/x", ""),
    ]
)


def document(**more: Any) -> dict[str, Any]:
    """The school with readers one can buy; its clocks are in Shanghai, and its gate has a place."""
    found = copy.deepcopy(DOCUMENT)
    school = found["sites"][0]
    school["timezone"] = "Asia/Shanghai"
    school["devices"] += READERS
    school["checkpoints"][0]["pos"] = {"lat": 30.0012, "lon": 120.5801}
    found["devices"].append({"id": "insp-phone", "grid": "bureau"} | INSPECTOR)
    return found | more


INSPECTOR = {"protocol": "owntracks", "address": "insp/phone"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with a_bench(tmp_path, document()) as made:
        made.take(marker(made.at))
        made.at += 400
        yield made


def sensor(local: str | None, uid: str = GATE) -> dict[str, Any]:
    return {"Time": local, "PN532": {"UID": uid, "DATA": ""}}


def local(at: Instant, hours: int = 8) -> str:
    moment = datetime.fromtimestamp(at / 1_000 + hours * 3_600, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def body(item: Taken) -> dict[str, Any]:
    return json.loads(item.row.body or "{}")


def trust(item: Taken, after: Instant, before: Instant) -> Trust:
    return timing(item.row.at, item.row.sent, after, before).trust


def test_a_readers_local_time_is_taken_where_it_agrees_with_ours(bench):
    """Tasmota's `Time` has no offset: in the site's zone it lies where the message came in."""
    after = bench.reader.after
    (item,) = bench.read(delivery(SENSOR, sensor(local(bench.at))))
    assert item.row.at == bench.at - bench.at % 1_000
    assert body(item) == {"time_source": "device-local", "local": local(bench.at)}
    assert trust(item, after, after + 1_000) is Trust.TRUSTED


def test_a_local_time_of_another_zone_is_told_and_not_believed(bench):
    """A reader left at its maker's zone is seven hours off: the time is ours, and both are said."""
    after = bench.reader.after
    (item,) = bench.read(delivery(SENSOR, sensor(local(bench.at, hours=1))))
    assert item.row.at == bench.at
    assert body(item) == {"time_source": "receipt", "local": local(bench.at, hours=1)}
    assert trust(item, after, after + 1_000) is Trust.TRUSTED


def test_a_read_without_a_time_happened_when_it_came(bench):
    """It is as trustworthy as our clock, and lies between the markers around it, however long the
    batch waited for us."""
    after = bench.reader.after
    bench.at += 30_000  # we were busy; the next marker waits behind it
    (item,) = bench.read(delivery(TAG, b"04-A2-B3-C4-D5-E6-80"))
    assert after <= item.row.at <= after + 1_000
    assert item.row.received_at == bench.at
    assert body(item)["time_source"] == "receipt"
    assert trust(item, after, after + 1_000) is Trust.TRUSTED


def test_what_may_have_waited_with_the_broker_is_not_proven(bench):
    """After a gap of ours nobody knows when it came; the reader's own time is the best there is."""
    after = bench.reader.after
    bench.at += 7_200_000
    an_hour_ago = bench.at - 3_600_000
    told, untold = bench.read(
        delivery(SENSOR, sensor(local(an_hour_ago))),
        delivery(TAG, GATE.encode()),
    )
    assert told.row.at == an_hour_ago - an_hour_ago % 1_000
    assert body(told)["time_source"] == "device-local"
    assert untold.row.at == bench.at
    for item in (told, untold):
        assert trust(item, after, bench.at + 1_000) is Trust.UNPROVEN


def test_a_tag_is_placed_as_a_handhelds_is(bench):
    """The checkpoint the tag hangs at, of the reader's own site; a tag that nobody knows is said
    to be."""
    known, unknown = bench.read(
        delivery(SENSOR, sensor(None)), delivery(SENSOR, sensor(None, "DEADBEEF"))
    )
    picture = bench.reader.picture
    assert picture.checkpoint(known.row.checkpoint_id).slug == "gate"
    assert (known.site.slug, known.device.slug) == (SITE, "gate-reader")
    assert not known.unknown_tag
    assert unknown.unknown_tag


def test_one_read_told_twice_is_one_entry(bench):
    """Law 2 for readers without `seq`: a copy is known by what its source says of itself."""
    said = delivery(SENSOR, sensor(local(bench.at)))
    assert bench.take(said).accepted == 1
    bench.take(marker(bench.at + 600))
    bench.at += 40_000
    again = bench.take(said)
    assert (again.accepted, again.duplicate) == (0, 1)
    up = {"deduplicationId": "57433366", "time": "2026-09-01T12:00:00Z", "object": {"tag": GATE}}
    first = bench.take(delivery(UPLINK, up))
    second = bench.take(delivery(UPLINK, {**up, "rxInfo": [{"rssi": -50}]}))
    assert (first.accepted, second.duplicate) == (1, 1)


def test_order_and_batches_do_not_matter(tmp_path):
    """Law 3: of what came between two markers the ledger holds the same, in whatever order, in
    however many batches, however often."""

    def kept(folder: Path, order: tuple[int, ...], together: bool) -> list[tuple[Any, ...]]:
        folder.mkdir()
        with a_bench(folder, document()) as bench:
            bench.take(marker(bench.at))
            bench.at += 400
            at = bench.at // 1_000
            enter = {"_type": "transition", "event": "enter", "desc": "lab", "tst": at}
            said = [
                delivery(SENSOR, sensor(local(bench.at))),
                delivery(TAG, GATE.encode()),
                delivery(EVENT, enter),
                delivery(UPLINK, {"deduplicationId": "a", "object": {"tag": GATE}}),
                delivery(ZIGBEE, {"action": "emergency"}),
            ]
            batches = [order] if together else [(index,) for index in order]
            for batch in batches:
                bench.take(*(said[index] for index in batch))
            bench.take(marker(bench.at + 600))
            return sorted(bench.rows(LASTING))

    orders = [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 0, 4, 2, 1, 3, 3)]
    every = [
        kept(tmp_path / f"{number}-{together}", order, together)
        for number, order in enumerate(orders)
        for together in (True, False)
    ]
    assert len(every[0]) == 5
    assert all(found == every[0] for found in every)


LASTING = "SELECT device_id, seq, at, sent, tag, checkpoint_id, digest, body FROM entry"


def test_nobody_waits_for_a_receipt(bench):
    """Readers that keep nothing are sent no receipts and have no coverage, whatever they say."""
    done = bench.take(
        delivery(SENSOR, sensor(local(bench.at))),
        delivery("tele/tasmota_4A21B7/LWT", b"Online"),
        delivery(SENSOR, b"{"),
        delivery("tele/unknown/SENSOR", sensor(None)),
        delivery(ZIGBEE, {"action": "emergency", "battery": 90}),
    )
    assert (done.accepted, done.quarantined, done.receipts) == (2, 2, {})
    assert bench.rows("SELECT count(*) FROM coverage") == [(0,)]


def test_a_place_reported_by_hand_is_a_visit_within_its_radius(bench):
    """30 m from the gate is a visit there, named by its checkpoint; 200 m from it is none."""

    def here(lat: float, created_at: int) -> Any:
        at = bench.at // 1_000
        said = {"_type": "location", "t": "u", "lat": lat, "lon": 120.5801, "tst": at, "acc": 9}
        return delivery(PHONE, said | {"created_at": at + created_at})

    near, far = bench.read(here(30.00147, 0), here(30.003, 1))
    assert bench.reader.picture.checkpoint(near.row.checkpoint_id).slug == "gate"
    assert (near.row.tag, near.message.via) == ("gate", "gps")
    assert far == Passed("owntracks", "no checkpoint within its radius")
    bench.reader.radius_m = 250
    (wide,) = bench.read(here(30.003, 1))
    assert isinstance(wide, Taken)


def test_a_region_is_named_as_its_checkpoint(bench):
    """A transition is a visit of the checkpoint whose id or tag the region is named by."""

    def enter(name: str) -> Any:
        said = {"_type": "transition", "event": "enter", "desc": name, "tst": bench.at // 1_000}
        return delivery(EVENT, said | {"lat": 30.0012, "lon": 120.5801, "acc": 9})

    by_id, by_tag, other = bench.read(enter("gate"), enter(GATE), enter("cafe"))
    for item in (by_id, by_tag):
        assert bench.reader.picture.checkpoint(item.row.checkpoint_id).slug == "gate"
        assert body(item)["pos"]["acc"] == 9
    assert other.unknown_tag
    assert "pos" not in body(other)  # where a phone is otherwise is its owner's
    assert body(by_id)["time_source"] == "device"


def test_a_place_that_asks_for_proof_is_not_reached_by_name(bench):
    """Where a tag must prove presence, neither a region's name nor a position will do."""
    asking = document()
    asking["sites"][0]["checkpoints"][0]["proof"] = "sun"
    bench.ledger.apply(asking)
    bench.reader.picture = bench.ledger.picture()
    at = bench.at // 1_000
    said = {"_type": "location", "t": "u", "lat": 30.0012, "lon": 120.5801, "tst": at}
    entered = {"_type": "transition", "event": "enter", "desc": "gate", "tst": at}
    for item in bench.read(delivery(PHONE, said), delivery(EVENT, entered)):
        assert (item.proved.proof, item.proved.asked) == (Proof.BARE, "gate")


def test_a_card_at_a_reader_on_the_wall_is_a_visit_there(bench):
    """Where a reader hangs at a checkpoint, a person's card says who was there; a stranger's says
    nothing, and a tag that hangs elsewhere what it always says."""
    hung = document()
    school = hung["sites"][0]
    school["devices"] = [
        {"id": "wall", "protocol": "tasmota", "address": "wall", "checkpoint": "gate"},
        {"id": "hh-1", "checkpoint": "gate"},
    ]
    bench.ledger.apply(hung)
    bench.reader.picture = bench.ledger.picture()

    def tapped(uid: str) -> Any:
        return delivery("tele/wall/SENSOR", sensor(None, uid))

    person, stranger, tag, handheld = bench.read(
        tapped(BADGE),
        tapped("DEADBEEF"),
        tapped(LAB),
        delivery(up("checkin"), checkin(1, bench.at, BADGE)),
    )
    picture = bench.reader.picture
    guard = picture.person("p-017").id
    gate, lab = (picture.checkpoint_of(person.site.id, slug).id for slug in ("gate", "lab"))
    assert (person.row.checkpoint_id, person.row.person_id) == (gate, guard)
    assert not person.unknown_tag
    assert (stranger.row.checkpoint_id, stranger.unknown_tag) == (None, True)
    assert (tag.row.checkpoint_id, tag.row.person_id) == (lab, None)
    assert (handheld.row.checkpoint_id, handheld.row.person_id) == (gate, guard)


def test_two_phones_at_one_place_are_two_guards(bench):
    """A region or a position is no tag that somebody copied: any number may be there at once."""
    more = document()
    more["sites"][0]["devices"].append(
        {"id": "phone-18", "protocol": "owntracks", "address": "guard18/phone"}
    )
    bench.ledger.apply(more)
    bench.reader.picture = bench.writer.books.marks.picture = bench.ledger.picture()
    said = {"_type": "transition", "event": "enter", "desc": "gate", "tst": bench.at // 1_000}
    bench.take(delivery(EVENT, said), delivery("owntracks/guard18/phone/event", said))

    def odd() -> list[str]:
        bench.at += 1_000
        bench.take(marker(bench.at))
        with writing(bench.ledger.engine) as connection:
            looked = look(connection, Plans(), 10)
            return [notice.kind.value for notice in resolve(connection, looked)]

    assert odd() == []
    at = bench.at
    one, two = (delivery(up("checkin", each), checkin(1, at)) for each in ("hh-1", "hh-2"))
    bench.take(one, two)
    assert odd() == ["checkin.same-tag-two-devices"]


def test_a_call_for_help_is_raised(bench):
    """A Zigbee button's `emergency` is an sos like a handheld's, once for one press."""
    said = delivery(ZIGBEE, {"action": "emergency", "battery": 12, "linkquality": 120})
    done = bench.take(said, said)
    assert (done.accepted, done.duplicate, done.told) == (1, 1, True)
    ((kind, severity, site),) = bench.rows(
        "SELECT e.kind, e.severity, s.slug FROM event e JOIN site s ON s.id = e.site_id"
        " WHERE e.kind = 'sos.raised'"
    )
    assert (kind, severity, site) == ("sos.raised", "critical", SITE)
    assert bench.rows("SELECT battery, online FROM device_state WHERE battery = 12") == [(12, 1)]


def test_a_call_is_told_even_where_nobody_knows_the_place(bench):
    """A button of a grid node says no site: its call is told at one of them rather than at none."""
    worn = document()
    worn["devices"].append({"id": "worn", "grid": "bureau"} | BUTTON)
    worn["sites"][1]["belongs_to"] = ["bureau"]
    bench.ledger.apply(worn)
    bench.reader.picture = bench.ledger.picture()
    (item,) = bench.read(delivery("zigbee2mqtt/worn", {"action": "panic"}))
    assert (item.device.slug, item.site.slug) == ("worn", SITE)


BUTTON = {"protocol": "zigbee2mqtt", "address": "worn"}


def test_what_the_broker_kept_is_no_new_call(bench):
    """A retained button press without a time would be one at every start."""
    call, there = bench.read(
        delivery(ZIGBEE, {"action": "emergency", "battery": 90}, retained=True)
    )
    assert call == Passed("zigbee2mqtt", "kept by the broker, and without a time")
    assert isinstance(there, Said)
    assert there.retained


def test_a_will_is_dated_by_us(bench):
    """OwnTracks' will tells when the app first connected; it went when the will came."""
    bench.take(delivery(PHONE, {"_type": "status"}))
    bench.take(delivery(PHONE, {"_type": "lwt", "tst": bench.at // 1_000 - 86_400}))
    rows = bench.rows("SELECT at, online FROM presence ORDER BY id")
    assert rows == [(bench.at, 1), (bench.at, 0)]


def test_a_stranger_is_kept_with_what_to_do(bench):
    """What an unregistered reader read waits in quarantine, and can be taken once it is named."""
    said = delivery("tele/tasmota_NEW/SENSOR", sensor(local(bench.at)))
    (item,) = bench.read(said)
    assert isinstance(item, Suspect)
    assert item.reason is Reason.UNKNOWN_DEVICE
    assert "protocol: tasmota, address: tasmota_NEW" in item.detail
    assert bench.read(delivery("tele/tasmota_NEW/LWT", b"Online")) == [
        Passed("tasmota", "the status of a stranger")
    ]
    bench.take(said)
    more = document()
    more["sites"][0]["devices"].append(
        {"id": "new", "protocol": "tasmota", "address": "tasmota_NEW"}
    )
    bench.ledger.apply(more)
    bench.reader.picture = bench.ledger.picture()
    with writing(bench.ledger.engine) as connection:
        connection.exec_driver_sql("UPDATE quarantine SET state = 'asked'")
    with reading(bench.ledger.engine) as connection:
        (entry,) = asked(connection, 10)
    items = list(bench.reader.read(said, entry.received_at))
    done = bench.writer.retake(entry, items, bench.at)
    assert done.accepted == 1
    assert bench.rows("SELECT state FROM quarantine") == [(State.TAKEN.value,)]


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (SENSOR, b'{"Time":', Reason.NOT_JSON),
        (TAG, b"", None),
        (PHONE, b'{"_type":"location"}', Reason.SCHEMA),
        ("zigbee2mqtt/hall/sos button", b"on", Reason.NOT_JSON),
    ],
)
def test_broken_input_is_kept_under_its_reader(bench, topic, payload, reason):
    """What cannot be read is quarantined where it came from; an empty payload takes one back."""
    (item,) = bench.read(delivery(topic, payload))
    if reason is None:
        assert item == Passed("esphome", "empty")
        return
    assert (item.reason, item.site, item.bucket) == (reason, SITE, item.device)
    assert item.payload == payload


def test_a_retired_reader_is_heard_no_more(bench):
    """Under its reason, so that whoever took it down knows it still speaks."""
    bench.ledger.apply(DOCUMENT)
    bench.reader.picture = bench.ledger.picture()
    (item,) = bench.read(delivery(SENSOR, sensor(None)))
    assert (item.reason, item.device) == (Reason.RETIRED_DEVICE, "gate-reader")


def test_what_an_old_subscription_brings_is_passed_over(bench):
    """A topic of no protocol in use says nothing."""
    assert bench.read(delivery("office/lamp", b"on")) == [Passed("none", "another topic")]


def test_an_inspectors_phone_is_where_its_tag_is(bench):
    """A reader of a grid node names no site: the tag does, among the sites below the node."""

    def enter(name: str) -> Any:
        said = {"_type": "transition", "event": "enter", "desc": name, "tst": bench.at // 1_000}
        return delivery("owntracks/insp/phone/event", said)

    (item,) = bench.read(enter("gate"))
    assert (item.site.slug, item.device.slug) == (SITE, "insp-phone")


def test_checkins_of_every_reader_reach_the_listing(bench):
    """However they spoke, who they are and who tells their time can be listed."""
    at = bench.at // 1_000
    bench.take(
        delivery(SENSOR, sensor(local(bench.at))),
        delivery(TAG, GATE.encode()),
        delivery(EVENT, {"_type": "transition", "event": "enter", "desc": "lab", "tst": at}),
        delivery(UPLINK, {"time": "2026-09-01T04:00:00Z", "object": {"tag": GATE}}),
        delivery(ZIGBEE, {"action": "single", "last_seen": bench.at}),
    )
    rows = bench.rows(
        "SELECT d.slug, json_extract(e.body, '$.time_source') FROM entry e"
        " JOIN device d ON d.id = e.device_id ORDER BY d.slug"
    )
    assert rows == [
        ("door", "receipt"),
        ("gate-reader", "device-local"),
        ("lora-7", "gateway"),
        ("phone-17", "device"),
        ("sos-gate", "gateway"),
    ]
    assert bench.at > NOW


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(topic=topics, payload=payloads, retained=st.booleans(), waited=st.integers(0, 10**8))
def test_nothing_a_reader_says_stops_the_service(bench, topic, payload, retained, waited):
    """Whatever comes in a foreign topic is read, placed and committed, or kept, or passed over."""
    said = delivery(topic or "x", payload, retained=retained)
    before = bench.at
    bench.at += waited
    try:
        items = [item for item in bench.read(said) if not isinstance(item, Passed)]
        bench.writer.commit(items, bench.at)
    finally:
        bench.at = before
