"""Run the service and say where its CPU goes: `python bench/sampled.py OUT COMMAND…`.

Every few milliseconds each thread's own CPU clock is read, and what it has used since the last look
is booked to the Python stack it stands in. C code is booked to the line that called it. Costs the
service some percent: for finding out where, not how much. OUT gets JSON when the service ends.
"""

import json
import runpy
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

EVERY_S = 0.002
SWITCH_S = 0.0005
"""How long a thread may keep the interpreter. With the default of 5 ms the sampler would mostly get
it where a thread lets go of it by itself: at system calls."""


class Sampler(threading.Thread):
    """Books CPU nanoseconds to (thread, function) itself, and to every function on the stack."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self.own: Counter[tuple[str, CodeType, int]] = Counter()
        self.total: Counter[tuple[str, CodeType]] = Counter()
        self._used: dict[int, int] = {}
        self._over = threading.Event()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(EVERY_S):
            frames = sys._current_frames()
            for thread in threading.enumerate():
                if thread.ident is not None and thread is not self and thread.ident in frames:
                    self._book(thread.ident, thread.name, frames[thread.ident])

    def _book(self, ident: int, name: str, frame: FrameType) -> None:
        used = time.clock_gettime_ns(time.pthread_getcpuclockid(ident))
        spent, self._used[ident] = used - self._used.get(ident, used), used
        if not spent:
            return
        self.own[name, frame.f_code, frame.f_lineno] += spent
        seen: set[CodeType] = set()
        step: FrameType | None = frame
        while step is not None:
            if step.f_code not in seen:
                seen.add(step.f_code)
                self.total[name, step.f_code] += spent
            step = step.f_back

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
