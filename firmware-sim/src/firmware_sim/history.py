"""What a fleet did and was told: the history that a set check compares with what is kept.

A record is *made* when it happens and *told* when a receipt covers it: from then on its device may
forget it, so it must be kept. Instants are the caller's own, in seconds of a clock that only goes
forward; `at` is what the device's clock said, `true_at` what it was, in ms since the Unix epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from firmware_sim.wire import Kind, Receipt, Record

Identity = tuple[str, int, int]
"""Device, epoch, seq."""


@dataclass(slots=True, kw_only=True)
class Made:
    """One record in the life of its device. `said`: publishes that held it."""

    device: str
    record: Record
    true_at: int
    made_at: float
    said: int = 0
    told_at: float | None = None
    forgotten: bool = False

    @property
    def identity(self) -> Identity:
        return (self.device, self.record.epoch, self.record.seq)

    @property
    def honest(self) -> bool:
        """Whether its device's clock was right when it happened."""
        return self.record.at == self.true_at


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """A receipt that claims what was never made: `upto` beyond the highest `seq` there was."""

    device: str
    epoch: int
    upto: int
    highest: int


class History:
    """Everything made, in order, and what came of it as the devices know it."""

    def __init__(self) -> None:
        self.made: dict[Identity, Made] = {}
        self.ahead: list[Ahead] = []
        self.receipts = 0
        self._waiting: dict[tuple[str, int], dict[int, Made]] = {}
        self._highest: dict[tuple[str, int], int] = {}

    def make(self, device: str, record: Record, true_at: int, now: float) -> Made:
        """A device keeps a record."""
        made = Made(device=device, record=record, true_at=true_at, made_at=now)
        key = (device, record.epoch)
        self.made[made.identity] = made
        self._waiting.setdefault(key, {})[record.seq] = made
        self._highest[key] = record.seq
        return made

    def say(self, device: str, epoch: int, seqs: tuple[int, ...]) -> None:
        """A publish that held these records has left."""
        for seq in seqs:
            self.made[device, epoch, seq].said += 1

    def tell(self, device: str, receipt: Receipt, now: float) -> None:
        """A receipt has come to the device."""
        self.receipts += 1
        key = (device, receipt.epoch)
        highest = self._highest.get(key, 0)
        if receipt.upto > highest:
            found = Ahead(device=device, epoch=receipt.epoch, upto=receipt.upto, highest=highest)
            self.ahead.append(found)
        waiting = self._waiting.get(key, {})
        for seq in list(_covered(waiting, receipt)):
            waiting.pop(seq).told_at = now

    def drop(self, device: str, epoch: int, seq: int) -> None:
        """The device was full and gave up a record that it had not been told of."""
        made = self._waiting.get((device, epoch), {}).pop(seq, None)
        if made is not None:
            made.forgotten = True

    def forget(self, device: str, epoch: int) -> None:
        """The device lost its flash: what it was not told of may be gone for good."""
        for made in self._waiting.pop((device, epoch), {}).values():
            made.forgotten = True

    @property
    def held(self) -> list[Made]:
        """What devices still hold: made, never told, not forgotten."""
        return [made for waiting in self._waiting.values() for made in waiting.values()]


def _covered(waiting: dict[int, Made], receipt: Receipt) -> Iterator[int]:
    for seq, made in waiting.items():  # ascending: a device counts upward
        if seq > receipt.upto:
            return
        if receipt.covers(made.record.epoch, seq):
            yield seq


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How long something took, in seconds."""

    count: int
    p50: float
    p95: float
    p99: float
    longest: float

    @classmethod
    def of(cls, durations: list[float]) -> "Spread":
        """By nearest rank; all zero where there are none."""
        ranked = sorted(durations) or [0.0]

        def at(share: float) -> float:
            return round(ranked[min(len(ranked) - 1, int(share * len(ranked)))], 3)

        return cls(count=len(durations), p50=at(0.5), p95=at(0.95), p99=at(0.99), longest=at(1.0))


def times_to_durable(history: History) -> Spread:
    """From the making of a record to the receipt that covers it, outages and all."""
    told = (made for made in history.made.values() if made.told_at is not None)
    return Spread.of([(made.told_at or 0.0) - made.made_at for made in told])


def checkins(history: History) -> Iterator[Made]:
    """The reads of tags in it."""
    return (made for made in history.made.values() if made.record.kind is Kind.CHECKIN)
