"""Recordings: whole files come back as they were, others are refused with where and why."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.recording import VERSION, Extent, RecordingError, Said, check, read, recording
from firmware_sim.wire import CLOCK_TOPIC

TOPICS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SAYINGS = st.lists(
    st.builds(
        Said,
        st.integers(-(2**63), 2**63 - 1),
        TOPICS,
        st.binary(max_size=60),
        st.booleans(),
    ),
    max_size=8,
).map(lambda said: sorted(said, key=lambda one: one.at))
SOME = [
    Said(1_000, CLOCK_TOPIC, b'{"now":1000}'),
    Said(1_000, "patrol/v1/s/hh/up/status", b'{"online":true}', retain=True),
    Said(2_000, "patrol/v1/s/hh/up/checkin", b"\x00\xff" * 40),
]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that examples may write over."""
    return tmp_path_factory.mktemp("recordings")


def written(path: Path, said: list[Said]) -> Path:
    with recording(path) as recorder:
        for one in said:
            recorder.write(one)
    return path


@given(said=SAYINGS, name=st.sampled_from(["a.rec", "a.rec.gz"]))
def test_what_was_recorded_is_read_again(shelf: Path, said: list[Said], name: str) -> None:
    """Times, topics, payloads and what was retained come back, packed or not."""
    path = written(shelf / name, said)
    assert list(read(path)) == said
    assert check(path).messages == len(said)


@given(data=st.data(), name=st.sampled_from(["b.rec", "b.rec.gz"]))
def test_a_cut_recording_is_refused_with_where(shelf: Path, data: st.DataObject, name: str) -> None:
    """Wherever it is cut, between two messages too, nobody takes it for a whole one."""
    path = written(shelf / name, SOME)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1), label="cut at")])
    with pytest.raises(RecordingError, match=r"cut off at byte \d+|no recording"):
        check(path)


def test_a_cut_is_told_to_the_byte_and_the_message(tmp_path: Path) -> None:
    """The message names the byte where the file ends, and how many messages are whole."""
    path = written(tmp_path / "c.rec", SOME)
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(RecordingError, match="cut off at byte 150, after 2 whole messages"):
        check(path)


@given(data=st.data())
def test_a_damaged_recording_is_refused(shelf: Path, data: st.DataObject) -> None:
    """One byte that is another anywhere is noticed."""
    path = written(shelf / "d.rec", SOME)
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1), label="byte")] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    with pytest.raises(RecordingError):
        check(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: b"", "no recording"),
        (lambda raw: b'{"now": 1}\n', "no recording of firmware-sim .it begins with"),
        (lambda raw: gzip.compress(b"a log of last week"), "no recording"),
        (lambda raw: raw[:8] + bytes((VERSION + 1,)) + raw[9:], "version 2.*reads version 1"),
        (lambda raw: raw + b"\n", "something follows its end"),
    ],
)
def test_what_is_foreign_is_refused(tmp_path: Path, change, said: str) -> None:
    """Other files, other versions and additions are told apart, in words."""
    path = written(tmp_path / "e.rec", SOME)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(RecordingError, match=said):
        check(path)


def test_an_interrupted_recording_is_no_whole_one(tmp_path: Path) -> None:
    """Only a recording that came to its end may be played."""
    path = tmp_path / "f.rec"
    with pytest.raises(KeyboardInterrupt), recording(path) as recorder:
        recorder.write(SOME[0])
        raise KeyboardInterrupt
    with pytest.raises(RecordingError, match="after 1 whole messages"):
        check(path)


def test_time_never_goes_back(tmp_path: Path) -> None:
    """A recording is in order; a message of an earlier time is not taken."""
    with pytest.raises(RecordingError, match="time goes back"):
        written(tmp_path / "g.rec", SOME[::-1])


def test_the_extent_tells_messages_ticks_and_times(tmp_path: Path) -> None:
    """What a whole recording holds, ticks told apart."""
    assert check(written(tmp_path / "h.rec", SOME)) == Extent(3, 1, 1_000, 2_000)
