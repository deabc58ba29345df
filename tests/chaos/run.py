"""`script/chaos`: the checker's full run, or a smaller one, as JSON on stdout; progress on stderr.

Exit codes: 0 nothing lost, doubled or invented; 3 something was; 4 a server is missing.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from firmware_sim.crowd import Layout
from tests.chaos.broken import BROKEN
from tests.chaos.checker import Manner, run
from tests.chaos.faults import Scale
from tests.servers import influxd

FOUND, MISSING = 3, 4

FULL = Scale(hands=12, hoard=10_000, batch=20, garbage=3_000)


def main() -> int:
    """One run."""
    asked = _arguments()
    scale = Scale() if asked.short else FULL
    layout = Layout() if asked.short else Layout(sites=8, reserve=1_000)
    manner = Manner(
        seed=asked.seed,
        scale=scale,
        layout=layout,
        broken=asked.broken,
        source=asked.source,
        settle_s=120 if asked.short else 600,
    )
    with ExitStack() as stack:
        folder = asked.keep or stack.enter_context(
            tempfile.TemporaryDirectory(prefix="gridbeat-chaos-", ignore_cleanup_errors=True)
        )
        Path(folder).mkdir(parents=True, exist_ok=True)
        try:
            influx = stack.enter_context(influxd())
            result = asyncio.run(run(manner, Path(folder), influx, _progress))
        except pytest.skip.Exception as missing:
            print(f"script/chaos: {missing}", file=sys.stderr)
            return MISSING
    print(json.dumps(result.members(), ensure_ascii=False, indent=2))
    return 0 if result.finding.good else FOUND


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="36 kills, as script/test does")
    parser.add_argument("--broken", choices=BROKEN, default="none")
    parser.add_argument("--source", help="GRIDBEAT_MQTT_SOURCE of the service")
    parser.add_argument("--keep", type=Path, help="a new folder that stays, with all logs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
