"""Judges of single messages: topics, bytes, QoS, retain, and what names a record."""

from itertools import pairwise

from devices.conformance.finding import Finding
from devices.conformance.trace import Heard, Publish, Trace
from devices.messages import Status
from devices.reasons import Reason

SIZES = (Reason.TOO_LARGE, Reason.TOO_MANY)
LATER_MS = 2_000
"""How much later a record must have happened to be another one, whatever its clock's jitter."""


def topics(trace: Trace) -> Finding:
    """Every message on a topic of the grammar."""
    bad = [f for f in trace.faults if f.reason is Reason.UNKNOWN_TOPIC]
    good = len(trace.ups) - len(bad)
    return Finding(
        [f"{good} messages on known topics"] if good else [],
        [f"{trace.clock(f.at)}: {f.topic}: {f.detail}" for f in bad],
    )


def bytes_(trace: Trace) -> Finding:
    """Every message can be read, member by member."""
    others = {Reason.UNKNOWN_TOPIC, Reason.BAD_PHOTO, *SIZES}
    bad = [f for f in trace.faults if f.reason not in others]
    good = len(trace.publishes) + len(trace.statuses)
    return Finding(
        [f"{len(trace.publishes)} records and {len(trace.statuses)} statuses read"] if good else [],
        [f"{trace.clock(f.at)}: {f.topic}: {f.reason}: {f.detail}" for f in bad],
    )


def sizes(trace: Trace) -> Finding:
    """No message larger, and no array longer, than the contract allows."""
    bad = [f for f in trace.faults if f.reason in SIZES]
    largest = max((len(one.payload) for one in trace.ups), default=0)
    return Finding(
        [f"the largest of {len(trace.ups)} messages had {largest} bytes"] if trace.ups else [],
        [f"{trace.clock(f.at)}: {f.topic}: {f.detail}" for f in bad],
    )


def qos(trace: Trace) -> Finding:
    """Everything at QoS 1."""
    wrong = [one for one in trace.ups if one.qos != 1]
    right = len(trace.ups) - len(wrong)
    return Finding(
        [f"{right} messages at QoS 1"] if right else [],
        [f"{trace.clock(one.at)}: {one.topic} at QoS {one.qos}" for one in wrong],
    )


def retain(trace: Trace) -> Finding:
    """Statuses retained, nothing else."""

    def should(one: Heard) -> bool:
        return one.topic.endswith("/up/status")

    wrong = [one for one in trace.ups if one.retain is not should(one)]
    right = len(trace.ups) - len(wrong)
    words = {True: "retained", False: "not retained"}
    return Finding(
        [f"{right} messages retained as they should be"] if right else [],
        [f"{trace.clock(one.at)}: {one.topic} was {words[one.retain]}" for one in wrong],
    )


def photos(trace: Trace) -> Finding:
    """A photo's name is the SHA-256 of its bytes, and it is a picture."""
    bad = [f for f in trace.faults if f.reason is Reason.BAD_PHOTO]
    return Finding(
        [f"{len(trace.photos)} photos named by their SHA-256"] if trace.photos else [],
        [f"{trace.clock(f.at)}: {f.topic}: {f.detail}" for f in bad],
    )


# What names a record ------------------------------------------------------------------------------


def steps(trace: Trace) -> Finding:
    """`seq` steps by exactly 1: what was left out is kept by the service, or still stored."""
    kept, broken = [], []
    for epoch in sorted({epoch for epoch, _ in trace.records}):
        seqs = sorted(seq for its, seq in trace.records if its == epoch)
        for before, after in pairwise(seqs):
            left_out = range(before + 1, min(after, before + 1_000))
            lost = [s for s in left_out if _was_never(trace, epoch, s, after)]
            if lost:
                broken.append(
                    f"epoch {epoch}: after seq {before} came {after}; {lost[0]} is neither kept by"
                    " the service nor stored by the device"
                )
        if len(seqs) > 1:
            kept.append(f"epoch {epoch}: {len(seqs)} records, seq {seqs[0]} to {seqs[-1]}")
    return Finding(kept, broken)


def _was_never(trace: Trace, epoch: int, seq: int, next_seen: int) -> bool:
    """Whether there is no room left for a record that nobody has seen.

    A birth lets the service give up what the device stores no more: what it covers from then on
    says nothing. Before that, the device itself has said that it does not have it.
    """
    covered = trace.covered_at((epoch, seq))
    since = trace.records[epoch, next_seen][0].at
    told = [t for t in trace.statuses if t.at > since and t.status.epoch == epoch]
    lacks = next((t.at for t in told if _lacks(t.status, seq)), None)
    if lacks is not None:
        return covered is None or covered >= lacks
    stored = bool(told) and told[-1].status.oldest is not None  # and may still come
    late = trace.ended - since > trace.ms(45_000) + trace.slack
    return covered is None and not stored and late


def _lacks(status: Status, seq: int) -> bool:
    """Whether a device says that it does not store a record."""
    if status.oldest is not None:
        return status.oldest > seq
    return status.online and status.queue == 0


def epochs(trace: Trace) -> Finding:
    """Where counting starts again, a new epoch says so; a restart alone goes on counting."""
    kept, broken = [], []
    for identity, publishes in trace.records.items():
        first = publishes[0]
        other = next((p for p in publishes if _is_another(first, p)), None)
        if other is not None:
            broken.append(
                f"{_name(identity)} was one record at {first.message.at} and another at"
                f" {other.message.at}: counting started again under the same epoch"
            )
    broken += _counted_again(trace)
    found = sorted({epoch for epoch, _ in trace.records})
    if len(found) > 1:
        kept.append(f"epochs {', '.join(map(str, found))}")
    kept += _went_on(trace)
    return Finding(kept, broken)


def contents(trace: Trace) -> Finding:
    """A record sent again is the same record."""
    again, broken = 0, []
    for identity, publishes in trace.records.items():
        first = publishes[0]
        again += len(publishes) > 1
        for other in publishes[1:]:
            if other.digest != first.digest and not _is_another(first, other):
                broken.append(f"{trace.clock(other.at)}: {_name(identity)} had other content")
                break
    return Finding([f"{again} records came again, with the same content"] if again else [], broken)


def _is_another(first: Publish, other: Publish) -> bool:
    return first.digest != other.digest and first.message.at != other.message.at


def _counted_again(trace: Trace) -> list[str]:
    """Records made after others, under numbers that the service had already."""
    broken = []
    highest: dict[int, Publish] = {}
    for publish in trace.publishes:
        top = highest.get(publish.epoch)
        if top is None or publish.seq > top.seq:
            highest[publish.epoch] = publish
            continue
        if trace.records[publish.identity][0] is not publish:
            continue
        had = trace.covered_at(publish.identity)
        later = publish.message.at > top.message.at + LATER_MS
        if later and had is not None and had < publish.at:
            broken.append(
                f"{trace.clock(publish.at)}: {_name(publish.identity)} was made after"
                f" {top.seq}, under a number that had been used"
            )
    return broken


def _went_on(trace: Trace) -> list[str]:
    """Boots over which one epoch's counting went on."""
    boots: dict[int, dict[str, int]] = {}
    for publish in trace.publishes:
        if publish.message.boot is not None:
            boots.setdefault(publish.epoch, {}).setdefault(publish.message.boot, publish.seq)
    return [
        f"epoch {epoch}: counting went on over {len(firsts)} boots"
        for epoch, firsts in boots.items()
        if len(firsts) > 1
    ]


def _name(identity: tuple[int, int]) -> str:
    return f"epoch {identity[0]} seq {identity[1]}"
