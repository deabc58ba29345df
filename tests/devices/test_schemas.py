"""The JSON Schemas and the codec agree on what is a message."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from devices import topics
from devices.codec import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_PHOTO_BYTES,
    MAX_RECORDS,
    Bad,
    decode,
    decode_status,
)
from devices.coverage import MAX_RANGES
from devices.ids import MAX_SAFE, RESERVED, is_slug
from devices.reasons import Reason
from devices.topics import Kind, UpTopic, parse_up
from tests.devices.golden import CONTRACT, Vector, cases, document, payload, vectors

DOWN = ("receipt", "rounds", "message", "event", "clock")
NAMES = ("checkin", "hazard", "sos", "status", *DOWN)
VALIDATORS = {name: Draft202012Validator(document(f"{name}.schema.json")) for name in NAMES}


def readable(vector: Vector) -> Any:
    """The payload as Python's own JSON reads it; ValueError where it says something else."""
    return json.loads(payload(vector).decode(), parse_constant=refuse)


def refuse(name: str) -> None:
    raise ValueError(name)


@pytest.mark.parametrize("name", NAMES)
def test_each_schema_is_one(name: str) -> None:
    """Every file is valid JSON Schema 2020-12."""
    Draft202012Validator.check_schema(document(f"{name}.schema.json"))


@cases("checkin", "hazard", "sos")
def test_records_are_good_exactly_where_the_schema_says_so(kind: str, vector: Vector) -> None:
    """Every good record validates; none that is bad by its schema does."""
    reasons = {entry.get("bad") for entry in vector["expect"]}
    if reasons & {"not-json", "too-large", "too-deep", "too-many"}:
        return
    if vector["name"].startswith(BEYOND_SCHEMA):
        return
    said = readable(vector)
    assert VALIDATORS[kind].is_valid(said) is (reasons <= {None})
    if isinstance(said, list):
        each = [VALIDATORS[kind].is_valid(one) and isinstance(one, dict) for one in said]
        assert each == ["bad" not in entry for entry in vector["expect"]]


# A schema sees values; these texts have some that a JSON reader cannot keep.
BEYOND_SCHEMA = ("a number no reader keeps", "a lone", "256 KiB of digits")


ODD: dict[str, list[Any]] = {
    "pos": [{}, {"lat": 1, "lon": 2}, {"lat": 1, "lon": 2, "acc": "x"}, {"lat": 90.5, "lon": 2}],
    "items": [[], [None], [{"id": "a", "ok": True}], [{"id": "a", "ok": None}], [{"id": "time"}]],
    "photos": [[], ["0" * 64], ["0" * 63], [None], [["0" * 64]]],
    "via": ["qr", "QR"],
    "action": ["report", "accept", "verified"],
    "grade": ["major", "minor"],
}
ODD_NUMBERS = [0, 1, -1, 7.0, 0.5, 1e16, 100, 101, -200, MAX_SAFE, MAX_SAFE + 1]
ODD_TEXTS = ["", "a", "all", "P", "\0", *("a" * n for n in (64, 65, 128, 129, 500, 501)), "a:" * 64]
ODD_OTHERS = [None, True, False, [], {}, [1], {"a": None}]
ANYTHING = st.sampled_from([*ODD_NUMBERS, *ODD_TEXTS, *ODD_OTHERS])


@pytest.mark.parametrize("kind", ["checkin", "hazard", "sos", "status"])
@given(data=st.data())
def test_schema_and_codec_agree_on_anything(kind: str, data: st.DataObject) -> None:
    """For any mix of good and odd members, read by the codec means valid by the schema."""
    schema = document(f"{kind}.schema.json")
    names = [*schema.get("$defs", {"record": schema})["record"]["properties"], "unknown"]
    base = {"online": True} if kind == "status" else {"seq": 1, "at": 5, "tag": "g"}
    odd = {
        name: data.draw(st.sampled_from(ODD[name]) | ANYTHING if name in ODD else ANYTHING)
        for name in data.draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    }
    said = base | odd
    raw = json.dumps(said).encode()
    if kind == "status":
        bad = isinstance(decode_status(raw), Bad)
    else:
        bad = isinstance(decode(UpTopic(site="s", device="d", kind=Kind(kind)), raw)[0], Bad)
    assert VALIDATORS[kind].is_valid(said) is not bad, said


def test_too_many_records_are_too_many_for_the_schema() -> None:
    """The array's limit stands in the schema, too."""
    [long] = [v for v in vectors("checkin") if v["name"] == "201 in an array"]
    assert not VALIDATORS["checkin"].is_valid(readable(long))


@cases("status")
def test_status_is_good_exactly_where_the_schema_says_so(kind: str, vector: Vector) -> None:
    """As for records."""
    if vector.get("bad", "schema") == "schema":
        assert VALIDATORS[kind].is_valid(readable(vector)) is ("bad" not in vector)


@cases(*DOWN)
def test_what_we_publish_validates(kind: str, vector: Vector) -> None:
    """Every downward vector is what its schema says."""
    VALIDATORS[kind].validate(readable(vector))


def test_the_topic_grammar_is_the_codes() -> None:
    """Each topic of the grammar is built or read by `devices.topics`."""
    values = {"{site}": "s", "{device}": "d", "{sha256}": "0" * 64, "{instance}": "i"}
    values |= {"{run}": "r", "{ledger}": "l"}
    built = {
        "receipt": topics.receipt("s", "d"),
        "rounds": topics.rounds("s", "d"),
        "message": topics.message("s", "d"),
        "event": topics.event("s", "round.missed"),
        "clock": topics.CLOCK,
        "marker": topics.marker("i"),
        "claims-asked": topics.CLAIMS_ASKED,
        "claim": topics.claim("r"),
        "witness": topics.witness("l"),
    }
    grammar = document("topics.json")
    for entry in grammar["topics"]:
        topic = entry["topic"].replace("{kind}", "round.missed")
        for name, value in values.items():
            topic = topic.replace(name, value)
        read = parse_up(topic)
        if isinstance(read, UpTopic):
            assert entry["kind"] == read.kind
        else:
            assert topic == built.pop(entry["kind"])
        assert entry["schema"] is None or (CONTRACT / entry["schema"]).is_file()
    assert not built
    assert {Kind(e["kind"]) for e in grammar["topics"] if e["publisher"] == "device"} == set(Kind)


def test_the_limits_are_the_codes() -> None:
    """The numbers that device makers read are the numbers that are enforced."""
    grammar = document("topics.json")
    assert grammar["limits"] == {
        "record_bytes": MAX_BYTES,
        "photo_bytes": MAX_PHOTO_BYTES,
        "records_in_array": MAX_RECORDS,
        "depth": MAX_DEPTH,
        "largest_number": MAX_SAFE,
        "missing_ranges": MAX_RANGES,
    }
    assert grammar["reasons"] == [str(reason) for reason in Reason]
    assert set(grammar["slug"]["reserved"]) == RESERVED
    assert not any(is_slug(name) for name in RESERVED)
