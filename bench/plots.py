"""The pictures of docs/performance.md: how they look, and one function for each.

A function gets the axes of its picture and its results (bench/results/NAME.json). Every axis names
its unit; a budget is a dashed line that says so.
"""

import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from bench.budgets import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, FAINT = "#1f2933", "#6b7682", "#e3e7eb"
OURS, OTHERS, LIMIT = "#2363a3", "#c2702b", "#a8323a"
SIZE, DPI = (8.0, 4.1), 100
LINE_IN = 0.155
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "svg.hashsalt": "gridbeat",
}


# The sheet ---------------------------------------------------------------------------------------


def sheet(title: str, panels: int, caption: str) -> "tuple[Figure, Sequence[Axes]]":
    """A figure with so many panels side by side, its title above and its caption below."""
    import matplotlib  # noqa: PLC0415 - heavy: only whoever draws waits for it
    from matplotlib.figure import Figure  # noqa: PLC0415 - heavy

    matplotlib.rcParams.update(STYLE)
    figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white", layout="constrained")
    foot = (caption.count("\n") + 1) * LINE_IN / SIZE[1] + 0.03
    figure.get_layout_engine().set(rect=(0.005, foot, 0.985, 0.91 - foot), wspace=0.06)
    figure.text(0.012, 0.975, title, fontsize=12.5, fontweight="bold", va="top")
    figure.text(0.012, 0.018, caption, fontsize=7.5, color=QUIET, linespacing=1.45)
    axes = figure.subplots(1, panels, squeeze=False)
    return figure, list(axes[0])


def save(figure: "Figure", path: Path) -> None:
    """Write it; an SVG of the same numbers has the same bytes."""
    if path.suffix == ".svg":
        figure.savefig(path, metadata={"Date": None})
    else:
        figure.savefig(path, dpi=2 * DPI)


def limit(axes: "Axes", value: float, words: str, *, below: bool = False) -> None:
    """A budget: a dashed line, named where it ends."""
    axes.axhline(value, color=LIMIT, linestyle=(0, (5, 3)), linewidth=1.3)
    axes.annotate(
        words,
        (1.0, value),
        xycoords=("axes fraction", "data"),
        xytext=(-2, -4 if below else 3),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        color=LIMIT,
        fontsize=9,
    )


def counted(axes: "Axes", which: str = "y") -> None:
    """Whole numbers with separators along an axis."""
    from matplotlib.ticker import FuncFormatter  # noqa: PLC0415 - heavy

    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def at_each(axes: "Axes", values: Sequence[float]) -> None:
    """A logarithmic x axis with a tick at each measured value and nowhere else."""
    from matplotlib.ticker import NullLocator  # noqa: PLC0415 - heavy

    axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:,.0f}" for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(min(values) / 1.35, max(values) * 1.35)


def room_above(axes: "Axes", *values: float) -> None:
    """The y axis from zero to a little above the highest of these."""
    axes.set_ylim(0, max(values) * 1.15)


# The pictures ------------------------------------------------------------------------------------


def pairs(axes: "Sequence[Axes]", results: Sequence[Result]) -> None:
    """Each pair of a service and a `mosquitto_sub`, alone and while InfluxDB is fed."""
    ratio, rate = axes
    names = ["alone", "feeding InfluxDB"]
    for place, (result, budget) in enumerate(zip(results, (0.9, 0.5), strict=True)):
        dots(ratio, place + 0.15, [pair["ratio"] for pair in result["pairs"]], OURS)
        line = (place - 0.45, place + 0.45)
        ratio.plot(line, (budget, budget), color=LIMIT, linestyle=(0, (5, 3)), linewidth=1.3)
        ratio.annotate(
            f"budget ≥ {budget}",
            (place - 0.45, budget),
            xytext=(0, 3),
            textcoords="offset points",
            color=LIMIT,
            fontsize=9,
        )
        for side, name, colour in ((-0.22, "gridbeat", OURS), (0.1, "mosquitto_sub", OTHERS)):
            values = [pair[f"{name}_per_s"] for pair in result["pairs"]]
            dots(rate, place + side, values, colour, label=None if place else name)
    ratio.set_ylabel("gridbeat ÷ mosquitto_sub")
    ratio.set_ylim(0, max(1.05, *(1.1 * pair["ratio"] for r in results for pair in r["pairs"])))
    rate.set_ylabel("check-ins a second")
    counted(rate)
    top = [pair["mosquitto_sub_per_s"] for result in results for pair in result["pairs"]]
    room_above(rate, *(1.1 * value for value in top))
    rate.legend(loc="upper center", ncols=2)
    for each in axes:
        each.set_xticks(range(2), names)
        each.set_xlim(-0.55, 1.55)
        each.grid(visible=False, axis="x")
    first = results[0]
    ratio.set_title(f"{len(first['pairs'])} pairs each, {first['devices']} handhelds")
    rate.set_title(f"{first['payload_bytes']} bytes each; bars are medians")


