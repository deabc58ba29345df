"""The files of our own Mosquitto: its configuration, its passwords, its access list.

They lie in one private folder. The configuration is the project's own `mosquitto.conf` with this
machine's paths, listener and user; the rest of it is written once, there.
"""

import os
import pwd
import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from desk import accesslist
from desk.accesslist import SERVICE_USER, Rights
from desk.credentials import (
    hashed,
    locked,
    make_private,
    new_password,
    read_passwords,
    write_file,
    write_passwords,
)
from desk.errors import DeskError, UsageError
from store.addresses import is_loopback

DEVICES, OFFICE = "#:", "#;"
"""What stands before the lines of `mosquitto.conf` that `broker init --tls` switches on."""

TLS_FOLDER = "tls"
CONF, PASSWORDS, ACCESS, PID = "mosquitto.conf", "passwd", "acl", "mosquitto.pid"

CHECK_USER = "gridbeat.check"
"""Nobody's name. It gets a new password with every change of the files: once the broker takes that
one, it has read them all. (No device can be called so: a dot is not for ids.)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The listeners that speak TLS: for devices, and with `office` for other machines of ours.

    `host`: the address to listen on; None is every one.
    """

    port: int = 8883
    office: int | None = None
    host: str | None = None


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
        (r"^((?:#[:;])?\w+) broker/", rf"\g<1> {_literal(f'{folder}/')}"),
    )
    for pattern, replacement in changes:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


def _user() -> str:
    """Whose process this is; not who is said to be logged in."""
    return pwd.getpwuid(os.geteuid()).pw_name


def switch_on(text: str, tls: Tls) -> str:
    """A configuration with the TLS listeners on, whatever else somebody has changed in it.

    Raises `DeskError` where it has no such lines.
    """
    wanted = [(DEVICES, tls.port)] + ([] if tls.office is None else [(OFFICE, tls.office)])
    host = "" if tls.host is None else f" {tls.host}"
    for sign, port in wanted:
        text = re.sub(rf"^{sign}listener .*$", f"listener {port}{host}", text, flags=re.MULTILINE)
        text = re.sub(rf"^{sign}", "", text, flags=re.MULTILINE)
    if "\ncertfile " not in text:
        raise DeskError(
            f"the configuration has no lines for TLS (they begin with {DEVICES})",
            f"write it anew: gridbeat broker init --tls --force (the old one stays as {CONF}.old)",
        )
    return text


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")


def init(
    folder: Path,
    *,
    port: int = 1883,
    host: str = "127.0.0.1",
    tls: Tls | None = None,
    force: bool = False,
) -> Made:
    """Make the broker's folder and files; what is there already and the same is left alone.

    A configuration or access list that differs is somebody's work: it is kept unless `force`, which
    puts the old one aside as `NAME.old`; `tls` changes only its own lines of it. Of the access list
    only our own head is meant: users whom a person added below it stay. Passwords are only ever
    added to. Raises `DeskError` where TLS has no certificate yet.
    """
    folder = folder.absolute()
    if tls is not None and not (folder / TLS_FOLDER / "server.crt").exists():
        raise DeskError(
            f"there is no certificate in {folder / TLS_FOLDER}",
            "first: gridbeat tls init --name NAME, for each name or address that devices dial",
        )
    make_private(folder)
    conf = render(template(), folder=folder, port=port, host=host, user=_user())
    with locked(folder):
        before = _text(folder / CONF)
        kept = before if tls is not None and not force else ""
        wanted = {
            CONF: conf if tls is None else switch_on(kept or conf, tls),
            ACCESS: accesslist.renewed(_text(folder / ACCESS)),
        }
        stale = [name for name, text in wanted.items() if _text(folder / name) not in ("", text)]
        touched = [name for name in stale if not (name == CONF and kept)]
        if touched and not force:
            raise DeskError(
                f"{folder / touched[0]} is there already, and is not what would be written",
                "keep it, or write it anew with --force (the old one stays as "
                f"{touched[0]}.old; passwords stay)",
            )
        written = [name for name in wanted if name in stale or not (folder / name).exists()]
        for name in written:
            _put(folder / name, wanted[name])
        password = _service_user(folder / PASSWORDS)
    if password is not None:
        written.append(PASSWORDS)
    return Made(folder=folder, port=port, host=host, written=tuple(written), password=password)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What became of the broker's users. `check`: the password of `CHECK_USER` now."""

    let_in: tuple[str, ...]
    shut_out: tuple[str, ...]
    check: str


def passwords(folder: Path) -> dict[str, str]:
    """User name to hash. Raises `DeskError` where `folder` holds no broker's files."""
    path = folder / PASSWORDS
    if not path.exists():
        raise DeskError(
            f"there is no password file {path}", f"first: gridbeat broker init --dir {folder}"
        )
    return read_passwords(path)


def put_users(
    folder: Path, users: Mapping[str, str | None], rights: Mapping[str, Rights]
) -> Changed | None:
    """Let in those of `users` who have a hash, shut out the others, leave the rest alone.

    `rights` are all there are beyond the patterns. None: the files said so already. The caller
    holds the folder (`locked`), and has the broker read its files again.
    """
    before, after = _users(folder, users)
    old_list, new_list = _lists(folder, rights)
    if (after, new_list) == (before, old_list):
        return None
    check = new_password()
    if new_list != old_list:
        accesslist.write_list(folder / ACCESS, new_list)
    write_passwords(folder / PASSWORDS, {**after, CHECK_USER: hashed(check)})
    return Changed(
        let_in=tuple(sorted(name for name in after if after[name] != before.get(name))),
        shut_out=tuple(sorted(name for name in before if before[name] != after.get(name))),
        check=check,
    )


def people(folder: Path) -> set[str]:
    """Users who are no devices: the service, and those the access list names by hand."""
    return {SERVICE_USER, CHECK_USER} | accesslist.users_of(_text(folder / ACCESS))


def says(folder: Path, users: Mapping[str, str | None], rights: Mapping[str, Rights]) -> bool:
    """Whether the files say this already. Raises `DeskError` where there are none."""
    before, after = _users(folder, users)
    old_list, new_list = _lists(folder, rights)
    return (before, old_list) == (after, new_list)


def _users(folder: Path, users: Mapping[str, str | None]) -> tuple[dict[str, str], dict[str, str]]:
    before = passwords(folder)
    after = {name: kept for name, kept in before.items() if name not in users}
    return before, after | {name: kept for name, kept in users.items() if kept is not None}


def _lists(folder: Path, rights: Mapping[str, Rights]) -> tuple[str, str]:
    before = _text(folder / ACCESS)
    return before, accesslist.render(accesslist.head_of(before), rights)


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
