"""Period profiles (特殊时期): for some days more visits, shorter gaps, further windows.

Where several hold, the strictest of each counts. They change what is owed by what opens on their
days, and nothing that has opened.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Self

import msgspec

from rules.plans import Plan, PlanCheckpoint, Window

SHORTEST_MS = 60_000
"""No gap is made shorter than a plan may ask itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The dates [since, until], both in it. `visits`: how many times as often; `every` in ms.

    Raises ValueError, with the remedy, for one that changes nothing or ends before it begins.
    """

    slug: str
    name: str
    since: date
    until: date
    visits: int = 1
    every: int | None = None
    windows: tuple[Window, ...] = ()

    def __post_init__(self) -> None:
        if self.until < self.since:
            raise ValueError(f"{self.since} to {self.until} ends before it begins: swap the dates")
        if (self.until - self.since).days > 366:
            raise ValueError("a special period is no longer than a year: give an earlier end")
        if self.visits < 1 or (self.every is not None and self.every < SHORTEST_MS):
            raise ValueError("visits are multiplied by 1 or more, and a gap is 1m or longer")
        if self.visits == 1 and self.every is None and not self.windows:
            raise ValueError("it changes nothing: say more visits, a shorter gap, or a window")

    def holds(self, when: date) -> bool:
        """Whether it holds for what opens on a date."""
        return self.since <= when <= self.until

    def to_json(self) -> dict[str, Any]:
        """A document of plain values; `from_json` reads it back to an equal profile."""
        return {
            "slug": self.slug,
            "name": self.name,
            "from": self.since.isoformat(),
            "to": self.until.isoformat(),
            "visits": self.visits,
            "every": self.every,
            "windows": [str(window) for window in self.windows],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The profile that `to_json` wrote. Raises KeyError or ValueError for anything else."""
        return cls(
            slug=document["slug"],
            name=document["name"],
            since=date.fromisoformat(document["from"]),
            until=date.fromisoformat(document["to"]),
            visits=document["visits"],
            every=document["every"],
            windows=tuple(map(Window.parse, document["windows"])),
        )


def under(plan: Plan, profiles: Iterable[Profile]) -> Plan:
    """The plan as it is while these profiles hold; the plan itself where they change nothing."""
    held = tuple(profiles)
    if not held:
        return plan
    times = max(profile.visits for profile in held)
    changed = _shorter(plan, times, held) if plan.every is not None else _oftener(plan, times)
    if plan.quota is None:
        changed = replace(changed, windows=_windows(plan, held))
    if changed == plan:
        return plan
    return replace(changed, profiles=tuple(sorted(profile.slug for profile in held)))


def on_days(plan: Plan, profiles: Iterable[Profile]) -> Callable[[date], Plan]:
    """The plan by date; each combination of profiles is worked out once."""
    every = tuple(profiles)
    made: dict[tuple[Profile, ...], Plan] = {(): plan}

    def on(when: date) -> Plan:
        held = tuple(profile for profile in every if profile.holds(when))
        if held not in made:
            made[held] = under(plan, held)
        return made[held]

    return on


def _shorter(plan: Plan, times: int, held: tuple[Profile, ...]) -> Plan:
    """As often again within the same time is a gap of the half."""
    asked = (profile.every for profile in held if profile.every is not None)
    every = plan.every or SHORTEST_MS
    return replace(plan, every=max(SHORTEST_MS, min(every // times, *asked, every)))


def _oftener(plan: Plan, times: int) -> Plan:
    if times == 1:
        return plan
    usual = 1 if plan.quota is None else plan.quota.visits

    def point(found: PlanCheckpoint) -> PlanCheckpoint:
        if found.optional:
            return found
        return msgspec.structs.replace(found, visits=(found.visits or usual) * times)

    return replace(plan, route=tuple(map(point, plan.route)))


def _windows(plan: Plan, held: tuple[Profile, ...]) -> tuple[Window, ...]:
    """The plan's, and those of the profiles that open at another time."""
    windows = {window.opens: window for profile in held for window in profile.windows}
    own = {window.opens for window in plan.windows}
    return (*plan.windows, *(windows[at] for at in sorted(windows) if at not in own))
