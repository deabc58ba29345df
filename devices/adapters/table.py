"""Every foreign reader that is understood: one row each, by the registry's `protocol`."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from devices.adapters import chirpstack, owntracks, tags, tasmota, zigbee2mqtt
from devices.adapters.heard import ELSEWHERE, Call, Foreign, Heard, Ignored, Read, Said, TimeSource


class Adapter(NamedTuple):
    """One source: what its messages say, and where they come from.

    `filters`: what to subscribe for it; `{}` stands for an address, `{base}` for Zigbee2MQTT's base
    topic; with neither, devices that no registry names are heard of too. `address`: what an address
    is, as a pattern and in words. `writes`, `reads`: what its login must be allowed on a broker;
    for Zigbee2MQTT and ChirpStack that is all their bridge says, which logs in for its devices.
    """

    hear: Callable[[Foreign], Heard]
    filters: tuple[str, ...]
    address: re.Pattern[str]
    example: str
    writes: tuple[str, ...]
    reads: tuple[str, ...] = ()


_LEVEL = r"[^/+#\s$][^/+#\x00-\x1f]*"
_PATH = rf"{_LEVEL}(?:/{_LEVEL})*"
_FREE = rf"(?!(?:patrol|tele|stat|cmnd|owntracks|application|zigbee2mqtt)(?:/|\Z)){_PATH}"
"""Topics of a reader's own choice: not below a root of ours or of another source, whose devices its
login could then speak for."""

ADAPTERS: Mapping[str, Adapter] = {
    "tasmota": Adapter(
        tasmota.hear,
        ("tele/+/SENSOR", "tele/+/LWT", "tele/+/STATE"),
        re.compile(_LEVEL),
        "its `Topic`, as tasmota_4A21B7",
        ("tele/{}/#", "stat/{}/#"),
        ("cmnd/{}/#",),
    ),
    "esphome": Adapter(
        tags.esphome,
        ("{}/tag", "{}/status"),
        re.compile(_FREE),
        "its `topic_prefix`, as readers/gate-reader",
        ("{}/#",),
        ("{}/#",),
    ),
    "home-assistant": Adapter(
        tags.home_assistant,
        ("{}/tag_scanned",),
        re.compile(_FREE),
        "what stands before /tag_scanned, as readers/0AFFD2",
        ("{}/tag_scanned",),
    ),
    "owntracks": Adapter(
        owntracks.hear,
        ("owntracks/+/+", "owntracks/+/+/event", "owntracks/+/+/beacon", "owntracks/+/+/status"),
        re.compile(f"{_LEVEL}/{_LEVEL}"),
        "user/device as in the app, as phone-17/phone",
        ("owntracks/{}/#",),
        ("owntracks/{}/cmd",),
    ),
    "chirpstack": Adapter(
        chirpstack.hear,
        ("application/+/device/+/event/+",),
        re.compile(r"[0-9a-f]{16}"),
        "the DevEUI, 16 hex digits in lower case, as 0102030405060708",
        ("application/+/device/+/event/+",),
        ("application/+/device/+/command/+",),
    ),
    "zigbee2mqtt": Adapter(
        zigbee2mqtt.hear,
        ("{base}/#",),
        re.compile(_PATH),
        "the friendly name, as hall/sos button",
        ("{base}/#",),
        ("{base}/#",),
    ),
}


def hear(protocol: str, heard: Foreign) -> Heard:
    """What a message says by one protocol of the table. Never raises.

    An empty payload takes a retained message back. What the broker kept from before is ignored
    where nothing says when it happened: it would be a new read at every start (contract §2).
    """
    found = ADAPTERS[protocol].hear(heard)
    if found == ELSEWHERE:
        return found
    if not heard.payload:
        return Heard(address=found.address, said=(Ignored(why="empty"),))
    if not heard.retained:
        return found
    return Heard(address=found.address, said=tuple(map(_kept_by_the_broker, found.said)))


def _kept_by_the_broker(said: Said) -> Said:
    undated = isinstance(said, Read | Call) and said.when.source is TimeSource.RECEIPT
    return Ignored(why="kept by the broker, and without a time") if undated else said


def filters(devices: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """What to subscribe for devices given as (protocol, address); sorted, each once."""
    return tuple(
        sorted(
            {
                pattern.format(address, base=zigbee2mqtt.base_of(address))
                for protocol, address in devices
                if protocol in ADAPTERS  # wands are read from files
                for pattern in ADAPTERS[protocol].filters
            }
        )
    )


def rights(protocol: str, address: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The filters that the login of a device must be allowed to write, and to read."""
    if protocol not in ADAPTERS:
        return (), ()
    adapter, base = ADAPTERS[protocol], zigbee2mqtt.base_of(address)
    write, read = (
        tuple(pattern.format(address, base=base) for pattern in patterns)
        for patterns in (adapter.writes, adapter.reads)
    )
    return write, read


def own(protocol: str, address: str) -> tuple[str, ...]:
    """The filters of what its login writes that are this device's alone, and not a bridge's."""
    writes = ADAPTERS[protocol].writes if protocol in ADAPTERS else ()
    return tuple(pattern.format(address) for pattern in writes if "{}" in pattern)


def finds_strangers(protocol: str) -> bool:
    """Whether its filters bring messages of devices that no registry names."""
    return not any("{}" in pattern for pattern in ADAPTERS[protocol].filters)


def fixed_filters() -> tuple[str, ...]:
    """Every filter that needs no address."""
    every = (pattern for adapter in ADAPTERS.values() for pattern in adapter.filters)
    return tuple(f.format(base=zigbee2mqtt.BASE) for f in every if "{}" not in f)
