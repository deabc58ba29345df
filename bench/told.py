"""What a bench does with what it found: JSON to stdout, and to a file that curves are drawn from.

    python bench/NAME.py … --out bench/results/NAME.json

With the numbers goes where they were found: the machine, its software, the revision, and the load
average before and after, by which a reader sees whether other work shared the machine.
"""

import argparse
import datetime as dt
import json
import os
import platform
import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PERCENTS = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 93, 95, 97, 98, 99, 99.5, 99.9, 100)
BEFORE = os.getloadavg()[0]


def tell(words: object) -> None:
    """Progress."""
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest rank: so many percent of `values` are at most this."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]


def percentiles(values: Sequence[float]) -> list[tuple[float, float]]:
    """A curve of the distribution: percent, and the value that so many are at most."""
    return [(percent, percentile(values, percent)) for percent in PERCENTS]


def add_out(parser: argparse.ArgumentParser) -> None:
    """Give a bench its `--out`."""
    parser.add_argument("--out", type=Path, help="where the JSON is kept as well")


def conclude(found: Mapping[str, object], out: Path | None) -> None:
    """Print it, and keep it."""
    text = as_text({**found, "machine": machine()})
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
    sys.stdout.write(text)


def as_text(found: Mapping[str, object]) -> str:
    """JSON, indented, but a list of plain numbers on one line: it is kept and compared."""
    text = json.dumps(found, indent=2)
    return re.sub(r"\[[^\[\]{}\"]*\]", _on_one_line, text) + "\n"


def _on_one_line(found: re.Match[str]) -> str:
    return "[" + " ".join(found[0][1:-1].split()) + "]"


def machine() -> dict[str, object]:
    """Where and when this was measured."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name").replace("(R)", ""),
        "cores": os.cpu_count(),
        "memory_gb": round(int(_field("/proc/meminfo", "MemTotal").split()[0] or 0) / 2**20),
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "mosquitto": _word(("mosquitto", "-h"), r"version (\S+)"),
        "commit": _revision(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "load_before": round(BEFORE, 2),
        "load_after": round(os.getloadavg()[0], 2),
    }


def _revision() -> str | None:
    """The commit that was measured, with a + where the code has changes of its own since."""
    head = _word(("git", "rev-parse", "--short=7", "HEAD"), r"(\w+)")
    changed = ("git", "status", "--porcelain", "--", "*.py", "mosquitto.conf", ":!tests")
    return head and head + ("+" if _word(changed, r"(\S)") else "")


def _field(path: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.+)$", Path(path).read_text(), re.MULTILINE)
    return found[1] if found else "0"


def _word(argv: Sequence[str], pattern: str) -> str | None:
    """What a program says of itself; None where it is not installed."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
    try:
        said = subprocess.run(
            argv, cwd=ROOT, env={"PATH": path}, capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return None
    found = re.search(pattern, said)
    return found[1] if found else None
