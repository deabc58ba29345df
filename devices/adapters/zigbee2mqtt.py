"""Zigbee2MQTT's buttons: a call for help, a press at a place, and their battery.

    zigbee2mqtt/{friendly name}                {"action":"emergency","battery":100,…}
    zigbee2mqtt/{friendly name}/availability   online | {"state":"online"}    (retained)

A friendly name may hold slashes and spaces. Where the bridge's `base_topic` is another, as it must
be for the second bridge of a broker, it ends in `/zigbee2mqtt`, and the whole topic is the address:
`school-01/zigbee2mqtt/hall/sos button`.

`action: emergency | sos | panic`, or `sos: true`, calls for help; `single` and `press` are a visit
whose tag is the friendly name. Every other action is ignored, the empty one too, which follows each
with Home Assistant's integration.

Nothing says when a button was pressed unless `advanced.last_seen` is set, which is worth doing: it
is the bridge's clock, with an offset. Identity: that time and the action; without it the action and
the stretch in which it came in, and what the broker kept is ignored.
Source: zigbee2mqtt.io: TS0215A_sos, MQTT topics and messages, device availability.
"""

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

BASE = "zigbee2mqtt"
CALLS = frozenset({"emergency", "sos", "panic"})
PRESSES = frozenset({"single", "press"})
STATES = {"online": True, "offline": False}
COMMANDS = frozenset({"set", "get", "action"})
"""Last levels that are not of a name: said to a device, or an action told a second time."""

Members = dict[str, Any]


def hear(heard: Foreign) -> Heard:
    """A call, a press, a battery, whether it is there; or nothing of interest."""
    name = _name(heard.topic)
    if name is None:
        return ELSEWHERE
    if name.split("/")[0] == "bridge":
        return Heard(address=None, said=(Ignored(why="the bridge's own topic"),))
    base = "" if heard.topic.startswith(f"{BASE}/") else heard.topic.removesuffix(name)
    device, _, last = name.rpartition("/")
    if device and last == "availability":
        return Heard(address=base + device, said=(_availability(heard),))
    if COMMANDS & set(name.split("/")[-2:]) and device:
        return Heard(address=None, said=(Ignored(why="said to a device"),))
    return Heard(address=base + name, said=_state(heard, name))


def base_of(address: str) -> str:
    """The bridge's base topic, by a device's address."""
    before, found, _ = address.partition(f"/{BASE}/")
    return f"{before}/{BASE}" if found else BASE


def _name(topic: str) -> str | None:
    if topic.startswith(f"{BASE}/"):
        return topic.removeprefix(f"{BASE}/") or None
    return topic.partition(f"/{BASE}/")[2] or None


def _availability(heard: Foreign) -> Status | Bad:
    said: object = members.words(heard)
    if heard.payload[:1] == b"{":
        found = members.an_object(heard)
        if isinstance(found, Bad):
            return found
        said = found.get("state")
    online = STATES.get(said) if isinstance(said, str) else None
    if online is None:
        return members.bad(heard, "an availability that is neither online nor offline")
    return Status(online=online)


def _state(heard: Foreign, name: str) -> tuple[Said, ...]:
    said = members.an_object(heard)
    if isinstance(said, Bad):
        return (said,)
    action = str(said.get("action"))
    battery = members.percent(said.get("battery"))
    status = () if battery is None else (Status(online=True, bat=battery),)
    when = _when(said)
    if action in CALLS or said.get("sos") is True:
        return (Call(key=members.key(heard, when, "call"), when=when), *status)
    tag = members.tag(name)
    if action in PRESSES and tag is not None:
        key = members.key(heard, when, action)
        return (Read(key=key, when=when, tag=tag, via=Via.BUTTON, bat=battery), *status)
    return status or (Ignored(why="telemetry without a call"),)


def _when(said: Members) -> When:
    at = members.instant(said.get("last_seen"))
    if at is None:
        return When(source=TimeSource.RECEIPT)
    return When(source=TimeSource.GATEWAY, at=at, sent=at)
