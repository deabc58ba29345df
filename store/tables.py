"""The ledger's tables. They hold rows and nothing else: no wire types, no rules, no behaviour.

Every instant is an integer, milliseconds since the Unix epoch (UTC). Rows point at each other by
integer keys; the slugs people and devices use stand in `slug` columns.

`entry` is the one door through which facts come in, from devices and from people alike. It, and
`verdict` and `event`, are append-only: triggers of the first migration refuse UPDATE and DELETE.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel


def _big(nullable: bool = False, index: bool = False, default: str | None = None) -> Any:
    server = text(default) if default is not None else None
    return Field(
        default=None if nullable or default is not None else ...,
        sa_column=Column(BigInteger, nullable=nullable, index=index, server_default=server),
    )


def _json(nullable: bool = False) -> Any:
    return Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=nullable))


def table_of(model: Any) -> Table:
    """The table of a model, for SQLAlchemy's statements; SQLModel makes it and declares it not."""
    found: Table = model.__table__
    return found


class LedgerIdentity(SQLModel, table=True):
    """One row: the name receipts carry, so that a restored ledger is known as another one."""

    __tablename__ = "ledger"
    id: int | None = Field(default=None, primary_key=True)
    uuid: str
    created_at: int = _big()


class Worker(SQLModel, table=True):
    """One row a service instance: how far it has read, and how far it has made what is owed."""

    __tablename__ = "worker"
    instance: str = Field(primary_key=True)
    clock: str  # `system` or `mqtt`
    started_at: int = _big()
    marker_at: int | None = _big(nullable=True)  # the latest marker committed
    first_tick: int | None = _big(nullable=True)  # clock `mqtt`: nothing is owed before it
    made_until: int | None = _big(nullable=True)  # obligations that open up to here are made
    folded_entry: int = _big(default="0")  # coverage and contacts tell of entries up to here


class Outage(SQLModel, table=True):
    """A span in which this service, its broker or its own clock could not be relied on."""

    __tablename__ = "outage"
    __table_args__ = (Index("outage_until", "until"),)
    id: int | None = Field(default=None, primary_key=True)
    what: str  # `service`, `broker`, `clock`
    since: int = _big()
    until: int | None = _big(nullable=True)


# The registry ------------------------------------------------------------------------------------


class RegistryRevision(SQLModel, table=True):
    """One row an applied file; its highest id is the version of the registry."""

    __tablename__ = "registry_revision"
    id: int | None = Field(default=None, primary_key=True)
    applied_at: int = _big()
    author: str
    source: str
    digest: str
    changes: Any = _json()


class GridNode(SQLModel, table=True):
    __tablename__ = "grid_node"
    id: int | None = Field(default=None, primary_key=True)
    slug: str = Field(unique=True)
    name: str
    tree: str  # `sector` or `territory`
    level: int
    parent_id: int | None = Field(default=None, foreign_key="grid_node.id")
    retired_at: int | None = _big(nullable=True)


class Site(SQLModel, table=True):
    __tablename__ = "site"
    id: int | None = Field(default=None, primary_key=True)
    slug: str = Field(unique=True)
    name: str
    timezone: str
    calendar: Any = _json()  # {"base": "cn" | "every-day", "terms": [{"from","to"}] | null}
    person_tag_holds: str = Field(
        default="12h", sa_column=Column(String, nullable=False, server_default=text("'12h'"))
    )  # rules.holders.Hold
    retired_at: int | None = _big(nullable=True)


class SiteGrid(SQLModel, table=True):
    """A site hangs on one node of each tree."""

    __tablename__ = "site_grid"
    site_id: int = Field(foreign_key="site.id", primary_key=True)
    node_id: int = Field(foreign_key="grid_node.id", primary_key=True)


class Person(SQLModel, table=True):
    __tablename__ = "person"
    id: int | None = Field(default=None, primary_key=True)
    slug: str = Field(unique=True)
    name: str
    roles: Any = _json()
    retired_at: int | None = _big(nullable=True)


class Area(SQLModel, table=True):
    __tablename__ = "area"
    __table_args__ = (UniqueConstraint("site_id", "slug"),)
    id: int | None = Field(default=None, primary_key=True)
    site_id: int = Field(foreign_key="site.id")
    slug: str
    name: str
    leader_id: int | None = Field(default=None, foreign_key="person.id")
    parent_id: int | None = Field(default=None, foreign_key="area.id")
    retired_at: int | None = _big(nullable=True)


