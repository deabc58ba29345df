"""What makes two publishes of one record the same content (contract section 2, Identity).

The digest is taken from the JSON values, not from the decoded message: ledgers store it, and
it must stay the same when a later version learns a member that this one ignores. For the same
reason nothing here may change once a ledger exists; `tests/devices/test_content.py` pins it.

The same content are: any order of members, any whitespace, any way to write a string's
characters, 30 and 30.0, a member that is absent and one that is `null`, a default said and
left out, a UID with and without separators, a `boot` in digits and in quotes. Counted as
content is everything else: unknown members, and the topic's site and kind too, so that a
record told of two places is never dropped silently.
"""

import hashlib
import re
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from devices.ids import MAX_SAFE, is_slug, is_uid, normalize_tag
from devices.messages import CheckIn, Via
from devices.topics import Kind, UpTopic

MAX_TAG = 128
"""Characters of a tag as it was sent (contract section 2)."""

_DEFAULTS: Mapping[Kind, tuple[str, object]] = {
    Kind.CHECKIN: ("via", "nfc"),
    Kind.HAZARD: ("action", "report"),
    Kind.SOS: ("silent", False),
}
_NOT_CONTENT = ("seq", "epoch", "sent", "sent_up")

_signed = struct.Struct(">q").unpack
_whole_float = re.compile(rb"[0-9]\.0(?![0-9])").search
_encode = msgspec.json.Encoder(order="deterministic").encode


def name_alike(said: dict[str, Any]) -> None:
    """Write `tag` and `boot`, in place, the one way in which they are compared and kept."""
    tag = said.get("tag")
    if type(tag) is str and len(tag) <= MAX_TAG:
        said["tag"] = normalize_tag(tag)
    boot = said.get("boot")
    if type(boot) is int and 0 <= boot <= MAX_SAFE:
        said["boot"] = str(boot)


def tidied(said: dict[str, Any]) -> dict[str, Any]:
    """A copy without `null` members and with whole floats as integers, at every depth."""
    plain = {name: _plain(value) for name, value in said.items() if value is not None}
    name_alike(plain)
    return plain


def _plain(value: Any) -> Any:
    if type(value) is dict:
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    if type(value) is list:
        return [_plain(inner) for inner in value]
    if type(value) is float and value.is_integer() and abs(value) <= MAX_SAFE:
        return int(value)
    return value


def digest(topic: UpTopic, said: dict[str, Any]) -> int:
    """Signed 64-bit hash of what `said`, named alike, says on `topic`; fits an SQL integer.

    BLAKE2b shortened to 8 bytes: within one identity only a handful of contents ever meet, so
    64 bits are plenty, and no device can aim at another's.
    """
    default, value = _DEFAULTS[topic.kind]
    content = said.copy()
    for name in _NOT_CONTENT:
        content.pop(name, None)
    if content.get(default) == value:
        del content[default]
    text = _encode(content)
    # A cheap look first: both may stand in a string, then the walk merely finds nothing.
    if b"null" in text or (b".0" in text and _whole_float(text)):
        text = _encode(_plain(content))
    return _hash(topic, text)


def _hash(topic: UpTopic, text: bytes) -> int:
    return _finish(_begun(topic.site, topic.kind).copy(), text)


@lru_cache(20_000)
def _begun(site: str, kind: Kind) -> "hashlib.blake2b":
    """The hash of the place, with which all that is said there begins; to be copied."""
    return hashlib.blake2b(f"{site} {kind}\n".encode(), digest_size=8)


def _finish(begun: "hashlib.blake2b", text: bytes) -> int:
    begun.update(text)
    number: int = _signed(begun.digest())[0]
    return number


# The usual check-in -------------------------------------------------------------------------------


class Usual(CheckIn, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A check-in whose JSON says nothing in a way of its own, so that its content needs no look at
    the JSON: known members only, none inside another, a UID written as it is kept.
    """

    tag: str
    person: str | None = None
    pos: None = None


_USUAL = tuple(sorted(set(Usual.__struct_fields__) - {*_NOT_CONTENT, "pos", "items"}))
_Said = msgspec.defstruct(
    "_Said",
    [(name, Any, Via.NFC if name == "via" else None) for name in _USUAL],
    omit_defaults=True,
)
_said = attrgetter(*_USUAL)
_read_usual = msgspec.json.Decoder(Usual).decode


def read_usual(raw: bytes) -> Usual | None:
    """The check-in in `raw`, if it is a usual one."""
    if b"\\" in raw or b"[" in raw:  # an escape, which may stand for anything, or items
        return None
    try:
        read = _read_usual(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return read if _named_as_kept(read.tag, read.person) else None


@lru_cache(20_000)  # the same tags and people again and again: the decoder would ask each time
def _named_as_kept(tag: str, person: str | None) -> bool:
    return is_uid(tag) and (person is None or is_slug(person))


def digester(topic: UpTopic) -> Callable[[Usual], int]:
    """A function that tells of a check-in told on `topic` what `digest` says of its JSON."""
    begun = _begun(topic.site, topic.kind)

    def digest_usual(message: Usual) -> int:
        return _finish(begun.copy(), _encode(_Said(*_said(message))))

    return digest_usual
