"""What an observer heard of one device and of what it was told, taken apart once for all judges.

    Heard, in the order of arrival  ->  read()  ->  Trace: records, statuses, receipts, what is bad

Instants are the observer's own clock, in ms; the device's clocks stand in its messages.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from devices import codec
from devices.codec import Bad
from devices.ids import Instant
from devices.messages import CheckIn, Hazard, Receipt, Sos, Status
from devices.reasons import Reason
from devices.topics import BadTopic, Kind, parse_up

RESEND_MS = (30_000, 60_000, 120_000, 240_000, 480_000, 600_000)
SOS_MS = (2_000, 5_000, 10_000)
SPREAD = 0.5
WAIT_MS = 2_000
IN_FLIGHT = 20
"""Contract §2: when an unreceipted record is published again, within which share; how long a device
waits for a receipt after its birth; how many records may be under way."""

Identity = tuple[int, int]
"""Epoch and seq: one record of the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One message as it came to an observer who sees QoS and retain as they were published."""

    at: Instant
    topic: str
    payload: bytes
    qos: int
    retain: bool


class Publish(NamedTuple):
    """A record in one of its publishes. `digest` is its content, without `sent` and `sent_up`.

    `place` orders everything heard, where instants are equal too.
    """

    place: int
    at: Instant
    kind: Kind
    epoch: int
    seq: int
    message: CheckIn | Hazard | Sos
    digest: int

    @property
    def identity(self) -> Identity:
        """Which record it is."""
        return self.epoch, self.seq

    @property
    def age(self) -> int | None:
        """How old the record was at this publish, by the device's clocks; None: it does not say."""
        said = self.message
        if said.up is not None and said.sent_up is not None:
            return said.sent_up - said.up
        return None if said.sent is None else said.sent - said.at


class Told(NamedTuple):
    """A birth, heartbeat or will."""

    place: int
    at: Instant
    status: Status


class Covering(NamedTuple):
    """A receipt that the device was sent."""

    place: int
    at: Instant
    receipt: Receipt

    def covers(self, identity: Identity) -> bool:
        """Whether it lets the device forget a record."""
        epoch, seq = identity
        told = self.receipt
        if epoch != told.epoch or seq > told.upto:
            return False
        return not any(first <= seq <= last for first, last in told.missing)


