"""Proof of presence: what an NTAG 424 DNA mirrors into its URL at each tap (SUN), verified. Pure.

    query string  ->  parse()  ->  Mirrored  ->  verify(keys)  ->  Tap | Proof

A copy of a UID cannot make the MAC, and no tap says the same twice: `(uid, ctr)` is fresh each
time. Source: NXP AN12196 (sections 3.3 to 3.4: PICCData, SDMMAC, SDMENCFileData), AES mode.
Whatever comes in, nothing here raises: what proves nothing says why.
"""

import re
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

from devices.proofs import Proof

BLOCK = 16
UID = 7
COUNTER = 3

_MAC_KEY = bytes.fromhex("3CC300010080")
_FILE_KEY = bytes.fromhex("C33C00010080")
_PICC_TAG = 0xC7  # UID mirrored, counter mirrored, a UID of seven bytes
_ZERO = bytes(BLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class SunKeys:
    """The two AES-128 keys that verify a tag's message (16 bytes each); never shown."""

    meta: bytes = field(repr=False)
    file: bytes = field(repr=False)


class Mirrored(NamedTuple):
    """A query string taken apart. Either `picc` (16 bytes), or `uid` and `ctr` in plain.

    `enc`: the text of the encrypted file data, upper-case; `literal`: what stands between it and
    the MAC, which is part of what the MAC is over. Both are empty where no file data is mirrored.
    """

    picc: bytes | None
    uid: bytes
    ctr: int
    enc: str
    literal: str
    mac: bytes


class Tap(NamedTuple):
    """A tap: the tag's UID as check-ins say it, its read counter, its deciphered file data."""

    uid: str
    ctr: int
    data: bytes


class _Part(NamedTuple):
    """A value of the query string, and where it stands in it: [start, end)."""

    value: str
    start: int
    end: int


_NAMES = {
    "picc_data": "picc",
    "e": "picc",
    "enc": "enc",
    "d": "enc",
    "uid": "uid",
    "ctr": "ctr",
    "cmac": "mac",
    "c": "mac",
}
"""How parameters are spelled: in NXP's examples, and as widely used servers have them."""

_SHAPES = {
    "picc": re.compile("[0-9A-Fa-f]{32}"),
    "enc": re.compile("(?:[0-9A-Fa-f]{32})+"),
    "uid": re.compile("[0-9A-Fa-f]{14}"),
    "ctr": re.compile("[0-9A-Fa-f]{6}"),
    "mac": re.compile("[0-9A-Fa-f]{16}"),
}


def parse(query: str) -> Mirrored | None:
    """Take a mirrored query string (or the whole URL) apart; None where it is none.

    Parameters that are not the tag's are left alone; one that comes twice makes it unreadable.
    """
    parts = _parts(query)
    if parts is None or "mac" not in parts or ("picc" in parts) == ("uid" in parts):
        return None
    picc, uid, ctr, enc, mac = map(parts.get, ("picc", "uid", "ctr", "enc", "mac"))
    if (uid is None) != (ctr is None) or mac is None or (enc is not None and enc.end > mac.start):
        return None
    return Mirrored(
        picc=None if picc is None else bytes.fromhex(picc.value),
        uid=b"" if uid is None else bytes.fromhex(uid.value),
        ctr=0 if ctr is None else int(ctr.value, 16),
        enc="" if enc is None else enc.value.upper(),
        literal="" if enc is None else query[enc.end : mac.start],
        mac=bytes.fromhex(mac.value),
    )


def verify(mirrored: Mirrored, keys: SunKeys) -> Tap | Proof:
    """The tap, if its MAC is right under `keys`; else `OTHER_KEY` or `BAD_MAC`.

    `OTHER_KEY`: the PICCData is none under the meta key, so that it was written with another one.
    """
    who = whose(mirrored, keys.meta)
    return Proof.OTHER_KEY if who is None else confirm(mirrored, who, keys)


def confirm(mirrored: Mirrored, who: Tap, keys: SunKeys) -> Tap | Proof:
    """The tap of `who` it says it is, with its file data, if the MAC is right; else `BAD_MAC`."""
    of_it = bytes.fromhex(who.uid) + who.ctr.to_bytes(COUNTER, "little")
    session = cmac(keys.file, _MAC_KEY + of_it)
    told = cmac(session, (mirrored.enc + mirrored.literal).encode(errors="replace"))[1::2]
    if not compare_digest(told, mirrored.mac):
        return Proof.BAD_MAC
    data = b""
    if mirrored.enc:
        cipher, counter = cmac(keys.file, _FILE_KEY + of_it), of_it[UID:]
        start = _encrypt(cipher, counter.ljust(BLOCK, b"\0"))
        data = _decrypt(cipher, start, bytes.fromhex(mirrored.enc))
    return who._replace(data=data)


def whose(mirrored: Mirrored, meta: bytes) -> Tap | None:
    """Whose message it says it is, not verified; None where the PICCData is another key's."""
    if mirrored.picc is None:
        return Tap(mirrored.uid.hex().upper(), mirrored.ctr, b"")
    plain = _decrypt(meta, _ZERO, mirrored.picc)
    if plain[0] != _PICC_TAG:
        return None
    ctr = int.from_bytes(plain[1 + UID : 1 + UID + COUNTER], "little")
    return Tap(plain[1 : 1 + UID].hex().upper(), ctr, b"")


def cmac(key: bytes, message: bytes) -> bytes:
    """AES-CMAC (NIST SP 800-38B), 16 bytes."""
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


def _parts(query: str) -> dict[str, _Part] | None:
    """The tag's parameters where they stand; None where one comes twice or has no such shape."""
    found: dict[str, _Part] = {}
    start = query.rfind("?") + 1
    for piece in query[start:].split("&"):
        name, equals, value = piece.partition("=")
        part = _NAMES.get(name)
        end = start + len(piece)
        if part is not None and equals:
            if part in found or _SHAPES[part].fullmatch(value) is None:
                return None
            found[part] = _Part(value, end - len(value), end)
        start = end + 1
    return found


def _decrypt(key: bytes, start: bytes, text: bytes) -> bytes:
    context = Cipher(AES(key), CBC(start)).decryptor()
    return context.update(text) + context.finalize()


def _encrypt(key: bytes, block: bytes) -> bytes:
    """One block: CBC from zero is the cipher itself."""
    context = Cipher(AES(key), CBC(_ZERO)).encryptor()
    return context.update(block) + context.finalize()
