"""The simulator against the contract's golden vectors, with its own encoder and reader."""

import base64
import json
from pathlib import Path

import pytest

from firmware_sim.wire import (
    BadReceiptError,
    Kind,
    Moment,
    Record,
    encode_records,
    encode_status,
    encode_tick,
    is_receipt,
    read_receipt,
    up_topic,
)

CONTRACT = Path(__file__).resolve().parents[2] / "devices" / "contract" / "v1"
DEFAULTS = {
    "checkin": {"epoch": 0, "via": "nfc"},
    "hazard": {"epoch": 0, "action": "report"},
    "sos": {"epoch": 0, "silent": False},
    "status": {"epoch": 0},
}
OURS = {"seq", "epoch", "at", "sent", "boot", "up", "sent_up"}


def vectors(name: str) -> list:
    file = json.loads((CONTRACT / "vectors" / f"{name}.json").read_text(encoding="utf-8"))
    return [pytest.param(vector, id=vector["name"]) for vector in file["vectors"]]


def payload(vector: dict) -> bytes:
    if "payload_base64" in vector:
        return base64.b64decode(vector["payload_base64"])
    body = vector["payload"].encode()
    pad = vector.get("pad")
    return body + pad["byte"].encode() * (pad["to"] - len(body)) if pad else body


def encoded_by_us(kind: str) -> list:
    return [p for p in vectors(kind) if p.values[0].get("encoder")]


def record(kind: str, message: dict) -> tuple[Record, Moment]:
    members = {name: value for name, value in message.items() if name not in OURS}
    common = {name: message.get(name) for name in ("seq", "at", "boot", "up")}
    made = Record(
        kind=Kind(kind), site="school-01", epoch=message["epoch"], members=members, **common
    )
    up, boot = message.get("sent_up"), message.get("boot")
    return made, Moment(sent=message.get("sent"), up=up, boot=boot)


@pytest.mark.parametrize(
    ("kind", "vector"),
    [
        pytest.param(kind, *p.values, id=f"{kind}: {p.id}")
        for kind in ("checkin", "hazard", "sos")
        for p in encoded_by_us(kind)
    ],
)
def test_records_are_encoded_as_the_vectors_say(kind, vector):
    """Our bytes say what the vector's say, defaults spelled out or not."""
    made = [record(kind, entry["message"]) for entry in vector["expect"]]
    ours = json.loads(encode_records([r for r, _ in made], made[0][1]))
    theirs = json.loads(payload(vector))
    many = lambda body: body if isinstance(body, list) else [body]  # noqa: E731 - one use
    assert [DEFAULTS[kind] | body for body in many(ours)] == [
        DEFAULTS[kind] | body for body in many(theirs)
    ]


@pytest.mark.parametrize("vector", encoded_by_us("status"))
def test_statuses_are_encoded_as_the_vectors_say(vector):
    """Births, heartbeats and wills say what the vectors' say."""
    ours = json.loads(encode_status(vector["status"]))
    assert DEFAULTS["status"] | ours == DEFAULTS["status"] | json.loads(payload(vector))


@pytest.mark.parametrize("vector", vectors("clock"))
def test_ticks_are_the_vectors_bytes(vector):
    """A tick is written as these very bytes, and reads as these values."""
    assert json.loads(payload(vector)).items() >= vector["message"].items()
    if vector["exact"]:
        assert encode_tick(vector["message"]["now"]) == payload(vector)


@pytest.mark.parametrize("vector", vectors("receipt"))
def test_receipts_cover_what_the_vectors_say(vector):
    """What may be forgotten and what must be kept, by our own reader."""
    assert is_receipt(vector["topic"], vector["topic"].split("/")[3])
    receipt = read_receipt(payload(vector))
    message = vector["message"]
    assert (receipt.ledger, receipt.upto) == (message["ledger"], message["upto"])
    epoch = message.get("epoch", 0)
    assert all(receipt.covers(epoch, seq) for seq in vector["covers"])
    assert not any(receipt.covers(epoch, seq) for seq in vector["lacks"])
    assert not any(receipt.covers(epoch + 1, seq) for seq in vector["covers"])


@pytest.mark.parametrize("vector", [p for p in vectors("topics") if "kind" in p.values[0]])
def test_topics_are_those_of_the_grammar(vector):
    """Our topics are the grammar's, for every kind we publish."""
    kind = vector["kind"]
    tail = f"{kind}/{vector['sha256']}" if "sha256" in vector else kind
    if "/up/" in vector["topic"]:
        assert up_topic(vector["site"], vector["device"], tail) == vector["topic"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b"null",
        b"{}",
        b'{"ledger":5}',
        b'{"ledger":"L","upto":true}',
        b'{"ledger":"L","upto":1e999}',
        b'{"ledger":"L","upto":9007199254740992}',
        b'{"ledger":"L","upto":1,"missing":[[1]]}',
        b'{"ledger":"L","upto":1,"missing":[1,2]}',
        b'{"ledger":"L","upto":1,"missing":"no"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_receipt_is_refused(body):
    """A device ignores what it cannot read; it must not take it for coverage."""
    with pytest.raises(BadReceiptError):
        read_receipt(body)