def dots(
    axes: "Axes", place: float, values: Sequence[float], colour: str, label: str | None = None
) -> None:
    """Every run a dot, their median a bar with its number."""
    axes.scatter([place] * len(values), values, s=22, color=colour, alpha=0.45, label=label)
    middle = statistics.median(values)
    axes.plot((place - 0.1, place + 0.1), (middle, middle), color=colour, linewidth=2.6)
    axes.annotate(
        f"{middle:.2f}" if middle < 10 else f"{middle:,.0f}",
        (place + 0.12, middle),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        fontsize=9,
        fontweight="bold",
    )


def devices(axes: "Sequence[Axes]", results: Sequence[Result]) -> None:
    """Rates and their ratio over the number of handhelds."""
    (found,) = results
    points = found["devices"]
    across = [point["devices"] for point in points]
    rate, ratio = axes
    for name, colour in (("mosquitto_sub", OTHERS), ("gridbeat", OURS)):
        values = [point[f"{name}_per_s"] for point in points]
        rate.plot(across, values, marker="o", color=colour, label=name)
    rate.set_ylabel("check-ins a second")
    counted(rate)
    room_above(rate, *(1.15 * point["mosquitto_sub_per_s"] for point in points))
    rate.legend(loc="upper right", ncols=2)
    for point in points:
        x = [point["devices"]] * len(point["ratios"])
        ratio.scatter(x, point["ratios"], s=18, color=OURS, alpha=0.35)
    ratio.plot(across, [point["ratio"] for point in points], marker="o", color=OURS)
    ratio.set_ylabel("gridbeat ÷ mosquitto_sub")
    limit(ratio, 0.9, "budget at 200 handhelds ≥ 0.9")
    room_above(ratio, 0.95, *(value for point in points for value in point["ratios"]))
    for each in axes:
        each.set_xlabel("handhelds")
        at_each(each, across)


def payload(axes: "Sequence[Axes]", results: Sequence[Result]) -> None:
    """CPU of one check-in over the bytes of a message, and over the check-ins in it."""
    (found,) = results
    top = max(p["cpu_us"] for curve in ("payload", "batch") for p in found[curve])
    for each, curve, key in (
        (axes[0], "payload", "payload_bytes"),
        (axes[1], "batch", "batch"),
    ):
        across = [point[key] for point in found[curve]]
        each.plot(across, [p["cpu_us"] for p in found[curve]], marker="o", color=OURS)
        limit(each, 30, "budget ≤ 30 µs, judging included", below=curve == "payload")
        each.set_ylim(0, max(top, 30) * 1.15)
        at_each(each, across)
    axes[0].set_title("one check-in a message")
    axes[0].set_xlabel("bytes of its payload")
    axes[0].set_ylabel("CPU of the service for one check-in, µs")
    axes[1].set_title("several in one message")
    axes[1].set_xlabel("check-ins in a message")


def costs(axes: "Sequence[Axes]", results: Sequence[Result]) -> None:
    """A bar for each part of the service."""
    (ax,), (found,) = axes, results
    parts = [(name, us) for name, us in found["parts"].items() if us >= 0.05][::-1]
    names, values = zip(*parts, strict=True)
    bars = ax.barh(names, values, color=OURS, height=0.66)
    ax.bar_label(bars, fmt="%.1f", padding=4, fontsize=9)
    ax.set_xlabel(
        f"CPU of one check-in, µs: {sum(values):.0f} together, under the sampler "
        f"({found['messages']:,} check-ins of {found['devices']} handhelds)"
    )
    ax.grid(visible=False, axis="y")
    ax.set_xlim(0, max(values) * 1.12)


