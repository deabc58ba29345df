"""Proof of presence from the wire to the verdict: tags, clones and replays on a real ledger."""

import copy
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from devices.tagkeys import Keyring, MasterKey
from firmware_sim.suntags import SunTag
from ingest.clock import SystemClock
from ingest.ledger import Ledger as InWriter
from ingest.rechecks import Rechecks
from rules.obligations import settle
from rules.promises import Known, Standing
from store import enrolments
from store.database import reading, writing
from store.events import raise_notices
from store.evidence import reads_for
from store.listings import checkins
from store.marks import look, resolve
from store.obligations import OBLIGATION, Plans
from store.series.feeder import Feeder
from store.walking import Filter
from tests.ingest.bench import NOW, Bench, a_bench, delivery, marker
from tests.ingest.school import DOCUMENT, GATE, LAB, checkin, owe, up
from tests.store.series.memory import MemoryWriter

MASTER = MasterKey(version=1, secret=bytes(range(16)))
RING = Keyring({1: MASTER})
OPENS = NOW + 120_000
MINUTE = 60_000


def document() -> dict:
    """The school, whose lab asks for proof."""
    asks = copy.deepcopy(DOCUMENT)
    asks["sites"][0]["checkpoints"][1]["proof"] = "sun"
    return asks


class Proving:
    """A bench whose service has the master key, and the lab's tag, enrolled with it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.enroll(LAB)
        self.tag = SunTag(LAB, MASTER.secret)
        self.sent = 0

    def enroll(self, uid: str) -> None:
        with writing(self.bench.ledger.engine) as connection:
            enrolments.enroll(connection, uid, 1, author="t", now=NOW)
        self.follow()

    def follow(self) -> None:
        """The service takes the registry up as it is now."""
        self.bench.restart()
        self.bench.reader.keyring = RING
        self.bench.reader.picture = self.bench.writer.books.marks.picture = (
            self.bench.ledger.picture()
        )

    def read(self, at: int, sun: str | None = None, *, device: str = "hh-1", tag: str = LAB) -> str:
        """A read that is told at once, by a clock that is right; returns its identity."""
        self.sent += 1
        more = {} if sun is None else {"sun": sun}
        self.bench.at = at
        said = checkin(self.sent, at, tag, **more) | {
            "sent": self.bench.writer.books.arrivals.after
        }
        self.bench.take(delivery(up("checkin", device), said))
        return f"{device}/0/{self.sent}"

    def close(self, at: int) -> None:
        """Our marker comes back, and what was doubted is looked at."""
        self.bench.at = at
        self.bench.take(marker(at))
        self.look()

    def look(self) -> None:
        with writing(self.bench.ledger.engine) as connection:
            more, plans = True, Plans()
            while more:
                looked = look(connection, plans, 10)
                raise_notices(connection, resolve(connection, looked), self.bench.at)
                more = looked.more

    def verdict(self, key: str, now: int) -> tuple[Standing, tuple[str, ...]]:
        with reading(self.bench.ledger.engine) as connection:
            row = connection.execute(select(OBLIGATION).where(OBLIGATION.c.key == key)).one()
            promise = Plans().promise(connection, row)
            reads = reads_for(connection, row.site_id, promise, promise.due)
        found = settle(promise, reads, Known(marker=now), now)
        return found.standing, found.missing

    def told(self, kind: str) -> dict[str, tuple[str, str | None]]:
        """The events of a kind that hold: state, and why, by the read."""
        return {
            subject: (state, data.get("proof") or data.get("why"))
            for (found, subject), (state, _, data) in self.bench.latest().items()
            if found == kind
        }

    def marks(self) -> set[tuple[int, str]]:
        """The replays that hold: `seq` of the read, and why."""
        rows = self.bench.rows(
            "SELECT seq, json_extract(data, '$.why') FROM mark"
            " JOIN entry ON entry.id = mark.entry_id WHERE mark.kind = 'replayed'"
        )
        return {(seq, why) for seq, why in rows}


@pytest.fixture
def proving(tmp_path: Path) -> Iterator[Proving]:
    with a_bench(tmp_path, document()) as bench:
        yield Proving(bench)


def test_a_bare_uid_is_kept_and_marked_and_does_not_satisfy(proving: Proving) -> None:
    """A clone has the UID and no message: the round lacks the lab until the tag itself is read."""
    key = owe(proving.bench.ledger.engine, OPENS, OPENS + 10 * MINUTE)
    proving.close(OPENS)
    proving.read(OPENS + MINUTE, tag=GATE)
    clone = proving.read(OPENS + 2 * MINUTE)
    due = OPENS + 10 * MINUTE
    assert proving.verdict(key, due) == (Standing.INCOMPLETE, ("lab",))
    assert proving.told("checkin.unproven") == {clone: ("open", "bare")}
    proving.read(OPENS + 3 * MINUTE, proving.tag.tap())
    assert proving.verdict(key, due) == (Standing.COMPLETED, ())
    assert len(proving.bench.rows("SELECT id FROM entry WHERE kind = 1")) == 3
    assert set(proving.told("checkin.unproven")) == {clone}


def test_a_message_that_is_not_right_says_why(proving: Proving) -> None:
    """Each failure has its reason; the read is kept as any other."""
    good = proving.tag.tap()
    other = SunTag(GATE, MASTER.secret).tap()
    foreign = SunTag(LAB, bytes(16)).tap()
    said = ["x=1", good[:-1] + ("0" if good[-1] != "0" else "1"), other, foreign]
    reads = [proving.read(OPENS + n * MINUTE, sun) for n, sun in enumerate(said)]
    told = proving.told("checkin.unproven")
    assert [told[read][1] for read in reads] == ["unreadable", "bad-mac", "other-tag", "other-key"]


def test_where_no_proof_is_asked_a_bare_uid_is_enough(proving: Proving) -> None:
    """The gate is read as ever, with or without a message."""
    proving.read(OPENS, tag=GATE)
    proving.read(OPENS + MINUTE, "x=1", tag=GATE)
    assert proving.told("checkin.unproven") == {}


def test_a_replay_counts_once_whoever_tells_it(proving: Proving) -> None:
    """A copied message on another device is marked and proves nothing; the first one stands."""
    first = owe(proving.bench.ledger.engine, OPENS, OPENS + 10 * MINUTE)
    later = owe(proving.bench.ledger.engine, OPENS + 60 * MINUTE, OPENS + 70 * MINUTE)
    proving.close(OPENS)
    sun = proving.tag.tap()
    proving.read(OPENS + MINUTE, tag=GATE)
    tap = proving.read(OPENS + 2 * MINUTE, sun)
    proving.close(OPENS + 60 * MINUTE)
    proving.read(OPENS + 61 * MINUTE, tag=GATE)
    copy_ = proving.read(OPENS + 62 * MINUTE, sun, device="hh-2")
    proving.close(OPENS + 63 * MINUTE)
    assert proving.verdict(first, OPENS + 80 * MINUTE) == (Standing.COMPLETED, ())
    assert proving.verdict(later, OPENS + 80 * MINUTE) == (Standing.INCOMPLETE, ("lab",))
    assert proving.told("checkin.replayed") == {copy_: ("open", "repeat")}
    assert tap not in proving.told("checkin.replayed")
    listed = {
        f"{r.device}/0/{r.seq}": r.proof for r in checkins(proving.bench.ledger.engine, Filter())
    }
    assert (listed[tap], listed[copy_]) == ("proven", "replayed")
    assert [*listed.values()].count(None) == 2


def test_of_copies_in_one_span_the_same_one_is_the_tap_in_any_order(proving: Proving) -> None:
    """Who came first within one second cannot be told; then the earlier by its own clock is it."""
    sun = proving.tag.tap()
    late = proving.read(OPENS + 2 * MINUTE, sun)
    early = proving.read(OPENS + MINUTE, sun)
    proving.close(OPENS + 5 * MINUTE)
    assert proving.told("checkin.replayed") == {late: ("open", "repeat")}
    assert early not in proving.told("checkin.replayed")


def test_a_restart_forgets_no_counter(proving: Proving) -> None:
    """Behind a replay, the next ones are replays too, though the tap before them all was read by an
    earlier run (law 8)."""
    *copied, newest = (proving.tag.tap() for _ in range(3))
    proving.close(OPENS)
    proving.read(OPENS + MINUTE, newest)
    proving.close(OPENS + 2 * MINUTE)
    proving.follow()
    for minutes, sun in zip((10, 300), copied, strict=True):
        proving.read(OPENS + minutes * MINUTE, sun, device="hh-2")
        proving.close(OPENS + (minutes + 1) * MINUTE)
    assert proving.marks() == {(2, "counter"), (3, "counter")}


def test_a_mark_that_later_evidence_refutes_is_withdrawn(proving: Proving) -> None:
    """A witness whose clock turns out to have been wrong accuses nobody any more."""
    taps = [proving.tag.tap() for _ in range(2)]
    now = OPENS + 30 * MINUTE
    proving.close(now)
    seen = proving.read(OPENS + 10 * MINUTE, taps[0])
    stepped = checkin(9, OPENS + MINUTE, LAB, sun=taps[1], boot="b", up=5_000, sent_up=5_000)
    proving.bench.take(delivery(up("checkin", "hh-2"), stepped | {"sent": now}))
    proving.look()
    assert proving.told("checkin.replayed") == {seen: ("open", "counter")}
    proving.close(now + 1_000)
    assert proving.marks() == set()
    assert proving.told("checkin.replayed") == {}
    (state,) = proving.bench.rows(
        "SELECT state FROM event WHERE kind = 'checkin.replayed' ORDER BY revision DESC LIMIT 1"
    )
    assert state == ("resolved",)


def test_a_retired_tag_proves_what_was_tapped_before(proving: Proving) -> None:
    """As of `at`: what a handheld hands in late still counts, what is tapped later does not."""
    before, after = proving.tag.tap(), proving.tag.tap()
    with writing(proving.bench.ledger.engine) as connection:
        enrolments.retire(connection, LAB, None, author="t", now=OPENS + 5 * MINUTE)
    proving.follow()
    proving.read(OPENS + 4 * MINUTE, before)
    gone = proving.read(OPENS + 5 * MINUTE, after)
    assert proving.told("checkin.unproven") == {gone: ("open", "retired")}


def test_a_tag_that_was_written_anew_counts_from_the_beginning(proving: Proving) -> None:
    """Other keys, counter 1 again: no replay; and what was tapped before that still proves."""
    taps = [proving.tag.tap() for _ in range(3)]
    proving.read(OPENS, taps[0])
    proving.enroll(LAB)
    anew = SunTag(LAB, MASTER.secret, generation=2)
    proving.read(OPENS + 5 * MINUTE, anew.tap())
    proving.read(OPENS + 4 * MINUTE, taps[1])
    proving.close(OPENS + 6 * MINUTE)
    assert proving.told("checkin.replayed") == {}
    assert proving.told("checkin.unproven") == {}


def test_a_moved_tag_is_placed_as_of_its_tap(proving: Proving) -> None:
    """Proof follows the tag: before the move it proves the lab, after it the gate."""
    moved = document()
    moved["sites"][0]["checkpoints"][0]["tags"] = [GATE, LAB]
    moved["sites"][0]["checkpoints"][1]["tags"] = ["04A2B3C4D5E682"]
    proving.bench.ledger.now = OPENS + 5 * MINUTE
    proving.bench.ledger.apply(moved)
    proving.follow()
    proving.read(OPENS + 4 * MINUTE, proving.tag.tap())
    proving.read(OPENS + 6 * MINUTE, proving.tag.tap())
    where = proving.bench.rows(
        "SELECT checkpoint.slug, tap.proof FROM tap JOIN entry ON entry.id = tap.entry_id"
        " JOIN checkpoint ON checkpoint.id = entry.checkpoint_id ORDER BY entry.at"
    )
    assert where == [("lab", "proven"), ("gate", "proven")]


# Keys that come later -----------------------------------------------------------------------------


async def recheck(proving: Proving) -> int:
    """As the service does at its start, and when the registry changes."""
    ledger = InWriter(proving.bench.ledger.engine)
    clock, reader = SystemClock(), proving.bench.reader
    try:
        judged = proving.bench.writer.judged
        return await Rechecks(ledger, clock, judged, reader, lambda: None).look()
    finally:
        ledger.close()


async def test_what_was_tapped_before_the_keys_were_there_proves_afterwards(
    proving: Proving,
) -> None:
    """A service started without the passphrase: the night is not lost, its alarms are taken back,
    and what is wrong stays wrong."""
    key = owe(proving.bench.ledger.engine, OPENS, OPENS + 10 * MINUTE)
    proving.close(OPENS)
    proving.bench.reader.keyring = Keyring()
    sun = proving.tag.tap()
    proving.read(OPENS + MINUTE, tag=GATE)
    good = proving.read(OPENS + 2 * MINUTE, sun)
    bad = proving.read(OPENS + 3 * MINUTE, SunTag(LAB, bytes(16)).tap())
    proving.close(OPENS + 4 * MINUTE)
    copied = proving.read(OPENS + 5 * MINUTE, sun, device="hh-2")
    due = OPENS + 10 * MINUTE
    assert proving.verdict(key, due) == (Standing.INCOMPLETE, ("lab",))
    proving.bench.reader.keyring = RING
    assert await recheck(proving) == 3
    assert await recheck(proving) == 0
    proving.close(OPENS + 6 * MINUTE)
    assert proving.verdict(key, due) == (Standing.COMPLETED, ())
    told = proving.told("checkin.unproven")
    assert told == {
        good: ("resolved", "proven"),
        bad: ("open", "other-key"),
        copied: ("resolved", "proven"),
    }
    assert proving.told("checkin.replayed") == {copied: ("open", "repeat")}


async def test_points_of_the_series_follow_what_is_proved_later(proving: Proving) -> None:
    """A night without the passphrase is proven in the series too, and a copy that was taken for the
    tap is not any more; what was written since is not lost while the feeder writes."""
    engine, memory = proving.bench.ledger.engine, MemoryWriter()
    feeder = Feeder(engine, memory, now=lambda: proving.bench.at)

    async def proven() -> dict[int, bool]:
        await feeder.step()
        while feeder.status.behind:
            await feeder.step()
        return {point["seq"]: point["proven"] for point in memory.fields("checkin")}

    proving.bench.reader.keyring = Keyring()
    sun = proving.tag.tap()
    proving.read(OPENS, sun)
    proving.close(OPENS + MINUTE)
    proving.bench.reader.keyring = RING
    proving.read(OPENS + 2 * MINUTE, sun, device="hh-2")
    proving.close(OPENS + 3 * MINUTE)
    assert await proven() == {1: False, 2: True}
    assert await recheck(proving) == 1
    proving.read(OPENS + 4 * MINUTE, tag=GATE)
    assert await proven() == {1: True, 2: False}
    assert proving.bench.rows("SELECT * FROM retelling") == []
    proving.close(OPENS + 5 * MINUTE)
    assert await proven() == {1: True, 2: False, 3: True}


async def test_a_tag_enrolled_after_its_first_taps_proves_them_too(proving: Proving) -> None:
    """Written on the tag first, and into the service second: nobody is blamed for the order."""
    early = SunTag(GATE, MASTER.secret)
    read = proving.read(OPENS, early.tap(), tag=GATE)
    assert proving.bench.rows("SELECT proof FROM tap") == [("not-enrolled",)]
    proving.enroll(GATE)
    assert await recheck(proving) == 1
    assert proving.bench.rows("SELECT proof, ctr FROM tap") == [("proven", 1)]
    assert read not in proving.told("checkin.unproven")


# Any order (law 3) --------------------------------------------------------------------------------

TIMES = st.lists(st.integers(1, 40), min_size=2, max_size=7)


@settings(max_examples=12, deadline=None)
@given(times=TIMES, order=st.randoms(use_true_random=False), cuts=st.sets(st.integers(0, 7)))
def test_counters_against_time_are_found_in_any_order_of_arrival(
    times: list[int], order, cuts: set[int]
) -> None:
    """Taps handed in late, in any order and in any spans, across devices: the same marks.

    Each is sent by a clock that is right, so that what is compared is its own time.
    """
    tag = SunTag(LAB, MASTER.secret)
    taps = [(n + 1, at * MINUTE, tag.tap()) for n, at in enumerate(times)]
    expected = {
        (seq, "counter")
        for seq, at, _ in taps
        if any(at - other > MINUTE and n > seq for n, other, _ in taps)
    }
    order.shuffle(taps)
    with TemporaryDirectory() as folder, a_bench(Path(folder), document()) as bench:
        proving = Proving(bench)
        now = OPENS + 100 * MINUTE
        proving.close(now)
        for place, (seq, at, sun) in enumerate(taps):
            if place in cuts:
                now += 1_000
                proving.close(now)
            said = checkin(seq, OPENS + at, LAB, sun=sun) | {"sent": now}
            device = ("hh-1", "hh-2")[seq % 2]
            for _ in range(1 + seq % 2):
                bench.take(delivery(up("checkin", device), said))
        proving.close(now + 1_000)
        assert proving.marks() == expected
        still = {key for key, (state, _) in proving.told("checkin.replayed").items()}
        assert {int(key.rpartition("/")[2]) for key in still} == {seq for seq, _ in expected}


READS = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from(["bare", "fresh", "copy", "bad"])),
    min_size=1,
    max_size=6,
)


@settings(max_examples=10, deadline=None)
@given(reads=READS, order=st.randoms(use_true_random=False), size=st.integers(1, 4))
def test_what_came_in_together_is_judged_the_same_in_any_order(
    reads: list[tuple[int, str]], order, size: int
) -> None:
    """Clones, copies and taps of one span, shuffled, batched and told twice: the same verdict, the
    same events, the same marks (law 3)."""
    tag, wrong = SunTag(LAB, MASTER.secret), SunTag(LAB, bytes(16))
    first = tag.tap()
    suns = {"bare": lambda: None, "fresh": tag.tap, "copy": lambda: first, "bad": wrong.tap}
    said = []
    for seq, (at, kind) in enumerate(reads, 1):
        more = {} if (sun := suns[kind]()) is None else {"sun": sun}
        device = ("hh-1", "hh-2")[seq % 2]
        record = checkin(seq, OPENS + at * MINUTE, LAB, **more) | {"sent": OPENS + 10 * MINUTE}
        said.append(delivery(up("checkin", device), record))
    shuffled = [*said, *said[::2]]
    order.shuffle(shuffled)
    assert outcome([[each] for each in said]) == outcome(
        [shuffled[n : n + size] for n in range(0, len(shuffled), size)]
    )


def outcome(batches: list) -> tuple:
    """What a school with these reads ends with."""
    with TemporaryDirectory() as folder, a_bench(Path(folder), document()) as bench:
        proving = Proving(bench)
        key = owe(bench.ledger.engine, OPENS, OPENS + 10 * MINUTE, "gap")
        proving.close(OPENS + 10 * MINUTE)
        for batch in batches:
            bench.take(*batch)
        proving.close(OPENS + 10 * MINUTE + 1_000)
        listed = sorted((r.device, r.seq, r.proof) for r in checkins(bench.ledger.engine, Filter()))
        return proving.verdict(key, OPENS + 60 * MINUTE), bench.latest(), proving.marks(), listed
