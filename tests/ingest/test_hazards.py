"""Cases over the real writer and ledger: what clocks and order of arrival may not change."""

import pytest

from tests.ingest.bench import NOW, delivery, up

REPORT = "hh-1/0/1"
DAY = 86_400_000


def says(seq: int, at: int, action: str, device: str = "hh-1", **more: object):
    """A step of the case, or its report."""
    ref = {} if action == "report" else {"ref": REPORT}
    return delivery(up("hazard", device), {"seq": seq, "at": at, "action": action, **ref, **more})


@pytest.fixture
def told(bench):
    """How often something was told of a kind of event."""
    return lambda kind: bench.rows("SELECT count(*) FROM event WHERE kind = :kind", kind=kind)[0][0]


def test_a_closing_is_withdrawn_once(bench, told):
    """A step that comes late reopens a case; what is done in it then withdraws nothing again."""
    bench.take(says(1, NOW, "report"), says(2, NOW + 20, "resolved"), says(3, NOW + 30, "verified"))
    assert told("hazard.closed") == 1
    bench.take(says(1, NOW + 25, "rejected", "hh-2"))
    assert (told("hazard.closed"), bench.latest().keys()) == (2, {("hazard.opened", REPORT)})
    bench.take(says(4, NOW + 40, "progress", category="fire"))
    bench.take(says(5, NOW + 50, "resolved"))
    assert told("hazard.closed") == 2
    bench.take(says(6, NOW + 60, "verified"))
    assert told("hazard.closed") == 3
    assert bench.latest()["hazard.closed", REPORT][:2] == ("resolved", NOW + 60)
