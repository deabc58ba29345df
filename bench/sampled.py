"""Run the service and say where its CPU goes: `python bench/sampled.py OUT COMMAND…`.

Every few milliseconds each thread's own CPU clock is read, and what it has used since the last look
is booked to the Python stack it stands in. C code is booked to the line that called it. Costs the
service some percent: for finding out where, not how much. SIGUSR1 forgets what was booked so far,
SIGUSR2 looks no more: what is measured lies between them. OUT gets JSON when the service ends; its
`parts` say what each kind of work took, by `PARTS`.
"""

import json
import runpy
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, FrameType

EVERY_S = 0.002
SWITCH_S = 0.0005
"""How long a thread may keep the interpreter. With the default of 5 ms the sampler would mostly get
it where a thread lets go of it by itself: at system calls."""
ORDERS = frozenset((signal.SIGUSR1, signal.SIGUSR2))
PARTS: Mapping[str, str] = {
    "ingest/wire": "connections",
    "ingest/paho_source": "connections",
    "devices/codec": "decoding",
    "devices/content": "decoding",
    "ingest/reader": "placing",
    "ingest/rows": "placing",
    "store/picture": "placing",
    "store/entries": "rows of check-ins",
    "store/arrivals": "rows of check-ins",
    "ingest/writer": "what follows from a record",
    "ingest/books": "what follows from a record",
    "ingest/committed": "what follows from a record",
    "store/doubts": "what follows from a record",
    "store/presence": "what follows from a record",
    "ingest/following": "what follows from a record",
    "ingest/markers": "markers",
    "store/coverages": "receipts",
    "ingest/receipts": "receipts",
    "store/series": "feeding InfluxDB",
    "ingest/handouts": "handouts",
    "store/handouts": "handouts",
    "ingest/watch": "judging what is due",
    "ingest/doubts": "doubts",
    "ingest/outbox": "telling events",
    "ingest/owing": "rounds to come",
    "ingest/ledger": "transactions, fsync",
    "store/database": "transactions, fsync",
    "ingest/pipeline": "the pipeline",
    "ingest/line": "the pipeline",
}
"""Work is booked to the innermost function on the stack whose file is named here."""
REST = "the event loop, and the rest"


class Sampler(threading.Thread):
    """Books CPU nanoseconds to (thread, function) itself, and to every function on the stack."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self.own: Counter[tuple[str, CodeType, int]] = Counter()
        self.total: Counter[tuple[str, CodeType]] = Counter()
        self.parts: Counter[str] = Counter()
        self._used: dict[int, int] = {}
        self._named: dict[CodeType, str | None] = {}
        self._over = threading.Event()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.is_set():
            order = signal.sigtimedwait(ORDERS, EVERY_S)
            frames = sys._current_frames()
            for thread in threading.enumerate():
                if thread.ident is not None and thread is not self and thread.ident in frames:
                    self._book(thread.ident, thread.name, frames[thread.ident])
            if order is not None and order.si_signo == signal.SIGUSR2:
                return
            if order is not None:
                for counter in (self.own, self.total, self.parts):
                    counter.clear()

    def _book(self, ident: int, name: str, frame: FrameType) -> None:
        used = time.clock_gettime_ns(time.pthread_getcpuclockid(ident))
        spent, self._used[ident] = used - self._used.get(ident, used), used
        if not spent:
            return
        self.own[name, frame.f_code, frame.f_lineno] += spent
        seen: set[CodeType] = set()
        step: FrameType | None = frame
        part = None
        while step is not None:
            part = part or self._part(step.f_code)
            if step.f_code not in seen:
                seen.add(step.f_code)
                self.total[name, step.f_code] += spent
            step = step.f_back
        self.parts[part or REST] += spent

    def _part(self, code: CodeType) -> str | None:
        if code not in self._named:
            where = "/".join(Path(code.co_filename).parts[-3:])
            self._named[code] = next((part for name, part in PARTS.items() if name in where), None)
        return self._named[code]

    def report(self) -> dict[str, object]:
        """CPU in ms: by line itself, and by function with what it calls; the dearest first."""
        own = [
            (thread, f"{_at(code)}:{line}", used) for (thread, code, line), used in self.own.items()
        ]
        total = [(thread, _at(code), used) for (thread, code), used in self.total.items()]
        threads: Counter[str] = Counter()
        for thread, _, used in own:
            threads[thread] += used
        return {
            "parts": {name: used // 1_000_000 for name, used in self.parts.most_common()},
            "threads": {name: used // 1_000_000 for name, used in threads.most_common()},
            "total": _dearest(total),
            "own": _dearest(own),
        }


def _at(code: CodeType) -> str:
    return f"{'/'.join(Path(code.co_filename).parts[-2:])} {code.co_qualname}"


def _dearest(rows: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    rows.sort(key=lambda row: -row[2])
    return [(thread, where, used // 1_000_000) for thread, where, used in rows[:120]]


def main() -> None:
    out, *sys.argv = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, ORDERS)  # of all threads to come: the sampler asks
    sampler = Sampler()
    sys.setswitchinterval(SWITCH_S)
    sampler.start()
    # This file's own folder would stand before the rooms, and has a module named like one of them.
    sys.path[:] = [path for path in sys.path if Path(path) != Path(__file__).parent]
    try:
        runpy.run_module("cli.main", run_name="__main__", alter_sys=False)
    finally:
        sampler.stop()
        Path(out).write_text(json.dumps(sampler.report(), indent=0))


if __name__ == "__main__":
    main()
