"""How a site stands at one instant."""

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from store import tables
from store.database import reading
from store.series.lines import SiteState
from store.series.site_state import dawn, site_states
from tests.store.series.ledgers import HOUR, MINUTE, NOON, Ledger

QUIET = SiteState(
    site="school-01",
    at=NOON,
    due=0,
    open_rounds=0,
    missed_today=0,
    completed_today=0,
    open_hazards=0,
    sos=0,
    devices_online=0,
    last_seen_s=None,
)


def state(ledger: Ledger, now: int) -> SiteState:
    with reading(ledger.engine) as connection:
        (found,) = site_states(connection, now, "school-01")
    return found


def test_a_quiet_site_is_all_zeros(ledger: Ledger) -> None:
    """Every site of the registry has a state, even when nothing was ever heard of it."""
    with reading(ledger.engine) as connection:
        states = site_states(connection, NOON)
    assert states == [QUIET, replace(QUIET, site="school-02")]


def test_a_retired_site_has_no_state(ledger: Ledger) -> None:
    """What is retired no longer stands on the wall."""
    ledger.add(tables.Site, slug="old", name="旧校", timezone="UTC", calendar={}, retired_at=NOON)
    with reading(ledger.engine) as connection:
        assert [found.site for found in site_states(connection, NOON)] == [
            "school-01",
            "school-02",
        ]


@pytest.mark.parametrize(
    ("minute", "open_rounds", "due"),
    [(-1, 0, 0), (0, 1, 0), (29, 1, 0), (30, 0, 1), (34, 0, 1), (35, 0, 0)],
)
def test_a_round_is_open_then_due_then_neither(
    ledger: Ledger, minute: int, open_rounds: int, due: int
) -> None:
    """Exactly `opens` is open, exactly `closes` is due, exactly `due` is over."""
    ledger.round(NOON)
    ledger.round(NOON, kind="gap")
    now = NOON + minute * MINUTE
    assert state(ledger, now) == replace(QUIET, at=now, open_rounds=open_rounds, due=due)


def test_a_judged_round_is_neither_open_nor_due(ledger: Ledger) -> None:
    """What was judged is counted by its verdict, on the day it opened."""
    for standing in ("missed", "missed", "completed", "incomplete", "unknown"):
        ledger.verdict(ledger.round(NOON), standing)
    now = NOON + 32 * MINUTE
    assert state(ledger, now) == replace(QUIET, at=now, missed_today=2, completed_today=1)


def test_today_is_the_sites_own_day(ledger: Ledger) -> None:
    """A round that opened at 23:59 in Shanghai is yesterday's a minute later, whatever UTC says."""
    ledger.verdict(ledger.round(NOON - 12 * HOUR - 1), "missed")
    ledger.verdict(ledger.round(NOON - 12 * HOUR), "completed")
    found = state(ledger, NOON - 10 * HOUR)
    assert (found.missed_today, found.completed_today) == (0, 1)


def test_hazards_sos_and_devices(ledger: Ledger) -> None:
    """Closed hazards and resolved sos are gone; acknowledged ones still stand."""
    ledger.hazard("hh-0101/0/1", reported_at=NOON)
    ledger.hazard("hh-0101/0/2", reported_at=NOON, state="closed", closed_at=NOON)
    ledger.event("sos.raised", "hh-0101/0/3", at=NOON)
    ledger.event("sos.raised", "hh-0101/0/4", at=NOON)
    ledger.event("sos.raised", "hh-0101/0/4", at=NOON, state="acknowledged")
    ledger.event("sos.raised", "hh-0101/0/5", at=NOON)
    ledger.event("sos.raised", "hh-0101/0/5", at=NOON, state="resolved")
    ledger.add(tables.Device, slug="hh-0109", site_id=1)
    ledger.add(tables.DeviceState, device_id=1, online=True, heard_at=NOON - 61_500)
    ledger.add(tables.DeviceState, device_id=3, online=None, heard_at=NOON - 90_000)
    ledger.add(tables.DeviceState, device_id=2, online=True, heard_at=NOON)
    assert state(ledger, NOON) == replace(
        QUIET, open_hazards=1, sos=2, devices_online=1, last_seen_s=61
    )


@pytest.mark.parametrize(
    ("silent_ms", "deaf_until", "online"),
    [(149_999, None, 1), (150_000, None, 0), (150_000, NOON - 1, 1), (10**9, NOON - 150_000, 0)],
)
def test_a_silent_device_is_not_online(
    ledger: Ledger, silent_ms: int, deaf_until: int | None, online: int
) -> None:
    """From exactly 2.5 heartbeats on; while we could not hear, no silence counts."""
    ledger.add(tables.Device, slug="hh-0109", site_id=1, heartbeat_ms=MINUTE)
    ledger.add(tables.DeviceState, device_id=3, online=True, heard_at=NOON - silent_ms)
    if deaf_until is not None:
        ledger.add(tables.Outage, what="broker", since=NOON - HOUR, until=deaf_until)
    assert state(ledger, NOON).devices_online == online


@pytest.mark.parametrize(
    ("zone", "now", "began"),
    [
        ("Asia/Shanghai", "2026-09-01T00:00:00+08:00", "2026-09-01T00:00:00+08:00"),
        ("Asia/Shanghai", "2026-08-31T23:59:59+08:00", "2026-08-31T00:00:00+08:00"),
        ("Europe/Berlin", "2026-03-29T23:00:00+02:00", "2026-03-29T00:00:00+01:00"),
        ("Africa/Cairo", "2026-04-24T12:00:00+03:00", "2026-04-24T01:00:00+03:00"),
        ("America/Havana", "2026-11-01T00:30:00-05:00", "2026-11-01T00:00:00-04:00"),
    ],
)
def test_where_a_day_begins(zone: str, now: str, began: str) -> None:
    """At local midnight: the first of two, or the instant to which a skipped one jumps."""

    def at(text: str) -> int:
        return round(datetime.fromisoformat(text).timestamp() * 1000)

    assert datetime.fromtimestamp(at(began) / 1000, ZoneInfo(zone)).date() == (
        datetime.fromtimestamp(at(now) / 1000, ZoneInfo(zone)).date()
    )
    assert dawn(at(now), zone) == at(began)
