"""Messages of contract v1 (sections 2 to 4), with their members named as on the wire.

Times are `Instant`s. `None` is a member that was not sent; on the wire `null` says the same.
"""

from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, Struct

from devices.ids import MAX_SAFE, SLUG_PATTERN, Instant

Count = Annotated[int, Meta(ge=0, le=MAX_SAFE)]
Time = Annotated[Instant, Meta(ge=0, le=MAX_SAFE)]
SlugText = Annotated[str, Meta(pattern=SLUG_PATTERN)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Dbm = Annotated[int, Meta(ge=-200, le=100)]
Id = Annotated[str, Meta(min_length=1, max_length=64)]
Line = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=500)]
Query = Annotated[str, Meta(min_length=1, max_length=512)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Via(StrEnum):
    """How a tag was read."""

    NFC = "nfc"
    RFID = "rfid"
    BLE = "ble"
    QR = "qr"
    GPS = "gps"
    BUTTON = "button"
    IMPORT = "import"


class HazardAction(StrEnum):
    """A step in a hazard's handling."""

    REPORT = "report"
    ACCEPT = "accept"
    PROGRESS = "progress"
    RESOLVED = "resolved"
    VERIFIED = "verified"
    REJECTED = "rejected"


class Grade(StrEnum):
    """Of a hazard: can be put right at once, or needs stoppage or outside help."""

    GENERAL = "general"
    MAJOR = "major"


class Severity(StrEnum):
    """Of an event or a message to a person."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


class EventState(StrEnum):
    """Of an event's revision."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Pos(Struct, frozen=True, kw_only=True):
    """A position: WGS-84 degrees; `acc` is its radius of error in metres."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    acc: Annotated[float, Meta(ge=0, le=MAX_SAFE)] | None = None


class Item(Struct, frozen=True, kw_only=True):
    """One answer on a checkpoint's checklist."""

    id: SlugText
    ok: bool
    note: Text | None = None


class Told(Struct, frozen=True, kw_only=True):
    """What check-ins, hazards and sos have in common.

    `at`, `sent`: the device's clock when it happened and at this publish. `up`, `sent_up`:
    milliseconds since boot at the same two instants, so that `sent_up - up` is the record's
    age whatever the clock did. `boot` is text here: a number on the wire becomes its digits.
    """

    seq: Count
    epoch: Count = 0
    at: Time
    sent: Time | None = None
    boot: Id | None = None
    up: Count | None = None
    sent_up: Count | None = None
    person: SlugText | None = None


class CheckIn(Told, frozen=True, kw_only=True):
    """A tag was read. `tag` is normalized (`ids.normalize_tag`); `sun` is as it was read."""

    tag: Line
    via: Via = Via.NFC
    sun: Query | None = None
    pos: Pos | None = None
    items: Annotated[tuple[Item, ...], Meta(max_length=200)] = ()
    bat: Percent | None = None
    rssi: Dbm | None = None


class Hazard(Told, frozen=True, kw_only=True):
    """A hazard was found, or a step in its handling was taken."""

    action: HazardAction = HazardAction.REPORT
    ref: Line | None = None
    category: Id | None = None
    grade: Grade | None = None
    text: Text | None = None
    checkpoint: SlugText | None = None
    tag: Line | None = None
    pos: Pos | None = None
    photos: Annotated[tuple[Sha256, ...], Meta(max_length=20)] = ()

    def __post_init__(self) -> None:
        """Every step but the report says which hazard it belongs to."""
        if self.action is not HazardAction.REPORT and self.ref is None:
            raise ValueError(f"`{self.action}` needs `ref`, the hazard it belongs to")


class Sos(Told, frozen=True, kw_only=True):
    """Panic button or man down; `cancel` is the `seq`, of this epoch, that it takes back."""

    pos: Pos | None = None
    silent: bool = False
    cancel: Count | None = None


class Status(Struct, frozen=True, kw_only=True):
    """Birth, heartbeat or last will. `oldest` is the lowest `seq` stored and not receipted."""

    online: bool
    sent: Time | None = None
    boot: Id | None = None
    bat: Percent | None = None
    rssi: Dbm | None = None
    fw: Line | None = None
    model: Line | None = None
    queue: Count | None = None
    oldest: Count | None = None
    epoch: Count = 0


class Receipt(Struct, frozen=True, kw_only=True):
    """What is on disk: every `seq` up to `upto`, less the closed ranges in `missing`.

    `upto` is -1 where nothing is covered yet. `missing`: at most 32, lowest first.
    """

    ledger: str
    epoch: int
    upto: int
    missing: tuple[tuple[int, int], ...] = ()
    photos: tuple[str, ...] = ()
    now: Instant


class CheckpointToVisit(Struct, frozen=True, kw_only=True):
    """A checkpoint of a round, and whether it has been visited."""

    id: str
    name: str
    done: bool


class RoundToWalk(Struct, frozen=True, kw_only=True):
    """A round now open or about to; its window is [opens, closes)."""

    id: str
    plan: str
    name: str
    opens: Instant
    closes: Instant
    checkpoints: tuple[CheckpointToVisit, ...]


class Rounds(Struct, frozen=True, kw_only=True):
    """What is left to visit at a device's site."""

    rounds: tuple[RoundToWalk, ...]


class Message(Struct, frozen=True, kw_only=True):
    """Words for the person who holds the device."""

    id: str
    text: str
    severity: Severity


class ClockTick(Struct, frozen=True, kw_only=True):
    """The simulator's clock (contract section 7)."""

    now: Time


class Wording(Struct, frozen=True, kw_only=True):
    """One sentence in both languages."""

    zh: str
    en: str


class EventMessage(Struct, frozen=True, kw_only=True):
    """One revision of an event. `at`: when it became true; `raised_at`: when it was noticed."""

    id: str
    kind: str
    severity: Severity
    site: str
    subject: str
    at: Instant
    raised_at: Instant
    revision: int
    state: EventState
    message: Wording
    data: dict[str, Any]
