"""Presence: what a device's last word, its silence and its charge say at an instant."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.events import EventKind, EventState, Notice
from rules.presence import SILENCES, Limits, Open, Presence, Seen, look, state

LIMITS = Limits(offline=120_000, battery_low=20, battery_right=30)
T = 1_000_000_000
BEAT = 60_000
SILENT = round(SILENCES * BEAT)


def seen(**more: Any) -> Seen:
    """A device that came online at T."""
    values: dict[str, Any] = {
        "device": "hh-1",
        "site": "school-01",
        "retired": False,
        "online": True,
        "turned_at": T,
        "heard_at": T,
        "told_at": T,
        "boot": "b1",
        "heartbeat": None,
        "battery": 80,
    }
    return Seen(**values | more)


def opened(notices: Sequence[Notice]) -> list[Open]:
    """The alarms that stand after these notices."""
    return [
        Open(notice.kind, notice.subject, notice.at, notice.data)
        for notice in notices
        if notice.state is EventState.OPEN
    ]


def said(notices: Sequence[Notice]) -> list[tuple[str, str, int]]:
    return [(notice.kind.value, notice.state.value, notice.at) for notice in notices]


@pytest.mark.parametrize(
    ("device", "now", "stands"),
    [
        (seen(online=None, turned_at=None, heard_at=None, told_at=None), T, Presence.NEVER),
        (seen(online=None), T, Presence.ONLINE),
        (seen(), T + 10**9, Presence.ONLINE),
        (seen(heartbeat=BEAT), T + SILENT - 1, Presence.ONLINE),
        (seen(heartbeat=BEAT), T + SILENT, Presence.SILENT),
        (seen(online=False), T, Presence.OFFLINE),
        (seen(online=False, retired=True), T, Presence.RETIRED),
    ],
)
def test_a_state_follows_from_the_last_word_and_the_last_contact(
    device: Seen, now: int, stands: Presence
) -> None:
    """Silence counts where a heartbeat is agreed, from exactly 2.5 of them; elsewhere never."""
    assert state(device, now).presence is stands


def test_no_silence_counts_while_we_could_not_hear() -> None:
    """After a gap of our own a device has 2.5 heartbeats anew."""
    device = seen(heartbeat=BEAT, sure_from=T + 10 * BEAT)
    assert state(device, T + 10 * BEAT + SILENT - 1).presence is Presence.ONLINE
    assert state(device, T + 10 * BEAT + SILENT).since == T + 10 * BEAT + SILENT


def test_a_short_cut_raises_nothing() -> None:
    """Offline is told when it has lasted, dated when it began; until then it waits for a look."""
    away = seen(online=False)
    assert look(away, (), LIMITS, T + 119_999) == ((), T + 120_000)
    told = look(away, (), LIMITS, T + 120_000)
    assert said(told.notices) == [("device.offline", "open", T)]
    assert told.notices[0].subject == "hh-1/b1"
    assert look(seen(turned_at=T + 60_000), (), LIMITS, T + 10**6).notices == ()


def test_offline_is_told_once_and_ends_when_the_device_is_back() -> None:
    """Back with another boot, it ends the event of the boot that went."""
    known = opened(look(seen(online=False), (), LIMITS, T + 120_000).notices)
    assert look(seen(online=False), known, LIMITS, T + 10**6) == ((), None)
    back = look(seen(boot="b2", turned_at=T + 10**6), known, LIMITS, T + 10**6)
    assert said(back.notices) == [("device.offline", "resolved", T)]
    assert back.notices[0].subject == "hh-1/b1"


def test_a_silent_device_is_looked_at_until_it_is_heard() -> None:
    """Its next word is a contact and no turn: nothing else would have it looked at."""
    quiet = seen(heartbeat=BEAT)
    assert look(quiet, (), LIMITS, T).wake == T + SILENT + LIMITS.offline
    told = look(quiet, (), LIMITS, T + SILENT + LIMITS.offline)
    assert said(told.notices) == [("device.offline", "open", T + SILENT)]
    assert told.notices[0].data["silent"] is True
    assert told.wake is not None
    now = T + 10**6
    heard = look(seen(heartbeat=BEAT, heard_at=now), opened(told.notices), LIMITS, now)
    assert said(heard.notices) == [("device.offline", "resolved", T + SILENT)]


@pytest.mark.parametrize(
    ("charges", "tells"),
    [
        ((21, 20), ["open"]),
        ((20, 25, 29, 20), ["open"]),
        ((20, 30), ["open", "resolved"]),
        ((15, 35, 10), ["open", "resolved", "open"]),
        ((21, 29, 21), []),
    ],
)
def test_a_charge_between_the_limits_changes_nothing(
    charges: tuple[int, ...], tells: list[str]
) -> None:
    """Low at or below one limit, right at or above the other: hysteresis."""
    known: list[Open] = []
    told: list[str] = []
    for charge in charges:
        notices = look(seen(battery=charge), known, LIMITS, T).notices
        told += [notice.state.value for notice in notices]
        known = opened(notices) if notices else known
    assert told == tells


def test_a_retired_device_has_no_open_alarm() -> None:
    """Whatever was open of it ends, its clock included; nothing new begins."""
    known = [
        Open(kind, "hh-1/b1", T, {"device": "hh-1"})
        for kind in (
            EventKind.DEVICE_OFFLINE,
            EventKind.DEVICE_BATTERY_LOW,
            EventKind.DEVICE_CLOCK_SKEW,
        )
    ]
    gone = look(seen(retired=True, online=False, battery=1), known, LIMITS, T + 10**9)
    assert [notice.state for notice in gone.notices] == [EventState.RESOLVED] * 3
    assert gone.wake is None


INSTANTS = st.integers(T - 10**6, T + 10**6)


@given(
    online=st.sampled_from([None, False, True]),
    turned=INSTANTS,
    heard=st.none() | INSTANTS,
    sure=INSTANTS,
    beat=st.none() | st.integers(1_000, 10**6),
    battery=st.none() | st.integers(0, 100),
    now=INSTANTS,
)
def test_a_second_look_at_the_same_instant_tells_nothing(  # noqa: PLR0917
    online: bool | None,
    turned: int,
    heard: int | None,
    sure: int,
    beat: int | None,
    battery: int | None,
    now: int,
) -> None:
    """Looking is idempotent, and what is to be looked at again lies ahead."""
    device = seen(
        online=online,
        turned_at=turned,
        heard_at=heard,
        sure_from=sure,
        heartbeat=beat,
        battery=battery,
    )
    first = look(device, (), LIMITS, now)
    second = look(device, opened(first.notices), LIMITS, now)
    assert second.notices == ()
    assert second.wake is None or second.wake > now
