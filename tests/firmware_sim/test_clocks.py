"""Handhelds' own clocks: what they show, and what sets them right."""

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.clocks import DAY, DeviceClock, Setting
from firmware_sim.handheld import Fitting, Habits, Handheld, Phase
from firmware_sim.wire import Kind, Receipt

START = 1_788_271_200_000
MINUTE = 60_000
IN_2000 = 946_684_800_000


def handheld(*settings: Setting, **habits) -> Handheld:
    fitting = Fitting(device="hh", site="s", habits=Habits(**habits))
    clock = DeviceClock(settings)
    return Handheld(fitting, epoch=7, boot="b1", now=START, rng=random.Random(1), clock=clock)


def said(device: Handheld, now: int) -> list[dict]:
    return [json.loads(publication.payload) for publication in device.due(now)]


def receipt(now: int | None) -> Receipt:
    return Receipt(ledger="L", epoch=7, upto=-1, now=now)


@given(now=st.integers(0, 2**42))
def test_without_a_setting_a_clock_is_right(now):
    """Nobody touched it."""
    assert DeviceClock().tells(now) == now


@given(offset=st.integers(-(2**40), 2**40), later=st.integers(0, 30 * DAY))
def test_a_clock_goes_on_from_what_it_was_set_to(offset, later):
    """Ahead or behind by so much, and by so much it stays."""
    clock = DeviceClock([Setting(since=START, shows=START + offset)])
    assert clock.tells(START + later) - (START + later) == offset


def test_before_it_is_set_it_is_right():
    """A step takes effect at its instant."""
    clock = DeviceClock([Setting(since=START, shows=START - MINUTE)])
    assert (clock.tells(START - 1), clock.tells(START)) == (START - 1, START - MINUTE)


def test_the_last_setting_holds():
    """A clock may be set again and again, in whatever order it was written."""
    late, early = (Setting(since=START + n, shows=n) for n in (200, 100))
    clock = DeviceClock([late, early])
    assert [clock.tells(START + n) for n in (100, 199, 200, 205)] == [100, 199, 200, 205]


def test_a_clock_that_gains_is_ahead_by_the_day():
    """Thirty seconds a day are thirty seconds after a day."""
    clock = DeviceClock([Setting(since=START, shows=START, rate=1 + 30_000 / DAY)])
    assert clock.tells(START + DAY) == START + DAY + 30_000


def test_a_clock_that_stands_shows_one_time_until_it_is_put_right():
    """It goes again from there on."""
    clock = DeviceClock([Setting(since=START, shows=0, rate=0.0)])
    assert clock.tells(START + DAY) == 0
    clock.put_right(START + DAY, START + DAY)
    assert clock.tells(START + DAY + 5) == START + DAY + 5


def test_put_right_it_may_be_set_wrong_again():
    """What comes later holds, whoever did it."""
    clock = DeviceClock([Setting(since=START + 100, shows=0)])
    clock.put_right(START + 50, START + 50)
    assert (clock.tells(START + 99), clock.tells(START + 101)) == (START + 99, 1)


def test_a_record_says_what_the_clock_showed_and_the_uptime_what_is_true():
    """`at` and `sent` come from the device's clock; `up` and `sent_up` do not step with it."""
    wrong = Setting(since=START, shows=START - 20 * MINUTE)
    step = Setting(since=START + 2 * MINUTE, shows=START + 60 * MINUTE)
    device = handheld(wrong, step)
    device.record(Kind.CHECKIN, START + MINUTE, tag="AA")
    device.connected(START + 3 * MINUTE)
    device.hurry(START + 3 * MINUTE)
    (body,) = said(device, START + 3 * MINUTE)
    assert (body["at"], body["sent"]) == (START - 19 * MINUTE, START + 61 * MINUTE)
    assert body["sent_up"] - body["up"] == 2 * MINUTE


def test_by_option_nothing_is_said_of_the_uptime():
    """No `boot`, `up` nor `sent_up` in a record; a status still says its boot."""
    device = handheld(uptimes=False)
    device.record(Kind.CHECKIN, START, tag="AA")
    birth = json.loads(device.connected(START).payload)
    device.hurry(START)
    (body,) = said(device, START)
    assert birth["boot"] == "b1"
    assert not {"boot", "up", "sent_up"} & body.keys()


def test_the_answer_to_the_birth_sets_the_clock():
    """What was read before keeps its `at`; it is sent by the right time."""
    device = handheld(Setting(since=START, shows=IN_2000), takes_now=True)
    device.record(Kind.CHECKIN, START + 5, tag="AA")
    birth = json.loads(device.connected(START + MINUTE).payload)
    assert birth["sent"] == IN_2000 + MINUTE
    device.receipted(receipt(START + MINUTE))
    (body,) = said(device, START + MINUTE)
    assert (body["at"], body["sent"]) == (IN_2000 + 5, START + MINUTE)


def test_an_answer_to_an_earlier_birth_sets_nothing():
    """A receipt that was on its way before is no answer; the device goes on waiting for its own."""
    device = handheld(Setting(since=START, shows=IN_2000), takes_now=True)
    device.connected(START + DAY)
    for stale in (receipt(START), receipt(None)):
        device.receipted(stale)
        assert device.wants_now
        assert device.phase is Phase.GREETING
    device.receipted(receipt(START + DAY))
    assert not device.wants_now
    assert device.clock.tells(START + DAY) == START + DAY


def test_without_the_option_a_receipt_sets_nothing():
    """A wrong clock stays wrong."""
    device = handheld(Setting(since=START, shows=IN_2000))
    device.connected(START)
    device.receipted(receipt(START))
    assert device.clock.tells(START + 9) == IN_2000 + 9
