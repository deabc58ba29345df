"""Bytes to messages and back. Whatever the bytes are, decoding answers and never raises.

A usual check-in is read in one step, to what the general way would say of it (`content.Usual`).
Every other record is read in four: generic JSON, which checks the whole text, unknown members
included; `tag` and `boot` written the one way in which they are kept; its message, which checks
every known member (once more with `null` members dropped and whole floats as integers, where the
first try failed); the digest of its content.
"""

import hashlib
import json
import re
from array import array
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import accumulate
from typing import Any, NoReturn, TypeGuard, TypeVar

import msgspec

from devices import content
from devices.ids import MAX_SAFE, Identity
from devices.messages import (
    CheckIn,
    ClockTick,
    EventMessage,
    Hazard,
    Message,
    Receipt,
    Rounds,
    Sos,
    Status,
)
from devices.reasons import Reason
from devices.topics import Kind, UpTopic

MAX_BYTES = 256 * 1024
MAX_PHOTO_BYTES = 1024 * 1024
MAX_RECORDS = 200
MAX_DEPTH = 32
"""Brackets inside brackets, of one record; the deepest of the contract is 3."""

MAX_DIGITS = 16
"""Decimal digits of 2**53-1."""

MAX_DETAIL = 200
"""Characters; msgspec's words may quote a device's own, however long."""

M = TypeVar("M", bound=msgspec.Struct)

_TYPES: Mapping[Kind, type[CheckIn | Hazard | Sos]] = {
    Kind.CHECKIN: CheckIn,
    Kind.HAZARD: Hazard,
    Kind.SOS: Sos,
}
_decode = msgspec.json.Decoder().decode
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_strings = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_MAGIC: tuple[tuple[Callable[[bytes], object], str], ...] = (
    (re.compile(rb"\xff\xd8\xff").match, "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n").match, "image/png"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL).match, "image/webp"),
)
_between = re.compile(r"[ \t\r\n]*,?[ \t\r\n]*").match
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_OTHERS = bytes(set(range(256)) - set(b"[{]}"))


class Record(msgspec.Struct, frozen=True, gc=False):
    """One readable record: `raw` is its own bytes, also where it came in an array.

    `digest` is a signed 64-bit hash of the content; the same identity with another digest
    is an identity conflict.
    """

    device: str
    message: CheckIn | Hazard | Sos
    raw: bytes
    digest: int

    @property
    def identity(self) -> Identity:
        """What counts once."""
        return Identity(self.device, self.message.epoch, self.message.seq)


class Photo(msgspec.Struct, frozen=True, kw_only=True):
    """One photo whose bytes are what its topic says; `media_type` as in HTTP."""

    sha256: str
    media_type: str
    data: bytes


class Bad(msgspec.Struct, frozen=True, kw_only=True):
    """What could not be read, for quarantine; `epoch` and `seq` where it is JSON and says so.

    Both are there or neither. They are never guessed from broken JSON: `"seq": 12` may be the
    beginning of 123, and a receipt for 12 would make the device forget a record we never saw.
    """

    reason: Reason
    detail: str
    raw: bytes
    epoch: int | None = None
    seq: int | None = None


def decode(topic: UpTopic, payload: bytes) -> list[Record | Bad]:
    """The records of one publish of kind checkin, hazard or sos, in their order.

    An array is judged element by element. Raises ValueError for topics of other kinds only.
    """
    if topic.kind not in _TYPES:
        raise ValueError(f"{topic.kind} carries no records: use decode_{topic.kind}")
    if len(payload) > MAX_BYTES:
        return [_too_large(payload, MAX_BYTES)]
    if payload[:1] == b"{" or payload.lstrip(b" \t\r\n")[:1] != b"[":
        return [_record(topic, payload)]
    elements = array_elements(payload)
    if isinstance(elements, Bad):
        return [elements]
    if len(elements) > MAX_RECORDS:
        return [_bad(Reason.TOO_MANY, f"{len(elements)} records, at most {MAX_RECORDS}", payload)]
    return [_record(topic, element) for element in elements]


