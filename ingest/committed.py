"""What one batch came to, for whoever acts on it after the commit."""

from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from devices.ids import Instant
from store.coverages import Key


class Covered(Struct, frozen=True, kw_only=True):
    """What a receipt to a device may claim: its topic's site, and coverage of one epoch.

    `besides`: other sites that the device spoke from just now; it may listen at any of them.
    """

    site: str
    upto: int
    missing: tuple[tuple[int, int], ...]
    besides: frozenset[str] = frozenset()

    def after(self, before: "Covered") -> "Covered":
        """The newest, told wherever the one before would have been told."""
        sites = {before.site, *before.besides, *self.besides} - {self.site}
        return replace(self, besides=frozenset(sites)) if sites else self


@dataclass(slots=True, kw_only=True)
class Committed:
    """What one batch came to; counts are of records."""

    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    ignored: dict[tuple[str, str], int] = field(default_factory=dict)  # protocol, why
    marker: Instant | None = None
    markers: list[Instant] = field(default_factory=list)  # all of them, as they came
    first_tick: Instant | None = None
    receipts: dict[Key, Covered] = field(default_factory=dict)
    photos: dict[str, list[str]] = field(default_factory=dict)
    visits: set[tuple[int, int | None]] = field(default_factory=set)  # by site; None: any may be
    told: bool = False  # events wait in the outbox
    touched: bool = False  # judged obligations want another look
