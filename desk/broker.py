"""The files of our own Mosquitto: its configuration, its passwords, its access list.

They lie in one private folder. The configuration is the project's own `mosquitto.conf` with this
machine's paths, listener and user; the rest of it is written once, there.
"""

import getpass
import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from desk.credentials import (
    hashed,
    locked,
    new_password,
    read_passwords,
    write_file,
    write_passwords,
)
from desk.errors import DeskError, UsageError
from store.addresses import is_loopback

SERVICE_USER = "gridbeat"
"""The name under which the service, and everything of ours that needs all topics, logs in."""

CONF, PASSWORDS, ACCESS, PID = "mosquitto.conf", "passwd", "acl", "mosquitto.pid"

ACCESS_LIST = f"""\
# Who may say and hear what. Made by `gridbeat broker init`; it holds no secrets, names no device,
# and need not change when one is enrolled.

# Without a name, which only loopback allows (mosquitto.conf, `allow_anonymous`): everything of
# ours, so that the service, the demo and mosquitto_pub work at once on one machine. Whoever can
# reach loopback could read the ledger's file as well. With `allow_anonymous false` these lines
# have no effect.
topic readwrite patrol/v1/#
topic read $SYS/#

# The service: hears every device, answers each, tells events. `$SYS` is the broker's own state,
# for `gridbeat doctor`.
user {SERVICE_USER}
topic readwrite patrol/v1/#
topic read $SYS/#

# A device, by the name it logged in with: writes only as itself, reads only what is for it, at any
# site (an inspector's handheld goes from school to school).
pattern write patrol/v1/+/%u/up/#
pattern read patrol/v1/+/%u/down/#
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What `init` did: the folder, the files written anew, the service's password if it is new."""

    folder: Path
    port: int
    host: str
    written: tuple[str, ...]
    password: str | None

    @property
    def mqtt_url(self) -> str | None:
        """The address with the service's user, shown once; None when the user was there already."""
        if self.password is None:
            return None
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound
        host = f"[{host}]" if ":" in host else host
        return f"mqtt://{SERVICE_USER}:{self.password}@{host}:{self.port}"


def template() -> str:
    """The project's own mosquitto.conf: from the wheel, else from the checkout this runs in."""
    here = Path(__file__).resolve().parent
    for path in (here / CONF, here.parent / CONF):
        with suppress(FileNotFoundError):
            return path.read_text(encoding="utf-8")
    raise DeskError("the project's mosquitto.conf is missing", "install gridbeat again")


def render(text: str, *, folder: Path, port: int, host: str, user: str) -> str:
    """`text` (the project's file) for one machine: its listener, its paths, its user.

    Beyond loopback nobody comes in without a name.
    """
    if any(sign in str(folder) for sign in "\n\r"):
        raise UsageError("the broker's folder has a line break in its name")
    anonymous = "true" if is_loopback(host) else "false"
    changes = (
        (r"^user .*$", f"user {user}"),
        (r"^listener .*$", f"listener {port} {host}"),
        (r"^allow_anonymous .*$", f"allow_anonymous {anonymous}"),
        (r"^((?:#:)?\w+) broker/", rf"\g<1> {_literal(f'{folder}/')}"),
    )
    for pattern, replacement in changes:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")


def init(folder: Path, *, port: int = 1883, host: str = "127.0.0.1", force: bool = False) -> Made:
    """Make the broker's folder and files; what is there already and the same is left alone.

    A configuration or access list that differs is somebody's work: it is kept unless `force`, which
    puts the old one aside as `NAME.old`. Passwords are only ever added to.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    conf = render(template(), folder=folder, port=port, host=host, user=getpass.getuser())
    wanted = {CONF: conf, ACCESS: ACCESS_LIST}
    with locked(folder):
        stale = [name for name, text in wanted.items() if _differs(folder / name, text)]
        if stale and not force:
            raise DeskError(
                f"{folder / stale[0]} is there already, and is not what would be written",
                "keep it, or write it anew with --force (the old one stays as "
                f"{stale[0]}.old; passwords stay)",
            )
        written = [name for name in wanted if name in stale or not (folder / name).exists()]
        for name in written:
            _put(folder / name, wanted[name])
        password = _service_user(folder / PASSWORDS)
    if password is not None:
        written.append(PASSWORDS)
    return Made(folder=folder, port=port, host=host, written=tuple(written), password=password)


def _differs(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") != text


def _put(path: Path, text: str) -> None:
    if path.exists():
        path.replace(path.with_name(f"{path.name}.old"))
    write_file(path, text)


def _service_user(path: Path) -> str | None:
    users = read_passwords(path)
    if SERVICE_USER in users:
        return None
    password = new_password()
    write_passwords(path, {**users, SERVICE_USER: hashed(password)})
    return password


def set_password(folder: Path, name: str, *, renew: bool = False) -> str:
    """Give `name` a new password in `folder` and return it; it is kept nowhere in plain.

    Raises `DeskError` when there is no broker's folder, or when `name` has one and not `renew`.
    """
    path = folder / PASSWORDS
    if not path.exists():
        raise DeskError(
            f"there is no password file {path}", f"first: gridbeat broker init --dir {folder}"
        )
    password = new_password()
    with locked(folder):
        users = read_passwords(path)
        if name in users and not renew:
            raise DeskError(
                f"{name} has a password on this broker already",
                f"if it is lost: gridbeat device enroll {name} --renew (the old one stops working)",
            )
        write_passwords(path, {**users, name: hashed(password)})
    return password


def running(folder: Path) -> int | None:
    """The process of the broker of `folder`; None when none is running."""
    with suppress(FileNotFoundError, ValueError):
        pid = int((folder / PID).read_text().strip())
        return pid if _is_mosquitto(pid) else None
    return None


def reload(folder: Path) -> bool:
    """Have the broker of `folder` read its files again (SIGHUP); False when none is running."""
    pid = running(folder)
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise DeskError(
            f"the running broker ({pid}) belongs to another user",
            f"as that user: kill -HUP {pid}",
        ) from error
    return True


def _is_mosquitto(pid: int) -> bool:
    """A pid file outlives a crash, and its number may be another process's by now."""
    if not Path("/proc/self").exists():
        return True  # no /proc on this system: the file is all there is
    comm = Path(f"/proc/{pid}/comm")
    return comm.exists() and comm.read_text().strip() == "mosquitto"