class Checkpoint(SQLModel, table=True):
    __tablename__ = "checkpoint"
    __table_args__ = (UniqueConstraint("site_id", "slug"),)
    id: int | None = Field(default=None, primary_key=True)
    site_id: int = Field(foreign_key="site.id")
    slug: str
    name: str
    area_id: int | None = Field(default=None, foreign_key="area.id")
    risk: str | None = None  # `red orange yellow blue`
    proof: str | None = None  # `sun`
    lat: float | None = None
    lon: float | None = None
    retired_at: int | None = _big(nullable=True)


class Tag(SQLModel, table=True):
    """A tag stands for a checkpoint or a person in `[since, until)`; at first, since ever."""

    __tablename__ = "tag"
    __table_args__ = (Index("tag_bound", "uid", unique=True, sqlite_where=text("until IS NULL")),)
    id: int | None = Field(default=None, primary_key=True)
    uid: str = Field(index=True)
    checkpoint_id: int | None = Field(default=None, foreign_key="checkpoint.id")
    person_id: int | None = Field(default=None, foreign_key="person.id")
    since: int = _big()
    until: int | None = _big(nullable=True)


class TagEnrolment(SQLModel, table=True):
    """A tag (NTAG 424 DNA) was given keys: of which master key, and for the how-manieth time.

    Each time its keys are others and its counter begins at 0. What it says of `retired_at` and
    after proves nothing any more.
    """

    __tablename__ = "tag_enrolment"
    __table_args__ = (UniqueConstraint("uid", "generation"),)
    id: int | None = Field(default=None, primary_key=True)
    uid: str
    generation: int  # from 1
    key_version: int  # devices.tagkeys.MasterKey
    enrolled_at: int = _big()
    author: str
    retired_at: int | None = _big(nullable=True)


class Device(SQLModel, table=True):
    """A device belongs to a site, or to a grid node and may then report from any site below it.

    Where it belongs now; where it did before stands in `device_place`.
    """

    __tablename__ = "device"
    __table_args__ = (Index("device_site", "site_id"),)
    id: int | None = Field(default=None, primary_key=True)
    slug: str = Field(unique=True)
    site_id: int | None = Field(default=None, foreign_key="site.id")
    node_id: int | None = Field(default=None, foreign_key="grid_node.id")
    protocol: str = "patrol"
    address: str | None = None  # what it is called in the topics of another protocol
    checkpoint_id: int | None = None  # where it hangs
    heartbeat_ms: int | None = _big(nullable=True)
    enrolled_at: int | None = _big(nullable=True)
    suspended_at: int | None = _big(nullable=True)
    retired_at: int | None = _big(nullable=True)


class Credential(SQLModel, table=True):
    """A login that a device has, or had: never its password, only what the broker checks it by.

    The broker's files are made from these rows. `until`: when it ends by itself, as the old one
    of a rotation does; `ended_at`: when it did end.
    """

    __tablename__ = "credential"
    __table_args__ = (
        Index("credential_current", "username", unique=True, sqlite_where=text("ended_at IS NULL")),
        Index("credential_device", "device_id"),
    )
    id: int | None = Field(default=None, primary_key=True)
    device_id: int = Field(foreign_key="device.id")
    username: str
    hash: str  # a line of Mosquitto's password file, without the name
    made_at: int = _big()
    until: int | None = _big(nullable=True)
    ended_at: int | None = _big(nullable=True)


class DevicePlace(SQLModel, table=True):
    """Where a device belongs in `[since, until)`: a site, or a grid node; at first, since ever."""

    __tablename__ = "device_place"
    __table_args__ = (
        Index("device_place_device", "device_id"),
        Index("device_place_current", "device_id", unique=True, sqlite_where=text("until IS NULL")),
    )
    id: int | None = Field(default=None, primary_key=True)
    device_id: int = Field(foreign_key="device.id")
    site_id: int | None = Field(default=None, foreign_key="site.id", index=True)
    node_id: int | None = Field(default=None, foreign_key="grid_node.id")
    since: int = _big()
    until: int | None = _big(nullable=True)


class Plan(SQLModel, table=True):
    __tablename__ = "plan"
    __table_args__ = (UniqueConstraint("site_id", "slug"),)
    id: int | None = Field(default=None, primary_key=True)
    site_id: int = Field(foreign_key="site.id")
    slug: str
    retired_at: int | None = _big(nullable=True)


