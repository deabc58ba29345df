"""When a record happened, at the boundaries of "When did it arrive?" and of the ninth decision."""

import pytest

from firmware_sim.arrival import Claim, Dated, How, Post, Word

T = 1_788_271_200_000
SECOND = 1_000
MINUTE = 60 * SECOND
IN_2000 = 946_684_800_000
EACH_SECOND = [T + n * SECOND for n in range(-1200, 121)]


def claim(sent: int | None, at: int = T - 5 * MINUTE, age: int | None = None) -> Claim:
    return Claim(device="hh", at=at, sent=sent, age=age)


def words(*said: tuple[int, int]) -> dict[str, list[Word]]:
    """Live messages as (when, before T; how far behind), in ms."""
    return {"hh": [Word(after=T - when, sent=T - when - lag) for when, lag in said]}


def date(made: Claim, post: Post | None = None) -> Dated:
    return (post or Post(markers=EACH_SECOND)).date(made, T)


@pytest.mark.parametrize(
    ("sent", "how", "moved"),
    [
        (T - 2001, How.UNPROVEN, 0),
        (T - 2000, How.TRUSTED, 0),
        (T, How.TRUSTED, 0),
        (T + SECOND, How.TRUSTED, 0),
        (T + SECOND + 1, How.AHEAD, -1),
        (T + 7 * MINUTE, How.AHEAD, SECOND - 7 * MINUTE),
        (None, How.UNPROVEN, 0),
    ],
)
def test_sent_against_the_two_markers(sent, how, moved):
    """Inside, or two seconds before: trusted; after: moved back to the marker; else unproven."""
    assert date(claim(sent)) == Dated(at=T - 5 * MINUTE + moved, how=how)


def test_a_wide_interval_trusts_whatever_lies_in_it():
    """The interval spans our own downtime too."""
    hours = Post(markers=[T, T + 60 * MINUTE])
    assert date(claim(T + 59 * MINUTE), hours).how is How.TRUSTED


def test_without_markers_of_a_simulator_there_is_one_a_second():
    """The service's own."""
    assert Post().before(T) == T + SECOND


def test_the_last_marker_closes_what_comes_after_it():
    """Nothing follows a run's last tick."""
    assert Post(markers=[T - 5, T]).before(T) == T


LAG = 20 * MINUTE


@pytest.mark.parametrize(
    ("said", "slow"),
    [
        ([(0, LAG), (MINUTE, LAG), (2 * MINUTE, LAG)], True),
        ([(0, LAG), (MINUTE, LAG)], False),
        ([(0, LAG), (10 * SECOND, LAG), (29_999, LAG)], False),
        ([(0, LAG), (10 * SECOND, LAG), (30_000, LAG)], True),
        ([(0, LAG), (MINUTE, LAG), (10 * MINUTE, LAG)], True),
        ([(0, LAG), (MINUTE, LAG), (10 * MINUTE + 1, LAG)], False),
        ([(0, LAG), (MINUTE, LAG), (2 * MINUTE, LAG + 2 * MINUTE)], True),
        ([(0, LAG), (MINUTE, LAG), (2 * MINUTE, LAG + 2 * MINUTE + 1)], False),
        ([(0, LAG), (MINUTE, LAG), (2 * MINUTE, LAG), (3 * MINUTE, 0)], False),
        ([(0, LAG), (MINUTE, LAG), (2 * MINUTE, LAG), (11 * MINUTE, 0)], True),
    ],
)
def test_slow_is_one_lag_of_three_live_messages_half_a_minute_apart(said, slow):
    """All of the last ten minutes have to show it, within two minutes from least to most."""
    found = date(claim(T - LAG), Post(markers=EACH_SECOND, words=words(*said)))
    assert found.how is (How.SLOW if slow else How.UNPROVEN)
    assert found.at == T - 5 * MINUTE + (LAG if slow else 0)


def test_what_waited_for_us_says_nothing_of_its_clock():
    """A message is live where its interval is no longer than a minute."""
    said = words((0, LAG), (MINUTE, LAG), (3 * MINUTE, LAG))
    gap = [at for at in EACH_SECOND if not T - 3 * MINUTE < at < T - 2 * MINUTE + 1]
    assert date(claim(T - LAG), Post(markers=gap, words=said)).how is How.UNPROVEN


def test_a_clock_before_2020_was_never_set():
    """No delay explains it: slow at once."""
    assert date(claim(IN_2000, at=IN_2000 - 7)) == Dated(at=T - 7, how=How.SLOW)


@pytest.mark.parametrize(
    ("sent", "at", "age", "expected"),
    [
        # the clock was moved between the read and its sending: the age is right
        (T, T - 40 * MINUTE, 5 * MINUTE, Dated(at=T - 5 * MINUTE, how=How.UPTIME)),
        (T, T - 5 * MINUTE - 2 * SECOND, 5 * MINUTE, Dated(at=T - 302_000, how=How.TRUSTED)),
        (T, T - 5 * MINUTE - 2001, 5 * MINUTE, Dated(at=T - 5 * MINUTE, how=How.UPTIME)),
        # ahead, but its age is known: as good as trusted
        (T + LAG, T + LAG - MINUTE, MINUTE, Dated(at=T + SECOND - MINUTE, how=How.UPTIME)),
        # nobody knows whether it was delayed: the age does not help
        (T - LAG, T - LAG - MINUTE, MINUTE, Dated(at=T - LAG - MINUTE, how=How.UNPROVEN)),
        (IN_2000, IN_2000 - MINUTE, MINUTE, Dated(at=T - MINUTE, how=How.UPTIME)),
    ],
)
def test_uptime_tells_the_age_where_the_sending_is_known(sent, at, age, expected):
    """`sent_up - up` is the record's age, whatever the clock did."""
    assert date(claim(sent, at, age)) == expected


def test_uptime_is_as_good_as_trusted_only_in_an_interval_of_a_minute():
    """In a longer one the moment of sending is not known well enough."""
    made = claim(T + 90 * MINUTE, T + 80 * MINUTE, 10 * MINUTE)
    short, long = (Post(markers=[T, T + wide]) for wide in (MINUTE, MINUTE + 1))
    assert (date(made, short).how, date(made, long).how) == (How.UPTIME, How.AHEAD)
    assert date(made, long).at == T + MINUTE + 1 - 10 * MINUTE


def test_only_trusted_and_uptime_count_late():
    """The others wait for review after due."""
    assert [how for how in How if how.counts_late] == [How.TRUSTED, How.UPTIME]