class Fault(NamedTuple):
    """A message of the device that cannot be read."""

    at: Instant
    topic: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Everything heard in [begun, ended], in order. `scale` shortens the contract's times.

    `births`: statuses that begin a connection, as far as can be told from a heartbeat: the first
    after an offline, or of another boot. `offline`: wills and farewells.
    """

    begun: Instant
    ended: Instant
    scale: float = 1.0
    ups: tuple[Heard, ...] = ()
    publishes: tuple[Publish, ...] = ()
    statuses: tuple[Told, ...] = ()
    births: tuple[Told, ...] = ()
    offline: tuple[Told, ...] = ()
    receipts: tuple[Covering, ...] = ()
    faults: tuple[Fault, ...] = ()
    photos: tuple[Instant, ...] = ()
    records: dict[Identity, list[Publish]] = field(default_factory=dict)
    covered: dict[Identity, Instant] = field(default_factory=dict)

    @property
    def slack(self) -> int:
        """What the ways through the broker may add or take, in ms."""
        return round(200 + 800 * self.scale)

    def ms(self, ms: int) -> float:
        """A time of the contract, as it is kept here."""
        return ms * self.scale

    def turned(self, since: int, until: int) -> bool:
        """Whether the device went away, or came, between two places."""
        return any(since < told.place < until for told in (*self.offline, *self.births))

    def online_at(self, at: Instant) -> bool:
        """Whether the device was there, as far as its own words tell."""
        turns = [(told.at, told.status.online) for told in (*self.offline, *self.births)]
        return max((turn for turn in turns if turn[0] <= at), default=(0, True))[1]

    def covered_at(self, identity: Identity) -> Instant | None:
        """When a receipt first covered a record, be it one that was heard or not."""
        if identity in self.records:
            return self.covered.get(identity)
        return next((one.at for one in self.receipts if one.covers(identity)), None)

    def clock(self, at: Instant) -> str:
        """An instant as evidence names it: seconds since the watch began."""
        return f"{(at - self.begun) / 1_000:.2f} s"


def read(
    heard: Iterable[Heard], device: str, begun: Instant, ended: Instant, scale: float = 1.0
) -> Trace:
    """Take apart what was heard of `device`. Never raises: what cannot be read is a fault."""
    ups: list[Heard] = []
    publishes: list[Publish] = []
    statuses: list[Told] = []
    receipts: list[Covering] = []
    faults: list[Fault] = []
    photos: list[Instant] = []
    for place, one in enumerate(heard):
        levels = one.topic.split("/")
        if len(levels) < 5 or levels[3] != device:
            continue
        if levels[4] == "down":
            if levels[5:] == ["receipt"]:
                found = codec.decode_receipt(one.payload)
                if isinstance(found, Receipt):
                    receipts.append(Covering(place, one.at, found))
            continue
        if one.retain and not one.payload:  # somebody took a retained message away
            continue
        ups.append(one)
        for said in _said(place, one):
            match said:
                case Publish():
                    publishes.append(said)
                case Told():
                    statuses.append(said)
                case Fault():
                    faults.append(said)
                case int():
                    photos.append(said)
    records: dict[Identity, list[Publish]] = {}
    for publish in publishes:
        records.setdefault(publish.identity, []).append(publish)
    births, offline = _turns(statuses)
    return Trace(
        begun=begun,
        ended=ended,
        scale=scale,
        ups=tuple(ups),
        publishes=tuple(publishes),
        statuses=tuple(statuses),
        births=births,
        offline=offline,
        receipts=tuple(receipts),
        faults=tuple(faults),
        photos=tuple(photos),
        records=records,
        covered=covered(records, receipts),
    )


def covered(records: Iterable[Identity], receipts: Iterable[Covering]) -> dict[Identity, Instant]:
    """When each record was first covered; every receipt looks only at what is still open."""
    ahead: dict[int, list[int]] = {}
    for epoch, seq in sorted(records, reverse=True):
        ahead.setdefault(epoch, []).append(seq)
    open_: dict[int, set[int]] = {epoch: set() for epoch in ahead}
    found: dict[Identity, Instant] = {}
    for one in receipts:
        epoch = one.receipt.epoch
        if epoch not in ahead:
            continue
        while ahead[epoch] and ahead[epoch][-1] <= one.receipt.upto:
            open_[epoch].add(ahead[epoch].pop())
        kept = [seq for seq in open_[epoch] if one.covers((epoch, seq))]
        open_[epoch].difference_update(kept)
        found.update(((epoch, seq), one.at) for seq in kept)
    return found


def _said(place: int, one: Heard) -> Iterator[Publish | Told | Fault | Instant]:
    topic = parse_up(one.topic)
    if isinstance(topic, BadTopic):
        yield Fault(one.at, one.topic, topic.reason, topic.detail)
        return
    if topic.kind is Kind.PHOTO:
        photo = codec.decode_photo(topic, one.payload)
        bad = isinstance(photo, Bad)
        yield Fault(one.at, one.topic, photo.reason, photo.detail) if bad else one.at  # type: ignore[union-attr]  # `bad` says which
        return
    if topic.kind is Kind.STATUS:
        status = codec.decode_status(one.payload)
        if isinstance(status, Bad):
            yield Fault(one.at, one.topic, status.reason, status.detail)
        else:
            yield Told(place, one.at, status)
        return
    for record in codec.decode(topic, one.payload):
        if isinstance(record, Bad):
            yield Fault(one.at, one.topic, record.reason, record.detail)
            continue
        _, epoch, seq = record.identity
        yield Publish(place, one.at, topic.kind, epoch, seq, record.message, record.digest)


def _turns(statuses: Iterable[Told]) -> tuple[tuple[Told, ...], tuple[Told, ...]]:
    """Births, and when the device went: a will of an earlier boot says nothing (contract §2)."""
    births: list[Told] = []
    offline: list[Told] = []
    away, boot = False, None
    for told in statuses:
        its = told.status.boot
        if not told.status.online:
            if None in (its, boot) or its == boot:
                offline.append(told)
                away = True
            continue
        if away or (None not in (its, boot) and its != boot):
            births.append(told)
        away, boot = False, its or boot
    return tuple(births), tuple(offline)