class PlanVersion(SQLModel, table=True):
    """What a plan's rounds owe: one snapshot shared by all of them, named by its content.

    `effective_at` is set by the service when it takes the version up (with clock `system`: the
    instant it was applied), `ended_at` when another takes its place: in force in `[effective_at,
    ended_at)`.
    """

    __tablename__ = "plan_version"
    __table_args__ = (
        UniqueConstraint("plan_id", "version"),
        Index(
            "plan_version_current",
            "plan_id",
            unique=True,
            sqlite_where=text("superseded_at IS NULL"),
        ),
    )
    id: int | None = Field(default=None, primary_key=True)
    plan_id: int = Field(foreign_key="plan.id")
    version: int
    digest: str
    terms: Any = _json()  # rules.plans.Plan as JSON
    applied_at: int = _big()
    effective_at: int | None = _big(nullable=True)
    superseded_at: int | None = _big(nullable=True)  # applied_at of the next version or retirement
    ended_at: int | None = _big(nullable=True)


# What devices and people said --------------------------------------------------------------------


class Arrival(SQLModel, table=True):
    """The span between two markers in which messages arrived; `before` is open until the next."""

    __tablename__ = "arrival"
    __table_args__ = (
        Index("arrival_after", "after"),
        Index("arrival_open", "id", sqlite_where=text("before IS NULL")),
    )
    id: int | None = Field(default=None, primary_key=True)
    after: int = _big()
    before: int | None = _big(nullable=True)
    first_entry: int = _big()


class Entry(SQLModel, table=True):
    """One fact, as it was told: a device's message or a person's action.

    A device's entry is identified by (device_id, epoch, seq); a person's by its id. `body` holds
    what has no column of its own, as JSON text, null when nothing is left.
    """

    __tablename__ = "entry"
    __table_args__ = (
        Index("entry_identity", "device_id", "epoch", "seq", unique=True),
        Index("entry_site_at", "site_id", "at"),
        Index("entry_sos", "device_id", "epoch", "seq", sqlite_where=text("kind = 3")),
    )
    id: int | None = Field(default=None, primary_key=True)
    kind: int  # store.entries.EntryKind
    device_id: int | None = None
    epoch: int | None = _big(nullable=True)
    seq: int | None = _big(nullable=True)
    site_id: int | None = None
    checkpoint_id: int | None = None
    person_id: int | None = None
    at: int = _big()  # the device's clock, or the person's instant
    sent: int | None = _big(nullable=True)
    received_at: int = _big()  # ours
    arrival_id: int | None = None
    tag: str | None = None
    via: int | None = None
    digest: int | None = _big(nullable=True)
    author: str | None = None  # of a person's action
    body: str | None = None


class Tap(SQLModel, table=True):
    """What a check-in proves: of those that carry a tag's message, or where one is asked for.

    `enrolment_id`, `ctr`: of a message whose MAC is right. Of several with the same two, one alone
    is the tap, the others are replays. `at`: when it happened, as it holds once it was looked at.
    """

    __tablename__ = "tap"
    __table_args__ = (
        Index("tap_counter", "enrolment_id", "ctr"),
        Index("tap_at", "enrolment_id", "at"),
        Index("tap_proof", "proof", sqlite_where=text("proof IN ('no-key', 'not-enrolled')")),
    )
    entry_id: int = Field(primary_key=True)
    proof: str  # devices.sun.Proof
    enrolment_id: int | None = None
    ctr: int | None = None
    at: int = _big()


class Correction(SQLModel, table=True):
    """A third time beside the device's and ours, and how it was found. The entry itself stays."""

    __tablename__ = "correction"
    __table_args__ = (Index("correction_site_at", "site_id", "at"),)
    entry_id: int = Field(primary_key=True)
    site_id: int
    at: int = _big()
    how: str  # rules.promises.Trust


class Holding(SQLModel, table=True):
    """A person's tag that a device read: it says who makes the reads that follow."""

    __tablename__ = "holding"
    __table_args__ = (Index("holding_device_at", "device_id", "at", "epoch", "seq"),)
    entry_id: int = Field(primary_key=True)
    device_id: int
    epoch: int = _big()
    seq: int = _big()
    site_id: int
    person_id: int
    at: int = _big()  # corrected where the clock was
    lasts: int = _big()  # rules.holders.Hold, as the site had it
    by_round: bool


