"""Draw docs/pictures and the table of docs/performance.md from what the benches have kept.

    python -m bench.curves [--results FOLDER] [--pictures FOLDER] [--page FILE] [--as svg|png]

Every picture is drawn from `bench/results/*.json` alone: the same numbers give the same bytes. What
is shown, from which results, stands in `PICTURES`.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import plots
from bench.budgets import Result, written
from bench.measure import MEASUREMENTS
from bench.told import RESULTS, ROOT, tell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[[Sequence["Axes"], Sequence[Result]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What it says on top, how many panels it has, and the results it is drawn from."""

    title: str
    of: tuple[str, ...]
    draw: Draw
    panels: int = 1


PICTURES: Mapping[str, Picture] = {
    "ingest": Picture(
        title="Check-ins a second beside the C client",
        of=("ingest", "influx"),
        draw=plots.pairs,
        panels=2,
    ),
    "devices": Picture(
        title="Check-ins a second, by the number of handhelds",
        of=("sweep",),
        draw=plots.devices,
        panels=2,
    ),
    "payload": Picture(
        title="CPU of one check-in, by what a message holds",
        of=("sweep",),
        draw=plots.payload,
        panels=2,
    ),
    "costs": Picture(
        title="Where the microseconds of a check-in go",
        of=("costs",),
        draw=plots.costs,
    ),
    "sos": Picture(
        title="From the panic button to the event on MQTT",
        of=("sos",),
        draw=plots.sos,
    ),
    "deadline": Picture(
        title="From due to round.missed on MQTT",
        of=("deadline",),
        draw=plots.deadline,
        panels=2,
    ),
    "restart": Picture(
        title="From the start of the process to the first check-in kept",
        of=("restart",),
        draw=plots.restart,
    ),
    "rows": Picture(
        title="CPU of one check-in, by the rows of the ledger",
        of=("rows",),
        draw=plots.rows,
    ),
    "rules": Picture(
        title="What the rules add to one check-in, by the number of sites",
        of=("rules",),
        draw=plots.rules,
    ),
    "memory": Picture(
        title="Memory of the service while InfluxDB is down",
        of=("memory",),
        draw=plots.memory,
    ),
    "year": Picture(
        title="A district's year, as fast as it goes",
        of=("year",),
        draw=plots.year,
        panels=2,
    ),
}


def load(folder: Path) -> dict[str, Result]:
    """What each bench found. Raises FileNotFoundError saying how to measure what is missing."""
    missing = [name for name in MEASUREMENTS if not (folder / f"{name}.json").exists()]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no {', '.join(missing)}: run python -m bench.measure {' '.join(missing)}"
        )
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in MEASUREMENTS}


def draw(results: Mapping[str, Result], folder: Path, suffix: str = "svg") -> list[Path]:
    """Draw every picture into `folder`; returns their files."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, picture in PICTURES.items():
        mine = [results[of] for of in picture.of]
        figure, axes = plots.sheet(picture.title, picture.panels, caption(picture, results))
        picture.draw(axes, mine)
        made.append(folder / f"{name}.{suffix}")
        plots.save(figure, made[-1])
    return made


def caption(picture: Picture, results: Mapping[str, Result]) -> str:
    """The machine, and of each result in the picture the command, the day and the load."""
    machine = results[picture.of[0]]["machine"]
    where = (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['system']}, "
        f"Python {machine['python']}, Mosquitto {machine['mosquitto']}; "
        "broker, load and service share the cores"
    )
    return "\n".join((where, *(_measured(name, results[name]) for name in picture.of)))


def _measured(name: str, result: Result) -> str:
    small, machine = bool(result.get("small")), result["machine"]
    return (
        f"{'SMALL RUN ' if small else ''}{MEASUREMENTS[name].command(small=small)}, "
        f"{machine['date']}, at {machine['commit']}, "
        f"load average {machine['load_before']:.1f} before, {machine['load_after']:.1f} after"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md")
    parser.add_argument("--as", dest="suffix", choices=("svg", "png"), default="svg")
    asked = parser.parse_args()
    results = load(asked.results)
    asked.page.write_text(written(asked.page.read_text(), results))
    for made in draw(results, asked.pictures, asked.suffix):
        tell(made)


if __name__ == "__main__":
    main()
