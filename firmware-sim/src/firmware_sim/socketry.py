"""MQTT 3.1.1 on a raw socket, as far as a fast publisher needs it: CONNECT, PUBLISH, SUBSCRIBE.

Source: OASIS MQTT 3.1.1. A library's client takes some hundred microseconds a publish; here packets
are put together ahead and handed to the kernel many at a time.
"""

import socket
import ssl
import struct
from collections.abc import Iterator

from firmware_sim.link import REFUSED, Broker, LinkDownError, Login, RefusedError

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 2, 3, 4, 9, 13
KEEP_ALIVE_S = 60
PING = b"\xc0\x00"
LEAVE = b"\xe0\x00"
ANSWER_WITHIN_S = 10.0


def length(value: int) -> bytes:
    """A remaining length (section 2.2.3)."""
    out = bytearray()
    while True:
        value, digit = divmod(value, 128)
        out.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(out)


def text(value: str) -> bytes:
    """A string with its length before it."""
    raw = value.encode()
    return struct.pack("!H", len(raw)) + raw


def publish(topic: bytes, packet_id: int, payload: bytes, *, retain: bool) -> bytes:
    """A PUBLISH of QoS 1; `topic` as `text` makes it."""
    size = length(len(topic) + 2 + len(payload))
    first = b"\x33" if retain else b"\x32"
    return b"".join((first, size, topic, packet_id.to_bytes(2, "big"), payload))


def subscribe(topic: str, qos: int) -> bytes:
    """A SUBSCRIBE to one filter."""
    body = b"\x00\x01" + text(topic) + bytes((qos,))
    return b"\x82" + length(len(body)) + body


def connect(broker: Broker, login: Login) -> socket.socket:
    """A connection with a clean session; raises `LinkDownError` or `RefusedError`."""
    flags, names = 0x02, b""
    if login.user is not None:
        flags, names = 0xC2, text(login.user) + text(login.password or "")
    body = text("MQTT") + bytes((4, flags, 0, KEEP_ALIVE_S)) + text(login.client_id) + names
    try:
        link = _open(broker)
        link.sendall(b"\x10" + length(len(body)) + body)
        answer = b""
        while len(answer) < 4 and (part := link.recv(4 - len(answer))):
            answer += part
    except OSError as error:
        raise LinkDownError(f"{broker.host}:{broker.port}: {error}") from error
    if len(answer) == 4 and answer[0] >> 4 == CONNACK and answer[3] == 0:
        return link
    link.close()
    who = login.user or "without a login"
    if len(answer) == 4 and answer[3] in REFUSED:
        raise RefusedError(f"{login.client_id} ({who}): the broker refuses it ({answer[3]})")
    raise LinkDownError(f"{login.client_id} ({who}): the broker hung up")


def _open(broker: Broker) -> socket.socket:
    link = socket.create_connection((broker.host, broker.port), timeout=ANSWER_WITHIN_S)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not broker.tls:
        return link
    context = ssl.create_default_context(cafile=broker.ca_file)
    return context.wrap_socket(link, server_hostname=broker.host)


class Packets:
    """Cuts what comes from a broker into packets."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, raw: bytes) -> Iterator[tuple[int, bytes]]:
        """The packets that are whole now: type, and what follows the fixed header."""
        held = self._held + raw if self._held else raw
        place, end = 0, len(held)
        while end - place >= 2:
            size, begins = held[place + 1], place + 2
            if size & 0x80:
                size, begins = _long(held, place + 1)
            if not begins or begins + size > end:
                break
            yield held[place] >> 4, held[begins : begins + size]
            place = begins + size
        self._held = held[place:]


def _long(held: bytes, place: int) -> tuple[int, int]:
    """A remaining length of several bytes, and where the packet goes on; 0 where that is to come"""
    size = shift = 0
    for at in range(place, min(place + 4, len(held))):
        size |= (held[at] & 0x7F) << shift
        shift += 7
        if held[at] < 0x80:
            return size, at + 1
    return 0, 0


def parted(body: bytes) -> tuple[str, bytes]:
    """Topic and payload of a PUBLISH of QoS 0."""
    end = 2 + int.from_bytes(body[:2], "big")
    return body[2:end].decode(), body[end:]
