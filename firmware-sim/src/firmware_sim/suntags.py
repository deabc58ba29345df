"""A tag that proves presence (NTAG 424 DNA), seen from its own side: it counts, and says so anew.

Written from the makers' notes (NXP AN12196 for what is mirrored, AN10922 for its keys) with AES
alone: CMAC is spelled out here as RFC 4493 has it, so that the service's reading is checked by
another one.
"""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

NDEF_APPLICATION = "D2760000850101"
SYSTEM = b"GRIDBEAT"


def aes_cbc(key: bytes, plain: bytes) -> bytes:
    """AES-CBC from a zero vector."""
    cipher = Cipher(AES(key), CBC(bytes(16))).encryptor()
    return cipher.update(plain) + cipher.finalize()


def cmac(key: bytes, message: bytes, *, whole: bool | None = None) -> bytes:
    """RFC 4493. `whole`: whether the message fills its last block; else as its length says."""
    full = bool(message) and len(message) % 16 == 0
    padded = message if full else message + b"\x80" + bytes(15 - len(message) % 16)
    subkey = aes_cbc(key, bytes(16))
    for _ in range(1 if (full if whole is None else whole) else 2):
        number = int.from_bytes(subkey, "big") << 1
        if number >> 128:
            number = (number & (1 << 128) - 1) ^ 0x87
        subkey = number.to_bytes(16, "big")
    last = bytes(a ^ b for a, b in zip(padded[-16:], subkey, strict=True))
    return aes_cbc(key, padded[:-16] + last)[-16:]


def diversify(master: bytes, data: bytes) -> bytes:
    """AN10922 for AES-128: the constant and the data, always padded to two blocks."""
    text = b"\x01" + data
    if len(text) == 32:
        return cmac(master, text, whole=True)
    return cmac(master, (text + b"\x80").ljust(32, b"\0"), whole=False)


class SunTag:
    """One tag, written with the keys of a master key for the `generation`-th time."""

    def __init__(self, uid: str, master: bytes, generation: int = 1):
        self.uid = uid
        self.counter = 0
        number = bytes.fromhex(uid)
        application = bytes.fromhex(NDEF_APPLICATION) + SYSTEM
        self._file = diversify(master, number + application + bytes([1, generation]))
        self._meta = diversify(master, bytes(7) + application + bytes([2, 0]))

    def tap(self) -> str:
        """What a reader finds in the tag's URL this time: nobody will find it again."""
        self.counter += 1
        told = bytes.fromhex(self.uid) + self.counter.to_bytes(3, "little")
        picc = aes_cbc(self._meta, b"\xc7" + told + b"\x5a\xa5\x5a\xa5\x5a")
        session = cmac(self._file, bytes.fromhex("3CC300010080") + told)
        mac = bytes(byte for place, byte in enumerate(cmac(session, b"")) if place % 2)
        return f"picc_data={picc.hex().upper()}&cmac={mac.hex().upper()}"
