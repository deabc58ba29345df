"""Foreign readers: the makers' own samples, and anything at all."""

import base64
import json
from importlib.resources import files
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.adapters import table
from devices.adapters.heard import (
    NUMBERED,
    Call,
    Foreign,
    Heard,
    Ignored,
    Read,
    Said,
    digest_of,
    seq_of,
)
from devices.codec import Bad
from devices.ids import MAX_SAFE
from devices.messages import CheckIn, Status

VECTORS = files("devices") / "adapters" / "vectors"
NOW = 1_763_769_700_000


def golden() -> list[Any]:
    found = []
    for protocol in table.ADAPTERS:
        told = json.loads((VECTORS / f"{protocol}.json").read_text("utf-8"))
        for vector in told["vectors"]:
            case = protocol, told["received_at"], vector
            found.append(pytest.param(*case, id=f"{protocol}-{vector['name']}"))
    return found


def foreign(vector: dict[str, Any], received_at: int) -> Foreign:
    coded = vector.get("payload_base64")
    payload = vector["payload"].encode() if coded is None else base64.b64decode(coded)
    return Foreign(vector["topic"], payload, vector.get("retained", False), received_at)


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items() if inner is not None}
    return value


def shown(protocol: str, said: Said) -> dict[str, Any]:
    """One thing said, as the vectors write it: without what is a default."""
    match said:
        case Ignored():
            return {"ignored": said.why}
        case Bad():
            return {"bad": str(said.reason)}
        case Status():
            members = msgspec.to_builtins(said)
            return {"status": {n: v for n, v in members.items() if v is not None and n != "epoch"}}
    members = plain(msgspec.to_builtins(said)) | {"seq": seq_of(protocol, said.key)}
    del members["key"]
    if isinstance(said, Read):
        members.setdefault("tag", None)
    return {type(said).__name__.lower(): members}


@pytest.mark.parametrize(("protocol", "received_at", "vector"), golden())
def test_a_maker_s_sample_is_understood(protocol, received_at, vector):
    """Each sample says what its page says it does, from the address in its topic."""
    found = table.hear(protocol, foreign(vector, received_at))
    told = {"address": found.address, "said": [shown(protocol, said) for said in found.said]}
    assert told == vector["expect"]


@pytest.mark.parametrize(("protocol", "received_at", "vector"), golden())
def test_what_was_said_once_is_one_read_however_often_it_comes(protocol, received_at, vector):
    """A copy that comes at any later time is the same read wherever its source says when it was."""
    one = table.hear(protocol, foreign(vector, received_at))
    two = table.hear(protocol, foreign(vector, received_at + 3_600_000))
    for first, second in zip(one.said, two.said, strict=True):
        if isinstance(first, Read | Call) and first.when.source != "receipt":
            assert first == second
            assert digest_of(protocol, first) == digest_of(protocol, second)


def test_every_row_of_the_table_has_its_samples():
    """A reader comes with its vectors, each with the page it was taken from."""
    there = {entry.name.removesuffix(".json") for entry in VECTORS.iterdir()}
    assert there == set(table.ADAPTERS)
    for param in golden():
        assert param.values[2]["source"]


def test_no_handheld_counts_as_far_as_a_made_up_seq():
    """Reads without `seq` are numbered above what counting reaches, within what JSON keeps."""
    assert NUMBERED > 10**15
    for key in ("", "a", "2025-11-22T08:01:39\nPN532\n94D8FC5F"):
        assert NUMBERED <= seq_of("tasmota", key) <= MAX_SAFE


def test_without_a_time_a_tag_that_lies_on_the_reader_is_one_read():
    """ESPHome tells a tag each second while it lies there; ten seconds on it is another read."""

    def key(received_at: int) -> str:
        (said,) = table.hear("esphome", Foreign("r/tag", b"74-10-37-94", False, received_at)).said
        assert isinstance(said, Read)
        return said.key

    begun = NOW - NOW % 10_000
    assert len({key(begun + second * 1_000) for second in range(10)}) == 1
    assert key(begun) != key(begun + 10_000)


def test_the_broker_is_asked_for_what_the_registry_needs():
    """Filters of the protocols in use, each once; where a topic has no fixed part, by address."""
    assert table.filters([]) == ()
    assert table.filters(
        [
            ("esphome", "readers/a"),
            ("tasmota", "x"),
            ("tasmota", "y"),
            ("zigbee2mqtt", "hall/sos"),
            ("zigbee2mqtt", "school-01/zigbee2mqtt/lab"),
        ]
    ) == (
        "readers/a/status",
        "readers/a/tag",
        "school-01/zigbee2mqtt/#",
        "tele/+/LWT",
        "tele/+/SENSOR",
        "tele/+/STATE",
        "zigbee2mqtt/#",
    )