def decode_status(payload: bytes) -> Status | Bad:
    """A birth, heartbeat or last will."""
    return _one(Status, payload)


def decode_photo(topic: UpTopic, payload: bytes) -> Photo | Bad:
    """A photo whose bytes match the SHA-256 of its topic and begin as JPEG, PNG or WebP do."""
    if len(payload) > MAX_PHOTO_BYTES:
        return _too_large(payload, MAX_PHOTO_BYTES)
    found = hashlib.sha256(payload).hexdigest()
    if found != topic.sha256:
        return _bad(Reason.BAD_PHOTO, f"its SHA-256 is {found}, the topic says another", payload)
    for magic, media_type in _MAGIC:
        if magic(payload):
            return Photo(sha256=found, media_type=media_type, data=payload)
    return _bad(Reason.BAD_PHOTO, "begins neither as JPEG nor as PNG nor as WebP", payload)


def decode_clock(payload: bytes) -> ClockTick | Bad:
    """A tick of the simulator's clock."""
    return _one(ClockTick, payload)


def decode_receipt(payload: bytes) -> Receipt | Bad:
    """What a device reads on `down/receipt`."""
    return _one(Receipt, payload)


def decode_rounds(payload: bytes) -> Rounds | Bad:
    """What a device reads on `down/rounds`."""
    return _one(Rounds, payload)


def decode_message(payload: bytes) -> Message | Bad:
    """What a device reads on `down/message`."""
    return _one(Message, payload)


def decode_event(payload: bytes) -> EventMessage | Bad:
    """What anyone reads on `events/{kind}`."""
    return _one(EventMessage, payload)


_encode = msgspec.json.Encoder(order="deterministic").encode


def encode_receipt(receipt: Receipt) -> bytes:
    """The payload of `down/receipt`: members in the contract's order, no spaces."""
    return _encode(receipt)


def encode_rounds(rounds: Rounds) -> bytes:
    """The payload of `down/rounds`."""
    return _encode(rounds)


def encode_message(message: Message) -> bytes:
    """The payload of `down/message`."""
    return _encode(message)


def encode_event(event: EventMessage) -> bytes:
    """The payload of `events/{kind}`; the members of `data` sorted by name."""
    return _encode(event)


def encode_clock(tick: ClockTick) -> bytes:
    """The payload of the simulator's clock."""
    return _encode(tick)


