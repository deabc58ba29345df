"""What broken firmware and strangers publish: each belongs in quarantine, and stops nothing.

The kinds are those the main job names: garbage bytes, a record without a number, a deep nest of
brackets, numbers beyond 2^53, 300 KiB, a foreign site, a device nobody enrolled.
"""

import json
from collections.abc import Callable, Mapping


def _bytes(at: int) -> bytes:
    return b"\x00\xff\xfe garbage " + str(at).encode()


def _no_seq(at: int) -> bytes:
    return json.dumps({"at": at, "tag": "04BAD0BAD0"}).encode()


def _nest(at: int) -> bytes:
    return b"[" * 20_000 + str(at).encode() + b"]" * 20_000


def _huge_number(at: int) -> bytes:
    return json.dumps({"seq": 2**60, "at": at, "tag": "04BAD0BAD0"}).encode()


def _too_large(at: int) -> bytes:
    return json.dumps({"seq": 1, "at": at, "tag": "04BAD0BAD0", "x": "x" * 300 * 1024}).encode()


def _record(at: int) -> bytes:
    return json.dumps({"seq": at % 1_000_000, "epoch": 7, "at": at, "tag": "04BAD0BAD0"}).encode()


GARBAGE: Mapping[str, Callable[[int], bytes]] = {
    "bytes": _bytes,
    "no-seq": _no_seq,
    "nest": _nest,
    "huge-number": _huge_number,
    "too-large": _too_large,
    "foreign-site": _no_seq,
    "stranger": _record,
}


def payload(what: str, at: int) -> bytes:
    """The bytes of one piece of garbage; no two instants give the same."""
    return GARBAGE[what](at)
