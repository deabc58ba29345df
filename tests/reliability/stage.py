"""A broker, the service on it, and a wire to it, for tests that hurt one of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import mosquitto
from tests.service import Service, a_service
from tests.wire import Wire, a_wire


@contextmanager
def a_stage(folder: Path, registry: str) -> Iterator[tuple[Service, Wire]]:
    """All three, with the service's ledger in `folder`."""
    with (
        mosquitto(["set_tcp_nodelay true"]) as broker,
        a_service(folder, broker.port, registry) as service,
        a_wire(broker.port) as wire,
    ):
        yield service, wire
