"""Ids and units of the wire (contract v1, first paragraphs and section 2)."""

import re
from typing import NamedTuple, Self

Instant = int
"""A point in time: whole milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted."""

MAX_SAFE = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8259, section 6)."""

RESERVED = frozenset({"all", "events", "sim", "service", "time"})
"""Slugs that topics and events use themselves; nothing may be named so."""

SLUG_PATTERN = rf"^(?!(?:{'|'.join(sorted(RESERVED))})\Z)[a-z0-9][a-z0-9-]{{0,62}}\Z"

_slug = re.compile(SLUG_PATTERN).match
_number = re.compile(r"0|[1-9][0-9]{0,15}").fullmatch
_uid = re.compile(r"(?:[0-9A-F]{2}){2,64}").fullmatch
_hex = re.compile(r"(?:[0-9A-Fa-f]{2}){2,}").fullmatch
_separators = str.maketrans("", "", "-: ")


def is_slug(text: str) -> bool:
    """Whether `text` may be an id: 1 to 63 of `a-z 0-9 -`, not led by `-`, not reserved."""
    return _slug(text) is not None


def is_uid(text: str) -> bool:
    """Whether `text` is a UID, written as it is kept; at most 128 digits, as many as a tag has."""
    return _uid(text) is not None


def normalize_tag(text: str) -> str:
    """A UID in upper-case hex without separators, or `text` as it is where it is none.

    A UID is an even number of hex digits, at least 4, once `-`, `:` and spaces are taken out
    (contract section 2), so readers that print `04:a2:b3:c4` and `04A2B3C4` name one tag.
    """
    if _uid(text):
        return text
    bare = text.translate(_separators)
    return bare.upper() if _hex(bare) else text


def identity_of(device: str, epoch: int, seq: int) -> str:
    """An identity as text, where nothing else of it is asked: `str(Identity(...))`."""
    return f"{device}/{epoch}/{seq}"


class Identity(NamedTuple):
    """Which record this is: what counts once, everywhere (law 2)."""

    device: str
    epoch: int
    seq: int

    def __str__(self) -> str:
        return identity_of(self.device, self.epoch, self.seq)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The identity that `str()` wrote. Raises ValueError for anything else."""
        match text.split("/"):
            case [device, epoch, seq] if is_slug(device) and _number(epoch) and _number(seq):
                found = cls(device, int(epoch), int(seq))
                if found.epoch <= MAX_SAFE and found.seq <= MAX_SAFE:
                    return found
        raise ValueError(f"{text!r} is no identity: write device/epoch/seq, as in hh-0101/0/17")
