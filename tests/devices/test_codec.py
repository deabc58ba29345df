"""Decoding answers whatever the bytes are; the digest is of the content alone."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices import codec, content
from devices.codec import Bad, Record, decode, decode_photo, decode_status
from devices.ids import MAX_SAFE
from devices.messages import CheckIn, Hazard, Receipt, Sos, Status
from devices.reasons import Reason
from devices.topics import Kind, UpTopic, parse_up
from tests.devices.golden import Vector, cases, payload, vectors

RECORDS = (Kind.CHECKIN, Kind.HAZARD, Kind.SOS)
READERS = (
    codec.decode_status,
    codec.decode_clock,
    codec.decode_receipt,
    codec.decode_rounds,
    codec.decode_message,
    codec.decode_event,
)


def topic(kind: Kind, site: str = "school-01") -> UpTopic:
    return UpTopic(site=site, device="hh-0101", kind=kind)


def every_reader(raw: bytes) -> None:
    """Read `raw` as everything it could be; what is bad must be kept whole."""
    for kind in RECORDS:
        for one in decode(topic(kind), raw):
            assert one.raw in raw
            assert isinstance(one, Record) or (one.seq is None) == (one.epoch is None)
    for read in READERS:
        found = read(raw)
        assert not isinstance(found, Bad) or found.raw == raw
    decode_photo(UpTopic(site="s", device="d", kind=Kind.PHOTO, sha256="0" * 64), raw)


@cases("checkin", "hazard", "sos", "status", "receipt", "rounds", "message", "event", "clock")
def test_cut_off_anywhere_nothing_raises(kind: str, vector: Vector) -> None:
    """Each beginning of each vector is read or refused; a device may lose power in a publish.

    Byte by byte; long payloads are cut at some 300 places, near both ends at every byte.
    """
    raw = payload(vector | {"pad": None})
    step = max(1, len(raw) // 300)
    for end in {*range(0, len(raw), step), *range(min(60, len(raw))), *range(len(raw))[-60:]}:
        cut = raw[:end]
        if kind in RECORDS:
            decode(topic(Kind(kind)), cut)
        else:
            getattr(codec, f"decode_{kind}")(cut)


def test_a_record_cut_off_has_no_identity() -> None:
    """`"seq":12` may be the beginning of 123: a receipt for 12 would lose a record."""
    raw = b'{"at":5,"tag":"g","seq":123}'
    for end in range(len(raw)):
        [bad] = decode(topic(Kind.CHECKIN), raw[:end])
        assert isinstance(bad, Bad)
        assert (bad.epoch, bad.seq) == (None, None)


@given(st.binary(max_size=300))
def test_any_bytes_are_answered(raw: bytes) -> None:
    """No bytes raise."""
    every_reader(raw)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\ud842", "\udfb7x", "a\0", "\\u0000", "04:a2", "p-017"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
MEMBERS = sorted(
    name for struct in (CheckIn, Hazard, Sos, Status, Receipt) for name in struct.__struct_fields__
)


@given(st.dictionaries(st.sampled_from(MEMBERS), JSON), st.booleans())
def test_any_value_in_any_member_is_answered(said: dict[str, Any], ascii_only: bool) -> None:
    """No value of a known member raises, NaN and lone surrogates included."""
    text = json.dumps({"seq": 1, "at": 5, "tag": "g", **said}, ensure_ascii=ascii_only)
    every_reader(text.encode("utf-8", "surrogatepass"))
    every_reader(f"[{text},{text}]".encode("utf-8", "surrogatepass"))


@given(st.integers(0, len(vectors("checkin")) - 1), st.data())
def test_any_damage_is_answered(index: int, data: st.DataObject) -> None:
    """A vector with some bytes replaced is read or refused."""
    raw = bytearray(payload(vectors("checkin")[index] | {"pad": None})[:400])
    for _ in range(data.draw(st.integers(1, 4))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    every_reader(bytes(raw))


HOSTILE = [
    b"[" * 262_144,
    b"{" * 262_144,
    b'{"a":' * 52_000,
    b'[{"a":' * 40_000,
    b'"' * 262_144,
    b'\\"' * 131_072,
    b'{"seq":1,"x":"' + b'\\"' * 100_000 + b"[" * 60_000,
    b"[" * 33 + b'\\"' * 131_000,
    b"1" * 262_144,
    b"-" * 262_144,
    b"[" + b"1," * 131_000 + b"1]",
    b"[" + b"[]," * 87_000 + b"[]]",
    b'{"seq":' + b"9" * 262_000 + b"}",
    b'{"seq":1,"at":5,"tag":"' + b"a:" * 131_000 + b'"}',
    b'{"seq":1,"at":5,"tag":"g","x":' + b"1" * 200_000 + b"}",
    b'[{"seq":1,"tag":"\\ud800"},' + b" " * 262_000 + b"]",
    b"[" + b'"\\ud800",' * 29_000 + b"1]",
    b"\x00" * 262_144,
    b"\xff" * 307_200,
    b"[" + b'{"seq":1,"at":5,"tag":"g"},' * 9_000 + b"{}]",
    b"[" * 307_200,
    b"[" * 2_000_000,
]


@pytest.mark.parametrize("raw", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bytes_cost_no_more_than_their_length(raw: bytes) -> None:
    """Nests, quotes and digits of the greatest size are answered; a quadratic reader would hang."""
    every_reader(raw)


def test_deep_is_deep_whatever_the_stack() -> None:
    """The answer does not depend on how deep the caller itself stands."""

    def at_depth(frames: int) -> list[Record | Bad]:
        if frames:
            return at_depth(frames - 1)
        return decode(
            topic(Kind.CHECKIN), b'{"seq":1,"at":5,"tag":"g","x":%b}' % (b"[" * 31 + b"]" * 31)
        )

    assert at_depth(0) == at_depth(600)


def test_a_topic_without_records_is_a_mistake_of_ours() -> None:
    """Status and photos have their own decoders; that is no matter of bytes."""
    for kind in (Kind.STATUS, Kind.PHOTO):
        with pytest.raises(ValueError, match=f"decode_{kind}"):
            decode(topic(kind), b"{}")


def test_quarantine_says_what_is_wrong() -> None:
    """The detail names the member, for the person who reads the quarantine."""
    [bad] = decode(topic(Kind.CHECKIN), b'{"seq":1,"at":5,"tag":"g","bat":101}')
    assert isinstance(bad, Bad)
    assert (bad.reason, bad.detail) == (Reason.SCHEMA, "Expected `int` <= 100 - at `$.bat`")
    [long] = decode(topic(Kind.CHECKIN), b'{"seq":1,"at":5,"tag":"g","via":"%b"}' % (b"x" * 9_000))
    assert isinstance(long, Bad)
    assert len(long.detail) == codec.MAX_DETAIL
    late = decode_status(b'{"online":1}')
    assert isinstance(late, Bad)
    assert "$.online" in late.detail


VALUES = st.recursive(
    st.booleans() | st.integers(-MAX_SAFE, MAX_SAFE) | st.text(max_size=8) | st.floats(-9, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
EXTRA = st.dictionaries(st.text("abcxyz", min_size=6, max_size=8), VALUES, max_size=4)
COUNTS = st.integers(0, MAX_SAFE)


def record(said: dict[str, Any], **dump: Any) -> Record:
    [one] = decode(topic(Kind.CHECKIN), json.dumps(said, **dump).encode())
    assert isinstance(one, Record)
    return one


def shuffled(value: Any, random: Any) -> Any:
    if isinstance(value, dict):
        members = list(value.items())
        random.shuffle(members)
        return {name: shuffled(inner, random) for name, inner in members}
    return [shuffled(inner, random) for inner in value] if isinstance(value, list) else value


@given(EXTRA, st.randoms(), COUNTS, COUNTS, st.booleans())
def test_sent_again_it_is_the_same(
    extra: dict[str, Any], random: Any, sent: int, sent_up: int, ascii_only: bool
) -> None:
    """Order of members, whitespace, escapes, `sent` and `sent_up` leave the digest alone."""
    said = {"seq": 1, "at": 5, "tag": "g", **extra}
    again = shuffled({**said, "sent": sent, "sent_up": sent_up}, random)
    digest = record(said).digest
    assert record(again, indent=1, ensure_ascii=ascii_only).digest == digest
    assert -(2**63) <= digest < 2**63


@given(EXTRA, EXTRA)
def test_unknown_members_are_content(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Other members, known to us or not, make another digest."""
    base = {"seq": 1, "at": 5, "tag": "g"}
    same = repr(_exact(one)) == repr(_exact(two))
    assert (record({**base, **one}).digest == record({**base, **two}).digest) is same


