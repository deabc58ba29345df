"""The load of the benches: what its handhelds say could have happened."""

import re
import socket

from bench.load import _Link, encode
from bench.stand import fleet


def test_a_handheld_reads_one_tag_at_a_time() -> None:
    """However fast they are published, no two reads of a connection are of one instant: InfluxDB
    would hold them as one point where their hashes agree."""
    load = encode(fleet(1), 0, 60)
    here, there = socket.socketpair()
    with here, there:
        link = _Link(here, load.streams[0])
        for _ in range(3):
            link.send(20)
        said = there.recv(1_000_000)
    times = [int(at) for at in re.findall(rb'"at":(\d+)', said)]
    assert len(set(times)) == 60
    assert times == sorted(times)
    assert times[-1] < int(re.findall(rb'"sent":(\d+)', said)[-1])
