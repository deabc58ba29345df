"""Why an input went to quarantine: the fixed list of contract section 2."""

from enum import StrEnum


class Reason(StrEnum):
    """One of a fixed list, so that quarantine can be counted and sorted by it."""

    NOT_JSON = "not-json"
    SCHEMA = "schema"
    TOO_LARGE = "too-large"
    TOO_MANY = "too-many"
    TOO_DEEP = "too-deep"
    IDENTITY_CONFLICT = "identity-conflict"
    UNKNOWN_DEVICE = "unknown-device"
    FOREIGN_SITE = "foreign-site"
    RETIRED_DEVICE = "retired-device"
    UNKNOWN_TOPIC = "unknown-topic"
    BAD_PHOTO = "bad-photo"
    UNREADABLE_ROW = "unreadable-row"
    """A row of a file that somebody imported; what is wrong with it stands in the detail."""
    UNHANDLED = "unhandled"
    """The service itself failed at it, which is a fault of ours: its log says how."""
