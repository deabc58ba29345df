"""When a record happened, by its device's clock and our markers: contract section 6, naively.

"When did it arrive?" to the letter, with what the project's ninth decision settles: `sent` may lie
two seconds before its interval; slow takes three live messages of the last ten minutes, the first
and the last half a minute apart; a clock before 2020 was never set; uptime tells a record's age.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

SECOND = 1_000
MINUTE = 60 * SECOND
JITTER = 2 * SECOND
LIVE = MINUTE
YEAR_2020 = 1_577_836_800_000


class How(StrEnum):
    """How a record's time was found."""

    TRUSTED = "trusted"
    AHEAD = "ahead"
    SLOW = "slow"
    UPTIME = "uptime"
    UNPROVEN = "unproven"

    @property
    def counts_late(self) -> bool:
        """Whether late evidence with such a time counts by itself."""
        return self in {How.TRUSTED, How.UPTIME}


@dataclass(frozen=True, kw_only=True)
class Word:
    """What a message said of its device's clock (`sent`), and the marker it came after (ms)."""

    after: int
    sent: int


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a device says of when a record happened: `at`, `sent`, its age by the uptime (ms)."""

    device: str
    at: int
    sent: int | None
    age: int | None


@dataclass(frozen=True, kw_only=True)
class Dated:
    """When it happened, and how that was found."""

    at: int
    how: How


@dataclass(frozen=True, kw_only=True)
class Post:
    """The markers of a run, ascending, and what each device's messages said of its clock.

    Without any marker the service makes its own, one a second.
    """

    markers: Sequence[int] = ()
    words: Mapping[str, Sequence[Word]] = field(default_factory=dict)

    def before(self, after: int) -> int:
        """The first marker after an arrival; the run's last where none follows."""
        if not self.markers:
            return after + SECOND
        place = bisect_right(self.markers, after)
        return self.markers[min(place, len(self.markers) - 1)]

    def date(self, claim: Claim, after: int) -> Dated:
        """When a record that came after the marker `after` happened."""
        before = self.before(after)
        how, moved = self._sending(claim, after, before)
        if how is How.UNPROVEN or claim.sent is None or claim.age is None:
            return Dated(at=claim.at + moved, how=how)
        aged = claim.sent + moved - claim.age
        if how is How.TRUSTED and abs(aged - claim.at) <= JITTER:
            return Dated(at=claim.at, how=how)
        sure = how is How.TRUSTED or before - after <= LIVE
        return Dated(at=aged, how=How.UPTIME if sure else how)

    def _sending(self, claim: Claim, after: int, before: int) -> tuple[How, int]:
        """What the clock was when the message went out, and what sets it right (ms)."""
        if claim.sent is None:
            return How.UNPROVEN, 0
        if claim.sent > before:
            return How.AHEAD, before - claim.sent
        if claim.sent >= after - JITTER:
            return How.TRUSTED, 0
        if claim.sent < YEAR_2020 or self._lags_alike(claim.device, after):
            return How.SLOW, after - claim.sent
        return How.UNPROVEN, 0

    def _lags_alike(self, device: str, after: int) -> bool:
        """Whether all live messages of the last ten minutes show the same lag, ± 60 s."""
        live = [
            word
            for word in self.words.get(device, ())
            if after - 10 * MINUTE <= word.after <= after
            and self.before(word.after) - word.after <= LIVE
        ]
        if len(live) < 3:
            return False
        lags = [word.after - word.sent for word in live]
        times = [word.after for word in live]
        apart = max(times) - min(times)
        return apart >= 30 * SECOND and min(lags) > 0 and max(lags) - min(lags) <= 2 * MINUTE
