"""Who does something at the desk, and when: every action is written down under both."""

from dataclasses import dataclass

from devices.ids import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """The author of an action, as the audit will name them, and the instant it is done."""

    author: str
    now: Instant
