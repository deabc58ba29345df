"""Our own broker with its TLS listeners, as `tls init` and `broker init --tls` make it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from desk import broker, credentials, tls
from desk.demo.children import listens
from tests.servers import Server, free_port, mosquitto
from tests.service import now_ms, until


class Secured:
    """Its files in a folder: `devices` and `office` are the ports of the two listeners."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = tls.Place(authority=folder / "ca", server=folder / "broker" / "tls")
        tls.init(self.place, (), now=now_ms())
        self.ca = self.place.server / "ca.crt"
        self.listeners = broker.Tls(port=free_port(), office=free_port(), host="127.0.0.1")
        made = broker.init(folder / "broker", port=1, tls=self.listeners)
        self.password = made.password
        self.devices, self.office = self.listeners.port, self.listeners.office or 0

    def device(self, name: str) -> str:
        password = credentials.new_password()
        users = {name: credentials.hashed(password)}
        broker.put_users(self.folder / "broker", users, {})
        return password

    @contextmanager
    def running(self) -> Iterator[Server]:
        """The broker, once all its listeners are open."""
        text = (self.folder / "broker" / "mosquitto.conf").read_text()
        with mosquitto(conf=text.replace("listener 1 ", "listener {port} ")) as server:
            until(lambda: listens(self.devices) and listens(self.office), "the TLS listeners")
            yield server