def distribution(
    axes: "Axes", curve: Sequence[tuple[float, float]], scale: float, unit: str
) -> None:
    """Percentiles, the last ones drawn wide: 90, 99 and 99.9 % are equally far apart."""
    across = [100 / (100 - min(percent, 99.99)) for percent, _ in curve]
    axes.plot(across, [value / scale for _, value in curve], color=OURS, marker="o", markersize=3.5)
    axes.set_xscale("log")
    ticks = (2, 10, 100, 1_000, 10_000)
    axes.set_xticks(ticks, ["50 %", "90 %", "99 %", "99.9 %", "all"])
    axes.minorticks_off()
    axes.set_xlim(1, 13_000)
    value = dict(map(tuple, curve))[99] / scale
    axes.plot([100], [value], marker="o", markersize=8, color=OURS)
    axes.annotate(
        f"p99 {value:,.0f} {unit}" if value >= 100 else f"p99 {value:.2g} {unit}",
        (100, value),
        xytext=(-8, 7),
        textcoords="offset points",
        ha="right",
        color=OURS,
        fontweight="bold",
        fontsize=9,
    )


def sos(axes: "Sequence[Axes]", results: Sequence[Result]) -> None:
    """The distribution beside check-ins."""
    (ax,), (found,) = axes, results
    beside = found["beside"]
    distribution(ax, beside["percentiles_ms"], 1, "ms")
    counted(ax)
    limit(ax, 100, "budget: p99 ≤ 100 ms")
    room_above(ax, 110, beside["max_ms"])
    pace = f"{beside['checkins_per_s']:,} check-ins a second"
    ax.set_title(f"{beside['calls']:,} calls beside {pace}")
    ax.set_xlabel("of all calls, so many …")
    ax.set_ylabel("… within, ms")


def deadline(axes: "Sequence[Axes]", results: Sequence[Result]) -> None:
    """Some rounds due at one instant, and a flood of them."""
    (found,) = results
    few, flood = found["due"], found["flood"]
    distribution(axes[0], few["percentiles_ms"], 1_000, "s")
    limit(axes[0], 1, "budget: p99 ≤ 1 s")
    room_above(axes[0], 1.1, few["max_ms"] / 1_000)
    runs = len(found["runs"]["due"])
    axes[0].set_title(f"{few['rounds']:,} due at one instant, {runs} times")
    axes[0].set_xlabel("of these rounds, so many …")
    axes[0].set_ylabel("… told within, s")
    seconds = [0.0, *(ms / 1_000 for _, ms in flood["percentiles_ms"])]
    told = [0.0, *(percent / 100 * flood["rounds"] for percent, _ in flood["percentiles_ms"])]
    axes[1].plot(seconds, told, color=OURS)
    axes[1].axvline(15, color=LIMIT, linestyle=(0, (5, 3)), linewidth=1.3)
    axes[1].annotate(
        "budget: all within 15 s",
        (15, 0.03),
        xycoords=("data", "axes fraction"),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        color=LIMIT,
        fontsize=9,
        rotation=90,
        va="bottom",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )
    axes[1].set_xlim(0, max(16, seconds[-1] * 1.05))
    axes[1].set_ylim(0, flood["rounds"] * 1.06)
    axes[1].set_title(f"{flood['rounds']:,} due at one instant")
    axes[1].set_xlabel("seconds after they were due")
    axes[1].set_ylabel("rounds told")
    counted(axes[1])


def restart(axes: "Sequence[Axes]", results: Sequence[Result]) -> None:
    """Seconds, and CPU seconds of them, over the rounds that are open."""
    (ax,), (found,) = axes, results
    across = [size["open"] for size in found["sizes"]]
    for key, words, colour in (
        ("restart_s", "until the first check-in is kept", OURS),
        ("cpu_s", "CPU of the process until then", OTHERS),
    ):
        values = [size[key] for size in found["sizes"]]
        ax.plot(across, values, marker="o", color=colour, label=words)
    limit(ax, 5, "budget ≤ 5 s")
    room_above(ax, 5.2, *(size["restart_s"] for size in found["sizes"]))
    at_each(ax, across)
    ax.legend(loc="lower right")
    ax.set_title(f"medians of {len(found['runs'])} starts each")
    ax.set_xlabel("open rounds (one plan for each)")
    ax.set_ylabel("seconds")