class StatusClock(SQLModel, table=True):
    """What a live status said of its device's clock; of the last minutes only.

    Check-ins say it by their own columns, and statuses are no entries.
    """

    __tablename__ = "status_clock"
    __table_args__ = (Index("status_clock_after", "after"),)
    id: int | None = Field(default=None, primary_key=True)
    device_id: int
    after: int = _big()
    before: int = _big()
    sent: int = _big()


class Coverage(SQLModel, table=True):
    """What of one (device, epoch) is on disk, as receipts tell it; of strangers, too."""

    __tablename__ = "coverage"
    device: str = Field(primary_key=True)  # slug, as the topic says it
    epoch: int = Field(sa_column=Column(BigInteger, primary_key=True))
    state: Any = _json()  # devices.coverage.Coverage
    touched_at: int = _big()


class Contact(SQLModel, table=True):
    """A span in which a device was heard from again and again (gaps of at most a minute)."""

    __tablename__ = "contact"
    __table_args__ = (Index("contact_device", "device_id", "until"),)
    id: int | None = Field(default=None, primary_key=True)
    device_id: int
    since: int = _big()
    until: int = _big()


class Presence(SQLModel, table=True):
    """When a device became reachable or unreachable; only changes stand here."""

    __tablename__ = "presence"
    __table_args__ = (Index("presence_device", "device_id", "at"),)
    id: int | None = Field(default=None, primary_key=True)
    device_id: int
    at: int = _big()
    online: bool


class DeviceState(SQLModel, table=True):
    """The last status of a device, folded into one row; `wake`: when to look at it again."""

    __tablename__ = "device_state"
    __table_args__ = (Index("device_state_wake", "wake", sqlite_where=text("wake IS NOT NULL")),)
    device_id: int = Field(primary_key=True)
    online: bool | None = None
    heard_at: int | None = _big(nullable=True)  # ours: the last message of any kind
    status_at: int | None = _big(nullable=True)  # ours: the last status
    boot: str | None = None
    epoch: int | None = _big(nullable=True)
    battery: int | None = None
    rssi: int | None = None
    firmware: str | None = None
    model: str | None = None
    queue: int | None = _big(nullable=True)
    oldest: int | None = _big(nullable=True)
    skew_ms: int | None = _big(nullable=True)
    turned_at: int | None = _big(nullable=True)  # ours: since when `online` is what it is
    wake: int | None = _big(nullable=True)


class DeviceAlarm(SQLModel, table=True):
    """What of a device is wrong and told, so that it can be resolved: its open `device.*` events.

    `raised_at` is ours: when it was told, not when it became true.
    """

    __tablename__ = "device_alarm"
    __table_args__ = (UniqueConstraint("device_id", "kind", "subject"),)
    id: int | None = Field(default=None, primary_key=True)
    device_id: int
    kind: str  # rules.kinds.EventKind
    subject: str
    at: int = _big()
    raised_at: int = _big()
    data: Any = _json()


class DeviceFirmware(SQLModel, table=True):
    """Which firmware a device said it runs, and since when: a row for each change."""

    __tablename__ = "device_firmware"
    __table_args__ = (Index("device_firmware_device", "device_id", "at"),)
    id: int | None = Field(default=None, primary_key=True)
    device_id: int
    at: int = _big()
    firmware: str


class Handout(SQLModel, table=True):
    """The rounds a device was last told of at a site (`down/rounds`), as a digest.

    What stands here is retained at the broker; `digest` null: nobody knows what is.
    """

    __tablename__ = "handout"
    site_id: int = Field(primary_key=True)
    device_id: int = Field(primary_key=True)
    digest: str | None = None
    told_at: int = _big()


class DeviceMessage(SQLModel, table=True):
    """Words of a person at the desk for who holds a device (`down/message`)."""

    __tablename__ = "device_message"
    __table_args__ = (
        Index("device_message_waiting", "id", sqlite_where=text("told_at IS NULL")),
        Index("device_message_device", "device_id", "made_at"),
    )
    id: int | None = Field(default=None, primary_key=True)
    slug: str = Field(unique=True)  # as the wire names it
    device_id: int
    site_id: int
    text: str
    severity: str
    author: str
    made_at: int = _big()
    entry_id: int
    told_at: int | None = _big(nullable=True)  # when the broker took it


