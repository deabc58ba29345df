"""Decode and place: a delivery becomes the items that the ledger keeps. Pure, given a picture.

Placing says whose device it is, at which site, which checkpoint or person the tag stood for as of
`at`. What cannot be read or placed becomes a suspect for quarantine; nothing is dropped but the
echo of a topic that a session of its own reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from devices import codec, topics
from devices.codec import Bad, Photo, Record
from devices.ids import Identity, Instant
from devices.messages import CheckIn, Hazard, Sos, Status
from devices.reasons import Reason
from devices.topics import BadTopic, Kind, UpTopic
from ingest.source import Delivery
from store.entries import EntryKind, EntryRow, ViaCode
from store.picture import DeviceInfo, Picture, SiteInfo
from store.quarantine import Suspect


class Marked(NamedTuple):
    """Everything before this in the stream had arrived at `at`."""

    at: Instant


class Taken(NamedTuple):
    """A record, read and placed. `row` lacks its id and arrival until it is committed."""

    row: EntryRow
    identity: Identity
    message: CheckIn | Hazard | Sos
    device: DeviceInfo
    site: SiteInfo
    topic: str
    raw: bytes
    overtaking: bool


class Said(NamedTuple):
    """A device's status."""

    device: DeviceInfo
    site: SiteInfo
    status: Status
    retained: bool
    received_at: Instant


class Pictured(NamedTuple):
    """A photo whose bytes are what its name says."""

    device: DeviceInfo
    site: SiteInfo
    photo: Photo
    received_at: Instant


Item = Marked | Taken | Said | Pictured | Suspect

_KINDS = {CheckIn: EntryKind.CHECKIN, Hazard: EntryKind.HAZARD, Sos: EntryKind.SOS}
_VIA = {code.name.lower(): code.value for code in ViaCode}
_COLUMNS = frozenset({"seq", "epoch", "at", "sent", "person", "via"})
"""Members of a message that have a column of their own, whatever its kind."""


class _Origin(NamedTuple):
    """Who speaks: a registered device at a site it may report from."""

    device: DeviceInfo
    site: SiteInfo


