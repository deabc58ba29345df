"""A tag's keys, diversified from a master key: no tag's keys tell anything of another's. Pure.

Method: NXP AN10922, AES-128 (section 2.2). The input says whose key it is, which of the five, and
how often the tag was enrolled, so that a tag that is written anew has new keys, and its counter,
which then begins at 0 again, meets no old one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from devices.sun import BLOCK, UID, SunKeys, cmac

DIVERSIFY_AES128 = b"\x01"
LEAST, MOST = BLOCK, 2 * BLOCK - 1
"""Length of a diversification input: with these AN10922 is plain CMAC over constant and input."""

APPLICATION = bytes.fromhex("D2760000850101")  # the tag's NDEF application, by its ISO name
SYSTEM = b"GRIDBEAT"
KEYS = 5
FILE_KEY, META_KEY = 1, 2
"""Numbers as in AN12196: key 1 makes the MAC (SDMFileRead), key 2 hides the UID (SDMMetaRead)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterKey:
    """An AES-128 master key (16 bytes; never shown). Versions count from 1."""

    version: int
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != BLOCK:
            raise ValueError("a master key has 16 bytes: write 32 hex digits")
        if self.version < 1:
            raise ValueError("versions of a master key count from 1")


@dataclass(frozen=True, slots=True)
class Keyring:
    """Master keys by version; new tags are enrolled with the latest."""

    keys: Mapping[int, MasterKey] = field(default_factory=dict)

    @property
    def latest(self) -> int | None:
        """The highest version; None where there is no key at all."""
        return max(self.keys, default=None)


def diversified(master: bytes, data: bytes) -> bytes:
    """The AES-128 key that AN10922 makes of a master key and 16 to 31 bytes of input.

    Raises ValueError for another length: there AN10922 pads otherwise than CMAC does.
    """
    if not LEAST <= len(data) <= MOST:
        raise ValueError(f"a diversification input has {LEAST} to {MOST} bytes, not {len(data)}")
    return cmac(master, DIVERSIFY_AES128 + data)


def tag_key(master: MasterKey, uid: str, number: int, generation: int) -> bytes:
    """Key `number` (0 to 4) of a tag that was enrolled for the `generation`-th time (1 to 255).

    The meta key alone is the same for all tags of a master key: it deciphers the UID, so it must
    be found before that is known. Who extracts it can follow tags, and prove nothing.
    """
    whose = bytes(UID) if number == META_KEY else bytes.fromhex(uid)
    which = bytes((number, 0 if number == META_KEY else generation))
    return diversified(master.secret, whose + APPLICATION + SYSTEM + which)


def sun_keys(master: MasterKey, uid: str, generation: int) -> SunKeys:
    """The two keys that verify the tag's messages."""
    return SunKeys(
        meta=tag_key(master, uid, META_KEY, generation),
        file=tag_key(master, uid, FILE_KEY, generation),
    )