def array_elements(payload: bytes) -> list[bytes] | Bad:
    """The bytes of each element of a JSON array, whatever they are."""
    try:
        return [bytes(element) for element in _split(payload)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        bad = _unreadable(payload)
    # One lone surrogate must not cost the others: msgspec refuses to pass over it, json does not.
    return bad if bad.reason is not Reason.SCHEMA else _slowly(payload.decode())


def _slowly(array: str) -> list[bytes]:
    """The same for text that is known to be a JSON array."""
    elements: list[bytes] = []
    start = _gap(array, array.index("[") + 1)
    while array[start] != "]":
        _, end = _scanner.raw_decode(array, start)
        elements.append(array[start:end].encode())
        start = _gap(array, end)
    return elements


def _gap(text: str, start: int) -> int:
    """Where the next element, or the end, begins."""
    found = _between(text, start)
    return found.end() if found else start


def _record(topic: UpTopic, raw: bytes) -> Record | Bad:
    if topic.kind is Kind.CHECKIN and (usual := content.read_usual(raw)) is not None:
        return Record(topic.device, usual, raw, content.digester(topic)(usual))
    said = _object(raw)
    if isinstance(said, Bad):
        return said
    read = _message(_TYPES[topic.kind], said, raw)
    if isinstance(read, Bad):
        return read
    message, said = read
    return Record(topic.device, message, raw, content.digest(topic, said))


def _one(kind: type[M], payload: bytes) -> M | Bad:
    if len(payload) > MAX_BYTES:
        return _too_large(payload, MAX_BYTES)
    said = _object(payload)
    if isinstance(said, Bad):
        return said
    read = _message(kind, said, payload)
    return read if isinstance(read, Bad) else read[0]


def json_object(raw: bytes) -> dict[str, Any] | Bad:
    """The one JSON object in `raw`, whatever it says; within the bounds of contract §2."""
    if len(raw) > MAX_BYTES:
        return _too_large(raw, MAX_BYTES)
    return _object(raw)


def _object(raw: bytes) -> dict[str, Any] | Bad:
    """The JSON object in `raw`, its names written alike."""
    if _too_deep(raw):
        return _bad(Reason.TOO_DEEP, f"more than {MAX_DEPTH} brackets inside each other", raw)
    try:
        said = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _unreadable(raw)
    if type(said) is not dict:
        return _bad(Reason.SCHEMA, "expected an object, or an array of objects", raw)
    content.name_alike(said)
    return said


def _message(kind: type[M], said: dict[str, Any], raw: bytes) -> tuple[M, dict[str, Any]] | Bad:
    """The message, and the members it was read from."""
    try:
        message = msgspec.convert(said, kind)
    except msgspec.ValidationError:
        said = content.tidied(said)
        try:
            message = msgspec.convert(said, kind)
        except msgspec.ValidationError as error:
            return _bad(Reason.SCHEMA, str(error), raw, said)
    # PostgreSQL's text cannot hold U+0000, and nothing that a person reads contains it.
    if b"\\u0000" in raw and _has_nul(msgspec.to_builtins(message)):
        return _bad(Reason.SCHEMA, "a text with U+0000 in it", raw, said)
    return message, said


def _has_nul(value: Any) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(_has_nul(inner) for inner in value.values())
        case list() | tuple():
            return any(_has_nul(inner) for inner in value)
    return False


def _too_deep(raw: bytes) -> bool:
    """Counted before parsing, so that the answer does not depend on the parser's own stack."""
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return False
    steps = array("b", _strings.sub(b"", raw).translate(_STEPS, _OTHERS))
    return max(accumulate(steps), default=0) > MAX_DEPTH


def _unreadable(raw: bytes) -> Bad:
    """Why the fast decoder refused: no JSON at all, or JSON with values nobody can keep.

    RFC 8259 allows 1e999 and a lone surrogate; then the identity beside them can be read.
    """
    if _too_deep(raw):
        return _bad(Reason.TOO_DEEP, f"more than {MAX_DEPTH} brackets inside each other", raw)
    try:
        said = _lenient(raw.decode())
    except (ValueError, RecursionError) as error:
        return _bad(Reason.NOT_JSON, str(error), raw)
    return _bad(Reason.SCHEMA, "a number or character outside what JSON readers keep", raw, said)


def _too_large(raw: bytes, limit: int) -> Bad:
    """Refused by size; still asked for its identity, or its device would send it for ever."""
    said: object = None
    if limit == MAX_BYTES and len(raw) <= 4 * MAX_BYTES and not _too_deep(raw):
        with suppress(ValueError, RecursionError):
            said = _lenient(raw.decode())
    return _bad(Reason.TOO_LARGE, f"{len(raw)} bytes, at most {limit}", raw, said)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _small_int(digits: str) -> int:
    """Long numbers are out of range anyway, and slow to read."""
    return int(digits) if len(digits) <= MAX_DIGITS else -1


_scanner = json.JSONDecoder(parse_constant=_no_constant, parse_int=_small_int)
_lenient = _scanner.decode


def _bad(reason: Reason, detail: str, raw: bytes, said: object = None) -> Bad:
    epoch, seq = _identity(said) if isinstance(said, dict) else (None, None)
    return Bad(reason=reason, detail=detail[:MAX_DETAIL], raw=raw, epoch=epoch, seq=seq)


def _identity(said: dict[str, Any]) -> tuple[int, int] | tuple[None, None]:
    """Epoch and seq, if both are what the contract allows."""
    epoch, seq = said.get("epoch"), said.get("seq")
    epoch = 0 if epoch is None else epoch
    if _counts(epoch) and _counts(seq):
        return int(epoch), int(seq)
    return None, None


def _counts(value: object) -> TypeGuard[int]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= MAX_SAFE and value == int(value)
