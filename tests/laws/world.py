"""The world of the law machine: a school, its handhelds and their clocks, what is put on record.

Nothing here knows the service: plans are written as a registry file says them, messages as devices
encode them. A `Log` is what one instance of the service took, in its order; the oracle reads it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

SITE = "school-01"
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
TAGS = {"gate": "04A2B3C4D5E680", "lab": "04A2B3C4D5E681", "yard": "04A2B3C4D5E682"}
STRANGE = "04FFFFFF"
HEARTBEATS: dict[str, int | None] = {"hh-1": None, "hh-2": None, "hh-3": 10 * MINUTE}
"""The school's devices, and how often each has agreed to say that it is there (ms)."""


class Tick(NamedTuple):
    """The driver's clock: everything before it in the stream had arrived at `at`."""

    at: int


class Said(NamedTuple):
    """One publish of a device: `checkin` with one record or several, or `status`."""

    device: str
    kind: str
    body: Any


class Planned(NamedTuple):
    """The registry's plans are these from now on."""

    plans: tuple[dict[str, Any], ...]


Item = Tick | Said | Planned
Log = list[Item]


def night(*windows: str, route: tuple[str, ...] = ("gate", "lab"), **more: Any) -> dict[str, Any]:
    """A plan of rounds, as the registry file says it; `grace`, `early` in minutes."""
    return {"id": "night", "route": route, "windows": windows, "grace": 0, "early": 0, **more}


def gap(*windows: str, every: int, grace: int) -> dict[str, Any]:
    """A plan of the longest gap at the lab, as the registry file says it; minutes."""
    return {"id": "watch", "route": ("lab",), "windows": windows, "every": every, "grace": grace}


DENSE = ("22:00-22:20", "22:40-23:00", "23:30-00:10", "01:50-02:20", "02:30-03:10", "04:00-04:30")
CROSSED = ("22:00-23:00", "22:30-23:30", "23:00-02:30", "02:00-02:45", "02:15-03:30")
SPRING = ("01:30-02:30", "02:10-02:50", "02:20-03:20", "02:40-03:10", "22:10-22:30")
WATCH = gap("22:00-03:30", every=60, grace=5)

PLANS: tuple[tuple[dict[str, Any], ...], ...] = (
    (night(*DENSE, grace=10, early=5), WATCH),
    (night(*DENSE, route=("gate",), grace=30),),
    (night(*CROSSED, grace=10, early=15), WATCH),
    (night(*SPRING, grace=5), gap("22:00-22:50", "23:00-06:00", every=20, grace=0)),
    (night(*CROSSED, route=("lab", "gate", "yard")),),
    (night("22:00-22:30", "22:30-23:00", "23:00-23:30", route=("lab",), grace=20, early=20),),
    (night("00:00-00:30", "03:00-04:00", grace=5), gap("21:40-22:20", every=10, grace=5)),
)
"""What the school may owe; one of them from the start, another after a change of plan."""

BERLIN = "Europe/Berlin"
NIGHTS = ((2026, 7, 1), (2026, 10, 24), (2027, 3, 27))
"""Evenings in Berlin: of a plain night, of the long one and of the short one."""


def evening(night: tuple[int, int, int]) -> int:
    """21:30 of that date in Berlin, in ms."""
    return int(datetime(*night, 21, 30, tzinfo=ZoneInfo(BERLIN)).timestamp()) * 1_000


@dataclass
class Device:
    """A handheld: a clock that may be wrong, a store of records, a line that may be cut.

    `fast`: how far its clock is ahead, in ms. `sends`: whether it says `sent` at all; `counts`:
    whether it counts its uptime.
    """

    slug: str
    sends: bool = True
    counts: bool = False
    fast: int = 0
    seq: int = 0
    boot: int = 1
    booted: int = 0
    online: bool = False
    stored: list[dict[str, Any]] = field(default_factory=list)
    published: list[dict[str, Any]] = field(default_factory=list)

    def read(self, tag: str, now: int) -> None:
        """Keep a record of a read at `now`."""
        self.seq += 1
        record = {"seq": self.seq, "at": now + self.fast, "tag": tag}
        if self.counts:
            record |= {"boot": f"b{self.boot}", "up": now - self.booted}
        self.stored.append(record)

    def publish(self, record: dict[str, Any], now: int) -> dict[str, Any]:
        """A record as it goes out at `now`."""
        sent: dict[str, Any] = {"sent": now + self.fast} if self.sends else {}
        if self.sends and record.get("boot") == f"b{self.boot}":
            sent["sent_up"] = now - self.booted
        return record | sent

    def status(self, now: int) -> dict[str, Any]:
        """A birth or heartbeat. `oldest`: no receipt has reached it, so it keeps everything."""
        told = {"online": True, "boot": f"b{self.boot}", "oldest": 1}
        return told | ({"sent": now + self.fast} if self.sends else {})

    def reboot(self, now: int) -> None:
        """Switched off and on."""
        self.boot += 1
        self.booted = now
