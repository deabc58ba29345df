"""Mosquitto's password file: one line a user, `name:$7$iterations$salt$hash`.

`$7$` is PBKDF2 with HMAC-SHA-512 over a 12-byte random salt, 64 bytes long, both in base64, as
`mosquitto_passwd` of Mosquitto 2 writes it (its source: `lib/password_mosq.c`).

A bad file makes the broker stop when it reads it again. So it is replaced whole or not at all:
written beside, read back and checked, then renamed.
"""

import base64
import fcntl
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from desk.errors import DeskError

ITERATIONS = 101
"""Mosquitto's own number. The passwords are 128 random bits, which no number of rounds makes harder
to guess, while the broker, on its one thread, pays for them at every connect of every device."""

ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
"""32 signs without those taken for each other (0 o, 1 l): a password may have to be typed in."""

LENGTH = 26
"""Of a password: 26 signs of 5 bits, 130 bits."""

_LINE = re.compile(r"[^:\s]+:\$7\$[1-9][0-9]*\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{86}==")


def new_password() -> str:
    """A random password that needs no quoting in a shell or an address."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def hashed(password: str, salt: bytes | None = None) -> str:
    """`password` as Mosquitto keeps it; `salt` is 12 bytes, drawn anew unless given."""
    salt = salt if salt is not None else secrets.token_bytes(12)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def read_passwords(path: Path) -> dict[str, str]:
    """User name to hash, in the file's order; empty where there is no file.

    Raises `DeskError` for a line Mosquitto would stop at.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    users = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if not _LINE.fullmatch(line):
            raise DeskError(
                f"{path}, line {number} is not a password line of Mosquitto 2",
                "take the line out, or make the user anew with `gridbeat device enroll --renew`",
            )
        name, kept = line.split(":", 1)
        users[name] = kept
    return users


def write_passwords(path: Path, users: Mapping[str, str]) -> None:
    """Replace the password file whole."""

    def check(written: Path) -> None:
        if read_passwords(written) != dict(users):
            raise DeskError(f"{written} does not read back as it was written", "look at the disk")

    write_file(path, "".join(f"{name}:{kept}\n" for name, kept in users.items()), check)


def make_private(folder: Path) -> None:
    """Make a folder for its owner only; made by root, it belongs to whom the one above belongs."""
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    _give_away(folder, folder.parent)


def write_file(path: Path, text: str, check: Callable[[Path], None] | None = None) -> None:
    """Put `text` where `path` is, all of it or nothing, readable by its owner only.

    Written by root, it belongs to the folder's owner: a broker that cannot read it again stops.
    `check` sees the new file before it takes the old one's place, and may raise.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            _give_away(file.fileno(), path.parent)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            check(Path(name))
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    _sync(path.parent)


def _give_away(made: int | Path, folder: Path) -> None:
    """What root makes in a folder belongs to the folder's owner."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(made, owner.st_uid, owner.st_gid)


def _sync(folder: Path) -> None:
    """Make a rename in `folder` outlast a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the broker's folder against another `gridbeat` that enrols at the same time."""
    with (folder / ".lock").open("w") as file:
        _give_away(file.fileno(), folder)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
