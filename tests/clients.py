"""A small MQTT client for tests: it logs in, publishes, listens, and waits for each answer."""

import time
import weakref
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

WAIT_S = 5.0


class Client:
    """A client that waits for answers: what it was told, and how its login and publishes ended."""

    def __init__(
        self,
        port: int,
        name: str | None = None,
        password: str | None = None,
        *,
        ca: Path | None = None,
        session: str = "",
    ) -> None:
        """`ca`: by TLS, trusting it. `session`: a client id whose session persists."""
        self.inbox: list[tuple[str, bytes]] = []
        self.code: int | None = None
        self.cut = False
        self._mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, session, protocol=mqtt.MQTTv5)
        if ca is not None:
            self._mqtt.tls_set(str(ca))
        if name is not None:
            self._mqtt.username_pw_set(name, password)
        me = weakref.proxy(self)  # in no circle, it goes with its sockets when its test ends
        self._mqtt.on_connect = lambda *a: me._connected(*a)  # noqa: PLW0108 - a bound method would hold it
        self._mqtt.on_message = lambda *a: me._message(*a)  # noqa: PLW0108 - as above
        self._mqtt.on_disconnect = lambda *a: me._disconnected(*a)  # noqa: PLW0108 - as above
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 3600 if session else 0
        self._mqtt.connect("localhost", port, clean_start=not session, properties=kept)
        self.until(lambda: self.code is not None)

    def _connected(self, *arguments: object) -> None:
        self.code = arguments[3].value  # type: ignore[attr-defined]

    def _disconnected(self, *_: object) -> None:
        self.cut = True

    def _message(self, *arguments: object) -> None:
        message = arguments[2]
        self.inbox.append((message.topic, message.payload))  # type: ignore[attr-defined]

    def until(self, done: object, limit: float = WAIT_S) -> bool:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            self._mqtt.loop(0.02)
            if done():  # type: ignore[operator]
                return True
        return False

    def subscribe(self, topic: str) -> None:
        granted: list[bool] = []  # not what came: that holds the client, and would be a circle
        self._mqtt.on_subscribe = lambda *_: granted.append(True)
        self._mqtt.subscribe(topic, 1)
        assert self.until(lambda: granted)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        done: list[bool] = []
        self._mqtt.on_publish = lambda *_: done.append(True)
        self._mqtt.publish(topic, payload, 1, retain)
        assert self.until(lambda: done)

    def close(self) -> None:
        self._mqtt.disconnect()
        self._mqtt.loop(0.05)