class Quarantine(SQLModel, table=True):
    """What could not be read or placed, byte for byte; beyond a device's daily bound a trace."""

    __tablename__ = "quarantine"
    __table_args__ = (
        Index(
            "quarantine_identity",
            "device",
            "epoch",
            "seq",
            sqlite_where=text("seq IS NOT NULL"),
        ),
        Index("quarantine_hash", "sha256"),
        Index("quarantine_bucket_day", "bucket", "day"),
        Index("quarantine_asked", "id", sqlite_where=text("state = 'asked'")),
    )
    id: int | None = Field(default=None, primary_key=True)
    topic: str
    site: str | None = None  # as the topic says it
    device: str | None = None
    bucket: str  # whose daily bound it counts against: a registered device, or "" for strangers
    epoch: int | None = _big(nullable=True)
    seq: int | None = _big(nullable=True)
    reason: str  # devices.codec.Reason
    detail: str
    received_at: int = _big()
    day: int  # days since the epoch, UTC
    size: int
    sha256: str
    payload: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    whole: bool = True  # false: `payload` is the first 256 bytes
    copies: int = 1
    state: str = Field(
        default="kept",
        sa_column=Column(String, nullable=False, server_default=text("'kept'")),
    )  # store.quarantine.State
    settled_at: int | None = _big(nullable=True)  # when it was taken after all, or dropped
    arrival_id: int | None = None  # the span in which it came in, for when it is taken after all


class Photo(SQLModel, table=True):
    __tablename__ = "photo"
    sha256: str = Field(primary_key=True)
    device_id: int
    site_id: int
    received_at: int = _big()
    media_type: str
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


# What it means -----------------------------------------------------------------------------------


class Obligation(SQLModel, table=True):
    """A promise with a clock: a round, the longest gap of a checkpoint in a window, a quota.

    What it owes is the snapshot of its plan version, or, where a period profile changed that for
    some days, `profiled_plan`; the day classes by which it was made are `calendar_version`.
    """

    __tablename__ = "obligation"
    __table_args__ = (
        Index("obligation_wake", "wake", sqlite_where=text("wake IS NOT NULL")),
        # due and plan: of three days of a site's rounds those that overlap are told by it alone
        Index("obligation_site_opens", "site_id", "opens", "due", "plan_id"),
        Index("obligation_quota", "site_id", "opens", sqlite_where=text("kind = 'quota'")),
        Index("obligation_waiting", "site_id", "opens", sqlite_where=text("waiting > 0")),
        Index("obligation_alarm", "checkpoint_id", sqlite_where=text("alarm = 1")),
        Index(
            "obligation_overran",
            "checkpoint_id",
            "overran",
            sqlite_where=text("overran IS NOT NULL"),
        ),
    )
    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True)
    kind: str  # `round`, `gap` or `quota`
    site_id: int
    plan_id: int
    plan_version_id: int
    checkpoint_id: int | None = None  # of a gap
    opens: int = _big()
    closes: int = _big()
    due: int = _big()
    wake: int | None = _big(nullable=True)  # next instant worth looking; null: nothing to wait for
    standing: str = "pending"
    revision: int = 0
    expected: int
    visited: int = 0
    alarm: bool = False  # a gap with a breached stretch that nobody has ended by a visit
    waiting: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )  # late reads that a person has to decide on
    scored: bool = Field(
        default=True, sa_column=Column(Boolean, nullable=False, server_default=text("1"))
    )  # false: the class of its day was not known
    owner_id: int | None = None  # the person who answers for it, frozen when it opens
    calendar_id: int | None = None  # calendar_version
    profiled_id: int | None = None  # profiled_plan
    overran: int | None = _big(nullable=True)  # when a visit ended a stretch that outlived `due`


class VerdictRow(SQLModel, table=True):
    """Every verdict ever given, with its reason and evidence. Revised, never rewritten."""

    __tablename__ = "verdict"
    __table_args__ = (UniqueConstraint("obligation_id", "revision"),)
    id: int | None = Field(default=None, primary_key=True)
    obligation_id: int
    revision: int
    standing: str
    at: int = _big()  # when it became true
    judged_at: int = _big()  # when we saw it
    reason: str  # rules.obligations.Reason
    missing: Any = _json()  # checkpoint slugs
    late: Any = _json()  # checkpoint slugs visited in the grace
    document: Any = _json()  # the whole rules.obligations.Verdict


