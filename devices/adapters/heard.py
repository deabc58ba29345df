"""What an adapter is given and what it answers: the same few values for every source.

A foreign reader has no `seq`. `key` is what a repeat of the same read has in common with it, by
whatever that source says; two messages with one key are one read (law 2).
"""

import hashlib
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from devices.codec import Bad
from devices.ids import Instant
from devices.messages import Pos, Status, Via


class Foreign(NamedTuple):
    """One message as it came: `received_at` is our clock, `retained` as in contract §2."""

    topic: str
    payload: bytes
    retained: bool
    received_at: Instant


class TimeSource(StrEnum):
    """Who says when a read happened."""

    DEVICE = "device"
    """The device's own clock, as Unix time or with its offset."""
    LOCAL = "device-local"
    """The device's own clock, but local time without offset; it holds only where it agrees with
    ours in the site's time zone."""
    GATEWAY = "gateway"
    """The clock of the gateway or network server that the device spoke to."""
    RECEIPT = "receipt"
    """Nobody but us: the message says no time, or one that cannot be right."""


class When(Struct, frozen=True, kw_only=True):
    """When something happened, as told. `at` and `sent` are there for DEVICE and GATEWAY only.

    `local`: for LOCAL, `YYYY-MM-DDTHH:MM:SS` as the device wrote it.
    """

    source: TimeSource
    at: Instant | None = None
    sent: Instant | None = None
    local: str | None = None


class Read(Struct, frozen=True, kw_only=True):
    """A tag was read or a place entered. Without `tag`, `pos` says where somebody said to be."""

    key: str
    when: When
    via: Via
    tag: str | None = None
    pos: Pos | None = None
    bat: int | None = None
    rssi: int | None = None


class Call(Struct, frozen=True, kw_only=True):
    """A panic button was pressed."""

    key: str
    when: When
    pos: Pos | None = None


class Ignored(Struct, frozen=True, kw_only=True):
    """Nothing of interest: counted under `why`, a few words of a fixed list, and not kept."""

    why: str


Said = Read | Call | Status | Ignored | Bad


class Heard(Struct, frozen=True, kw_only=True):
    """What a message says, and the address it speaks from; None where that is no device's."""

    address: str | None
    said: tuple[Said, ...]


ELSEWHERE = Heard(address=None, said=(Ignored(why="another topic"),))
"""A topic that is none of the source's."""

NUMBERED = 1 << 52
"""The lowest `seq` made from a key. No handheld counts that far, so the two never meet."""


def seq_of(protocol: str, key: str) -> int:
    """The `seq` that stands for a key: 52 bits of its BLAKE2b above `NUMBERED`, so below 2**53.

    Two reads of one device that fall together by chance differ in `digest_of`, and the second goes
    to quarantine as an identity conflict rather than being lost.
    """
    digest = hashlib.blake2b(f"{protocol}\n{key}".encode(), digest_size=8).digest()
    return NUMBERED | int.from_bytes(digest, "big") >> 12


def digest_of(protocol: str, said: Read | Call) -> int:
    """Signed 64-bit hash of what was said, apart from what a copy may tell otherwise.

    That is battery and signal, and `created_at` of a message that was put together once more.
    """
    pos = said.pos
    parts = [protocol, said.key, "" if pos is None else f"{pos.lat} {pos.lon} {pos.acc}"]
    if isinstance(said, Read):
        parts += [said.via, said.tag or ""]
    hashed = hashlib.blake2b("\n".join(parts).encode(), digest_size=8, person=b"foreign")
    return int.from_bytes(hashed.digest(), "big", signed=True)
