"""Master keys of tags: in a file that is encrypted at rest, or in the environment; never shown.

The file is JSON: the parameters of scrypt, its salt, a nonce, and the keys sealed with AES-256-GCM
under what scrypt makes of the passphrase; all but the keys is authenticated with them. Each writing
takes a new salt and nonce. Who has only the file, or a backup of it, has no key.
"""

import base64
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from devices.ids import Instant
from devices.sun import BLOCK
from devices.tagkeys import Keyring, MasterKey
from store.settings import Settings

FORMAT = "gridbeat-tag-keys/1"
PASSPHRASE = "GRIDBEAT_TAG_PASSPHRASE"  # noqa: S105 - the name of a variable
LEAST_PASSPHRASE = 12


class Cost(NamedTuple):
    """scrypt's parameters: 2^16, 8, 2 take 64 MiB and some tenths of a second (OWASP, 2024)."""

    n: int = 2**16
    r: int = 8
    p: int = 2


COST = Cost()
MOST = Cost(2**18, 8, 4)
"""A file that asks for more is not ours: it would take the memory of the whole machine."""


class KeyringError(Exception):
    """The master keys cannot be used as things are. The message says what to do; it has no key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A master key in the file, and when it was made."""

    key: MasterKey = field(repr=False)
    made_at: Instant


def keyring(settings: Settings) -> Keyring:
    """The master keys in force: those of the environment, else of the file; none where neither is.

    Raises `KeyringError`.
    """
    if settings.tag_master_keys is not None:
        return Keyring({key.version: key for key in _told(settings.tag_master_keys)})
    if not settings.tag_keys_file.exists():
        return Keyring()
    kept = read(settings.tag_keys_file, passphrase(settings))
    return Keyring({each.key.version: each.key for each in kept})


def passphrase(settings: Settings) -> str:
    """What opens the file of master keys. Raises `KeyringError` where it is told nowhere."""
    if settings.tag_passphrase is not None:
        return settings.tag_passphrase.get_secret_value()
    path = settings.tag_passphrase_file
    if path is None:
        raise KeyringError(
            f"{settings.tag_keys_file} needs its passphrase: "
            f"set {PASSPHRASE}, or name its file in tag_passphrase_file"
        )
    _private(path)
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise KeyringError(f"{path} cannot be read as a passphrase: {error}") from None


def read(path: Path, secret: str) -> tuple[Kept, ...]:
    """The keys in a file, by version. Raises `KeyringError`."""
    _private(path)
    try:
        told = json.loads(path.read_bytes())
        head = {name: told[name] for name in ("format", "n", "r", "p", "salt", "nonce")}
        cost, sealed = Cost(head["n"], head["r"], head["p"]), _bytes(told["sealed"])
        if head["format"] != FORMAT or any(a > b for a, b in zip(cost, MOST, strict=True)):
            raise ValueError
        cipher = AESGCM(_key(secret, _bytes(head["salt"]), cost))
        plain = cipher.decrypt(_bytes(head["nonce"]), sealed, _bound(head))
    except InvalidTag:
        raise KeyringError(
            f"{path} does not open: its passphrase is another one, or the file was changed; "
            "restore both from where you keep them apart"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no file of tag keys"
        raise KeyringError(f"{path} cannot be read ({why}): restore it from a backup") from None
    return tuple(
        Kept(
            key=MasterKey(version=each["version"], secret=bytes.fromhex(each["secret"])),
            made_at=each["made_at"],
        )
        for each in json.loads(plain)
    )


def add_key(path: Path, secret: str, now: Instant, cost: Cost = COST) -> int:
    """Make a new master key, of the next version, in the file, which is made if need be.

    Raises `KeyringError`; then the file is as it was.
    """
    if len(secret) < LEAST_PASSPHRASE:
        raise KeyringError(f"the passphrase is too short: {LEAST_PASSPHRASE} characters or more")
    kept = read(path, secret) if path.exists() else ()
    version = 1 + max((each.key.version for each in kept), default=0)
    made = MasterKey(version=version, secret=secrets.token_bytes(BLOCK))
    write_private(path, _sealed((*kept, Kept(key=made, made_at=now)), secret, cost))
    return version


def write_private(path: Path, content: bytes) -> None:
    """Write a file that its owner alone may read (0600), whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _told(keys: Any) -> list[MasterKey]:
    """`1=00112233445566778899AABBCCDDEEFF,2=…`. Nothing of it is in an error."""
    found = []
    for piece in keys.get_secret_value().split(","):
        version, _, text = piece.strip().partition("=")
        try:
            found.append(MasterKey(version=int(version), secret=bytes.fromhex(text)))
        except ValueError:
            raise KeyringError(
                "GRIDBEAT_TAG_MASTER_KEYS: write 1=32 hex digits, further versions after a comma"
            ) from None
    return found


def _sealed(kept: Sequence[Kept], secret: str, cost: Cost) -> bytes:
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    head = {"format": FORMAT, **cost._asdict(), "salt": _text(salt), "nonce": _text(nonce)}
    keys = [
        {"version": each.key.version, "secret": each.key.secret.hex(), "made_at": each.made_at}
        for each in kept
    ]
    cipher = AESGCM(_key(secret, salt, cost))
    sealed = cipher.encrypt(nonce, json.dumps(keys).encode(), _bound(head))
    return json.dumps(head | {"sealed": _text(sealed)}, indent=1).encode() + b"\n"


def _key(secret: str, salt: bytes, cost: Cost) -> bytes:
    return Scrypt(salt=salt, length=32, n=cost.n, r=cost.r, p=cost.p).derive(secret.encode())


def _bound(head: dict[str, Any]) -> bytes:
    return json.dumps(head, sort_keys=True).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _private(path: Path) -> None:
    """Raises `KeyringError` for a secret that others may read, or that is not there."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise KeyringError(f"{path} cannot be read ({error.strerror}): correct its name") from None
    if stat.S_IMODE(mode) & 0o077:
        raise KeyringError(f"{path} may be read by others: chmod 600 {path}")
