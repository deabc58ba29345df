"""OwnTracks on a guard's phone, over MQTT and over HTTP with the same payloads.

    owntracks/{user}/{device}          location (`t: u`, reported by hand, is a visit), lwt
    owntracks/{user}/{device}/event    transition: `enter` is a visit, `leave` is not
    owntracks/{user}/{device}/beacon   a beacon in range
    owntracks/{user}/{device}/status   the app's own state

A region or beacon is named (`desc`) as the checkpoint's id or one of its tags. A location is a
visit only where the registry has a checkpoint within its radius, which the caller looks up. Every
other location says that the phone is there; where it went is not kept.

`tst` is the time of the event or fix, `created_at` that of the message; the app sends what it
queued as it was first written, so the latter is when it was sent only if it came at once, and the
rules of contract §6 find out. The will's `tst` is when the app first connected: it dates nothing.

Identity: what happened (region and edge, position, beacon) and `tst`; of a location by hand
`created_at` too, since a phone that lies still keeps its fix. Beacons are told each second: one
read a minute.
Source: owntracks.org/booklet: JSON, HTTP, beacons.
"""

from collections.abc import Callable, Mapping
from typing import Any

from devices.adapters import members
from devices.adapters.heard import ELSEWHERE, Foreign, Heard, Ignored, Read, Said, TimeSource, When
from devices.codec import Bad
from devices.messages import Status, Via

BY_HAND = "u"
VIAS = {"b": Via.BLE}
NEAR = (1, 2)
"""`prox`: in the immediate vicinity, relatively close; not far, not unknown."""

MINUTE_MS = 60_000

Members = dict[str, Any]


def hear(heard: Foreign) -> Heard:
    """A visit, a status, or nothing of interest."""
    match heard.topic.split("/"):
        case ["owntracks", user, device, *_] if user and device:
            return Heard(address=f"{user}/{device}", said=(_said(heard),))
    return ELSEWHERE


def _said(heard: Foreign) -> Said:
    said = members.an_object(heard)
    if isinstance(said, Bad):
        return said
    kind = said.get("_type")
    read = TYPES.get(kind) if isinstance(kind, str) else None
    if read is None:
        return members.bad(heard, f"no `_type` that OwnTracks knows: {kind!r}")
    return read(heard, said)


def _when(said: Members) -> When:
    at = members.unix(said.get("tst"))
    if at is None:
        return When(source=TimeSource.RECEIPT)
    sent = members.unix(said.get("created_at")) or at
    return When(source=TimeSource.DEVICE, at=at, sent=max(sent, at))


def _transition(heard: Foreign, said: Members) -> Said:
    name = members.tag(said.get("desc"))
    if said.get("event") == "leave":
        return Ignored(why="left a region")
    if said.get("event") != "enter" or name is None:
        return members.bad(heard, "a transition without `event` and `desc`")
    when = _when(said)
    return Read(
        key=members.key(heard, when, "enter", name),
        when=when,
        tag=name,
        via=VIAS.get(str(said.get("t")), Via.GPS),
        pos=members.position(said.get("lat"), said.get("lon"), said.get("acc")),
    )


def _location(heard: Foreign, said: Members) -> Said:
    pos = members.position(said.get("lat"), said.get("lon"), said.get("acc"))
    if pos is None:
        return members.bad(heard, "a location without `lat` and `lon`")
    battery = members.percent(said.get("batt"))
    if said.get("t") != BY_HAND:
        return Status(online=True, sent=members.unix(said.get("created_at")), bat=battery)
    when = _when(said)
    # by hand: `at` is when somebody said "I am here", not when the phone last knew where it was
    when = When(source=when.source, at=when.sent, sent=when.sent)
    key = members.key(heard, when, "here", f"{pos.lat} {pos.lon}", str(said.get("tst")))
    return Read(key=key, when=when, via=Via.GPS, pos=pos, bat=battery)


def _beacon(heard: Foreign, said: Members) -> Said:
    name = members.tag(said.get("desc")) or _beacon_name(said)
    if name is None:
        return members.bad(heard, "a beacon without `desc` and without `uuid`, `major`, `minor`")
    if said.get("prox") not in NEAR:
        return Ignored(why="a beacon that is not near")
    when = _when(said)
    minute = (heard.received_at if when.at is None else when.at) // MINUTE_MS
    rssi = members.dbm(said.get("rssi"))
    return Read(key=f"beacon\n{minute}\n{name}", when=when, tag=name, via=Via.BLE, rssi=rssi)


def _beacon_name(said: Members) -> str | None:
    numbers = [members.number(said.get(name)) for name in ("major", "minor")]
    if not isinstance(said.get("uuid"), str) or None in numbers:
        return None
    return members.tag("/".join((said["uuid"].upper(), *(f"{number:.0f}" for number in numbers))))


def _will(_heard: Foreign, _said: Members) -> Said:
    return Status(online=False)


def _status(_heard: Foreign, _said: Members) -> Said:
    return Status(online=True)


def _encrypted(heard: Foreign, _said: Members) -> Said:
    return members.bad(heard, "encrypted: clear the encryption key in the app, and use TLS instead")


def _other(_heard: Foreign, _said: Members) -> Said:
    return Ignored(why="another OwnTracks message")


TYPES: Mapping[str, Callable[[Foreign, Members], Said]] = {
    "transition": _transition,
    "location": _location,
    "beacon": _beacon,
    "lwt": _will,
    "status": _status,
    "encrypted": _encrypted,
    "card": _other,
    "cmd": _other,
    "configuration": _other,
    "dump": _other,
    "request": _other,
    "steps": _other,
    "waypoint": _other,
    "waypoints": _other,
}
