"""Our own broker with its TLS listeners, as `tls init` and `broker init --tls` make it."""

from pathlib import Path

from desk import broker, credentials, tls
from tests.servers import free_port
from tests.service import now_ms


class Secured:
    """Its files in a folder; `conf` is for `mosquitto`, with loopback's listener on its port."""

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

    def conf(self) -> str:
        text = (self.folder / "broker" / "mosquitto.conf").read_text()
        return text.replace("listener 1 ", "listener {port} ")