@dataclass(slots=True)
class Reader:
    """Reads deliveries with the picture of the registry that holds now; `picture` is replaced whole."""

    picture: Picture
    marker: str

    def read(self, delivery: Delivery, now: Instant) -> Iterator[Item]:
        """The items of one delivery; `now` is when it was received (ms)."""
        if delivery.topic in (self.marker, topics.CLOCK):
            tick = codec.decode_clock(delivery.payload)
            if not isinstance(tick, Bad):
                yield Marked(tick.now)
            return
        topic = topics.parse_up(delivery.topic)
        if isinstance(topic, BadTopic):
            yield self._suspect(delivery, now, topic.site, topic.device, topic.reason, topic.detail)
            return
        if _read_elsewhere(topic.kind, delivery.session):
            return
        origin = self._origin(topic)
        match topic.kind:
            case Kind.STATUS:
                yield self._status(delivery, now, topic, origin)
            case Kind.PHOTO:
                yield self._photo(delivery, now, topic, origin)
            case _:
                for read in codec.decode(topic, delivery.payload):
                    yield self._record(delivery, now, topic, origin, read)

    def _origin(self, topic: UpTopic) -> _Origin | tuple[Reason, str]:
        device = self.picture.device(topic.device)
        if device is None:
            return Reason.UNKNOWN_DEVICE, "no registry names it: apply one that does"
        if device.retired:
            return Reason.RETIRED_DEVICE, "the registry has retired it"
        site = self.picture.site(topic.site)
        if site is None or site.id not in device.site_ids:
            return Reason.FOREIGN_SITE, f"it may not report from {topic.site}"
        return _Origin(device, site)

    def _record(
        self,
        delivery: Delivery,
        now: Instant,
        topic: UpTopic,
        origin: _Origin | tuple[Reason, str],
        read: Record | Bad,
    ) -> Item:
        if isinstance(read, Bad):
            return self._bad(delivery, now, topic, read)
        if not isinstance(origin, _Origin):
            return self._suspect(
                delivery, now, topic.site, topic.device, *origin, read.identity, read.raw
            )
        row = self._row(origin, read, now)
        overtaking = delivery.session != "main"
        identity = read.identity
        return Taken(
            row, identity, read.message, origin.device, origin.site, delivery.topic, read.raw,
            overtaking,
        )  # fmt: skip

    def _row(self, origin: _Origin, read: Record, now: Instant) -> EntryRow:
        message = read.message
        tag = None if isinstance(message, Sos) else message.tag
        via = message.via if isinstance(message, CheckIn) else None
        checkpoint, person = self._place(origin.site, message, tag)
        return EntryRow(
            id=0,
            kind=_KINDS[type(message)].value,
            device_id=origin.device.id,
            epoch=message.epoch,
            seq=message.seq,
            site_id=origin.site.id,
            checkpoint_id=checkpoint,
            person_id=person,
            at=message.at,
            sent=message.sent,
            received_at=now,
            arrival_id=0,
            tag=tag,
            via=None if via is None else _VIA[via],
            digest=read.digest,
            author=None,
            body=_body(message),
        )

    def _place(
        self, site: SiteInfo, message: CheckIn | Hazard | Sos, tag: str | None
    ) -> tuple[int | None, int | None]:
        """Ids of the checkpoint and the person, as of the device's clock."""
        checkpoint = person = None
        if tag is not None:
            place = self.picture.place(site.id, tag, message.at)
            checkpoint, person = place.checkpoint_id, place.person_id
        if isinstance(message, Hazard) and message.checkpoint is not None:
            named = self.picture.checkpoint_of(site.id, message.checkpoint)
            checkpoint = checkpoint if named is None else named.id
        if message.person is not None:
            holder = self.picture.person(message.person)
            person = person if holder is None else holder.id
        return checkpoint, person

    def _status(
        self,
        delivery: Delivery,
        now: Instant,
        topic: UpTopic,
        origin: _Origin | tuple[Reason, str],
    ) -> Item:
        status = codec.decode_status(delivery.payload)
        if isinstance(status, Bad):
            return self._bad(delivery, now, topic, status)
        if not isinstance(origin, _Origin):
            return self._suspect(delivery, now, topic.site, topic.device, *origin)
        return Said(origin.device, origin.site, status, delivery.retained, now)

    def _photo(
        self,
        delivery: Delivery,
        now: Instant,
        topic: UpTopic,
        origin: _Origin | tuple[Reason, str],
    ) -> Item:
        photo = codec.decode_photo(topic, delivery.payload)
        if isinstance(photo, Bad):
            return self._bad(delivery, now, topic, photo)
        if not isinstance(origin, _Origin):
            return self._suspect(delivery, now, topic.site, topic.device, *origin)
        return Pictured(origin.device, origin.site, photo, now)

    def _bad(self, delivery: Delivery, now: Instant, topic: UpTopic, bad: Bad) -> Suspect:
        identity = None
        if bad.seq is not None and bad.epoch is not None:
            identity = Identity(topic.device, bad.epoch, bad.seq)
        return self._suspect(
            delivery, now, topic.site, topic.device, bad.reason, bad.detail, identity, bad.raw
        )

    def _suspect(
        self,
        delivery: Delivery,
        now: Instant,
        site: str | None,
        device: str | None,
        reason: Reason,
        detail: str,
        identity: Identity | None = None,
        raw: bytes | None = None,
    ) -> Suspect:
        known = device is not None and self.picture.device(device) is not None
        return Suspect(
            topic=delivery.topic,
            site=site,
            device=device,
            bucket=device if known and device is not None else "",
            epoch=identity.epoch if identity else None,
            seq=identity.seq if identity else None,
            reason=reason,
            detail=detail,
            received_at=now,
            payload=delivery.payload if raw is None else raw,
        )


def _read_elsewhere(kind: Kind, session: str) -> bool:
    """sos has a session of its own; the check-ins' session, which reads `up/+`, gets its echo."""
    return kind is Kind.SOS and session != "sos"


def _body(message: CheckIn | Hazard | Sos) -> str | None:
    """What of a message has no column, as JSON text; None when nothing is left."""
    kept = _COLUMNS if isinstance(message, Hazard) else _COLUMNS | {"tag"}
    rest = {
        name: value
        for name in message.__struct_fields__
        if name not in kept and (value := getattr(message, name)) not in (None, (), False)
    }
    if message.person is not None:
        rest["person"] = message.person
    return msgspec.json.encode(rest).decode() if rest else None
