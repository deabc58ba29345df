"""Readers that publish a tag on a topic of their choice: ESPHome, and Home Assistant's tag format.

    ESPHome:         {topic_prefix}/tag      74-10-37-94, or {"tag":"…","time":1763769600}
                     {topic_prefix}/status   online | offline    (retained birth and will)
    Home Assistant:  {address}/tag_scanned   a tag's id, or JSON that holds it

A payload is the tag itself, or an object with it under `tag`, `uid` and the like, itself or one
level below (`{"PN532":{"UID":…}}`). Where the object says `time`, with offset or as Unix time, that
is when it was read.

Identity: the tag and that time. Without one, the tag and the stretch in which the message came in:
a tag that lies on a reader is told each second, and is one read.
Sources: esphome.io: PN532, RDM6300 (`on_tag`), MQTT (birth and will); home-assistant.io: MQTT tag
scanner.
"""

from devices.adapters import members
from devices.adapters.heard import ELSEWHERE, Foreign, Heard, Read, Said
from devices.codec import Bad
from devices.messages import Status, Via

TIMES = ("time", "Time", "at", "timestamp")
STATUSES = {"online": True, "offline": False}


def esphome(heard: Foreign) -> Heard:
    """A tag that was read, a birth, or a will."""
    address, _, last = heard.topic.rpartition("/")
    if address and last == "tag":
        return Heard(address=address, said=(_read(heard),))
    if address and last == "status":
        return Heard(address=address, said=(_status(heard),))
    return ELSEWHERE


def home_assistant(heard: Foreign) -> Heard:
    """A tag that was scanned."""
    address, _, last = heard.topic.rpartition("/")
    if address and last == "tag_scanned":
        return Heard(address=address, said=(_read(heard),))
    return ELSEWHERE


def _read(heard: Foreign) -> Said:
    when, found = members.told(None), None
    if heard.payload.lstrip()[:1] == b"{":
        said = members.an_object(heard)
        if isinstance(said, Bad):
            return said
        found = members.tag_within(said)
        when = members.told(next((said[name] for name in TIMES if name in said), None))
    else:
        found = members.tag(members.words(heard))
    if found is None:
        return members.bad(heard, "no tag: publish its id as text, or as JSON under `tag`")
    return Read(key=members.key(heard, when, found), when=when, tag=found, via=Via.NFC)


def _status(heard: Foreign) -> Status | Bad:
    online = STATUSES.get(members.words(heard) or "")
    if online is None:
        return members.bad(heard, "a status that is neither online nor offline")
    return Status(online=online)
