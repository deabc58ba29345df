"""The contract's bytes, written and read a second time: topics, records out, receipts in.

Source: contract v1, sections 1 to 3. Nothing here knows a socket or a clock.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

CLOCK_TOPIC = "patrol/v1/sim/clock"
MAX_NUMBER = 2**53 - 1
MAX_ARRAY = 200


class Kind(StrEnum):
    """What a device says, as its topic names it."""

    CHECKIN = "checkin"
    HAZARD = "hazard"
    SOS = "sos"
    STATUS = "status"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One thing that happened, as the device keeps it. `at` (by its clock) and `up` are ms."""

    kind: Kind
    site: str
    seq: int
    epoch: int
    at: int
    boot: str | None = None
    up: int | None = None
    members: Mapping[str, object] = field(default_factory=dict)
    copies: int = 1

    @property
    def identity(self) -> tuple[int, int]:
        """What makes it this record and no other, within its device."""
        return (self.epoch, self.seq)

    def age(self, moment: "Moment") -> int | None:
        """How old it is at this publish by the uptime (ms); None where two boots lie between."""
        if self.boot != moment.boot or self.up is None or moment.up is None:
            return None
        return moment.up - self.up


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The device's own clocks at one publish: wall time, uptime (both ms) and this boot's id."""

    sent: int | None = None
    up: int | None = None
    boot: str | None = None


@dataclass(frozen=True, kw_only=True)
class Publication:
    """One MQTT publish; QoS 1 but for broken firmware. `seqs`: its records (none for a status).

    `moment`: what the device's clocks were when it was encoded; None where it says nothing of them.
    """

    topic: str
    payload: bytes
    retain: bool = False
    qos: int = 1
    seqs: tuple[int, ...] = ()
    moment: Moment | None = None


class BadReceiptError(ValueError):
    """What came as a receipt cannot be read; the device ignores it and keeps its records."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What one ledger says it has on disk; `upto` is -1 where that is nothing."""

    ledger: str
    epoch: int
    upto: int
    missing: tuple[tuple[int, int], ...] = ()
    photos: tuple[str, ...] = ()
    now: int | None = None

    def covers(self, epoch: int, seq: int) -> bool:
        """Whether the record may be forgotten: up to `upto`, outside the closed gaps."""
        if epoch != self.epoch or seq > self.upto:
            return False
        return not any(first <= seq <= last for first, last in self.missing)


def up_topic(site: str, device: str, kind: str) -> str:
    """The topic a device publishes on."""
    return f"patrol/v1/{site}/{device}/up/{kind}"


def down_filter(device: str) -> str:
    """What a device subscribes to; the site is open, since some roam between sites."""
    return f"patrol/v1/+/{device}/down/#"


def is_receipt(topic: str, device: str) -> bool:
    """Whether a topic carries this device's receipts."""
    parts = topic.split("/")
    return len(parts) == 6 and parts[:2] == ["patrol", "v1"] and parts[3:] == [
        device, "down", "receipt",
    ]  # fmt: skip


def is_rounds(topic: str, device: str) -> bool:
    """Whether a topic carries the rounds this device is told to walk."""
    parts = topic.split("/")
    return len(parts) == 6 and parts[3:] == [device, "down", "rounds"]


def read_rounds(payload: bytes) -> dict[str, int]:
    """Round id -> how many of its checkpoints are left; raises `BadReceiptError`.

    An empty payload takes the rounds away.
    """
    if not payload:
        return {}
    try:
        told = json.loads(payload)["rounds"]
        return {
            str(walk["id"]): sum(not point["done"] for point in walk["checkpoints"])
            for walk in told
        }
    except (UnicodeDecodeError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise BadReceiptError(f"no rounds: {error}") from error


def encode_records(records: Sequence[Record], moment: Moment) -> bytes:
    """One object, or an array of up to 200, with `sent` as of this publish."""
    if not 1 <= len(records) <= MAX_ARRAY:
        raise ValueError(f"a publish holds 1 to {MAX_ARRAY} records, not {len(records)}")
    bodies = [_body(record, moment) for record in records]
    return _dump(bodies[0] if len(bodies) == 1 else bodies)


def encode_status(members: Mapping[str, object]) -> bytes:
    """A birth, heartbeat or will; members without a value are left out."""
    return _dump(_without_none(members))


def encode_tick(now: int) -> bytes:
    """The simulated clock's hand: `now` in ms since the Unix epoch."""
    return _dump({"now": now})


def read_receipt(payload: bytes) -> Receipt:
    """Read a receipt, ignoring members we do not know; raises `BadReceiptError`."""
    try:
        body = json.loads(payload)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadReceiptError(f"not JSON: {error}") from error
    if not isinstance(body, dict) or not isinstance(body.get("ledger"), str):
        raise BadReceiptError("a receipt is an object that names its ledger")
    upto = body.get("upto")
    return Receipt(
        ledger=body["ledger"],
        epoch=_integer(body.get("epoch") or 0, "epoch"),
        upto=-1 if upto is None else _integer(upto, "upto"),
        missing=tuple(_ranges(body.get("missing") or ())),
        photos=tuple(str(photo) for photo in body.get("photos") or ()),
        now=None if body.get("now") is None else _integer(body["now"], "now"),
    )


def _body(record: Record, moment: Moment) -> dict[str, object]:
    body: dict[str, object] = {
        "seq": record.seq,
        "epoch": record.epoch,
        "at": record.at,
        "sent": moment.sent,
        "boot": record.boot,
        "up": record.up,
        # after a reboot the two uptimes cannot be compared
        "sent_up": moment.up if record.boot == moment.boot else None,
    }
    return _without_none(body | dict(record.members))


def _without_none(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _integer(value: object, name: str) -> int:
    if isinstance(value, float) and value.is_integer():  # 30 and 30.0 are one number
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_NUMBER:
        raise BadReceiptError(f"{name} is no whole number within 2^53: {value!r:.40}")
    return value


def _ranges(value: object) -> Iterable[tuple[int, int]]:
    if not isinstance(value, list | tuple):
        raise BadReceiptError("missing is no list of ranges")
    for pair in value:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise BadReceiptError(f"missing holds no range: {pair!r:.40}")
        yield _integer(pair[0], "missing"), _integer(pair[1], "missing")
