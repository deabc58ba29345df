"""Recordings: what was published, when, on which topic; written once, read from front to back.

A file is the magic and a version byte, then frames, then one end frame. All numbers big-endian:

    frame  u8 1 (retained: 3) · i64 time · u16, u32 lengths of topic and payload · topic · payload
    end    u8 0 · i64 number of frames · u16 0 · u32 CRC-32 of everything before the end frame

Times are milliseconds since the Unix epoch and never go back. A name that ends in `.gz` is written
through gzip; whether a file is packed is told by how it begins.
"""

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from firmware_sim.wire import CLOCK_TOPIC

MAGIC = b"\x89GBREC\r\n"
"""Not ASCII, and with a line's end in it: a transfer that mends texts shows at once."""
VERSION = 1
END, MESSAGE, RETAINED = 0, 1, 3
GZIP = b"\x1f\x8b"
LONGEST_PAYLOAD = 268_435_455
"""MQTT's own limit (3.1.1, section 2.2.3)."""
_FRAME = struct.Struct("!BqHI")
_CHUNK = 1 << 20


class RecordingError(ValueError):
    """The file is no recording, or not a whole one; the message says where and what to do."""


class Said(NamedTuple):
    """One publish at QoS 1; `at` in ms since the Unix epoch."""

    at: int
    topic: str
    payload: bytes
    retain: bool = False


