"""Running totals of a run, for those who watch it."""

from dataclasses import asdict, dataclass

from firmware_sim.wire import Kind, Record


@dataclass(slots=True)
class Tally:
    """Counts so far. `published`: MQTT publishes; `receipted`: records covered for the first time.

    `resent` counts records said again because real time ran out, not the scenario's duplicates.
    `handed`: times that a device was told which rounds to walk.
    """

    checkins: int = 0
    hazards: int = 0
    sos: int = 0
    duplicates: int = 0
    published: int = 0
    receipted: int = 0
    resent: int = 0
    bad_receipts: int = 0
    handed: int = 0
    ticks: int = 0

    def recorded(self, record: Record) -> None:
        """A device made a record."""
        if record.kind is Kind.CHECKIN:
            self.checkins += 1
        elif record.kind is Kind.HAZARD:
            self.hazards += 1
        else:
            self.sos += 1
        self.duplicates += record.copies - 1

    def members(self) -> dict[str, int]:
        """All counts by name."""
        return asdict(self)
