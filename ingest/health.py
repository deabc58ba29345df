"""How the service is doing: counters for `/metrics`, and whether it is alive and ready, and why
not."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from ingest.committed import Committed


@dataclass(slots=True)
class Totals:
    """What came in since the start, in records; `received` in messages."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0


class Health:
    """One per instance. Its reasons are words for the operator.

    `batches`: what the pipeline has committed and acknowledged so far.
    """

    def __init__(self) -> None:
        self.totals = Totals()
        self.batches = 0
        self.lag_ms = 0
        self.outbox = 0
        self._why: dict[str, str] = {
            "broker": "not connected to the broker yet",
        }
        self._registry = CollectorRegistry()
        self._records = Counter(
            "gridbeat_records",
            "Records by what became of them",
            ["outcome"],
            registry=self._registry,
        )
        self._ignored = Counter(
            "gridbeat_ignored",
            "What foreign readers said that is of no interest",
            ["protocol", "why"],
            registry=self._registry,
        )
        self._messages = Counter("gridbeat_messages", "Messages received", registry=self._registry)
        self._lost = Counter(
            "gridbeat_losses", "What the broker lost, noticed", ["what"], registry=self._registry
        )
        self._lag = Gauge(
            "gridbeat_marker_age_seconds",
            "Age of the latest marker committed",
            registry=self._registry,
        )
        self._ready = Gauge(
            "gridbeat_ready", "1 when subscribed and writable", registry=self._registry
        )
        self._outbox = Gauge("gridbeat_outbox", "Events still to be told", registry=self._registry)
        self._series = Gauge(
            "gridbeat_series_behind", "Rows the series has not taken", registry=self._registry
        )

    def because(self, what: str, why: str | None) -> None:
        """`what` keeps the service from being ready, or, with None, does so no more."""
        if why is None:
            self._why.pop(what, None)
        else:
            self._why[what] = why

    @property
    def unready(self) -> list[str]:
        """Why the service is not ready, each reason once; empty when it is."""
        return list(dict.fromkeys(self._why.values()))

    def counted(self, messages: int, committed: Committed) -> None:
        """A batch is committed and acknowledged."""
        totals = self.totals
        totals.received += messages
        totals.accepted += committed.accepted
        totals.duplicate += committed.duplicate
        totals.quarantined += committed.quarantined
        self._messages.inc(messages)
        for outcome in ("accepted", "duplicate", "quarantined"):
            self._records.labels(outcome).inc(getattr(committed, outcome))
        for (protocol, why), count in committed.ignored.items():
            self._ignored.labels(protocol, why).inc(count)

    def lost(self, what: str) -> None:
        """Something is gone that the broker held for us."""
        self._lost.labels(what).inc()

    def metrics(self, series_behind: int) -> bytes:
        """The exposition text of Prometheus."""
        self._lag.set(self.lag_ms / 1_000)
        self._outbox.set(self.outbox)
        self._ready.set(0 if self._why else 1)
        self._series.set(series_behind)
        return generate_latest(self._registry)
