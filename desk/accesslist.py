"""Mosquitto's access list: who may write and read which topics.

Its first part is for everybody who keeps to the contract and names no device. Below a line of its
own follow the users whose rights cannot be told by their names; that part is made from the ledger.

A bad line makes the broker stop when it reads the file again, so each is checked as Mosquitto reads
it before the file takes its place.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from desk.credentials import write_file
from desk.errors import DeskError

SERVICE_USER = "gridbeat"
"""The name under which the service, and everything of ours that needs all topics, logs in."""

HEAD = f"""\
# Who may say and hear what. Made by `gridbeat broker init`; it holds no secrets.

# Without a name, which only loopback allows (mosquitto.conf, `allow_anonymous`): everything, so
# that the service, the demo and mosquitto_pub work at once on one machine. Whoever can reach
# loopback could read the ledger's file as well. With `allow_anonymous false` these lines have no
# effect.
topic readwrite #
topic read $SYS/#

# The service: hears every device, in whatever topics readers that one can buy speak, answers each,
# tells events. `$SYS` is the broker's own state, for `gridbeat doctor`.
user {SERVICE_USER}
topic read #
topic readwrite patrol/v1/#
topic read $SYS/#

# A device, by the name it logged in with: writes only as itself, reads only what is for it, at any
# site (an inspector's handheld goes from school to school).
pattern write patrol/v1/+/%u/up/#
pattern read patrol/v1/+/%u/down/#
"""

_LAST = HEAD.splitlines(keepends=True)[-1]
"""Our head ends with it, in every release: what follows in the upper part is somebody's own."""

OURS = """
# -- From here on the file is kept by gridbeat (device enroll, rotate, retire): change nothing. --
"""

_FILTER = re.compile(r"[^\x00-\x1f+#]*|\+")
MAX_TOPIC = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """The topic filters a user may write and read, beyond those of the patterns."""

    write: tuple[str, ...] = ()
    read: tuple[str, ...] = ()


def render(head: str, rights: Mapping[str, Rights]) -> str:
    """The whole file: `head`, and a section for each user who has rights of its own."""
    if not rights:
        return head
    lines = []
    for user in sorted(rights):
        lines += ["", f"user {user}"]
        lines += [f"topic write {name}" for name in rights[user].write]
        lines += [f"topic read {name}" for name in rights[user].read]
    return head + OURS + "\n".join(lines) + "\n"


def head_of(text: str) -> str:
    """The part of the file that is not kept by us."""
    return text.partition(OURS)[0]


def renewed(text: str) -> str:
    """The file with our head in place of its own; what a person added below that stays."""
    head = head_of(text)
    return HEAD + head.partition(_LAST)[2] + text[len(head) :]


def users_of(text: str) -> set[str]:
    """The users whom the part that is not ours names: the service, and those a person added."""
    lines = (line.split(" ", 1) for line in head_of(text).splitlines())
    return {words[1].strip() for words in lines if words[0] == "user" and len(words) > 1}


def write_list(path: Path, text: str) -> None:
    """Replace the access list whole. Raises `DeskError` for a line Mosquitto would stop at."""

    def check(written: Path) -> None:
        for number, line in enumerate(written.read_text(encoding="utf-8").splitlines(), start=1):
            if not _reads(line):
                raise DeskError(
                    f"{path}, line {number} is none of an access list: {line}",
                    "write `user NAME`, `topic read|write|readwrite|deny FILTER` or `pattern …`",
                )

    write_file(path, text, check)


def _reads(line: str) -> bool:
    """Whether Mosquitto takes the line (its source: `aclfile__parse` in security_default.c)."""
    words = line.strip().split(" ", 2)
    if words == [""] or line.startswith("#"):
        return True
    if words[0] == "user":
        return len(words) > 1
    if words[0] not in ("topic", "pattern") or len(words) < 2:
        return False
    if len(words) == 2:
        return is_filter(words[1])
    return words[1] in ("read", "write", "readwrite", "deny") and is_filter(words[2].strip())


def is_filter(text: str) -> bool:
    """Whether `text` is a topic filter: `+` for a whole level, `#` for the last ones."""
    levels = text.split("/")
    if levels[-1] == "#":
        levels.pop()
    return 0 < len(text.encode()) <= MAX_TOPIC and all(_FILTER.fullmatch(level) for level in levels)
