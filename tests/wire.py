"""A bare MQTT client for tests: publishes bytes, remembers what it hears and when."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

PATIENCE_S = 20.0


class Heard(NamedTuple):
    """One message, and when it was here (ms since the Unix epoch)."""

    topic: str
    payload: bytes
    at: int

    @property
    def said(self) -> Any:
        """Its JSON."""
        return json.loads(self.payload)


class Wire:
    """A connection that subscribes to everything; use it within `a_wire`."""

    def __init__(self, port: int, client_id: str = "") -> None:
        self.heard: list[Heard] = []
        self._some = threading.Condition(threading.RLock())
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id)
        self._client.max_inflight_messages_set(1_000)
        self._client.on_connect = lambda *_: self._client.subscribe("patrol/v1/#", 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._received
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(PATIENCE_S)

    def _received(self, _client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        with self._some:
            self.heard.append(Heard(message.topic, message.payload, time.time_ns() // 1_000_000))
            self._some.notify_all()

    def close(self) -> None:
        """Hang up in good order."""
        self._client.disconnect()
        self._client.loop_stop()

    def say(self, topic: str, said: Any, *, retain: bool = False, qos: int = 1) -> None:
        """Publish JSON, or bytes as they are, and wait until it has been sent, or with QoS 1
        acknowledged."""
        payload = said if isinstance(said, bytes) else json.dumps(said).encode()
        self._client.publish(topic, payload, qos, retain).wait_for_publish(PATIENCE_S)

    def say_all(self, topic: str, all_said: list[Any]) -> None:
        """Publish much at once, and wait for the last acknowledgement."""
        infos = [self._client.publish(topic, json.dumps(said), 1) for said in all_said]
        for info in infos:
            info.wait_for_publish(PATIENCE_S)

    def events(self, kind: str, subject: str | None = None) -> list[dict[str, Any]]:
        """The events of a kind heard so far, each with `heard_at`."""
        with self._some:
            return [
                {**heard.said, "heard_at": heard.at}
                for heard in self.heard
                if "/events/" in heard.topic
                and heard.topic.endswith(f"/{kind}")
                and subject in (None, heard.said["subject"])
            ]

    def event(
        self, kind: str, subject: str | None = None, patience_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """The next event of a kind: waits for it."""
        return self._wait(lambda: self.events(kind, subject), f"event {kind}", patience_s)[-1]

    def receipts(self, device: str) -> list[dict[str, Any]]:
        """The receipts a device was told so far."""
        with self._some:
            return [h.said for h in self.heard if h.topic.endswith(f"/{device}/down/receipt")]

    def receipt(self, device: str, upto: int, epoch: int = 0) -> dict[str, Any]:
        """The first receipt of a device that reaches `upto` of an epoch: waits for it."""
        found = self._wait(
            lambda: [r for r in self.receipts(device) if r["epoch"] == epoch and r["upto"] >= upto],
            f"receipt to {device} up to {upto}",
            PATIENCE_S,
        )
        return found[0]

    def _wait(self, ask: Callable[[], list[Any]], what: str, patience_s: float) -> list[Any]:
        deadline = time.monotonic() + patience_s
        while True:
            with self._some:
                found = ask()
                if found:
                    return found
                if time.monotonic() > deadline:
                    pytest.fail(f"no {what} within {patience_s:g} s")
                self._some.wait(0.2)


@contextmanager
def a_wire(port: int, client_id: str = "") -> Iterator[Wire]:
    """A connected client, gone when the block ends."""
    wire = Wire(port, client_id)
    try:
        yield wire
    finally:
        wire.close()