def rows(axes: "Sequence[Axes]", results: Sequence[Result]) -> None:
    """CPU over rows, with the limit as a multiple of the first."""
    (ax,), (found,) = axes, results
    sizes = found["sizes"]
    across = [size["rows"] for size in sizes]
    for size in sizes:
        costs_us = [run["cpu_us"] for run in size["runs"]]
        ax.scatter([size["rows"]] * len(costs_us), costs_us, s=18, color=OURS, alpha=0.35)
    ax.plot(across, [size["cpu_us"] for size in sizes], marker="o", color=OURS)
    most = 1.5 * sizes[0]["cpu_us"]
    limit(ax, most, f"budget ≤ 1.5 × the first, {most:.0f} µs")
    room_above(ax, most, *(run["cpu_us"] for size in sizes for run in size["runs"]))
    at_each(ax, across)
    ax.set_title(f"line: medians of the dots, each a run of {found['messages']:,} check-ins")
    ax.set_xlabel("check-ins in the ledger before")
    ax.set_ylabel("CPU of the service for one check-in, µs")


def rules(axes: "Sequence[Axes]", results: Sequence[Result]) -> None:
    """CPU over sites."""
    (ax,), (found,) = axes, results
    across = [int(sites) for sites in found["checkin_us"]]
    values = list(found["checkin_us"].values())
    ax.plot(across, values, marker="o", color=OURS)
    limit(ax, 10, "budget ≤ 10 µs")
    room_above(ax, 10, *values)
    at_each(ax, across)
    ax.set_xlabel("sites")
    ax.set_ylabel("CPU of the rules for one check-in, µs")


def memory(axes: "Sequence[Axes]", results: Sequence[Result]) -> None:
    """Resident memory over check-ins."""
    (ax,), (found,) = axes, results
    across = [(turn + 1) * found["every"] for turn in range(len(found["rss_mb"]))]
    ax.axvspan(0, across[-1] / 2, color=FAINT, alpha=0.5, linewidth=0)
    ax.plot(across, found["rss_mb"], marker="o", color=OURS)
    room_above(ax, *(1.1 * value for value in found["rss_mb"]))
    ax.set_xlim(0, across[-1] * 1.03)
    counted(ax, "x")
    ax.set_title("shaded: SQLite's caches fill; from there on it has to be flat")
    ax.set_xlabel("check-ins kept since the start, none of them in InfluxDB")
    ax.set_ylabel("resident memory, MiB")


def year(axes: "Sequence[Axes]", results: Sequence[Result]) -> None:
    """Check-ins a second through the run, and rounds that wait for their verdict."""
    (found,) = results
    course = found["course"]
    rate, behind = axes
    step = max(1, len(course) // 80)
    looks = course[::step]
    middles = [(one[0] + two[0]) / 120 for one, two in pairwise(looks)]
    speeds = [(two[1] - one[1]) / max(two[0] - one[0], 0.001) for one, two in pairwise(looks)]
    rate.plot(middles, speeds, color=OURS)
    limit(rate, 7_500, "budget: 9 million in 20 min, 7,500/s")
    room_above(rate, 7_800, *speeds)
    counted(rate)
    rate.set_ylabel("check-ins kept a second")
    rate.set_title(f"{found['checkins']:,} check-ins, {found['days']} days")
    waits = [look[2] for look in course]
    behind.plot([look[0] / 60 for look in course], waits, color=OTHERS, linewidth=1)
    behind.set_ylim(bottom=0)
    counted(behind)
    behind.set_ylabel("rounds due without a verdict yet")
    behind.set_title(f"{found['rounds']:,} rounds, each verdict the truth")
    for each in axes:
        each.set_xlabel("minutes played")
        each.set_xlim(left=0)
