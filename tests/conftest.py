"""Fixtures every room may use: real servers, marked by name so that a fast run can leave them out.

A test that asks for `broker`, `influx` or `victoria_metrics` gets the marker `broker`, `influx` or
`victoria` by itself.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# `tests.servers` is importable from every test, however pytest was started.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.servers import Server, influxd, mosquitto, victoria

# Without a clock: this project has no timed tests. `--hypothesis-profile` takes another.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("untimed", UNTIMED)
settings.register_profile("fast", UNTIMED, max_examples=10)
settings.register_profile("thorough", UNTIMED, max_examples=1_000)
settings.load_profile("untimed")

SERVERS = {"broker": "broker", "influx": "influx", "victoria_metrics": "victoria"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in SERVERS:
                item.add_marker(SERVERS[fixture])
    # The longest first: at the end nobody waits for one of them.
    items.sort(key=lambda item: item.get_closest_marker("fleet") is None)


@pytest.fixture
def broker() -> Iterator[Server]:
    """A Mosquitto of this test's own."""
    with mosquitto() as server:
        yield server


@pytest.fixture(scope="session")
def influx() -> Iterator[Server]:
    """One InfluxDB 1.6 for the whole run: let each test write into a database of its own."""
    with influxd() as server:
        yield server


@pytest.fixture(scope="session")
def victoria_metrics() -> Iterator[Server]:
    """One VictoriaMetrics for the whole run."""
    with victoria() as server:
        yield server
