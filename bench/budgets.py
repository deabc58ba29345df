"""The budgets, and what the kept results say of them: the table on top of docs/performance.md."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Result = Mapping[str, Any]
"""What one bench found: bench/results/NAME.json."""

BEGIN, END = "<!-- written by bench/curves.py -->", "<!-- to here -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`most`: an upper limit. `value` reads the result; `said` adds what it depends on."""

    words: str
    limit: float
    unit: str
    of: str
    value: Callable[[Result], float]
    said: Callable[[Result], str] = lambda _: ""
    most: bool = True
    limit_words: str | None = None

    @property
    def asked(self) -> str:
        """The limit, as it stands beside the number."""
        return self.limit_words or f"{'≤' if self.most else '≥'} {self.limit:g}{self.unit}"

    def reached(self, result: Result) -> bool:
        """Whether the number keeps to the limit."""
        value = self.value(result)
        return value <= self.limit if self.most else value >= self.limit


def _judged_us(result: Result) -> float:
    if result["judging_us"] is None:
        raise ValueError("ingest was measured without judging: python -m bench.measure ingest")
    return float(result["cpu_us"] + result["judging_us"])


def _growth(result: Result) -> float:
    return float(result["growth_mb"] or 0)


def _fed(result: Result) -> str:
    fed = result["influx"]
    return (
        f" ({result['gridbeat_per_s']:,.0f}/s; then {fed['waiting']:,.0f} of {result['messages']:,}"
        f" points were still to come, all there {fed['caught_up_s']:.1f} s later)"
    )


def _year(result: Result) -> str:
    days = f"{result['days']} days of {result['sites']} schools"
    return f", extrapolated from {days}" if result["extrapolated"] else ""


BUDGETS: Sequence[Budget] = (
    Budget(
        words="check-ins a second, durable and receipted, ÷ what `mosquitto_sub` receives",
        limit=0.9,
        unit="",
        most=False,
        of="ingest",
        value=lambda result: float(result["ratio"]),
        said=lambda result: f" ({result['gridbeat_per_s']:,.0f}/s)",
    ),
    Budget(
        words="the same while InfluxDB on the same cores is fed",
        limit=0.5,
        unit="",
        most=False,
        of="influx",
        value=lambda result: float(result["ratio"]),
        said=_fed,
    ),
    Budget(
        words="CPU of the service for one check-in, judging included",
        limit=30,
        unit=" µs",
        of="ingest",
        value=_judged_us,
    ),
    Budget(
        words="rules alone for one check-in",
        limit=10,
        unit=" µs",
        of="rules",
        value=lambda result: float(list(result["checkin_us"].values())[-1]),
        said=lambda result: f" at {result['sites']:,} sites",
    ),
    Budget(
        words="tomorrow's rounds made and written",
        limit=20,
        unit=" s",
        of="rules",
        value=lambda result: float(result["tomorrow_s"]),
        said=lambda result: f" for {result['sites']:,} sites × {result['rounds']}",
    ),
    Budget(
        words="the longest write transaction of that",
        limit=50,
        unit=" ms",
        of="rules",
        value=lambda result: float(result["longest_transaction_ms"]),
    ),
    Budget(
        words="memory of an open round of 20 checkpoints",
        limit=1024,
        unit=" bytes",
        of="rules",
        value=lambda result: float(result["memory_bytes"]),
        said=lambda _: ": no list of them is kept (decision 2)",
    ),
    Budget(
        words="sos pressed → event on MQTT, p99, beside check-ins",
        limit=100,
        unit=" ms",
        of="sos",
        value=lambda result: float(result["beside"]["p99_ms"]),
        said=lambda result: f" at {result['beside']['checkins_per_s']:,}/s",
    ),
    Budget(
        words="due → `round.missed` on MQTT, p99 of rounds due at one instant",
        limit=1_000,
        unit=" ms",
        of="deadline",
        value=lambda result: float(result["due"]["p99_ms"]),
        said=lambda result: f", {result['due']['rounds']:,} of {result['open']:,} open",
    ),
    Budget(
        words="the same, until all of a flood are told",
        limit=15,
        unit=" s",
        of="deadline",
        value=lambda result: float(result["all_s"]),
        said=lambda result: f", {result['flood']['rounds']:,} of {result['open']:,} open",
    ),
    Budget(
        words="restart → first check-in kept",
        limit=5,
        unit=" s",
        of="restart",
        value=lambda result: float(result["restart_s"]),
        said=lambda result: f", {result['open']:,} rounds open",
    ),
    Budget(
        words="cost of a check-in, ledger full ÷ nearly empty",
        limit=1.5,
        unit="",
        of="rows",
        value=lambda result: float(result["ratio"]),
        said=lambda result: (
            f", {result['sizes'][-1]['rows']:,} rows ÷ {result['sizes'][0]['rows']:,}"
        ),
    ),
    Budget(
        words="memory while InfluxDB is down, growth for each 100,000 check-ins",
        limit=1,
        unit=" MiB",
        limit_words="flat",
        of="memory",
        value=_growth,
        said=lambda result: f" over {result['messages']:,}",
    ),
    Budget(
        words="a district's year, 9 million check-ins, every verdict the truth",
        limit=20,
        unit=" min",
        of="year",
        value=lambda result: float(result["year_minutes"]),
        said=_year,
    ),
)


def table(results: Mapping[str, Result]) -> str:
    """Each budget beside its last number, in Markdown."""
    lines = ["| | limit | measured | | load before → after, date |", "|---|---|---|---|---|"]
    for budget in BUDGETS:
        result = results[budget.of]
        value = budget.value(result)
        found = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        number = f"**{found}{budget.unit}**{budget.said(result)}"
        kept = "kept" if budget.reached(result) else "**not kept**"
        kept = "a small run, to be measured" if result.get("small") else kept
        machine = result["machine"]
        load = f"{machine['load_before']:.1f} → {machine['load_after']:.1f}"
        when = f"{load}, {machine['date']}"
        lines.append(f"| {budget.words} | {budget.asked} | {number} | {kept} | {when} |")
    return "\n".join(lines)


def written(page: str, results: Mapping[str, Result]) -> str:
    """The page with its table written anew. Raises ValueError where it has no place for one."""
    head, begun, rest = page.partition(BEGIN)
    _, ended, tail = rest.partition(END)
    if not (begun and ended):
        raise ValueError(f"the page needs a line {BEGIN!r} and, after it, one {END!r}")
    return f"{head}{BEGIN}\n{table(results)}\n{END}{tail}"
