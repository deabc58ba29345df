"""The codec speaks contract v1: every golden vector, in both directions."""

import hashlib
import json

import msgspec
import pytest

from devices import codec
from devices.codec import Bad, Photo, Record, decode, decode_photo, decode_status
from devices.ids import Identity
from devices.messages import ClockTick, EventMessage, Message, Receipt, Rounds
from devices.topics import BadTopic, UpTopic, parse_up
from tests.devices.golden import Vector, cases, payload, plain, told, vectors

RECORDS = ("checkin", "hazard", "sos")
DOWN = {
    "receipt": (Receipt, codec.encode_receipt, codec.decode_receipt),
    "rounds": (Rounds, codec.encode_rounds, codec.decode_rounds),
    "message": (Message, codec.encode_message, codec.decode_message),
    "event": (EventMessage, codec.encode_event, codec.decode_event),
    "clock": (ClockTick, codec.encode_clock, codec.decode_clock),
}


def topic_of(vector: Vector) -> UpTopic:
    topic = parse_up(vector["topic"])
    assert isinstance(topic, UpTopic)
    return topic


@cases(*RECORDS)
def test_records_are_read_as_the_vector_says(kind: str, vector: Vector) -> None:
    """Each payload becomes these records, or is bad for this reason with this identity."""
    found = decode(topic_of(vector), payload(vector))
    assert [told(one) for one in found] == vector["expect"]


@cases(*RECORDS)
def test_what_is_bad_is_kept_byte_for_byte(kind: str, vector: Vector) -> None:
    """A single record keeps its payload; records of an array keep bytes that stand in it."""
    raw = payload(vector)
    found = decode(topic_of(vector), raw)
    assert all(one.raw in raw for one in found)
    if len(found) == 1 and raw.lstrip()[:1] != b"[":
        assert found[0].raw == raw


@cases(*RECORDS)
def test_a_record_of_an_array_is_the_record_alone(kind: str, vector: Vector) -> None:
    """Batching changes nothing: an element alone gives the same record and the same digest."""
    topic = topic_of(vector)
    for one in decode(topic, payload(vector)):
        if isinstance(one, Record):
            assert decode(topic, one.raw) == [one]


@cases(*RECORDS)
def test_identities_are_read_back(kind: str, vector: Vector) -> None:
    """`Identity.parse` reads what `str` wrote."""
    for one in decode(topic_of(vector), payload(vector)):
        if isinstance(one, Record):
            assert Identity.parse(str(one.identity)) == one.identity


@cases("status")
def test_status_is_read_as_the_vector_says(kind: str, vector: Vector) -> None:
    """Birth, heartbeat and last will."""
    found = decode_status(payload(vector))
    if isinstance(found, Bad):
        assert (found.reason, found.raw) == (vector["bad"], payload(vector))
    else:
        assert plain(found) == vector["status"]


@cases("photo")
def test_photos_are_what_their_topic_says(kind: str, vector: Vector) -> None:
    """A photo is kept only if its bytes have the hash of its topic and a known beginning."""
    raw = payload(vector)
    found = decode_photo(topic_of(vector), raw)
    if isinstance(found, Bad):
        assert (found.reason, found.raw) == (vector["bad"], raw)
    else:
        sha256 = hashlib.sha256(raw).hexdigest()
        assert found == Photo(sha256=sha256, media_type=vector["photo"], data=raw)


@cases("topics")
def test_topics_are_read_as_the_vector_says(kind: str, vector: Vector) -> None:
    """Site and device are told also where the rest is unknown."""
    found = parse_up(vector["topic"])
    assert (found.site, found.device) == (vector["site"], vector["device"])
    if isinstance(found, BadTopic):
        assert (found.reason, found.topic) == (vector["bad"], vector["topic"])
        assert found.detail
    else:
        assert (found.kind, found.sha256) == (vector["kind"], vector.get("sha256"))
        assert str(found) == vector["topic"]


@cases(*DOWN)
def test_what_we_publish_is_these_very_bytes(kind: str, vector: Vector) -> None:
    """A struct becomes exactly the vector's bytes, where the vector says so."""
    struct, encode, _ = DOWN[kind]
    message = msgspec.convert(vector["message"], struct)
    written = encode(message)  # type: ignore[operator]  # one encoder for each struct
    assert json.loads(written) == vector["message"]
    assert (written == payload(vector)) or not vector["exact"]


@cases(*DOWN)
def test_what_we_publish_is_read_back(kind: str, vector: Vector) -> None:
    """The vector's bytes become the struct, unknown members and spaces included."""
    struct, _, read = DOWN[kind]
    assert read(payload(vector)) == msgspec.convert(vector["message"], struct)


@cases("receipt")
def test_a_receipt_covers_what_it_says(kind: str, vector: Vector) -> None:
    """The vectors' own `covers` and `lacks` follow from the rule of contract section 3."""
    receipt = vector["message"]
    missing = {seq for seq in vector["covers"] + vector["lacks"] if gone(receipt, seq)}
    assert missing == set(vector["lacks"])


def gone(receipt: dict[str, list[list[int]]], seq: int) -> bool:
    return seq > receipt["upto"] or any(a <= seq <= b for a, b in receipt["missing"])  # type: ignore[operator]  # upto is an int


@cases("content")
def test_the_same_content_has_one_digest(kind: str, vector: Vector) -> None:
    """`same` are one record sent again; each of `other` is a conflict, and all differ."""
    topic = topic_of(vector)

    def records(group: str) -> list[Record]:
        found = [decode(topic, text.encode())[0] for text in vector[group]]
        return [one for one in found if isinstance(one, Record)]

    same, other = records("same"), records("other")
    assert (len(same), len(other)) == (len(vector["same"]), len(vector["other"]))
    assert len({one.identity for one in same + other}) == 1
    assert len({one.digest for one in same}) == 1
    assert len({one.digest for one in same + other}) == 1 + len(other)


@pytest.mark.parametrize("name", [*RECORDS, "status", "photo", "topics", "content", *DOWN])
def test_names_of_vectors_are_unique(name: str) -> None:
    """A failing vector can be found by its name."""
    names = [vector["name"] for vector in vectors(name)]
    assert len(set(names)) == len(names)
