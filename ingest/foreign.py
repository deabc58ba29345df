"""Foreign readers: whose a message is, and when and where what it tells of happened. Pure.

The adapters say what a message says (`devices.adapters`); here the registry's picture and our
markers are added: the device of that address, the site, the checkpoint that a tag, a name or a
position stands for, and the time that holds.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from devices.adapters import table
from devices.adapters.heard import (
    ELSEWHERE,
    Call,
    Foreign,
    Heard,
    Ignored,
    Read,
    Said,
    TimeSource,
    When,
    digest_of,
    seq_of,
)
from devices.codec import MAX_DETAIL, Bad, Record
from devices.ids import Instant
from devices.messages import CheckIn, Pos, Sos, Status
from devices.reasons import Reason
from rules.clocks import at_receipt
from rules.marks import Place as Point
from rules.marks import metres
from store.picture import CheckpointInfo, DeviceInfo, Picture, Place, SiteInfo


class Surroundings(NamedTuple):
    """What placing needs beside the message: the registry, our last marker, how wide a place is.

    `after` None: no marker has been seen, or it says nothing of this message.
    """

    picture: Picture
    after: Instant | None
    radius_m: int


class Passed(NamedTuple):
    """What is of no interest, by which protocol, and why; counted, not kept."""

    protocol: str
    why: str


class Refused(NamedTuple):
    """What goes to quarantine: of which site and device as far as known, and why."""

    site: str | None
    device: str | None
    reason: Reason
    detail: str


class There(NamedTuple):
    """A reader's status."""

    device: DeviceInfo
    site: SiteInfo
    status: Status


class Placed(NamedTuple):
    """A read or a call with its site, checkpoint and time, as the ledger takes it.

    `place` None: nowhere we know. `told`: who says when it was, and a local time as it was told.
    """

    record: Record
    device: DeviceInfo
    site: SiteInfo
    place: Place | None
    told: dict[str, str]


Found = Passed | Refused | There | Placed


def read(around: Surroundings, message: Foreign) -> Iterator[Found]:
    """Everything that a foreign reader's message says."""
    protocol, heard, device = _spoken(around.picture, message)
    for said in heard.said:
        if isinstance(said, Ignored):
            yield Passed(protocol, said.why)
        elif device is None:
            yield _of_a_stranger(protocol, heard, said)
        elif device.retired:
            why = "the registry has retired it"
            yield Refused(None, device.slug, Reason.RETIRED_DEVICE, why)
        else:
            yield _of_a_reader(around, message, protocol, device, said)


def _spoken(picture: Picture, message: Foreign) -> tuple[str, Heard, DeviceInfo | None]:
    """By which protocol a message is understood, what it says, and whose it is.

    What an old subscription brings is of no protocol in use.
    """
    found: tuple[str, Heard, DeviceInfo | None] = ("none", ELSEWHERE, None)
    for protocol in picture.protocols:
        heard = table.hear(protocol, message)
        device = None if heard.address is None else picture.reader(protocol, heard.address)
        if device is not None:
            return protocol, heard, device
        if found[1].address is None and heard != ELSEWHERE and table.finds_strangers(protocol):
            found = protocol, heard, None
    return found


def _of_a_stranger(protocol: str, heard: Heard, said: Said) -> Found:
    """What it read is kept, for whoever adds it to the registry; that it is there is not."""
    if isinstance(said, Status):
        return Passed(protocol, "the status of a stranger")
    entry = f"{{id: …, protocol: {protocol}, address: {heard.address}}}"
    detail = f"no registry names this reader: add {entry}"[:MAX_DETAIL]
    return Refused(None, None, Reason.UNKNOWN_DEVICE, detail)


def _of_a_reader(
    around: Surroundings, message: Foreign, protocol: str, device: DeviceInfo, said: Said
) -> Found:
    if isinstance(said, Read | Call):
        return _placed(around, message, protocol, device, said)
    sites = _sites(around.picture, device, message.received_at)
    if isinstance(said, Bad):
        site = sites[0].slug if len(sites) == 1 else None
        return Refused(site, device.slug, said.reason, said.detail)
    if isinstance(said, Status) and sites:
        return There(device, sites[0], said)
    return Passed(protocol, "the status of a reader without a site")


def _placed(
    around: Surroundings, message: Foreign, protocol: str, device: DeviceInfo, said: Read | Call
) -> Found:
    """Where and when a read or a call happened."""
    now = message.received_at
    sites = _sites(around.picture, device, now if said.when.at is None else said.when.at)
    found = [(site, _found(around, device, site, said, now)) for site in sites]
    here = [(site, point) for site, point in found if point is not None]
    if isinstance(said, Read) and said.tag is None and not here:
        return Passed(protocol, "no checkpoint within its radius")
    # a call for help is told at the first of the sites rather than at none
    nowhere = isinstance(said, Read) and not here and len(sites) > 1
    if nowhere or not sites:
        why = "no site below its grid node has this" if sites else "it belonged to no site then"
        return Refused(None, device.slug, Reason.FOREIGN_SITE, why)
    site, point = min(here, key=_way) if here else (sites[0], None)
    at, sent, told = _timed(around, message, said.when, site)
    record = _record(protocol, device, said, message.payload, at, sent, point)
    return Placed(record, device, site, None if point is None else point.place, told)


