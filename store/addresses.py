"""Addresses of what the service talks to, parsed and checked before anything connects."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}


def _port(parts: SplitResult, default: int | None) -> int | None:
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the port must be a number from 0 to 65535") from None
    return default if port is None else port


def is_loopback(host: str) -> bool:
    """Whether `host` can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttAddress:
    """Where the broker is and who we are there. `str()` and `repr()` hide the password."""

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `mqtt://user:password@host:port` or `mqtts://…`. Raises ValueError with a remedy.

        User and password are percent-decoded.
        """
        parts = urlsplit(text)
        if parts.scheme not in MQTT_PORTS:
            raise ValueError("write mqtt://host:1883, or mqtts://host:8883 with TLS")
        if not parts.hostname:
            raise ValueError("names no host: write mqtt://user:password@host:1883")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("ends after the port: a path or query has no meaning for a broker")
        found = cls(
            host=parts.hostname,
            port=_port(parts, None) or MQTT_PORTS[parts.scheme],
            tls=parts.scheme == "mqtts",
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )
        if found.password is not None and found.username is None:
            raise ValueError("has a password but no user: write mqtt://user:password@host:port")
        return found

    @property
    def exposed(self) -> str | None:
        """Why it should not be spoken to over a network, with the remedy; None where it may be.

        On loopback neither a user nor TLS is needed: nobody but this machine can listen in.
        """
        if is_loopback(self.host):
            return None
        if self.username is None:
            return (
                f"names no user, which is for loopback only, not for {self.host}: write "
                "mqtts://user:password@host:port (`gridbeat broker init` makes a user)"
            )
        if not self.tls:
            return (
                f"would send its password in the clear to {self.host}: write mqtts:// "
                "(`gridbeat tls init` makes the certificates)"
            )
        return None

    def __str__(self) -> str:
        user = quote(self.username, safe="") if self.username else ""
        secret = ":***" if self.password is not None else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        at = "@" if user else ""
        return f"{'mqtts' if self.tls else 'mqtt'}://{user}{secret}{at}{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAddress:
    """Where `/livez /readyz /metrics` are served. Port 0 is any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `host:port`; an IPv6 host stands in brackets. Raises ValueError with a remedy."""
        parts = urlsplit(f"//{text}")
        port = _port(parts, None)
        if not parts.hostname or port is None or parts.path or parts.query or parts.username:
            raise ValueError(
                "write host:port, as in 127.0.0.1:8420 (0.0.0.0:8420 listens to everybody; "
                "an empty value serves nothing)"
            )
        return cls(host=parts.hostname, port=port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def database_path(url: str, base: Path) -> Path:
    """The SQLite file that `url` names; a relative one is found from `base`.

    Raises ValueError for every other database, in words for the operator; credentials in `url`
    are not repeated.
    """
    scheme, separator, rest = url.partition("://")
    kind = scheme.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        raise ValueError("PostgreSQL is not supported yet: write sqlite:////folder/gridbeat.db")
    if not separator or scheme != "sqlite":
        raise ValueError("only SQLite is supported: write sqlite:////folder/gridbeat.db")
    if not rest.startswith("/") or rest in ("/", "/:memory:") or "?" in rest:
        raise ValueError(
            "must name a file: sqlite:///gridbeat.db (relative) or sqlite:////folder/gridbeat.db; "
            "a ledger in memory would forget what it has acknowledged"
        )
    return (base / rest[1:]).resolve()


def database_url(path: Path) -> str:
    """The URL of a SQLite file; the other way round of `database_path`."""
    return f"sqlite:///{path}"


def http_url(text: str) -> str:
    """An http(s) base URL without its last slash. Raises ValueError with a remedy."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write http://host:8086 or https://host:8086")
    _port(parts, None)
    if parts.username or parts.password:
        raise ValueError(
            "must not hold credentials: set influx_username and influx_password, or influx_token"
        )
    if parts.query or parts.fragment:
        raise ValueError("must end after host, port and path: the database has its own setting")
    return text.rstrip("/")