class Decision(SQLModel, table=True):
    """What a person decided: of a round (excuse, call-missed), or of a late read (accept, reject).

    The key is that of the action in `entry`; of several about one thing the latest holds. A round
    is named by its own key: until it opens, its row is made anew whenever its plan is.
    """

    __tablename__ = "decision"
    __table_args__ = (
        Index("decision_obligation", "obligation_key"),
        Index("decision_entry", "entry_id"),
    )
    id: int = Field(primary_key=True)
    do: str  # rules.promises.Do
    obligation_key: str | None = None
    entry_id: int | None = None
    author: str
    at: int = _big()
    reason: str


class Mark(SQLModel, table=True):
    """What is odd about a check-in, as all that is known now says; refuted ones are gone."""

    __tablename__ = "mark"
    __table_args__ = (Index("mark_site_at", "site_id", "at"),)
    entry_id: int = Field(primary_key=True)
    kind: str = Field(primary_key=True)  # rules.marks.MarkKind
    site_id: int
    at: int = _big()  # when the check-in happened, corrected where its clock was
    data: Any = _json()


class Doubt(SQLModel, table=True):
    """A read at `at` may have changed the marks of its site around then: look at them again."""

    __tablename__ = "doubt"
    id: int | None = Field(default=None, primary_key=True)
    site_id: int
    at: int = _big()


class EventRow(SQLModel, table=True):
    """One revision of an event; the highest of a (kind, subject) holds."""

    __tablename__ = "event"
    __table_args__ = (
        UniqueConstraint("kind", "subject", "revision"),
        Index("event_site_at", "site_id", "at"),
    )
    id: int | None = Field(default=None, primary_key=True)
    event_id: str = Field(unique=True)
    kind: str
    severity: str
    site_id: int | None = None  # null: `all`
    subject: str
    at: int = _big()
    raised_at: int = _big()
    revision: int
    state: str
    message: Any = _json()  # {"zh", "en"}
    data: Any = _json()


class OpenEvent(SQLModel, table=True):
    """The revision that holds of an event that has not ended: nobody has to look through all that
    ever were. Of the kinds of `store.events.ENDING` alone."""

    __tablename__ = "open_event"
    kind: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    event_row: int = Field(foreign_key="event.id")


class Outbox(SQLModel, table=True):
    """Events still to be told on a channel. A row goes when the channel has taken it."""

    __tablename__ = "outbox"
    __table_args__ = (Index("outbox_order", "channel", "rank", "event_row"),)
    id: int | None = Field(default=None, primary_key=True)
    channel: str  # `mqtt`
    rank: int  # 0 critical … 4 info
    event_row: int = Field(foreign_key="event.id")


class Hazard(SQLModel, table=True):
    """A case, folded from its report and the steps told of it (`hazard_step`)."""

    __tablename__ = "hazard"
    __table_args__ = (
        Index("hazard_changed", "changed"),
        Index("hazard_open", "site_id", sqlite_where=text("closed_at IS NULL")),
    )
    id: str = Field(primary_key=True)  # device/epoch/seq of the report
    site_id: int
    reported_at: int = _big()
    received_at: int = _big()
    state: str
    category: str | None = None
    reported_category: str | None = None  # as the report had it: it never changes
    grade: str
    text: str | None = None
    checkpoint_id: int | None = None
    person_id: int | None = None
    closed_at: int | None = _big(nullable=True)
    revision: int = 1
    changed: int = _big()  # a counter of the ledger: the series follow it


class HazardStep(SQLModel, table=True):
    """Which entries tell of which hazard, the report among them."""

    __tablename__ = "hazard_step"
    __table_args__ = (Index("hazard_step_entry", "entry_id"),)
    hazard: str = Field(primary_key=True)
    entry_id: int = Field(primary_key=True)


# What people decide ahead ------------------------------------------------------------------------


