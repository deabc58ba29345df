"""The servers that other tests stand on."""

import urllib.request

import pytest

from tests.servers import Server, missing


def ask(url: str) -> int:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own loopback
        return int(answer.status)


def test_influxd_answers_and_comes_back_on_its_port(influx: Server) -> None:
    """A server that was killed can be started again where it was."""
    assert ask(f"{influx.url}/ping") == 204
    influx.kill()
    influx.start()
    assert ask(f"{influx.url}/ping") == 204


def test_victoria_metrics_answers(victoria_metrics: Server) -> None:
    """VictoriaMetrics is up when its fixture is handed out."""
    assert ask(f"{victoria_metrics.url}/health") == 200


def test_mosquitto_is_stopped_by_its_pid(broker: Server) -> None:
    """Stopping a server ends its process, and stopping it twice is harmless."""
    process = broker.process
    assert process is not None
    broker.stop()
    assert process.returncode is not None
    broker.stop()


def test_a_missing_server_skips_by_name_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is skipped in CI, and elsewhere the skip names what is missing."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="influxd"):
        missing("influxd is not installed")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="influxd"):
        missing("influxd is not installed")