class _Found(NamedTuple):
    """What a read stands for; `way`: metres to it, where it is a position."""

    place: Place
    tag: str | None = None
    way: float = 0.0


def _way(found: tuple[SiteInfo, _Found]) -> tuple[float, int]:
    return found[1].way, found[0].id


def _sites(picture: Picture, device: DeviceInfo, at: Instant) -> list[SiteInfo]:
    found = (picture.site_by_id(key) for key in sorted(device.sites_at(at)))
    return [site for site in found if site is not None]


def _found(
    around: Surroundings, device: DeviceInfo, site: SiteInfo, said: Read | Call, now: Instant
) -> _Found | None:
    """The checkpoint or person at a site that a tag, a name or a position stands for."""
    if isinstance(said, Call):
        return None
    at = now if said.when.at is None else said.when.at
    if said.tag is None:
        return None if said.pos is None else _near(around, site, said.pos)
    bound = around.picture.read_at(device, around.picture.place(site.id, said.tag, at))
    if bound.checkpoint_id is not None or bound.person_id is not None:
        return _Found(bound)
    named = around.picture.checkpoint_of(site.id, said.tag)
    return None if named is None or named.retired else _Found(_as_place(named))


def _near(around: Surroundings, site: SiteInfo, pos: Pos) -> _Found | None:
    """The nearest checkpoint of a site, if it is within its radius."""
    here, nearest = Point(pos.lat, pos.lon), None
    for point in around.picture.checkpoints.values():
        if point.site_id != site.id or point.retired or point.lat is None or point.lon is None:
            continue
        way = metres(here, Point(point.lat, point.lon))
        if way <= around.radius_m and (nearest is None or way < nearest.way):
            nearest = _Found(_as_place(point), point.slug, way)
    return nearest


def _as_place(point: CheckpointInfo) -> Place:
    asks = point.proof is not None
    return Place(checkpoint_id=point.id, slug=point.slug, name=point.name, proof=asks)


def _timed(
    around: Surroundings, message: Foreign, when: When, site: SiteInfo
) -> tuple[Instant, Instant | None, dict[str, str]]:
    """`at`, `sent`, and who says so."""
    told = {} if when.local is None else {"local": when.local}
    if when.at is not None:
        return when.at, when.sent, {"time_source": when.source.value, **told}
    local = None if when.local is None else _in_zone(when.local, site.timezone)
    after = None if message.retained else around.after
    taken = at_receipt(message.received_at, after, local)
    source = TimeSource.LOCAL if taken.by_device else TimeSource.RECEIPT
    return taken.at, taken.sent, {"time_source": source.value, **told}


def _in_zone(local: str, timezone: str) -> Instant:
    """Local time as it is at a site; of an hour that comes twice, the first."""
    at = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(timezone))
    return int(at.timestamp() * 1_000)


def _record(  # noqa: PLR0913, PLR0917  (what a message of ours is made of)
    protocol: str,
    device: DeviceInfo,
    said: Read | Call,
    raw: bytes,
    at: Instant,
    sent: Instant | None,
    point: _Found | None,
) -> Record:
    """The message as the contract has it, under the identity that stands for its key."""
    seq = seq_of(protocol, said.key)
    told: CheckIn | Sos
    if isinstance(said, Call):
        told = Sos(seq=seq, at=at, sent=sent, pos=said.pos)
    else:
        tag = said.tag or (point.tag if point is not None else None) or ""
        told = CheckIn(
            seq=seq,
            at=at,
            sent=sent,
            tag=tag,
            via=said.via,
            pos=None if point is None else said.pos,  # where a phone is elsewhere is its owner's
            bat=said.bat,
            rssi=said.rssi,
        )
    return Record(device.slug, told, raw, digest_of(protocol, said))


def filters(picture: Picture) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the broker is asked for, and what an earlier run may have asked for and is not needed
    any more: filters of retired readers, and of protocols that nobody speaks now.
    """
    living = [each for each in picture.readers.values() if not each.retired]
    wanted = table.filters(_named(living))
    once = {*table.filters(_named(picture.readers.values())), *table.fixed_filters()}
    return wanted, tuple(sorted(once - set(wanted)))


def _named(devices: Iterable[DeviceInfo]) -> Iterator[tuple[str, str]]:
    for each in devices:
        if each.address is not None:
            yield each.protocol, each.address
