"""Whether a device can be reached, and what is wrong with it: offline, battery low.

A state is derived from the last status and the last contact, at `now`; nothing is kept of how it
was before but which alarms are open. What is wrong is told once it has lasted (`Limits.offline`),
so that a short cut raises nothing, and a charge between the two limits changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from devices.ids import Instant
from rules.kinds import EventKind, Notice
from rules.notices import alarm_over, battery_low, device_offline

SILENCES = 2.5
"""How many heartbeats a device may be silent before it counts as unreachable (contract §6)."""

AGAIN_MS = 30_000
"""How often a silent device is looked at: what it says then is a contact, and no turn."""


STALE_MS = 3_600_000
"""A status older than this, and than 2.5 heartbeats, is told with its age."""


class Presence(StrEnum):
    """How a device stands. Offline by its own last word or will, silent by its heartbeat."""

    NEVER = "never"
    ONLINE = "online"
    SILENT = "silent"
    OFFLINE = "offline"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When to tell: ms a device must have been unreachable, and percent of charge.

    An alarm of the battery opens at or below `battery_low` and ends at or above `battery_right`.
    """

    offline: int = 120_000
    battery_low: int = 20
    battery_right: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of one device. Instants are ours.

    `retired`: or suspended, so that nobody waits for it. `online`: its last word, None where it
    never said one, and `turned_at` since when. `sure_from`: before it we could not hear, so that no
    silence counts. `told_at`: of the last status.
    """

    device: str
    site: str | None
    retired: bool
    online: bool | None
    turned_at: Instant | None
    heard_at: Instant | None
    told_at: Instant | None
    boot: str | None
    heartbeat: int | None
    battery: int | None
    sure_from: Instant = 0


class Open(NamedTuple):
    """An event of the device that was told and has not ended."""

    kind: EventKind
    subject: str
    at: Instant
    data: Mapping[str, Any]


class Looked(NamedTuple):
    """What is to be told, and the next instant at which something may have to be."""

    notices: tuple[Notice, ...]
    wake: Instant | None


class State(NamedTuple):
    """How a device stands, since when (None: since ever), and until when if nothing is heard."""

    presence: Presence
    since: Instant | None
    until: Instant | None = None


def state(seen: Seen, now: Instant) -> State:
    """How a device stands at `now`."""
    if seen.retired:
        return State(Presence.RETIRED, None)
    if seen.online is False:
        return State(Presence.OFFLINE, seen.turned_at)
    if seen.heard_at is None and seen.online is None:
        return State(Presence.NEVER, None)
    if seen.heartbeat is None:
        return State(Presence.ONLINE, seen.turned_at)
    heard = max(seen.heard_at or seen.told_at or 0, seen.sure_from)
    silent_from = heard + round(SILENCES * seen.heartbeat)
    if now >= silent_from:
        return State(Presence.SILENT, silent_from)
    return State(Presence.ONLINE, seen.turned_at, silent_from)


def stale(seen: Seen, now: Instant) -> bool:
    """Whether the last status is too old for its charge and store to be told as they are."""
    if seen.told_at is None:
        return False
    bearable = max(STALE_MS, round(SILENCES * (seen.heartbeat or 0)))
    return seen.online is False or now - seen.told_at > bearable


def look(seen: Seen, told: Sequence[Open], limits: Limits, now: Instant) -> Looked:
    """What has begun and what has ended by `now`, given the events of the device that are open."""
    found = state(seen, now)
    if found.presence is Presence.RETIRED:
        return Looked(tuple(_over(seen, it) for it in told), None)
    away, wake = _away(seen, found, told, limits, now)
    return Looked((*away, *_battery(seen, told, limits)), wake)


def _away(
    seen: Seen, found: State, told: Sequence[Open], limits: Limits, now: Instant
) -> tuple[tuple[Notice, ...], Instant | None]:
    known = [it for it in told if it.kind is EventKind.DEVICE_OFFLINE]
    if found.presence not in (Presence.OFFLINE, Presence.SILENT):
        ended = tuple(_over(seen, it) for it in known)
        return ended, None if found.until is None else found.until + limits.offline
    again = now + AGAIN_MS if found.presence is Presence.SILENT else None
    if known:
        return (), again
    since = found.since or 0
    if now < since + limits.offline:
        return (), since + limits.offline
    silent = found.presence is Presence.SILENT
    return (device_offline(seen.site, seen.device, seen.boot, since, silent=silent),), again


def _battery(seen: Seen, told: Sequence[Open], limits: Limits) -> tuple[Notice, ...]:
    if seen.battery is None:
        return ()
    known = [it for it in told if it.kind is EventKind.DEVICE_BATTERY_LOW]
    if known and seen.battery >= limits.battery_right:
        return tuple(_over(seen, it) for it in known)
    if known or seen.battery > limits.battery_low:
        return ()
    at = seen.told_at or 0
    return (battery_low(seen.site, seen.device, seen.boot, at, percent=seen.battery),)


def _over(seen: Seen, it: Open) -> Notice:
    return alarm_over(it.kind, seen.site, it.subject, it.at, it.data, retired=seen.retired)
