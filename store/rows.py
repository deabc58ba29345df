"""The rows of the listings, as values: ids are slugs, instants milliseconds since the epoch.

`timezone` is the site's, for whoever prints the row; None where no site is known.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from devices.ids import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckinRow:
    """A check-in. `at`: the device's clock; `corrected_at` a third time, and how it was found.

    `person_by_tag`: the read does not say itself who made it; a person's tag read before it does.
    `time_source`: who tells `at` (`devices.adapters.heard.TimeSource`). `proof`: of a read that
    carries a tag's message, or whose checkpoint asked for one (`devices.proofs.Proof`).
    """

    site: str
    checkpoint: str | None
    tag: str
    device: str
    person: str | None
    person_by_tag: bool
    epoch: int
    seq: int
    at: Instant
    received_at: Instant
    time_source: str
    via: str
    corrected_at: Instant | None
    corrected_how: str | None
    proof: str | None
    timezone: str


class Phase(StrEnum):
    """Where a round stands before its verdict. Due: closed, in its grace, or being judged."""

    UPCOMING = "upcoming"
    OPEN = "open"
    DUE = "due"
    JUDGED = "judged"

    @classmethod
    def of(cls, verdict: str, opens: Instant, closes: Instant, now: Instant) -> "Phase":
        """The phase at `now`."""
        if verdict != "pending":
            return cls.JUDGED
        if now < opens:
            return cls.UPCOMING
        return cls.OPEN if now < closes else cls.DUE


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRow:
    """A round and the verdict that holds. Before its due nothing is missing yet.

    `scored` false: the class of its day was not known, so that it counts in no score.
    """

    id: str
    site: str
    plan: str
    opens_at: Instant
    closes_at: Instant
    due_at: Instant
    verdict: str
    phase: str
    revision: int
    expected: int
    visited: int
    missing: tuple[str, ...]
    late: tuple[str, ...]
    reason: str | None
    judged_at: Instant | None
    scored: bool
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """A stretch without a visit that grew too long; `ended_at` is the visit that ended it."""

    start_at: Instant
    breached_at: Instant
    ended_at: Instant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRow:
    """The longest allowed gap of one checkpoint in one window, and where it was broken."""

    id: str
    site: str
    plan: str
    checkpoint: str
    opens_at: Instant
    closes_at: Instant
    due_at: Instant
    verdict: str
    revision: int
    overdue: bool
    stretches: tuple[Overdue, ...]
    reason: str | None
    scored: bool
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaRow:
    """A quota of one period: how many visits it asks and how many there are, so far or at due.

    `met_at`: when it was met, which may be long before it is judged.
    """

    id: str
    site: str
    plan: str
    opens_at: Instant
    closes_at: Instant
    due_at: Instant
    verdict: str
    revision: int
    expected: int
    visited: int
    missing: tuple[str, ...]
    met_at: Instant | None
    reason: str | None
    judged_at: Instant | None
    scored: bool
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOut:
    """A revision of an event, as contract §4 tells it."""

    id: str
    kind: str
    severity: str
    site: str
    subject: str
    at: Instant
    raised_at: Instant
    revision: int
    state: str
    message: dict[str, str]
    data: dict[str, Any]
    timezone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HazardRow:
    """A hazard as its report and steps make it."""

    id: str
    site: str
    state: str
    grade: str
    category: str | None
    text: str | None
    checkpoint: str | None
    person: str | None
    reported_at: Instant
    received_at: Instant
    closed_at: Instant | None
    revision: int
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentRow:
    """A tag that was given keys, for the `generation`-th time; `site` None: it hangs nowhere."""

    uid: str
    site: str | None
    checkpoint: str | None
    key_version: int
    generation: int
    enrolled_at: Instant
    retired_at: Instant | None
    author: str
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRow:
    """A device and its last status; `site` of one that belongs to a grid node is None.

    `online` is its own last word, `state` (rules.presence.Presence) what follows from that and from
    its silence, as of the last marker that came back. `stale`: its status, received at `status_at`,
    is old, and what it says of charge and store with it.
    """

    id: str
    site: str | None
    grid: str | None
    protocol: str
    address: str | None
    checkpoint: str | None
    state: str
    state_since_at: Instant | None
    online: bool | None
    heard_at: Instant | None
    status_at: Instant | None
    stale: bool
    boot: str | None
    battery: int | None
    rssi: int | None
    queue: int | None
    skew_ms: int | None
    firmware: str | None
    model: str | None
    heartbeat_ms: int | None
    enrolled_at: Instant | None
    suspended_at: Instant | None
    retired_at: Instant | None
    timezone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRow:
    """A late read that waits for a person. `clock`: what is known of it; `why`: why it waits.

    `checkpoint` None: it is a person's tag, and says who made the reads after it.
    """

    id: str
    site: str
    checkpoint: str | None
    device: str
    person: str | None
    at: Instant
    corrected_at: Instant | None
    received_at: Instant
    clock: str
    why: str
    rounds: tuple[str, ...]
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineRow:
    """Something that could not be taken; its bytes are shown by `desk.cases`.

    `state`: kept, or asked to be taken again; taken, duplicate or dropped since `settled_at`.
    """

    id: int
    topic: str
    reason: str
    detail: str
    received_at: Instant
    site: str | None
    device: str | None
    epoch: int | None
    seq: int | None
    size: int
    sha256: str
    whole: bool
    copies: int
    state: str
    settled_at: Instant | None
    timezone: str | None
