"""A handheld's own clock: right, or wrong in one of the ways clocks are wrong.

`now` is true time, in ms. What the clock shows at an instant follows from the last time somebody
or something set it: a careless hand, an empty battery, a receipt.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

DAY = 86_400_000


@dataclass(frozen=True, kw_only=True)
class Setting:
    """At `since` (ms) the clock was made to show `shows` (ms), and goes on from there.

    `rate`: what it gains on itself a true ms: 1 is right, 0 stands still, 1 + 30 s / day is fast.
    """

    since: int
    shows: int
    rate: float = 1.0

    def tells(self, now: int) -> int:
        """What it shows at `now`, where nobody set it since."""
        return self.shows + round((now - self.since) * self.rate)


class DeviceClock:
    """One device's clock; without settings it is right."""

    def __init__(self, settings: Iterable[Setting] = ()):
        self._settings = sorted(settings, key=attrgetter("since"))

    def tells(self, now: int) -> int:
        """What it shows at `now`."""
        setting = self._set_before(now)
        return now if setting is None else setting.tells(now)

    def put_right(self, now: int, told: int) -> None:
        """Somebody who knows says at `now` that it is `told`; a clock that stood goes again."""
        last = self._set_before(now)
        rate = last.rate if last is not None and last.rate > 0 else 1.0
        insort(self._settings, Setting(since=now, shows=told, rate=rate), key=attrgetter("since"))

    def _set_before(self, now: int) -> Setting | None:
        place = bisect_right(self._settings, now, key=attrgetter("since"))
        return self._settings[place - 1] if place else None
