"""Tasmota's tag readers: PN532, RC522 (MFRC522), RDM6300.

    tele/{topic}/SENSOR  {"Time":"2019-01-10T18:23:24","PN532":{"UID":"94D8FC5F","DATA":""}}
    tele/{topic}/LWT     Online | Offline            (retained; the second is its will)
    tele/{topic}/STATE   every 5 min, with Wi-Fi's signal

It publishes the moment it reads, with QoS 0, and keeps nothing. `Time` is local time without
offset; with `SetOption52 1` it carries one.

Identity: chip, UID and `Time`, which has seconds: one reader does not read one tag twice within
one. Until its clock is set it tells 1970; then the stretch in which the message came in.
Sources: tasmota.github.io/docs: PN532, MFRC522; arendst/Tasmota, xsns_51_rdm6300.ino.
"""

from devices.adapters import members
from devices.adapters.heard import ELSEWHERE, Foreign, Heard, Ignored, Read, Said
from devices.codec import Bad
from devices.messages import Status, Via

CHIPS = {"PN532": Via.NFC, "RC522": Via.NFC, "RDM6300": Via.RFID}
WILLS = {"Online": True, "Offline": False}


def hear(heard: Foreign) -> Heard:
    """A tag that was read, a birth or will, or telemetry that shows it is there."""
    match heard.topic.split("/"):
        case ["tele", address, "SENSOR"]:
            return Heard(address=address, said=_sensor(heard))
        case ["tele", address, "LWT"]:
            return Heard(address=address, said=(_will(heard),))
        case ["tele", address, "STATE"]:
            return Heard(address=address, said=(_state(heard),))
    return ELSEWHERE


def _sensor(heard: Foreign) -> tuple[Said, ...]:
    said = members.an_object(heard)
    if isinstance(said, Bad):
        return (said,)
    when = members.told(said.get("Time"))
    found: list[Said] = []
    for chip, via in CHIPS.items():
        if chip in said:
            shown = said[chip]
            tag = members.tag(shown.get("UID")) if isinstance(shown, dict) else None
            if tag is None:
                return (members.bad(heard, f"{chip} without a UID that can be read"),)
            key = members.key(heard, when, chip, tag)
            found.append(Read(key=key, when=when, tag=tag, via=via))
    return tuple(found) or (Ignored(why="telemetry without a tag"),)


def _will(heard: Foreign) -> Status | Bad:
    online = WILLS.get(members.words(heard) or "")
    if online is None:
        return members.bad(heard, "an LWT that is neither Online nor Offline")
    return Status(online=online)


def _state(heard: Foreign) -> Status | Bad:
    said = members.an_object(heard)
    if isinstance(said, Bad):
        return said
    wifi = said.get("Wifi")
    rssi = members.dbm(wifi.get("Signal")) if isinstance(wifi, dict) else None
    return Status(online=True, rssi=rssi)
