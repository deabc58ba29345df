"""Who may speak: how a device's right to log in at the broker stands, and each step that moves it.

    new ──enroll──► enrolled ──rotate──► rotating ──finish──► enrolled
                       │  ▲                  │
                    suspend └──resume──┐   suspend
                       └──────► suspended ◄──┘
    every state ──retire──► retired        (back by the registry, as new)

A step that the table does not know is refused, and changes nothing.
"""

from collections.abc import Mapping
from enum import StrEnum


class Access(StrEnum):
    """How a device's right to log in stands."""

    NEW = "new"  # no credential yet
    ENROLLED = "enrolled"  # one credential works
    ROTATING = "rotating"  # two do: the old one until its time
    SUSPENDED = "suspended"  # none does; the one it has is kept for `resume`
    RETIRED = "retired"


class Step(StrEnum):
    """What a person, or the end of an overlap, does with it."""

    ENROLL = "enroll"
    RENEW = "renew"
    ROTATE = "rotate"
    FINISH = "finish"
    SUSPEND = "suspend"
    RESUME = "resume"
    RETIRE = "retire"


STEPS: Mapping[tuple[Access, Step], Access] = {
    (Access.NEW, Step.ENROLL): Access.ENROLLED,
    # The broker may know a password that this ledger does not (a ledger from before).
    (Access.NEW, Step.RENEW): Access.ENROLLED,
    (Access.NEW, Step.RETIRE): Access.RETIRED,
    (Access.ENROLLED, Step.RENEW): Access.ENROLLED,
    (Access.ENROLLED, Step.ROTATE): Access.ROTATING,
    (Access.ENROLLED, Step.SUSPEND): Access.SUSPENDED,
    (Access.ENROLLED, Step.RETIRE): Access.RETIRED,
    (Access.ROTATING, Step.RENEW): Access.ENROLLED,
    (Access.ROTATING, Step.FINISH): Access.ENROLLED,
    # What was to end soon ends with the suspension: afterwards one credential is left to trust.
    (Access.ROTATING, Step.SUSPEND): Access.SUSPENDED,
    (Access.ROTATING, Step.RETIRE): Access.RETIRED,
    (Access.SUSPENDED, Step.RESUME): Access.ENROLLED,
    # Found again, and its password may be known to others.
    (Access.SUSPENDED, Step.RENEW): Access.ENROLLED,
    (Access.SUSPENDED, Step.RETIRE): Access.RETIRED,
}

LOGINS: Mapping[Access, int] = {
    Access.NEW: 0,
    Access.ENROLLED: 1,
    Access.ROTATING: 2,
    Access.SUSPENDED: 0,
    Access.RETIRED: 0,
}
"""How many credentials the broker takes from a device in each state."""


def standing(*, suspended: bool, credentials: int) -> Access:
    """How a device that is not retired stands; `credentials`: how many of its have not ended."""
    if suspended:
        return Access.SUSPENDED
    return (Access.NEW, Access.ENROLLED, Access.ROTATING)[min(credentials, 2)]