def _exact(value: Any) -> Any:
    """Equal as JSON values: 1 is 1.0, true is not 1."""
    match value:
        case dict():
            return sorted((name, _exact(inner)) for name, inner in value.items())
        case list():
            return [_exact(inner) for inner in value]
        case float():
            return int(value) if value.is_integer() else value
    return value


def test_site_and_kind_are_content() -> None:
    """The same words told of another site or as another kind are never dropped silently."""
    raw = b'{"seq":1,"at":5,"tag":"g"}'
    places = (topic(Kind.CHECKIN), topic(Kind.HAZARD), topic(Kind.SOS), topic(Kind.SOS, "b"))
    found = [decode(place, raw)[0] for place in places]
    digests = {one.digest for one in found if isinstance(one, Record)}
    assert len(digests) == len(places)


def test_digests_are_pinned() -> None:
    """Ledgers hold them: a changed digest would turn every resend into a conflict."""
    for name, text, digest in PINNED:
        place = parse_up(f"patrol/v1/school-01/hh-0101/up/{name}")
        assert isinstance(place, UpTopic)
        [one] = decode(place, text.encode())
        assert isinstance(one, Record)
        assert one.digest == digest, text


PINNED = [
    ("checkin", '{"seq":1,"at":1788271260000,"tag":"04A2B3C4D5E680"}', -3966568914460441660),
    (
        "checkin",
        '{"seq":2,"at":5,"tag":"东门","boot":7,"pos":{"lat":30.0,"lon":1.5},"x":[null,1e2]}',
        -7166925011631810113,
    ),
    ("hazard", '{"seq":3,"at":5,"action":"report","text":"x","photos":[]}', 5311957456833066195),
    ("sos", '{"seq":4,"epoch":9,"at":5,"silent":true}', -1632653530148734134),
]


