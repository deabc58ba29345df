"""From the panic button to `sos.raised` on MQTT, beside check-ins and ahead of a backlog of them.

    python bench/sos.py [--seconds N] [--checkins N] [--every-ms N] [--backlog N] [--calls N]

A real Mosquitto on the project's configuration, the service as a user starts it. *beside*: for
`--seconds`, `--checkins` a second are published, and a call each `--every-ms`; `p50_ms`, `p99_ms`,
`max_ms` are from just before its bytes are written to a socket until its event is with a
subscriber at QoS 0. *ahead*: while the service is away, `--backlog` check-ins are published, and
behind them `--calls` calls; then it starts. `kept_when_told`: how many of the check-ins were
committed when the last of the calls had been told.

Every call must be told, once, and every check-in kept. JSON goes to stdout, progress to stderr.
"""

import argparse
import json
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from bench.load import Ear, connect, encode, packet, publish
from bench.stand import Stand, fleet, wait_for, wall
from bench.told import add_out, conclude, percentile, percentiles, tell
from devices import topics

EPOCH = 7
"""Of the calls, so that their counter is not the check-ins'."""
TOLD_WITHIN_S = 60.0
SLOWEST_PER_S = 500


class Bench:
    """The stand, and who calls for help."""

    def __init__(self, folder: Path, devices: int) -> None:
        self.stand = Stand(folder, fleet(devices))
        self._seq = 1
        self._calls = 0

    def call(self, link: socket.socket) -> tuple[str, int]:
        """Press a button; returns which call it is, and when (ms since the epoch)."""
        handheld = self.stand.fleet[self._calls % len(self.stand.fleet)]
        self._calls += 1
        topic = f"patrol/v1/{handheld.site}/{handheld.slug}/up/sos"
        at = wall()
        said = {"seq": self._calls, "epoch": EPOCH, "at": at, "sent": at, "person": handheld.person}
        link.sendall(packet(topic.encode(), json.dumps(said).encode(), self._calls % 65_535 + 1))
        return f"{handheld.slug}/{EPOCH}/{self._calls}", at

    def beside(self, seconds: int, per_s: int, every_ms: int) -> dict[str, object]:
        """Calls while check-ins come in at their pace."""
        load = self.load(seconds * per_s)
        with self.stand.service(), closing(self._ear("beside")) as ear:
            before, called = self._top(), {}
            talking = threading.Thread(target=publish, args=(self.stand.address, load, per_s))
            talking.start()
            with connect(self.stand.address, "bench-caller") as link:
                while talking.is_alive():
                    subject, at = self.call(link)
                    called[subject] = at
                    time.sleep(every_ms / 1_000)
            talking.join()
            told = self._told(ear, len(called))
            self._kept(before + load.messages + len(called), load.messages)
        took = [told[subject] - at for subject, at in called.items()]
        return {
            "calls": len(took),
            "checkins_per_s": per_s,
            "p50_ms": percentile(took, 50),
            "p99_ms": percentile(took, 99),
            "max_ms": max(took),
            "percentiles_ms": percentiles(took),
        }

    def ahead(self, backlog: int, calls: int) -> dict[str, object]:
        """Calls that were made behind a backlog."""
        with self.stand.service():
            pass
        load, before = self.load(backlog), self._top()
        publish(self.stand.address, load)
        with (
            closing(self._ear("ahead")) as ear,
            connect(self.stand.address, "bench-caller") as link,
        ):
            for _ in range(calls):
                self.call(link)
            started = time.monotonic()
            with self.stand.service(ready=False):
                self._told(ear, calls, every_s=0.002)
                told_s, kept = time.monotonic() - started, self._top() - before - calls
                self._kept(before + backlog + calls, backlog)
                drained_s = time.monotonic() - started
        return {
            "backlog": backlog,
            "calls": calls,
            "kept_when_told": max(kept, 0),
            "told_s": round(told_s, 2),
            "drained_s": round(drained_s, 2),
        }

    def load(self, messages: int):  # type: ignore[no-untyped-def]
        """The next messages of the fleet."""
        load = encode(self.stand.fleet, self._seq, messages)
        self._seq = max(load.last.values()) + 1
        return load

    def _ear(self, name: str) -> Ear:
        return Ear(self.stand.address, f"bench-{name}", topics.event("+", "sos.raised"))

    def _told(self, ear: Ear, calls: int, every_s: float = 0.05) -> dict[str, int]:
        """When the event of each call was there. Raises RuntimeError where one came twice."""
        wait_for(
            "every call is told",
            lambda: sum(1 for _ in ear.messages()) >= calls,
            TOLD_WITHIN_S,
            every_s,
        )
        heard = [(json.loads(payload)["subject"], came) for came, _, payload in ear.timed()]
        if len(heard) != len(dict(heard)) or len(heard) != calls:
            raise RuntimeError(f"{calls} calls, but {len(heard)} events")
        return dict(heard)

    def _top(self) -> int:
        return self.stand.value("SELECT max(id) FROM entry")

    def _kept(self, target: int, messages: int) -> None:
        wait_for("everything is kept", lambda: self._top() >= target, 30 + messages / SLOWEST_PER_S)


def measure(asked: argparse.Namespace) -> dict[str, object]:
    """Both, one after the other."""
    with tempfile.TemporaryDirectory(prefix="gridbeat-bench-") as name:
        bench = Bench(Path(name), asked.devices)
        with bench.stand.broker():
            beside = bench.beside(asked.seconds, asked.checkins, asked.every_ms)
            tell(beside)
            ahead = bench.ahead(asked.backlog, asked.calls)
            tell(ahead)
    return {"beside": beside, "ahead": ahead, "devices": asked.devices}


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--checkins", type=int, default=2_000, help="a second")
    parser.add_argument("--every-ms", type=int, default=50, help="between two calls")
    parser.add_argument("--backlog", type=int, default=100_000, help="check-ins that wait")
    parser.add_argument("--calls", type=int, default=20, help="behind the backlog")
    parser.add_argument("--devices", type=int, default=200)
    add_out(parser)
    asked = parser.parse_args(argv)
    numbers = (asked.seconds, asked.checkins, asked.every_ms, asked.backlog, asked.calls)
    if min(numbers) < 1 or asked.backlog < asked.devices:
        parser.error("at least one of each, and as many check-ins as devices")
    conclude(measure(asked), asked.out)


if __name__ == "__main__":
    main()
