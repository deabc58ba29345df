"""Decode and place: a delivery becomes the items that the ledger keeps. Pure, given a picture.

Placing says whose device it is, at which site, which checkpoint or person the tag stood for as of
`at`. What cannot be read or placed becomes a suspect for quarantine; nothing is dropped but the
echo of a topic that a session of its own reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import structlog

from devices import codec, topics
from devices.codec import Bad, Photo, Record
from devices.ids import Identity, Instant
from devices.messages import CheckIn, Hazard, Sos, Status
from devices.reasons import Reason
from devices.topics import BadTopic, Kind, UpTopic
from ingest.source import MAIN, SOS, Delivery
from store.entries import EntryKind, EntryRow, ViaCode
from store.picture import DeviceInfo, Picture, Place, SiteInfo
from store.quarantine import Suspect


class Marked(NamedTuple):
    """Everything before this in the stream had arrived at `at`."""

    at: Instant


class Taken(NamedTuple):
    """A record, read and placed. `row` lacks its id and arrival until it is committed.

    `site`: where it happened. `listens_at`: the site in whose topics its device waits for
    receipts, which is another where the device was moved in between.
    """

    row: EntryRow
    identity: Identity
    message: CheckIn | Hazard | Sos
    device: DeviceInfo
    site: SiteInfo
    listens_at: str
    topic: str
    raw: bytes
    overtaking: bool
    retained: bool
    unknown_tag: bool


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

log = structlog.get_logger()

NOWHERE = Place()
LATEST_MARK: Instant = 7_258_118_400_000
"""2200-01-01T00:00:00Z: no calendar reaches beyond it, and a clock that does is broken."""
MAX_DETAIL = 200
_OURS = (f"{topics.ROOT}/service/", topics.CLOCK)
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
    """Reads deliveries with the picture of the registry that holds now; `picture` is replaced
    whole.

    `marker`: the topic of what time is told by: our own markers, or the simulator's clock.
    """

    picture: Picture
    marker: str

    def read(self, delivery: Delivery, now: Instant) -> Iterator[Item]:
        """The items of one delivery; `now` is when it was received (ms)."""
        if delivery.topic.startswith(_OURS):
            yield from self._marked(delivery)
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
                yield self._status(delivery, now, topic, self._then(origin, now))
            case Kind.PHOTO:
                yield self._photo(delivery, now, topic, self._then(origin, now))
            case _:
                for read in codec.decode(topic, delivery.payload):
                    yield self._record(delivery, now, topic, origin, read)

    def unhandled(self, delivery: Delivery, now: Instant, error: Exception) -> Suspect:
        """A delivery at which we failed ourselves: kept, never a reason to stop."""
        topic = topics.parse_up(delivery.topic)
        detail = f"{type(error).__name__}: {error}"[:MAX_DETAIL]
        return self._suspect(delivery, now, topic.site, topic.device, Reason.UNHANDLED, detail)

    def _marked(self, delivery: Delivery) -> Iterator[Marked]:
        """Our own marker, or the clock's tick: the session may still bring the other kind."""
        if delivery.topic != self.marker:
            return
        tick = codec.decode_clock(delivery.payload)
        if isinstance(tick, Bad) or tick.now > LATEST_MARK:
            log.warning("marker.ignored", topic=delivery.topic, payload=repr(delivery.payload[:64]))
            return
        yield Marked(tick.now)

    def _origin(self, topic: UpTopic) -> _Origin | tuple[Reason, str]:
        device = self.picture.device(topic.device)
        if device is None:
            return Reason.UNKNOWN_DEVICE, "no registry names it: apply one that does"
        if device.retired:
            return Reason.RETIRED_DEVICE, "the registry has retired it"
        site = self.picture.site(topic.site)
        if site is None or not device.ever(site.id):
            return Reason.FOREIGN_SITE, f"it may not report from {topic.site}"
        return _Origin(device, site)

    def _then(
        self, origin: _Origin | tuple[Reason, str], at: Instant
    ) -> _Origin | tuple[Reason, str]:
        """The same as of `at`: a device that was moved is placed where it was."""
        if not isinstance(origin, _Origin) or not origin.device.before:
            return origin
        site_id = origin.device.was_at(origin.site.id, at)
        site = None if site_id is None else self.picture.site_by_id(site_id)
        if site is None:
            return Reason.FOREIGN_SITE, f"it did not belong to {origin.site.slug} at the time"
        return _Origin(origin.device, site)

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
        message = read.message
        origin = self._then(origin, message.at)
        if not isinstance(origin, _Origin):
            return self._suspect(
                delivery, now, topic.site, topic.device, *origin, read.identity, read.raw
            )
        tag = None if isinstance(message, Sos) else message.tag
        place = self._place(origin.site, tag, message.at)
        return Taken(
            row=self._row(origin, read, tag, place, now),
            identity=read.identity,
            message=message,
            device=origin.device,
            site=origin.site,
            listens_at=topic.site,
            topic=delivery.topic,
            raw=read.raw,
            overtaking=delivery.session != MAIN,
            retained=delivery.retained,
            unknown_tag=tag is not None and place.checkpoint_id is None and place.person_id is None,
        )

    def _row(
        self, origin: _Origin, read: Record, tag: str | None, place: Place, now: Instant
    ) -> EntryRow:
        message = read.message
        via = message.via if isinstance(message, CheckIn) else None
        return EntryRow(
            id=0,
            kind=_KINDS[type(message)].value,
            device_id=origin.device.id,
            epoch=message.epoch,
            seq=message.seq,
            site_id=origin.site.id,
            checkpoint_id=self._checkpoint(origin.site, message, place),
            person_id=self._person(message, place),
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

    def _place(self, site: SiteInfo, tag: str | None, at: Instant) -> Place:
        """What the tag stood for as of the device's clock."""
        return NOWHERE if tag is None else self.picture.place(site.id, tag, at)

    def _checkpoint(
        self, site: SiteInfo, message: CheckIn | Hazard | Sos, place: Place
    ) -> int | None:
        if isinstance(message, Hazard) and message.checkpoint is not None:
            named = self.picture.checkpoint_of(site.id, message.checkpoint)
            return place.checkpoint_id if named is None else named.id
        return place.checkpoint_id

    def _person(self, message: CheckIn | Hazard | Sos, place: Place) -> int | None:
        """Whose tag it read, or who holds the device, as it says itself."""
        if place.person_id is not None or message.person is None:
            return place.person_id
        holder = self.picture.person(message.person)
        return None if holder is None else holder.id

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

    def _suspect(  # noqa: PLR0913, PLR0917  (what quarantine keeps, in the order of its row)
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
    return kind is Kind.SOS and session != SOS


def _is_said(value: object) -> bool:
    """Whether a member says anything; 0 does: of a battery, or of the `seq` that is taken back."""
    return value is not None and value is not False and value != ()


def _body(message: CheckIn | Hazard | Sos) -> str | None:
    """What of a message has no column, as JSON text; None when nothing is left."""
    kept = _COLUMNS if isinstance(message, Hazard) else _COLUMNS | {"tag"}
    rest = {
        name: value
        for name in message.__struct_fields__
        if name not in kept and _is_said(value := getattr(message, name))
    }
    if message.person is not None:
        rest["person"] = message.person
    return msgspec.json.encode(rest).decode() if rest else None