def members() -> st.SearchStrategy[Any]:
    """JSON that looks like a reader's, with wrong things in the right places."""
    names = st.sampled_from(
        [
            "Time",
            "time",
            "tag",
            "UID",
            "uid",
            "PN532",
            "RC522",
            "_type",
            "event",
            "desc",
            "lat",
            "lon",
            "acc",
            "tst",
            "created_at",
            "t",
            "batt",
            "prox",
            "object",
            "battery",
            "deduplicationId",
            "location",
            "latitude",
            "longitude",
            "action",
            "sos",
            "last_seen",
            "state",
            "rxInfo",
            "rssi",
            "Wifi",
            "Signal",
            "panic",
            "pressed",
            "uuid",
            "major",
            "minor",
        ]
    )
    words = st.sampled_from(
        [
            *("enter", "leave", "u", "b", "transition", "location", "beacon", "lwt", "emergency"),
            *("single", "online", "04A2", "2025-11-22T08:01:39", "2025-11-22T08:01:39+08:00"),
            *("2025-02-30T08:01:39", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"),
        ]
    )
    leaf = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.integers(min_value=10**300, max_value=10**310)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8)
        | words
    )
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6),
        max_leaves=20,
    )


topics = st.sampled_from(
    [
        *("tele/x/SENSOR", "tele/x/LWT", "tele/x/STATE", "tele//SENSOR", "a/b/tag", "/tag", "tag"),
        *("a/status", "a/tag_scanned", "owntracks/u/d", "owntracks/u/d/event", "owntracks//"),
        *("application/a/device/0102030405060708/event/up", "zigbee2mqtt/a/b/availability"),
        *("application/a/device/0102030405060708/event/location", "zigbee2mqtt/", "zigbee2mqtt/a"),
        *("s/zigbee2mqtt/a/set/state", "", "/"),
    ]
) | st.text(max_size=30)
payloads = st.binary(max_size=64) | members().map(lambda said: json.dumps(said).encode())


@given(st.sampled_from(sorted(table.ADAPTERS)), topics, payloads, st.booleans())
def test_nothing_from_outside_raises(protocol, topic, payload, retained):
    """Whatever a topic and its bytes are, something is heard, and it can be kept."""
    found = table.hear(protocol, Foreign(topic, payload, retained, NOW))
    assert isinstance(found, Heard)
    assert found.said
    for said in found.said:
        if isinstance(said, Read | Call):
            assert NUMBERED <= seq_of(protocol, said.key) <= MAX_SAFE
            assert -(2**63) <= digest_of(protocol, said) < 2**63
            assert (said.when.at is None) == (said.when.source in {"receipt", "device-local"})
        if isinstance(said, Read):
            assert said.tag is not None or said.pos is not None
            built = CheckIn(
                seq=seq_of(protocol, said.key),
                at=said.when.at or NOW,
                tag=said.tag or "here",
                via=said.via,
                pos=said.pos,
                bat=said.bat,
                rssi=said.rssi,
            )
            assert msgspec.convert(msgspec.to_builtins(built), CheckIn) == built
        if isinstance(said, Status):
            assert msgspec.convert(msgspec.to_builtins(said), Status) == said


@pytest.mark.parametrize(
    ("protocol", "address", "good"),
    [
        ("tasmota", "tasmota_4A21B7", True),
        ("tasmota", "a/b", False),
        ("tasmota", "#", False),
        ("esphome", "readers/gate", True),
        ("esphome", "patrol", False),
        ("esphome", "patrol/v1/s/hh-1/up", False),
        ("esphome", "tele", False),
        ("esphome", "television", True),
        ("home-assistant", "owntracks/a", False),
        ("home-assistant", "0AFFD2", True),
        ("esphome", "$SYS", False),
        ("esphome", "a/+/b", False),
        ("owntracks", "guard17/phone", True),
        ("owntracks", "guard17", False),
        ("zigbee2mqtt", "hall/sos button", True),
        ("chirpstack", "0102030405060708", True),
        ("chirpstack", "010203040506070G", False),
    ],
)
def test_an_address_gives_no_right_over_others(protocol, address, good):
    """No address is a wildcard, or the root of our topics or of another source's."""
    assert bool(table.ADAPTERS[protocol].address.fullmatch(address)) is good
    if good:
        for topics_of in table.rights(protocol, address):
            assert not any(topic.startswith(("#", "+", "patrol")) for topic in topics_of)