LITTLE = st.sampled_from(
    [None, "p-1", "P 1", "04A2B3C4", "04:a2:b3:c4", "0", "nfc", "gps", "x" * 70, "é"]
)
MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "seq": st.integers(-1, 9) | st.just(1.0),
    "epoch": st.integers(0, 3),
    "at": st.integers(0, 2**54) | st.just(5.0),
    "sent": st.integers(0, 9),
    "boot": LITTLE | st.integers(0, 9),
    "up": st.integers(-1, 9) | st.none(),
    "sent_up": st.integers(0, 9),
    "person": LITTLE,
    "tag": LITTLE,
    "via": LITTLE,
    "sun": LITTLE,
    "pos": st.none() | st.just({"lat": 30, "lon": 120.5}),
    "items": st.none() | st.just([]) | st.just([{"id": "a", "ok": True}]),
    "bat": st.integers(-1, 101),
    "rssi": st.integers(-300, 101),
    "later": LITTLE,
}
USUAL = ("seq", "at", "sent", "tag", "person", "boot", "up", "bat")


@given(st.data())
def test_a_usual_check_in_is_what_the_general_way_reads(data: st.DataObject) -> None:
    """The quick way answers where it is sure alone, and then it says what the long one says."""
    often = {name: MEMBERS[name] for name in USUAL}
    said = data.draw(st.fixed_dictionaries({}, optional=MEMBERS) | st.fixed_dictionaries(often))
    raw = json.dumps(said, ensure_ascii=data.draw(st.booleans())).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "read_usual", lambda _: None)
        (general,) = decode(topic(Kind.CHECKIN), raw)
    (found,) = decode(topic(Kind.CHECKIN), raw)
    if isinstance(found, Record) and isinstance(found.message, content.Usual):
        assert isinstance(general, Record)
        assert found.digest == general.digest
        assert msgspec.structs.asdict(found.message) == msgspec.structs.asdict(general.message)
    else:
        assert found == general


def test_a_handhelds_check_in_is_usual() -> None:
    """What handhelds send day by day is read the quick way."""
    said = {"seq": 5, "at": 9, "sent": 9, "tag": "04A2B3C4", "via": "nfc", "person": "p-1"}
    assert content.read_usual(json.dumps(said).encode()) is not None
