"""Judges of what is encoded anew at each publish, and of when a record is published again."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from devices.conformance.finding import Finding
from devices.conformance.trace import (
    IN_FLIGHT,
    RESEND_MS,
    SOS_MS,
    SPREAD,
    WAIT_MS,
    Identity,
    Publish,
    Trace,
)
from devices.topics import Kind


def sent_anew(trace: Trace) -> Finding:
    """`sent` is encoded at each publish, never taken from the store."""
    again, broken = 0, []
    for before, after in _again(trace):
        if before.message.sent is None or after.message.sent is None:
            continue
        again += 1
        if before.message.sent == after.message.sent:
            broken.append(
                f"epoch {after.epoch} seq {after.seq}: `sent` was {after.message.sent} at"
                f" {trace.clock(before.at)} and still at {trace.clock(after.at)}"
            )
    return Finding([f"`sent` was new in {again} repetitions"] if again else [], broken)


def uptimes(trace: Trace) -> Finding:
    """`sent_up` grows from publish to publish, is never below `up`, and belongs to one boot."""
    seen, broken = 0, []
    for publish in trace.publishes:
        said = publish.message
        if said.up is None or said.sent_up is None:
            continue
        seen += 1
        if said.sent_up < said.up or said.boot is None:
            broken.append(
                f"{trace.clock(publish.at)}: seq {publish.seq}: up {said.up}, sent_up"
                f" {said.sent_up}, boot {said.boot}"
            )
    for before, after in _again(trace):
        if before.message.sent_up is not None and before.message.sent_up == after.message.sent_up:
            broken.append(f"seq {after.seq}: `sent_up` stood still at {after.message.sent_up}")
    return Finding([f"{seen} records said how old they were"] if seen else [], broken)


def _again(trace: Trace) -> Iterator[tuple[Publish, Publish]]:
    """Publishes of one record that follow each other, far enough apart to tell."""
    for publishes in trace.records.values():
        for before, after in pairwise(publishes):
            if after.at - before.at > trace.slack:
                yield before, after


# Published again ----------------------------------------------------------------------------------


def comes_again(trace: Trace) -> Finding:
    """A record without a receipt is published again."""
    kept, broken = [], []
    for identity, publishes in trace.records.items():
        if publishes[0].kind is Kind.SOS:
            continue
        covered = trace.covered_at(identity)
        open_ = [p for p in publishes if covered is None or p.at < covered]
        if len(open_) > 1:
            kept.append(f"seq {identity[1]}: published {len(open_)} times without a receipt")
        if not open_:
            continue
        last = open_[-1]
        until = min(covered or trace.ended, trace.ended)
        step = RESEND_MS[-1] if not _is_first(trace, open_[0]) else _step(RESEND_MS, len(open_) - 1)
        patience = trace.ms(step) * (1 + SPREAD) + trace.slack
        left = any(last.at < told.at <= until for told in trace.offline)
        if until - last.at > patience and not left:
            broken.append(
                f"seq {identity[1]}: no receipt since {trace.clock(last.at)}, and not published"
                f" again in {(until - last.at) / 1_000:.1f} s"
            )
    return Finding(kept, broken)


def at_its_times(trace: Trace) -> Finding:
    """Again after 30 s, then 1, 2, 4, 8 and every 10 min, give or take half."""
    return _intervals(trace, RESEND_MS, sos=False)


def sos_at_its_times(trace: Trace) -> Finding:
    """An sos again after 2, 5, then every 10 s, give or take half."""
    return _intervals(trace, SOS_MS, sos=True)


def _intervals(trace: Trace, steps: Sequence[int], *, sos: bool) -> Finding:
    kept: list[str] = []
    broken: list[str] = []
    for identity, publishes in trace.records.items():
        if (publishes[0].kind is Kind.SOS) is not sos:
            continue
        for run in _runs(trace, identity, publishes):
            gaps = [after.at - before.at for before, after in pairwise(run)]
            if not gaps:
                continue
            known = run[0] is publishes[0] and _is_first(trace, run[0])
            line = f"seq {identity[1]}: again after {', '.join(f'{g / 1_000:.2f}' for g in gaps)} s"
            fits = any(_fits(trace, gaps, steps, o) for o in (range(1) if known else range(6)))
            (kept if fits else broken).append(line)
    return Finding(kept, broken)


def _runs(
    trace: Trace, identity: Identity, publishes: Sequence[Publish]
) -> Iterator[list[Publish]]:
    """Publishes of one record on one connection, until a receipt covers it.

    A device that was away without the broker's noticing greets again: what follows a status at the
    distance of a greeting begins another run.
    """
    covered = trace.covered_at(identity)
    run: list[Publish] = []
    for publish in publishes:
        if covered is not None and publish.at >= covered:
            break
        if run and _began_anew(trace, run[-1], publish):
            yield run
            run = []
        run.append(publish)
    yield run


def _began_anew(trace: Trace, before: Publish, after: Publish) -> bool:
    if trace.turned(before.place, after.place):
        return True
    near = after.at - trace.ms(WAIT_MS) * (1 + SPREAD) - trace.slack
    return any(
        told.status.online and before.place < told.place < after.place and told.at > near
        for told in trace.statuses
    )


def _is_first(trace: Trace, publish: Publish) -> bool:
    """Whether this was the record's first publish ever: it had only just been made."""
    age = publish.age
    fresh = age is not None and 0 <= age < trace.ms(RESEND_MS[0]) * SPREAD
    return fresh and trace.records[publish.identity][0] is publish


def _fits(trace: Trace, gaps: Sequence[int], steps: Sequence[int], offset: int) -> bool:
    for number, gap in enumerate(gaps):
        step = trace.ms(_step(steps, number + offset))
        if not step * (1 - SPREAD) - trace.slack <= gap <= step * (1 + SPREAD) + trace.slack:
            return False
    return True


def _step(steps: Sequence[int], number: int) -> int:
    return steps[min(number, len(steps) - 1)]


def in_flight(trace: Trace) -> Finding:
    """At most 20 records under way without a receipt; sos beyond that."""
    most = 0
    broken: list[str] = []
    flying: set[Identity] = set()
    last = -1
    for publish in trace.publishes:
        if trace.turned(last, publish.place):
            flying.clear()
        last = publish.place
        if publish.kind is Kind.SOS:
            continue
        flying.add(publish.identity)
        flying = {f for f in flying if (c := trace.covered_at(f)) is None or c > publish.at}
        most = max(most, len(flying))
        if len(flying) > IN_FLIGHT and not broken:
            broken.append(f"{trace.clock(publish.at)}: {len(flying)} records without a receipt")
    stored = max((told.status.queue or 0 for told in trace.statuses), default=0)
    full = most >= IN_FLIGHT or stored > IN_FLIGHT
    return Finding([f"at most {most} under way, {stored} stored"] if full else [], broken)
