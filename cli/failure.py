"""How a command fails: what is wrong, why, what to do next, and the exit code.

0 fine, 1 failed, 2 wrong usage, 3 a check found something wrong, 4 a dependency does not answer.
"""

import os
import sys
import traceback

from cli.plain import plain
from desk.errors import DeskError, UnreachableError, UsageError

FAILED, USAGE, WRONG, UNREACHABLE = 1, 2, 3, 4

CODES = {
    "desk.errors.UsageError": USAGE,
    "desk.errors.UnreachableError": UNREACHABLE,
    "store.settingsfile.SettingsError": USAGE,
    "sqlalchemy.exc.OperationalError": UNREACHABLE,
    "aiomqtt.exceptions.MqttError": UNREACHABLE,
    "builtins.ConnectionError": UNREACHABLE,
    "builtins.TimeoutError": UNREACHABLE,
}
"""By name, since what raises most of them is not imported unless it did. The rest: failed."""


def tell(error: BaseException) -> int:
    """Print what went wrong on stderr, its chain of causes once, and return the exit code."""
    if os.environ.get("GRIDBEAT_DEBUG"):
        traceback.print_exception(error)
    lines = [f"gridbeat: {_words(error)}"]
    said = {_words(error)}
    cause = _cause(error)
    while cause is not None:
        words = _words(cause)
        if words not in said:
            lines.append(f"  because: {words}")
            said.add(words)
        cause = _cause(cause)
    lines += [f"  next: {remedy}" for remedy in _remedies(error)]
    sys.stderr.write(plain("\n".join(lines)) + "\n")
    return code(error)


def code(error: BaseException) -> int:
    """The exit code of an error."""
    for kind in type(error).__mro__:
        found = CODES.get(f"{kind.__module__}.{kind.__qualname__}")
        if found is not None:
            return found
    return FAILED


def _cause(error: BaseException) -> BaseException | None:
    """What it came from, as its author says it; what it merely came after is no cause."""
    return error.__cause__


def _words(error: BaseException) -> str:
    """An error in words; the database's own without the statement it repeats."""
    original = getattr(error, "orig", None)
    text = str(original if original is not None else error).strip()
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror + (f": {error.filename}" if error.filename else "")
    if not text:
        return type(error).__name__
    expected = isinstance(error, DeskError) or code(error) != FAILED or _ours(error)
    return text if expected else f"{type(error).__name__}: {text}"


def _ours(error: BaseException) -> bool:
    rooms = ("devices", "rules", "store", "ingest", "desk", "cli")
    return type(error).__module__.partition(".")[0] in rooms


def _remedies(error: BaseException) -> list[str]:
    if isinstance(error, DeskError):
        return [error.remedy] if error.remedy else []
    if isinstance(error, UsageError | UnreachableError) or _ours(error):
        return []
    if code(error) == UNREACHABLE:
        return ["gridbeat doctor says which part does not answer"]
    return ["GRIDBEAT_DEBUG=1 shows where it happened; gridbeat doctor looks at every part"]
