"""What Grafana makes of a board's queries before it sends them: macros, intervals, variables."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "grafana"
BOARD = FOLDER / "dashboards" / "duty-room.json"

_UNITS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query of the board; `span_ms` where its panel looks back on its own."""

    name: str
    text: str
    span_ms: int | None = None


def board() -> dict[str, Any]:
    """The board as it is provisioned."""
    loaded: dict[str, Any] = json.loads(BOARD.read_text(encoding="utf-8"))
    return loaded


def queries(loaded: Mapping[str, Any]) -> Iterator[Query]:
    """Every query of the board: panels, variables, annotations."""
    for panel in loaded["panels"]:
        for target in panel["targets"]:
            yield Query(
                name=f"{panel['title']} {target['refId']}",
                text=target["query"],
                span_ms=_milliseconds(panel["timeFrom"]) if "timeFrom" in panel else None,
            )
    for variable in loaded["templating"]["list"]:
        yield Query(name=f"variable {variable['name']}", text=variable["query"])
    for annotation in loaded["annotations"]["list"]:
        yield Query(name=f"annotation {annotation['name']}", text=annotation["query"])


def asked(query: Query, *, since: int, until: int, variables: Mapping[str, Sequence[str]]) -> str:
    """The query as Grafana's InfluxDB data source sends it for `[since, until]`, in ms.

    A variable with `.*` is All; several values become an alternative, each quoted for a regex.
    Raises ValueError when a `$…` is left that Grafana would not know.
    """
    if query.span_ms is not None:
        since = until - query.span_ms
    text = query.text
    for macro, value in {
        "$timeFilter": f"time >= {since}ms and time <= {until}ms",
        "$__interval": "1m",
        "$interval": "1m",
    }.items():
        text = text.replace(macro, value)
    for name, chosen in variables.items():
        text = _regex(chosen).join(re.split(rf"\${name}\b", text))
    if left := re.search(r"\$\w+|\[\[", text):
        raise ValueError(f"{query.name}: Grafana does not know {left.group()}")
    return text


def _regex(chosen: Sequence[str]) -> str:
    if list(chosen) == [".*"]:
        return ".*"
    quoted = [re.sub(r"([\\^$*+?.()|[\]{}/])", r"\\\1", value) for value in chosen]
    return quoted[0] if len(quoted) == 1 else f"({'|'.join(quoted)})"


def _milliseconds(span: str) -> int:
    return int(span[:-1]) * _UNITS[span[-1]]
