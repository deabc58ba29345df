"""Who may connect, and as whom: the broker's URL and the file of credentials.

The file is TOML or JSON. `devices` maps a device to its password, `clock` holds the login of the
driver who writes `patrol/v1/sim/clock`; a flat map of devices to passwords will do as well.
"""

import json
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from firmware_sim.link import Broker, Login, parse_url

CLOCK_CLIENT = "firmware-sim-clock"


class AccessError(ValueError):
    """The broker's URL or the credentials cannot be used; the message says which and why."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may connect and how. `devices` maps a device to its password; None: all anonymous."""

    broker: Broker
    clock: Login
    devices: Mapping[str, str] | None = None

    def login(self, device: str) -> Login:
        """The login of one device: client id = user name = device id."""
        if self.devices is None:
            return Login(client_id=device)
        if device not in self.devices:
            raise AccessError(f"no password for {device}: `gridbeat device enroll {device}`")
        return Login(client_id=device, user=device, password=self.devices[device])

    def may_stray(self, device: str) -> bool:
        """Whether a stranger can get in at all: anonymously on this machine, or with a login."""
        if self.devices is None:
            return self.broker.loopback
        return device in self.devices

    def require(self, devices: Iterable[str]) -> None:
        """Refuse to begin where a device has no password; raises `AccessError`."""
        for device in devices:
            self.login(device)


def read_access(url: str, credentials: Path | None, ca_file: Path | None = None) -> Access:
    """Put the URL and the files together; raises `AccessError`."""
    try:
        broker, driver = parse_url(url)
        broker = replace(broker, ca_file=ca_file)
    except ValueError as error:
        raise AccessError(str(error)) from error
    if credentials is None:
        return Access(broker=broker, clock=driver or _nobody())
    raw = _load(credentials)
    clock = raw.get("clock")
    if isinstance(clock, Mapping):
        user = str(clock.get("user", "sim"))
        password = str(clock.get("password", ""))
        driver = Login(client_id=CLOCK_CLIENT, user=user, password=password)
    table = raw.get("devices", {name: value for name, value in raw.items() if name != "clock"})
    if not isinstance(table, Mapping) or not all(isinstance(v, str) for v in table.values()):
        raise AccessError(f'{credentials}: `devices` maps ids to passwords: hh-0101 = "…"')
    devices = {str(device): str(password) for device, password in table.items()}
    return Access(broker=broker, clock=driver or _nobody(), devices=devices)


def _nobody() -> Login:
    return Login(client_id=f"{CLOCK_CLIENT}-{secrets.token_hex(4)}")


def _load(path: Path) -> Mapping[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except OSError as error:
        raise AccessError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise AccessError(f"{path}: neither TOML nor JSON: {error}") from error
    if not isinstance(raw, dict):
        raise AccessError(f"{path}: a table of devices and passwords was expected")
    return raw
