"""Which source reads from the broker, by name."""

from collections.abc import Callable, Mapping, Sequence

from ingest.paho_source import PahoSource
from ingest.source import Broker, Session, Source
from ingest.wire_source import WireSource
from store.settings import MqttSource, Settings

SOURCES: Mapping[MqttSource, Callable[..., Source]] = {
    MqttSource.WIRE: WireSource,
    MqttSource.PAHO: PahoSource,
}


def source(
    settings: Settings,
    sessions: Sequence[Session],
    *,
    on_change: Callable[[bool], None],
    on_fresh: Callable[[str], None],
) -> Source:
    """The source that the settings name, on the broker that they name; nothing connects yet."""
    return SOURCES[settings.mqtt_source](
        Broker(address=settings.mqtt_url, ca_file=settings.mqtt_ca_file),
        settings.instance,
        sessions,
        on_change=on_change,
        on_fresh=on_fresh,
    )
