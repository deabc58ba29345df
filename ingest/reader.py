"""Decode and place: a delivery becomes the items that the ledger keeps. Pure, given a picture.

Placing says whose device it is, at which site, which checkpoint or person the tag stood for as of
`at`. What cannot be read or placed becomes a suspect for quarantine; nothing is dropped but the
echo of a topic that a session of its own reads.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import msgspec
import structlog

from devices import codec, content, topics
from devices.adapters.heard import Foreign
from devices.codec import Bad, Photo, Record
from devices.ids import Identity, Instant
from devices.messages import CheckIn, Hazard, Sos, Status
from devices.proofs import Proof, Proved
from devices.proving import prove
from devices.reasons import Reason
from devices.tagkeys import Keyring
from devices.topics import BadTopic, Kind, UpTopic
from ingest import foreign
from ingest.foreign import Passed, Placed, Refused, Surroundings, There
from ingest.rows import row_of
from ingest.source import SOS, Delivery
from store.entries import EntryRow
from store.picture import DeviceInfo, Picture, Place, SiteInfo
from store.quarantine import Suspect


class Marked(NamedTuple):
    """Our word to ourselves in the stream: published at `at`, back at `came`."""

    at: Instant
    came: Instant


class Taken(msgspec.Struct, frozen=True, gc=False):
    """A record, read and placed.

    `site`: where it happened. `listens_at`: the site in whose topics its device waits for
    receipts, which is another where the device was moved in between. `proved`: of check-ins that
    carry a tag's message, and of those whose checkpoint asks for one.
    """

    row: EntryRow
    message: CheckIn | Hazard | Sos
    device: DeviceInfo
    site: SiteInfo
    listens_at: str
    topic: str
    raw: bytes
    retained: bool
    unknown_tag: bool
    proved: Proved | None = None

    @property
    def identity(self) -> Identity:
        """What counts once."""
        return Identity(self.device.slug, self.message.epoch, self.message.seq)


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


Item = Marked | Taken | Said | Pictured | Suspect | Passed

log = structlog.get_logger()

NOWHERE = Place()
LATEST_MARK: Instant = 7_258_118_400_000
"""2200-01-01T00:00:00Z: no calendar reaches beyond it, and a clock that does is broken."""
MAX_DETAIL = 200
WAYS = 100_000
"""Topics remembered; beyond it, as by a flood of strangers' names, all are forgotten."""
_OURS = (f"{topics.ROOT}/service/", topics.CLOCK)


class _Origin(NamedTuple):
    """Who speaks: a registered device at a site it may report from."""

    device: DeviceInfo
    site: SiteInfo


_Whose = _Origin | tuple[Reason, str]
"""Who speaks on a topic, or why nobody may."""
_Way = Callable[[Delivery, Instant], Iterable["Item"]]
"""How what comes on one topic is read; `now` is when it was received (ms)."""


