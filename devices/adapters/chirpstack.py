"""ChirpStack v4's MQTT integration, JSON: LoRaWAN tag readers, buttons and trackers.

    application/{application id}/device/{DevEUI}/event/{up|status|location|join|…}

What a payload means only the device's codec knows: its `object` holds a tag (`tag`, `uid` …), a
call for help (`sos`, `panic`, `emergency` true), or a press (`button`, `pressed` true), which is a
visit whose tag is the button's own DevEUI. A `location` event is a visit where the registry has a
checkpoint within its radius.

`time` is when a gateway or the network server received the frame. Identity: `deduplicationId`, one
for each frame however many gateways heard it; frames that a device repeats carry the same counter
and ChirpStack passes on the first.
Source: chirpstack.io/docs/chirpstack/integrations/events.html, integration.proto.
"""

from collections.abc import Callable, Mapping
from typing import Any

from devices.adapters import members
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
)
from devices.codec import Bad
from devices.messages import Status, Via

CALLS = ("sos", "panic", "emergency")
PRESSES = ("button", "pressed")
BATTERIES = ("battery", "batteryLevel", "bat")

Members = dict[str, Any]


def hear(heard: Foreign) -> Heard:
    """What a device's uplink, status or location says."""
    match heard.topic.split("/"):
        case ["application", _, "device", address, "event", event]:
            address = address.lower()
            return Heard(address=address, said=_said(heard, address, event))
    return ELSEWHERE


def _said(heard: Foreign, address: str, event: str) -> tuple[Said, ...]:
    read = EVENTS.get(event)
    if read is None:
        return (Ignored(why="another ChirpStack event"),)
    said = members.an_object(heard)
    return (said,) if isinstance(said, Bad) else read(heard, address, said)


def _when(said: Members) -> When:
    at = members.instant(said.get("time"))
    if at is None:
        return When(source=TimeSource.RECEIPT)
    return When(source=TimeSource.GATEWAY, at=at, sent=at)


def _key(heard: Foreign, said: Members, when: When, *parts: str) -> str:
    frame = said.get("deduplicationId")
    return (
        "\n".join((frame, *parts))
        if isinstance(frame, str)
        else members.key(heard, when, str(said.get("fCnt")), *parts)
    )


def _up(heard: Foreign, address: str, said: Members) -> tuple[Said, ...]:
    told = said.get("object")
    if not isinstance(told, dict):
        return (Ignored(why="an uplink without a codec's object"),)
    when = _when(said)
    battery = next((b for n in BATTERIES if (b := members.percent(told.get(n))) is not None), None)
    if any(told.get(name) is True for name in CALLS):
        return (Call(key=_key(heard, said, when, "call"), when=when),)
    tag = members.tag_within(told)
    via = Via.NFC
    if tag is None and any(told.get(name) is True for name in PRESSES):
        tag, via = address.upper(), Via.BUTTON
    if tag is None:
        return (Status(online=True, bat=battery, rssi=_rssi(said)),)
    key = _key(heard, said, when, tag)
    return (Read(key=key, when=when, tag=tag, via=via, bat=battery, rssi=_rssi(said)),)


def _rssi(said: Members) -> int | None:
    """The best of the gateways that heard it."""
    gateways = said.get("rxInfo")
    heard = gateways if isinstance(gateways, list) else []
    signals = (members.dbm(one.get("rssi")) for one in heard if isinstance(one, dict))
    return max((signal for signal in signals if signal is not None), default=None)


def _status(_heard: Foreign, _address: str, said: Members) -> tuple[Said, ...]:
    known = said.get("batteryLevelUnavailable") is not True
    battery = members.percent(said.get("batteryLevel")) if known else None
    return (Status(online=True, bat=battery),)


def _location(heard: Foreign, _address: str, said: Members) -> tuple[Said, ...]:
    told = said.get("location")
    place = told if isinstance(told, dict) else {}
    # the Protobuf JSON mapping leaves out what is zero: on the equator there is no latitude
    pos = members.position(
        place.get("latitude", 0), place.get("longitude", 0), place.get("accuracy")
    )
    if pos is None or not place:
        return (members.bad(heard, "a location event without a location"),)
    when = _when(said)
    return (Read(key=_key(heard, said, when, "here"), when=when, via=Via.GPS, pos=pos),)


def _join(_heard: Foreign, _address: str, _said: Members) -> tuple[Said, ...]:
    return (Status(online=True),)


EVENTS: Mapping[str, Callable[[Foreign, str, Members], tuple[Said, ...]]] = {
    "up": _up,
    "status": _status,
    "location": _location,
    "join": _join,
}