class Recorder:
    """Writes frames to a stream. Without `end` the file counts as cut."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._crc = 0
        self._last: int | None = None
        self.messages = 0
        self._put(MAGIC + bytes((VERSION,)))

    def write(self, said: Said) -> None:
        """Add a message; raises `RecordingError` where time goes back or a length is too long."""
        topic = said.topic.encode()
        if self._last is not None and said.at < self._last:
            raise RecordingError(f"message {self.messages + 1}: time goes back to {said.at}")
        if len(topic) > 0xFFFF or len(said.payload) > LONGEST_PAYLOAD:
            raise RecordingError(f"message {self.messages + 1}: longer than MQTT allows")
        kind = RETAINED if said.retain else MESSAGE
        self._put(_FRAME.pack(kind, said.at, len(topic), len(said.payload)) + topic + said.payload)
        self._last = said.at
        self.messages += 1

    def end(self) -> None:
        """Close the recording: nothing follows."""
        self._put(_FRAME.pack(END, self.messages, 0, self._crc))

    def _put(self, raw: bytes) -> None:
        self._crc = zlib.crc32(raw, self._crc)
        try:
            self._stream.write(raw)
        except OSError as error:
            raise RecordingError(f"the recording cannot go on: {error.strerror}") from error


@contextmanager
def recording(path: Path) -> Iterator[Recorder]:
    """A new recording at `path`, ended as the block ends well; an error leaves it cut, and so
    refused. Raises `RecordingError` where the file cannot be written."""
    try:
        file = path.open("wb")
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written: {error.strerror or error}") from error
    with file, _packing(path, file) as stream:
        recorder = Recorder(stream)
        yield recorder
        recorder.end()


@contextmanager
def _packing(path: Path, file: BinaryIO) -> Iterator[BinaryIO]:
    if path.suffix != ".gz":
        yield file
        return
    # without name and time in it, the same messages make the same file
    with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=3, mtime=0) as packed:
        yield cast("BinaryIO", packed)


class Extent(NamedTuple):
    """What a whole recording holds: messages, ticks among them, the first's time and the last's."""

    messages: int = 0
    ticks: int = 0
    first: int = 0
    last: int = 0


def check(path: Path) -> Extent:
    """Read it once from front to back; raises `RecordingError` unless it is whole."""
    first = last = messages = ticks = 0
    for messages, said in enumerate(read(path), start=1):
        last = said.at
        first = first if messages > 1 else last
        ticks += said.topic == CLOCK_TOPIC
    return Extent(messages, ticks, first, last)


def read(path: Path) -> Iterator[Said]:
    """The messages in order; raises `RecordingError` where the file stops being a recording."""
    try:
        with path.open("rb") as file:
            packed = file.read(len(GZIP)) == GZIP
            file.seek(0)
            stream = gzip.GzipFile(fileobj=file) if packed else file
            yield from _Reading(path, stream).messages()
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from error


class _Reading:
    """`_at`: how many bytes (unpacked) lie before `_held`."""

    def __init__(self, path: Path, stream: BufferedReader | gzip.GzipFile) -> None:
        self._path = path
        self._stream = stream
        self._held = b""
        self._at = 0
        self._crc = 0
        self._read = 0

    def messages(self) -> Iterator[Said]:
        self._header()
        place, before = len(MAGIC) + 1, None
        while True:
            if len(self._held) < place + _FRAME.size:
                place = self._more(place, _FRAME.size)
            kind, at, topics, payloads = _FRAME.unpack_from(self._held, place)
            begins = place + _FRAME.size
            if kind == END:
                self._end(place, (at, topics, payloads))
                return
            if kind not in (MESSAGE, RETAINED):
                raise self._damaged(place, f"no frame begins with {kind}")
            if before is not None and at < before:
                raise self._damaged(place, f"time goes back from {before} to {at}")
            if payloads > LONGEST_PAYLOAD:
                raise self._damaged(place, f"a payload of {payloads} bytes")
            if len(self._held) < begins + topics + payloads:
                place = self._more(place, _FRAME.size + topics + payloads)
                begins = place + _FRAME.size
            middle = begins + topics
            end = middle + payloads
            topic = self._topic(place, self._held[begins:middle])
            yield Said(at, topic, self._held[middle:end], kind == RETAINED)
            self._read += 1
            place, before = end, at

    def _header(self) -> None:
        size = len(MAGIC) + 1
        while len(self._held) < size and (part := self._next(_CHUNK)):
            self._held += part
        if self._held[: len(MAGIC)] != MAGIC[: len(self._held)] or not self._held:
            begins = self._held[: len(MAGIC)]
            raise RecordingError(
                f"{self._path}: no recording of firmware-sim (it begins with {begins!r}); "
                "`firmware-sim record` writes one"
            )
        if len(self._held) < size:
            raise self._cut(len(self._held))
        if self._held[len(MAGIC)] != VERSION:
            raise RecordingError(
                f"{self._path}: a recording of version {self._held[len(MAGIC)]}, and this "
                f"firmware-sim reads version {VERSION}: use the one that wrote it"
            )

    def _topic(self, place: int, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self._damaged(place, "a topic that is not UTF-8") from None

    def _more(self, place: int, size: int) -> int:
        """Have at least `size` bytes from `place` on; returns where that is now."""
        self._crc = zlib.crc32(self._held[:place], self._crc)
        self._at += place
        parts = [self._held[place:]]
        held = len(parts[0])
        while held < size:
            part = self._next(max(_CHUNK, size - held))
            if not part:
                raise self._cut(held)
            parts.append(part)
            held += len(part)
        self._held = b"".join(parts)
        return 0

    def _next(self, size: int) -> bytes:
        try:
            return self._stream.read1(size)  # what there is of a cut gzip file, then its error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self._cut(0, f" ({error})") from error

    def _end(self, place: int, told: tuple[int, int, int]) -> None:
        after = place + _FRAME.size
        if told != (self._read, 0, zlib.crc32(self._held[:place], self._crc)):
            raise self._damaged(place, "its checksum or count is another")
        if len(self._held) > after or self._next(1):
            raise self._damaged(after, "something follows its end")

    def _cut(self, held: int, why: str = "") -> RecordingError:
        return RecordingError(
            f"{self._path}: cut off at byte {self._at + held}{why}, after {self._read} whole "
            "messages; record it again, or fetch the whole file"
        )

    def _damaged(self, place: int, what: str) -> RecordingError:
        return RecordingError(
            f"{self._path}: damaged at byte {self._at + place}, after {self._read} messages: "
            f"{what}; record it again, or fetch it anew"
        )
