"""Topic grammar of contract v1 (section 1; as data in `contract/v1/topics.json`)."""

import re
from enum import StrEnum

import msgspec

from devices.ids import is_slug
from devices.reasons import Reason

PROTOCOL = "patrol"
"""What the registry calls devices that speak this contract."""
ROOT = "patrol/v1"
CLOCK = f"{ROOT}/sim/clock"

_sha256 = re.compile(r"[0-9a-f]{64}").fullmatch


class Kind(StrEnum):
    """What a device publishes; the value is the level of the topic after `up/`."""

    CHECKIN = "checkin"
    HAZARD = "hazard"
    SOS = "sos"
    STATUS = "status"
    PHOTO = "photo"


_KINDS = {kind.value: kind for kind in Kind}


class UpTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A readable topic of a device; `sha256` (64 lower-case hex digits) only for photos."""

    site: str
    device: str
    kind: Kind
    sha256: str | None = None

    def __str__(self) -> str:
        tail = "" if self.sha256 is None else f"/{self.sha256}"
        return f"{ROOT}/{self.site}/{self.device}/up/{self.kind}{tail}"


class BadTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic that the grammar does not know; site and device where its levels are slugs."""

    topic: str
    detail: str
    site: str | None = None
    device: str | None = None
    reason: Reason = Reason.UNKNOWN_TOPIC


def parse_up(topic: str) -> UpTopic | BadTopic:
    """What a device's topic says. Never raises; what it cannot read is a BadTopic."""
    match topic.split("/"):
        case ["patrol", "v1", site, device, "up", *rest]:
            return _placed(topic, site, device, rest)
    return BadTopic(topic=topic, detail=f"expected {ROOT}/{{site}}/{{device}}/up/{{kind}}")


def _placed(topic: str, site: str, device: str, rest: list[str]) -> UpTopic | BadTopic:
    site_ok, device_ok = is_slug(site), is_slug(device)
    detail = "site and device must be slugs [a-z0-9][a-z0-9-]{0,62} and not reserved"
    if site_ok and device_ok:
        match rest:
            case [kind] if kind != Kind.PHOTO and kind in _KINDS:
                return UpTopic(site=site, device=device, kind=_KINDS[kind])
            case [Kind.PHOTO, sha256] if _sha256(sha256):
                return UpTopic(site=site, device=device, kind=Kind.PHOTO, sha256=sha256)
            case [Kind.PHOTO, *_]:
                detail = "a photo is named by its SHA-256: up/photo/{64 lower-case hex digits}"
            case _:
                detail = "unknown kind: " + "/".join(rest)[:80]
    return BadTopic(
        topic=topic,
        detail=detail,
        site=site if site_ok else None,
        device=device if device_ok else None,
    )


def is_ours(topic: str) -> bool:
    """Whether a topic is of this contract; every other is a foreign reader's."""
    return topic.startswith(f"{ROOT}/")


def receipt(site: str, device: str) -> str:
    """Where a device reads what is on disk."""
    return f"{ROOT}/{site}/{device}/down/receipt"


def rounds(site: str, device: str) -> str:
    """Where a device reads what is left to visit."""
    return f"{ROOT}/{site}/{device}/down/rounds"


def message(site: str, device: str) -> str:
    """Where a device reads words for the person who holds it."""
    return f"{ROOT}/{site}/{device}/down/message"


def event(site: str, kind: str) -> str:
    """Where everyone reads events; `site` is `all` for those without one."""
    return f"{ROOT}/{site}/events/{kind}"


def marker(instance: str) -> str:
    """Where one instance of the service writes to itself, to learn when messages arrived."""
    return f"{ROOT}/service/{instance}/marker"


def echo(asked: str) -> str:
    """Where somebody who looks whether the broker answers writes to himself."""
    return f"{ROOT}/service/doctor/{asked}"


# What services say to each other ------------------------------------------------------------------

CLAIMS = f"{ROOT}/service/claims/+"
"""Every service's claim to the broker, retained; taken away by its last will."""
CLAIMS_ASKED = f"{ROOT}/service/claims"
"""Where a service that comes asks who is there."""


def claim(run: str) -> str:
    """Where the service of that run (one process) says that it serves the broker, or waits."""
    return f"{ROOT}/service/claims/{run}"


def witness(ledger: str) -> str:
    """Where the broker is told, retained, how far a ledger has come."""
    return f"{ROOT}/service/ledgers/{ledger}"