@dataclass(slots=True)
class Reader:
    """Reads deliveries with the picture of the registry that holds now; `picture` is replaced
    whole.

    `marker`: the topic of what time is told by: our own markers, or the simulator's clock. `after`:
    the last of them, which foreign readers without a clock are timed by. `radius_m`: how near to a
    checkpoint a position is a visit. `keyring`: the master keys of tags that prove presence.
    """

    picture: Picture
    marker: str
    keyring: Keyring = field(default_factory=Keyring)
    after: Instant | None = None
    radius_m: int = 50
    _ways: dict[str, _Way] = field(default_factory=dict)
    _ways_of: Picture | None = None

    def read(self, delivery: Delivery, now: Instant) -> Iterable[Item]:
        """The items of one delivery; `now` is when it was received (ms)."""
        if self._ways_of is not self.picture:
            self._ways, self._ways_of = {}, self.picture
        way = self._ways.get(delivery.topic) or self._learn(delivery.topic)
        return way(delivery, now)

    def beside(self, delivery: Delivery, now: Instant) -> Iterable[Item]:
        """The items of what a foreign reader sent us directly, at this very instant."""
        return self._heard(delivery, now, now)

    def _learn(self, topic: str) -> _Way:
        """Take a topic apart; remembered, for a device publishes to the same ones all its life."""
        if len(self._ways) >= WAYS:
            self._ways.clear()
        read = topics.parse_up(topic)
        if isinstance(read, UpTopic):
            origin = self._origin(read)
            way: _Way = partial(_READ[read.kind], self, read, origin)
            if read.kind is Kind.CHECKIN and isinstance(origin, _Origin):
                way = self._usually(read, origin, way)
        elif topic.startswith(_OURS):
            way = self._marked
        elif topics.is_ours(topic):
            way = partial(self._strange, read)
        else:
            way = self._foreign
        self._ways[topic] = way
        return way

    def unhandled(self, delivery: Delivery, now: Instant, error: Exception) -> Suspect:
        """A delivery at which we failed ourselves: kept, never a reason to stop."""
        topic = topics.parse_up(delivery.topic)
        detail = f"{type(error).__name__}: {error}"[:MAX_DETAIL]
        return self._suspect(delivery, now, topic.site, topic.device, Reason.UNHANDLED, detail)

    # The ways: how what comes on a topic is read.

    def _marked(self, delivery: Delivery, now: Instant) -> Iterable[Item]:
        """Our own marker, or the clock's tick: the session may still bring the other kind."""
        if delivery.topic != self.marker:
            return ()
        tick = codec.decode_clock(delivery.payload)
        if isinstance(tick, Bad) or tick.now > LATEST_MARK:
            log.warning("marker.ignored", topic=delivery.topic, payload=repr(delivery.payload[:64]))
            return ()
        self.after = tick.now
        return (Marked(tick.now, now),)

    def _strange(self, bad: BadTopic, delivery: Delivery, now: Instant) -> Iterable[Item]:
        """A topic below our root that the grammar does not know."""
        return (self._suspect(delivery, now, bad.site, bad.device, bad.reason, bad.detail),)

    def _records(
        self, topic: UpTopic, origin: _Whose, delivery: Delivery, now: Instant
    ) -> Iterable[Item]:
        return [
            self._record(delivery, now, topic, origin, read)
            for read in codec.decode(topic, delivery.payload)
        ]

    def _usually(self, topic: UpTopic, origin: _Origin, way: _Way) -> _Way:
        """A way for check-ins: a usual one, of a device that was never moved, at a place that asks
        for no more, is read in one step to what `way` would say of it. All else goes that way.
        """
        if origin.device.before:
            return way
        (device, site), place_of, people = origin, self.picture.place, self.picture.people
        digest_of, read_usual = content.digester(topic), content.read_usual

        def usually(delivery: Delivery, now: Instant) -> Iterable[Item]:
            raw = delivery.payload
            message = read_usual(raw)
            if message is None or message.sun is not None or len(raw) > codec.MAX_BYTES:
                return way(delivery, now)
            checkpoint_id, person_id, _, _, proof = place_of(site.id, message.tag, message.at)
            if person_id is not None or proof:
                return way(delivery, now)
            if message.person is not None and message.person in people:
                person_id = people[message.person].id
            places = (device.id, site.id, checkpoint_id, person_id)
            row = row_of(message, *places, now, message.tag, digest_of(message))
            listens_at, nowhere = topic.site, checkpoint_id is None
            told = (listens_at, delivery.topic, raw, delivery.retained, nowhere)
            return (Taken(row, message, device, site, *told),)

        return usually

    def _calls(
        self, topic: UpTopic, origin: _Whose, delivery: Delivery, now: Instant
    ) -> Iterable[Item]:
        """sos has a session of its own; the check-ins', which reads `up/+`, gets its echo."""
        if delivery.session != SOS:
            return ()
        return self._records(topic, origin, delivery, now)

    def _status(
        self, topic: UpTopic, origin: _Whose, delivery: Delivery, now: Instant
    ) -> Iterable[Item]:
        if not delivery.payload:
            return ()  # the retained one was cleared, as `device retire` does: it says nothing
        status = codec.decode_status(delivery.payload)
        if isinstance(status, Bad):
            return (self._bad(delivery, now, topic, status),)
        origin = self._then(origin, now)
        if not isinstance(origin, _Origin):
            return (self._suspect(delivery, now, topic.site, topic.device, *origin),)
        return (Said(origin.device, origin.site, status, delivery.retained, now),)

    def _photo(
        self, topic: UpTopic, origin: _Whose, delivery: Delivery, now: Instant
    ) -> Iterable[Item]:
        photo = codec.decode_photo(topic, delivery.payload)
        if isinstance(photo, Bad):
            return (self._bad(delivery, now, topic, photo),)
        origin = self._then(origin, now)
        if not isinstance(origin, _Origin):
            return (self._suspect(delivery, now, topic.site, topic.device, *origin),)
        return (Pictured(origin.device, origin.site, photo, now),)

    def _foreign(self, delivery: Delivery, now: Instant) -> Iterable[Item]:
        return self._heard(delivery, now, self.after)

    def _heard(self, delivery: Delivery, now: Instant, after: Instant | None) -> Iterable[Item]:
        """The items of a foreign reader's message; `after`: it was not sent before that."""
        message = Foreign(delivery.topic, delivery.payload, delivery.retained, now)
        around = Surroundings(self.picture, after, self.radius_m)
        for found in foreign.read(around, message):
            match found:
                case Passed():
                    yield found
                case Refused(site, device, reason, detail):
                    yield self._suspect(delivery, now, site, device, reason, detail)
                case There(device_info, at_site, status):
                    yield Said(device_info, at_site, status, delivery.retained, now)
                case Placed():
                    yield self._placed(delivery, now, found)

    def _placed(self, delivery: Delivery, now: Instant, placed: Placed) -> Taken:
        """A foreign reader's read or call; `body` says who tells its time."""
        record, place = placed.record, placed.place or NOWHERE
        tag = record.message.tag if isinstance(record.message, CheckIn) else None
        row = self._row(_Origin(placed.device, placed.site), record, tag, place, now)
        told = {**msgspec.json.decode(row.body or "{}"), **placed.told}
        return Taken(
            row=row._replace(body=msgspec.json.encode(told).decode()),
            message=record.message,
            device=placed.device,
            site=placed.site,
            listens_at=placed.site.slug,
            topic=delivery.topic,
            raw=record.raw,
            retained=delivery.retained,
            unknown_tag=tag is not None and placed.place is None,
            proved=self._proved(record.message, place),
        )

    def _origin(self, topic: UpTopic) -> _Whose:
        device = self.picture.device(topic.device)
        if device is None:
            return Reason.UNKNOWN_DEVICE, "no registry names it: apply one that does"
        if device.retired:
            return Reason.RETIRED_DEVICE, "the registry has retired it"
        site = self.picture.site(topic.site)
        if site is None or not device.ever(site.id):
            return Reason.FOREIGN_SITE, f"it may not report from {topic.site}"
        return _Origin(device, site)

    def _then(self, origin: _Whose, at: Instant) -> _Whose:
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
        origin: _Whose,
        read: Record | Bad,
    ) -> Item:
        if isinstance(read, Bad):
            return self._bad(delivery, now, topic, read)
        message = read.message
        if not isinstance(origin, _Origin) or origin.device.before:
            origin = self._then(origin, message.at)
        if not isinstance(origin, _Origin):
            return self._suspect(
                delivery, now, topic.site, topic.device, *origin, read.identity, read.raw
            )
        tag = None if isinstance(message, Sos) else message.tag
        place = NOWHERE
        if tag is not None:  # what it stood for as of the device's clock
            place = self.picture.place(origin.site.id, tag, message.at)
            if place.person_id is not None:
                place = self.picture.read_at(origin.device, place)
        return Taken(
            self._row(origin, read, tag, place, now),
            message,
            origin.device,
            origin.site,
            topic.site,
            delivery.topic,
            read.raw,
            delivery.retained,
            tag is not None and place.checkpoint_id is None and place.person_id is None,
            self._proved(message, place),
        )

    def _proved(self, message: CheckIn | Hazard | Sos, place: Place) -> Proved | None:
        if not isinstance(message, CheckIn) or not (place.proof or message.sun):
            return None
        if message.sun is None:
            return Proved(Proof.BARE, asked=place.slug)
        enrolments = self.picture.enrolments.get(message.tag, ())
        found = prove(self.keyring, enrolments, message.tag, message.sun, message.at)
        return found._replace(asked=place.slug if place.proof else None)

    def _row(
        self, origin: _Origin, read: Record, tag: str | None, place: Place, now: Instant
    ) -> EntryRow:
        message, checkpoint_id, person_id = read.message, place.checkpoint_id, place.person_id
        if isinstance(message, Hazard) and message.checkpoint is not None:
            named = self.picture.checkpoint_of(origin.site.id, message.checkpoint)
            checkpoint_id = checkpoint_id if named is None else named.id
        if person_id is None and message.person is not None:  # who holds it, as it says itself
            holder = self.picture.people.get(message.person)
            person_id = None if holder is None else holder.id
        places = (origin.device.id, origin.site.id, checkpoint_id, person_id)
        return row_of(message, *places, now, tag, read.digest)

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


_READ: Mapping[Kind, Callable[..., Iterable[Item]]] = {
    Kind.CHECKIN: Reader._records,
    Kind.HAZARD: Reader._records,
    Kind.SOS: Reader._calls,
    Kind.STATUS: Reader._status,
    Kind.PHOTO: Reader._photo,
}
