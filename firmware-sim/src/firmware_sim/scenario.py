"""A scenario as values: guards' manners and faults as data. `reading` makes them from TOML."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from firmware_sim.clocks import Setting
from firmware_sim.plans import Registry

OUTAGE_OFFSET = 500  # ms after the instant written: never the very instant of a read


class ScenarioError(ValueError):
    """A scenario cannot be played; the message names the file, the place and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How the guards of this scenario are: chances from 0 to 1, spans in ms.

    `alone`: one walks where several must. `double_tap`: a tag is read again at once, where a place
    must be visited more than once.
    """

    walk_from: int = 60_000
    walk_to: int = 240_000
    dawdle: float = 0.0
    skip_round: float = 0.0
    skip_checkpoint: float = 0.0
    send_twice: float = 0.0
    unknown_tag: float = 0.0
    hazard: float = 0.0
    exact: float = 0.0
    badge: float = 0.0
    alone: float = 0.0
    double_tap: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Outage:
    """A device without network from `since` to `until` (None: to the end); ms."""

    device: str
    since: int
    until: int | None


@dataclass(frozen=True, kw_only=True)
class Outages:
    """For each of the devices, so many outages at random times, each lasting so long (ms)."""

    devices: tuple[str, ...]
    times: int
    shortest: int
    longest: int


@dataclass(frozen=True, kw_only=True)
class Sos:
    """A panic button pressed; taken back after `cancel_after` ms, where set."""

    device: str
    at: int
    cancel_after: int | None = None
    silent: bool = False


@dataclass(frozen=True, kw_only=True)
class HazardStep:
    """A step in a hazard's handling, `after` ms from the report."""

    action: str
    after: int
    device: str
    text: str


@dataclass(frozen=True, kw_only=True)
class HazardCase:
    """A hazard reported at a checkpoint, and what was done about it."""

    device: str
    at: int
    checkpoint: str
    category: str
    grade: str
    text: str
    steps: tuple[HazardStep, ...]


@dataclass(frozen=True, kw_only=True)
class Read:
    """One read at an exact instant, beside the guards' rounds.

    Of a tag that proves presence: `bare`, a copy of its number; `again`, a copy of the last message
    told of it; `tapped`, when it truly was tapped, where that was before.
    """

    device: str
    at: int
    checkpoint: str | None
    tag: str
    site: str
    bare: bool = False
    again: bool = False
    tapped: int | None = None


@dataclass(frozen=True, kw_only=True)
class Skip:
    """Nobody goes: the rounds of a plan that open in `[since, until)`, or a checkpoint of them."""

    site: str
    plan: str | None
    checkpoint: str | None
    since: int
    until: int


@dataclass(frozen=True, kw_only=True)
class Duty:
    """Who walks the rounds of a site that open in `[since, until)`."""

    site: str
    device: str
    since: int
    until: int


@dataclass(frozen=True, kw_only=True)
class Upset:
    """A device restarts (`reboot`), or loses its flash and begins to count anew (`reset`)."""

    device: str
    at: int
    reset: bool


@dataclass(frozen=True, kw_only=True)
class ClockSet:
    """Somebody or something sets a device's clock, rightly or not."""

    device: str
    setting: Setting


@dataclass(frozen=True, kw_only=True)
class Make:
    """What a handheld can do: say its uptime, take the time from receipts."""

    device: str
    uptimes: bool = True
    takes_now: bool = False


@dataclass(frozen=True, kw_only=True)
class Rubbish:
    """Something that belongs in quarantine, published on a device's topic."""

    device: str
    site: str
    at: int
    what: str


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A scenario, checked. `registry_text` is the file as it is to be applied.

    `marker`: how long after an instant at which something was said the next tick follows (ms), as
    the service's own markers would; None: with the next instant of interest, which may be hours.
    `tag_master`: the master key of tags that prove presence.
    """

    name: str
    title: str
    starts: int
    ends: int
    zone: ZoneInfo
    seed: int
    batch: int
    registry_text: str
    registry: Registry
    devices: tuple[str, ...]
    manners: Manners
    outages: tuple[Outage, ...] = ()
    random_outages: tuple[Outages, ...] = ()
    sos: tuple[Sos, ...] = ()
    hazards: tuple[HazardCase, ...] = ()
    reads: tuple[Read, ...] = ()
    skips: tuple[Skip, ...] = ()
    duties: tuple[Duty, ...] = ()
    upsets: tuple[Upset, ...] = ()
    clocks: tuple[ClockSet, ...] = ()
    makes: tuple[Make, ...] = ()
    rubbish: tuple[Rubbish, ...] = ()
    strangers: tuple[str, ...] = ()
    marker: int | None = None
    tag_master: bytes | None = None
    shift: int = 0
