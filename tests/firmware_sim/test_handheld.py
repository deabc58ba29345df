"""The handheld's laws, held by hypothesis and by the contract's own numbers."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from firmware_sim.handheld import PHASES, Fitting, Habits, Handheld, Happening, Phase
from firmware_sim.wire import BadReceiptError, Kind, Receipt, read_rounds

START = 1_788_271_200_000
SECOND = 1_000


def handheld(seed: int = 1, **habits) -> Handheld:
    fitting = Fitting(device="hh-0101", site="school-01", habits=Habits(**habits))
    return Handheld(fitting, epoch=7, boot="b1", now=START, rng=random.Random(seed))


def online(device: Handheld, now: int = START) -> Handheld:
    device.connected(now)
    device.hurry(now)
    return device


def receipt(upto: int, *missing: tuple[int, int], ledger: str = "L", epoch: int = 7) -> Receipt:
    return Receipt(ledger=ledger, epoch=epoch, upto=upto, missing=missing)


def seqs(publications) -> list[int]:
    return [seq for publication in publications for seq in publication.seqs]


def test_on_connect_birth_then_two_seconds_then_what_is_stored():
    """On connect: the birth, 2 s for a receipt, then what is stored."""
    device = handheld()
    device.record(Kind.CHECKIN, START, tag="AA")
    birth = json.loads(device.connected(START + 5).payload)
    assert (birth["online"], birth["queue"], birth["oldest"], birth["epoch"]) == (True, 1, 1, 7)
    assert device.due(START + 5) == ()
    assert device.wake() == START + 2005
    assert device.due(START + 2004) == ()
    assert seqs(device.due(START + 2005)) == [1]


def test_a_receipt_ends_the_greeting_at_once():
    """A receipt for the birth ends the waiting."""
    device = handheld()
    device.record(Kind.CHECKIN, START, tag="AA")
    device.connected(START)
    device.receipted(receipt(-1))
    assert seqs(device.due(START)) == [1]


@pytest.mark.parametrize(
    ("kind", "pauses"),
    [
        (Kind.CHECKIN, [30, 60, 120, 240, 480]),
        (Kind.HAZARD, [30, 60, 120, 240, 480]),
        (Kind.SOS, [2, 5, 10, 10, 10]),
    ],
)
def test_resend_schedule(kind, pauses):
    """Said again after 30 s, 1, 2, 4, 8 min; an sos after 2, 5, 10 s."""
    device = online(handheld())
    device.record(kind, START)
    now = START
    device.due(now)
    for pause in pauses:
        assert device.due(now + pause * SECOND - 1) == ()
        now += pause * SECOND
        assert device.wake() == now
        assert seqs(device.due(now)) == [1]


@given(seed=st.integers(0, 10_000))
def test_the_long_pause_is_ten_minutes_more_or_less_half(seed):
    """After the fixed steps: every 10 min, ± 50 %."""
    device = online(handheld(seed))
    device.record(Kind.CHECKIN, START)
    now = START
    for _ in range(6):
        device.due(now)
        last, now = now, device.wake()
    device.due(now)
    assert 5 * 60 * SECOND <= device.wake() - now <= 15 * 60 * SECOND
    assert last < now


def test_sent_is_encoded_anew_and_tells_the_age():
    """`sent` and `sent_up` are of this publish; `at`, `up` stay."""
    device = online(handheld())
    device.record(Kind.CHECKIN, START + 10, tag="AA")
    first = json.loads(device.due(START + 10)[0].payload)
    again = json.loads(device.due(START + 30_010)[0].payload)
    assert (first["at"], first["sent"], first["sent_up"] - first["up"]) == (START + 10,) * 2 + (0,)
    assert (again["at"], again["sent"]) == (START + 10, START + 30_010)
    assert again["sent_up"] - again["up"] == 30_000


def test_after_a_reboot_the_age_is_not_claimed():
    """Uptimes of two boots cannot be compared, so `sent_up` is left out."""
    device = handheld()
    device.record(Kind.CHECKIN, START, tag="AA")
    device.reboot(START + 50, "b2")
    body = json.loads(online(device, START + 60).due(START + 60)[0].payload)
    assert body["boot"] == "b1"
    assert "sent_up" not in body


def test_at_most_twenty_in_flight_and_an_sos_is_not_held_up():
    """At most 20 unreceipted in flight; an sos goes first and does not wait behind them."""
    device = handheld()
    for _ in range(50):
        device.record(Kind.CHECKIN, START, tag="AA")
    alarm = device.record(Kind.SOS, START)
    online(device)
    said = seqs(device.due(START))
    assert said == [alarm.seq, *range(1, 21)]
    assert device.due(START) == ()
    device.receipted(receipt(5))
    assert seqs(device.due(START)) == [21, 22, 23, 24, 25]


def test_missing_ranges_are_closed_and_not_covered():
    """Covered is all up to `upto` less the closed ranges in `missing`."""
    device = handheld()
    for _ in range(10):
        device.record(Kind.CHECKIN, START, tag="AA")
    assert device.receipted(receipt(9, (3, 5), (8, 8))) == 5
    assert [s for s in range(1, 11) if device.holds(s)] == [3, 4, 5, 8, 10]


def test_coverage_only_grows():
    """Receipts of several workers are united: an older one takes nothing back."""
    device = handheld()
    for _ in range(4):
        device.record(Kind.CHECKIN, START, tag="AA")
    device.receipted(receipt(4, (1, 1)))
    device.receipted(receipt(1))
    assert device.unreceipted == 0


def test_another_ledger_covers_nothing():
    """A receipt of another ledger: everything still stored is unreceipted again, and said again."""
    device = online(handheld())
    for _ in range(3):
        device.record(Kind.CHECKIN, START, tag="AA")
    device.due(START)
    device.receipted(receipt(3))
    assert device.unreceipted == 0
    device.receipted(receipt(-1, ledger="restored"))
    assert seqs(device.due(START)) == [1, 2, 3]
    device.receipted(receipt(3, ledger="restored"))
    assert device.unreceipted == 0


def test_another_epoch_covers_nothing():
    """A receipt of another epoch says nothing about these records."""
    device = handheld()
    device.record(Kind.CHECKIN, START, tag="AA")
    assert device.receipted(receipt(99, epoch=8)) == 0


def test_a_full_store_gives_up_receipted_then_check_ins_never_hazards_or_sos():
    """When full: receipted ones first, then the oldest check-ins; never a hazard or an sos."""
    device = handheld(capacity=4)
    for kind in (Kind.CHECKIN, Kind.HAZARD, Kind.CHECKIN, Kind.SOS):
        device.record(kind, START)
    device.receipted(receipt(3, (1, 2)))  # only 3 is covered
    for kind in (Kind.SOS, Kind.HAZARD, Kind.SOS):
        device.record(kind, START)
    assert [record.seq for record in device.stored()] == [2, 4, 5, 6, 7]
    assert [record.seq for record in device.lost] == [1]


def test_the_store_holds_ten_thousand():
    """A handheld stores 10,000 records before anything is lost."""
    device = handheld()
    for _ in range(10_000):
        device.record(Kind.CHECKIN, START)
    assert device.lost == []
    device.record(Kind.CHECKIN, START)
    assert [record.seq for record in device.lost] == [1]
    assert device.oldest == 2


def test_a_backlog_may_go_out_in_arrays_of_one_kind():
    """Records of one kind and site travel together, at most `batch` of them."""
    device = handheld(batch=3)
    for kind in [Kind.CHECKIN] * 4 + [Kind.HAZARD]:
        device.record(kind, START)
    said = online(device).due(START)
    assert [p.seqs for p in said] == [(1, 2, 3), (4,), (5,)]
    assert len(json.loads(said[0].payload)) == 3
    assert isinstance(json.loads(said[1].payload), dict)


def test_heartbeats_fall_on_whole_multiples():
    """A heartbeat comes at every whole multiple of its interval."""
    device = handheld(heartbeat=60 * SECOND)
    online(device, START + 7)
    assert device.wake() == START + 60 * SECOND
    assert json.loads(device.due(START + 60 * SECOND)[0].payload)["online"] is True
    assert device.wake() == START + 120 * SECOND


def test_the_will_names_the_boot_and_claims_no_time():
    """The will is fixed at connect: offline, of this boot, without `sent`."""
    assert json.loads(handheld().will().payload) == {"online": False, "boot": "b1"}


def test_the_battery_only_runs_down():
    """Percent within 1 to 100, falling."""
    battery = Fitting(device="d", site="s").battery
    levels = [battery.level(hour * 3_600_000) for hour in range(200)]
    assert levels == sorted(levels, reverse=True)
    assert (levels[0], levels[-1]) == (100, 1)


def test_the_table_of_phases_is_whole():
    """Every phase knows what every happening means."""
    assert set(PHASES) == {(phase, happening) for phase in Phase for happening in Happening}


class Service:
    """What a correct ledger holds, with receipts as the contract says."""

    def __init__(self, name: str):
        self.name = name
        self.kept: set[int] = set()

    def receipt(self) -> Receipt:
        upto = max(self.kept, default=-1)
        gaps = tuple((s, s) for s in range(1, upto + 1) if s not in self.kept)[:32]
        return Receipt(ledger=self.name, epoch=7, upto=upto, missing=gaps)


class Forgetting(RuleBasedStateMachine):
    """Whatever is lost on the way: nothing that no ledger holds is ever forgotten."""

    @initialize()
    def begin(self):
        self.device = handheld(capacity=60, greeting=0)
        self.now = START
        self.service = Service("first")
        self.made: dict[int, Kind] = {}

    @rule(kind=st.sampled_from([Kind.CHECKIN, Kind.HAZARD, Kind.SOS]))
    def happen(self, kind):
        record = self.device.record(kind, self.now)
        assert record.seq == len(self.made) + 1
        self.made[record.seq] = kind

    @rule()
    def connect(self):
        self.device.connected(self.now)

    @rule()
    def fall(self):
        self.device.disconnected(self.now)

    @rule(seconds=st.integers(0, 700), lost=st.booleans(), deaf=st.booleans())
    def go_on(self, seconds, lost, deaf):
        self.now += seconds * SECOND
        said = self.device.due(self.now)
        flying = sum(self.made[seq] is not Kind.SOS for seq in seqs(said))
        assert flying <= 20
        if not lost:
            self.service.kept.update(seqs(said))
        if not deaf and not lost and said:
            self.device.receipted(self.service.receipt())

    @rule()
    def restore(self):
        self.service = Service(self.service.name + "'")
        if self.device.phase is not Phase.OFFLINE:
            self.device.receipted(self.service.receipt())

    @precondition(lambda self: self.device.phase is not Phase.OFFLINE)
    @rule()
    def in_the_end_all_is_kept(self):
        for _ in range(200):
            self.device.hurry(self.now)
            self.service.kept.update(seqs(self.device.due(self.now)))
            self.device.receipted(self.service.receipt())
        assert self.device.unreceipted == 0

    @invariant()
    def nothing_unreceipted_is_forgotten(self):
        stored = {record.seq for record in self.device.stored()}
        lost = {record.seq for record in self.device.lost}
        assert all(self.made[seq] is Kind.CHECKIN for seq in lost)
        waiting = {s for s in self.made if self.device.holds(s)}
        assert waiting <= stored
        if self.device.ledger == self.service.name:
            assert set(self.made) - self.service.kept - lost <= waiting | self._elsewhere(stored)

    def _elsewhere(self, stored: set[int]) -> set[int]:
        """Receipted by an earlier ledger and since given up for room."""
        return set(self.made) - stored


TestForgetting = Forgetting.TestCase
TestForgetting.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_screen_says_what_is_left() -> None:
    """Rounds of each site by their last word; none where they were taken away."""
    device = handheld()
    assert device.left is None
    device.handed("school-01", read_rounds(ROUNDS))
    device.handed("school-02", {"b": 2})
    assert device.left == 3
    device.handed("school-02", read_rounds(b""))
    assert device.left == 1
    with pytest.raises(BadReceiptError):
        read_rounds(b'{"rounds":[{}]}')


ROUNDS = (
    b'{"rounds":[{"id":"a","plan":"p","name":"P","opens":1,"closes":2,"checkpoints":'
    b'[{"id":"x","name":"X","done":true},{"id":"y","name":"Y","done":false}]}]}'
)
