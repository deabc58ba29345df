"""Every kind of event with its severity, and what is told of one (contract §4)."""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from devices.ids import Instant
from devices.messages import EventState, Severity


class EventKind(StrEnum):
    """Every kind of event there is (contract §4)."""

    ROUND_COMPLETED = "round.completed"
    ROUND_INCOMPLETE = "round.incomplete"
    ROUND_MISSED = "round.missed"
    ROUND_UNKNOWN = "round.unknown"
    ROUND_AMENDED = "round.amended"
    CHECKPOINT_OVERDUE = "checkpoint.overdue"
    CHECKIN_UNKNOWN_TAG = "checkin.unknown-tag"
    CHECKIN_OUT_OF_ORDER = "checkin.out-of-order"
    CHECKIN_TOO_FAST = "checkin.too-fast"
    CHECKIN_REPLAYED = "checkin.replayed"
    CHECKIN_UNPROVEN = "checkin.unproven"
    CHECKIN_SAME_TAG_TWO_DEVICES = "checkin.same-tag-two-devices"
    DEVICE_OFFLINE = "device.offline"
    DEVICE_BATTERY_LOW = "device.battery-low"
    DEVICE_CLOCK_SKEW = "device.clock-skew"
    DEVICE_GAP = "device.gap"
    DEVICE_IDENTITY_CONFLICT = "device.identity-conflict"
    HAZARD_OPENED = "hazard.opened"
    HAZARD_OVERDUE = "hazard.overdue"
    HAZARD_ESCALATED = "hazard.escalated"
    HAZARD_CLOSED = "hazard.closed"
    SOS_RAISED = "sos.raised"
    SOS_CLEARED = "sos.cleared"
    SERVICE_GAP = "service.gap"
    CALENDAR_UNKNOWN = "calendar.unknown"


SEVERITIES: Mapping[EventKind, Severity] = {
    EventKind.ROUND_COMPLETED: Severity.INFO,
    EventKind.ROUND_INCOMPLETE: Severity.MEDIUM,
    EventKind.ROUND_MISSED: Severity.HIGH,
    EventKind.ROUND_UNKNOWN: Severity.HIGH,
    EventKind.ROUND_AMENDED: Severity.INFO,
    EventKind.CHECKPOINT_OVERDUE: Severity.HIGH,
    EventKind.CHECKIN_UNKNOWN_TAG: Severity.MEDIUM,
    EventKind.CHECKIN_OUT_OF_ORDER: Severity.MEDIUM,
    EventKind.CHECKIN_TOO_FAST: Severity.MEDIUM,
    EventKind.CHECKIN_REPLAYED: Severity.MEDIUM,
    EventKind.CHECKIN_UNPROVEN: Severity.MEDIUM,
    EventKind.CHECKIN_SAME_TAG_TWO_DEVICES: Severity.MEDIUM,
    EventKind.DEVICE_OFFLINE: Severity.MEDIUM,
    EventKind.DEVICE_BATTERY_LOW: Severity.LOW,
    EventKind.DEVICE_CLOCK_SKEW: Severity.LOW,
    EventKind.DEVICE_GAP: Severity.MEDIUM,
    EventKind.DEVICE_IDENTITY_CONFLICT: Severity.MEDIUM,
    # Hazards go by their grade (`rules.notices.GRADES`); these are those of a general one.
    EventKind.HAZARD_OPENED: Severity.MEDIUM,
    EventKind.HAZARD_OVERDUE: Severity.HIGH,
    EventKind.HAZARD_ESCALATED: Severity.HIGH,
    EventKind.HAZARD_CLOSED: Severity.INFO,
    EventKind.SOS_RAISED: Severity.CRITICAL,
    EventKind.SOS_CLEARED: Severity.CRITICAL,
    EventKind.SERVICE_GAP: Severity.MEDIUM,
    EventKind.CALENDAR_UNKNOWN: Severity.MEDIUM,
}


class Notice(Struct, frozen=True, kw_only=True):
    """What is to be told: the ledger makes it the next revision of (kind, subject).

    `at`: when it became true. `site` None: the event is of no site (`all` on the wire).
    A notice equal in state and data to the revision that holds says nothing new. `quiet`: it is
    kept and listed, but told on no channel.
    """

    kind: EventKind
    severity: Severity
    site: str | None
    subject: str
    at: Instant
    state: EventState
    message_zh: str
    message_en: str
    data: Mapping[str, Any] = msgspec.field(default_factory=dict)
    quiet: bool = False


def event_id(kind: str, subject: str, revision: int) -> str:
    """The id of one revision: the same fact told twice is one event (contract §4).

    The first 32 hex digits of the SHA-256 of kind, subject and revision, one a line.
    """
    return hashlib.sha256(f"{kind}\n{subject}\n{revision}".encode()).hexdigest()[:32]
