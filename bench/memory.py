"""The memory of the service over a million check-ins, while InfluxDB is down all the time.

    python bench/memory.py [--messages N] [--every N] [--devices N]

A real Mosquitto on the project's configuration, the service as a user starts it, told of an
InfluxDB where nobody listens. Check-ins are published as fast as it goes; `rss_mb` is what of the
service is in memory (proc(5): statm) after each `--every` of them. `growth_mb`: the slope of a line
through the second half of these, for each 100,000 messages; in the first half SQLite's caches fill
(32 MiB a connection). JSON goes to stdout, progress to stderr.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from bench.load import encode, publish
from bench.stand import Stand, fleet, wait_for
from bench.told import add_out, conclude, tell
from desk.demo.children import free_port

SLOWEST_PER_S = 500
PER = 100_000


def measure(asked: argparse.Namespace) -> dict[str, object]:
    """Publish, and look now and then."""
    with tempfile.TemporaryDirectory(prefix="gridbeat-bench-") as name:
        stand, rss, seq = Stand(Path(name), fleet(asked.devices)), [], 1
        nobody = f"http://127.0.0.1:{free_port()}"
        with stand.broker(), stand.service(influx_url=nobody) as service:
            for number in range(asked.messages // asked.every):
                load = encode(stand.fleet, seq, asked.every)
                seq = max(load.last.values()) + 1
                publish(stand.address, load)
                wait_for(
                    "every check-in is kept",
                    lambda kept=(number + 1) * asked.every: (
                        stand.value(  # type: ignore[misc]
                            "SELECT max(id) FROM entry"
                        )
                        >= kept
                    ),
                    30 + asked.every / SLOWEST_PER_S,
                    0.05,
                )
                rss.append(round(service.memory_mb(), 1))
                tell(f"{(number + 1) * asked.every}: {rss[-1]} MiB")
        behind = stand.value("SELECT count(*) FROM sample")
        size = stand.database.stat().st_size
    return {
        "messages": asked.messages,
        "every": asked.every,
        "rss_mb": rss,
        "growth_mb": growth(rss, asked.every),
        "samples_waiting": behind,
        "ledger_mb": round(size / 2**20),
    }


def growth(rss: list[float], every: int) -> float | None:
    """MiB for each 100,000 messages over the second half; None for fewer than five readings."""
    if len(rss) < 5:
        return None
    late = rss[len(rss) // 2 :]
    slope = statistics.linear_regression(range(len(late)), late).slope
    return round(slope * PER / every, 2)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--every", type=int, default=PER)
    parser.add_argument("--devices", type=int, default=200)
    add_out(parser)
    asked = parser.parse_args()
    if not 1 <= asked.devices <= asked.every <= asked.messages:
        parser.error("devices <= every <= messages")
    asked.every += -asked.every % asked.devices
    conclude(measure(asked), asked.out)


if __name__ == "__main__":
    main()