class CalendarTable(SQLModel, table=True):
    """A version of a bureau's table of day classes: terms, exams, sensitive periods, days off.

    It holds for one site, for the sites below a grid node, or, both null, for all.
    """

    __tablename__ = "calendar_table"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        Index("calendar_table_current", "name", unique=True, sqlite_where=text("ended_at IS NULL")),
    )
    id: int | None = Field(default=None, primary_key=True)
    name: str
    version: int
    site_id: int | None = None
    node_id: int | None = None
    imported_at: int = _big()
    author: str
    source: str
    digest: str
    document: Any = _json()  # rules.daytables.DayTable
    ended_at: int | None = _big(nullable=True)  # replaced or retired


class CalendarVersion(SQLModel, table=True):
    """The day classes by which obligations were made: one row shared by all of them."""

    __tablename__ = "calendar_version"
    id: int | None = Field(default=None, primary_key=True)
    digest: str = Field(unique=True)
    document: Any = _json()  # rules.calendar.Calendar


class PeriodProfile(SQLModel, table=True):
    """More visits or shorter gaps for some days (特殊时期); never changed, only ended."""

    __tablename__ = "period_profile"
    __table_args__ = (
        Index("period_profile_current", "slug", unique=True, sqlite_where=text("ended_at IS NULL")),
    )
    id: int | None = Field(default=None, primary_key=True)
    slug: str
    site_id: int | None = None
    node_id: int | None = None
    plan: str | None = None  # its slug; null: every plan of these sites
    document: Any = _json()  # rules.profiles.Profile
    author: str
    reason: str
    made_at: int = _big()
    ended_at: int | None = _big(nullable=True)


class ProfiledPlan(SQLModel, table=True):
    """What a plan version owes under period profiles: a snapshot shared by those rounds."""

    __tablename__ = "profiled_plan"
    __table_args__ = (UniqueConstraint("plan_version_id", "digest"),)
    id: int | None = Field(default=None, primary_key=True)
    plan_version_id: int
    digest: str
    terms: Any = _json()  # rules.plans.Plan


class Excuse(SQLModel, table=True):
    """Obligations of a site, or of one plan, that open in `[since, until)` are excused."""

    __tablename__ = "excuse"
    __table_args__ = (Index("excuse_site", "site_id", "until"),)
    id: int | None = Field(default=None, primary_key=True)
    site_id: int
    plan_id: int | None = None
    since: int = _big()
    until: int = _big()
    author: str
    reason: str
    made_at: int = _big()
    entry_id: int


class Silence(SQLModel, table=True):
    """Events that are not told in `[since, until)`: of a kind, a site, or both."""

    __tablename__ = "silence"
    __table_args__ = (Index("silence_until", "until"),)
    id: int | None = Field(default=None, primary_key=True)
    kind: str | None = None
    site_id: int | None = None
    since: int = _big()
    until: int = _big()
    author: str
    reason: str
    made_at: int = _big()
    entry_id: int


class Substitution(SQLModel, table=True):
    """Who walks a plan in somebody's place (代班) in `[since, until)`; who answers stays."""

    __tablename__ = "substitution"
    __table_args__ = (Index("substitution_plan", "plan_id", "until"),)
    id: int | None = Field(default=None, primary_key=True)
    plan_id: int
    person_id: int
    for_id: int
    since: int = _big()
    until: int = _big()
    author: str
    reason: str
    made_at: int = _big()
    entry_id: int


class ImportMap(SQLModel, table=True):
    """How the files of some vendor's software are read, by a name (`desk.wandmaps`)."""

    __tablename__ = "import_map"
    name: str = Field(primary_key=True)
    document: Any = _json()
    author: str
    saved_at: int = _big()


# What the series is fed from ---------------------------------------------------------------------


class Cursor(SQLModel, table=True):
    """How far a follower of the ledger has come, by the integer key of what it follows."""

    __tablename__ = "cursor"
    name: str = Field(primary_key=True)
    position: int = _big()


class Sample(SQLModel, table=True):
    """Gauges that no other table holds, as line protocol, until the series has taken them."""

    __tablename__ = "sample"
    id: int | None = Field(default=None, primary_key=True)
    at: int = _big()
    line: str


class Retelling(SQLModel, table=True):
    """A check-in of which other things are known now, until the series has its point anew."""

    __tablename__ = "retelling"
    id: int | None = Field(default=None, primary_key=True)
    entry_id: int = Field(unique=True)


class SeriesReject(SQLModel, table=True):
    """A line the series refused for good, and its words."""

    __tablename__ = "series_reject"
    id: int | None = Field(default=None, primary_key=True)
    at: int = _big()
    line: str
    error: str
