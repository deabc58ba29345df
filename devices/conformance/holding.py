"""Judges of a connection's beginning and end, of receipts honoured, and of the store."""

from itertools import pairwise

from devices.conformance.finding import Finding
from devices.conformance.trace import (
    IN_FLIGHT,
    RESEND_MS,
    SPREAD,
    WAIT_MS,
    Covering,
    Identity,
    Publish,
    Told,
    Trace,
)

TOLD = 3
"""How many receipts, apart in time, nobody loses in a row."""


def birth_first(trace: Trace) -> Finding:
    """Back on the broker, the first word is the birth."""
    kept, broken = [], []
    for gone in trace.offline:
        born = next((t for t in trace.statuses if t.place > gone.place and t.status.online), None)
        late = gone.at + trace.slack  # what was under way when the broker gave it up
        said = next((p for p in trace.publishes if p.place > gone.place and p.at > late), None)
        if born is not None and (said is None or born.place < said.place):
            kept.append(f"{trace.clock(born.at)}: back with a birth")
        elif said is not None:
            broken.append(
                f"{trace.clock(said.at)}: a record came before the birth, away since"
                f" {trace.clock(gone.at)}"
            )
    return Finding(kept, broken)


def waits(trace: Trace) -> Finding:
    """After the birth nothing is sent until a receipt comes, or 2 s have gone by."""
    kept, broken = [], []
    for birth, until in _connections(trace):
        first = _first_after(trace, birth, until)
        if first is None:
            continue
        answered = _answer(trace, birth, first.at)
        waited = first.at - birth.at
        if answered is not None:
            kept.append(
                f"{trace.clock(birth.at)}: birth, receipt after {answered - birth.at} ms, first"
                f" record after {waited} ms"
            )
        elif waited >= trace.ms(WAIT_MS) * 0.9 - 50:
            kept.append(f"{trace.clock(birth.at)}: birth, first record {waited} ms later")
        else:
            broken.append(
                f"{trace.clock(first.at)}: seq {first.seq} came {waited} ms after the birth, before"
                " any receipt"
            )
    return Finding(kept, broken)


def subscribed(trace: Trace) -> Finding:
    """It is subscribed before its birth: the receipt that answers it is heard."""
    kept, broken = [], []
    for birth, until in _connections(trace):
        answered = _answer(trace, birth, birth.at + round(trace.ms(WAIT_MS)))
        if answered is None:
            continue
        deaf = [
            p
            for p in trace.publishes
            if answered + trace.slack < p.at < until
            and (covered := trace.covered_at(p.identity)) is not None
            and covered <= answered
            and not _uncovered(trace, covered, p.at)
            and trace.records[p.identity][0].place < birth.place
            and trace.records[p.identity][0].digest == p.digest
        ]
        first = _first_after(trace, birth, until)
        first = None if first is None or first.at < answered else first
        if deaf:
            broken.append(
                f"{trace.clock(deaf[0].at)}: seq {deaf[0].seq} was sent, though the receipt that"
                f" answered the birth at {trace.clock(birth.at)} covered it"
            )
        elif first is not None and first.at - birth.at < trace.ms(WAIT_MS) * 0.9:
            kept.append(
                f"{trace.clock(birth.at)}: went on {first.at - answered} ms after a receipt"
            )
        elif (birth.status.queue or 0) > 0 and _covers_oldest(trace, birth, answered):
            kept.append(f"{trace.clock(birth.at)}: what the answer covered was not sent again")
    return Finding(kept, broken)


def _connections(trace: Trace) -> list[tuple[Told, int]]:
    """Each birth, and when what it began was over."""
    turns = (*trace.offline, *trace.births)
    return [
        (b, min((t.at for t in turns if t.place > b.place), default=trace.ended + 1))
        for b in trace.births
    ]


def _first_after(trace: Trace, birth: Told, until: int) -> Publish | None:
    return next((p for p in trace.publishes if p.place > birth.place and p.at < until), None)


def _answer(trace: Trace, birth: Told, until: int) -> int | None:
    return next((one.at for one in trace.receipts if birth.at <= one.at <= until), None)


def _covers_oldest(trace: Trace, birth: Told, answered: int) -> bool:
    oldest = birth.status.oldest
    covered = None if oldest is None else trace.covered_at((birth.status.epoch, oldest))
    return covered is not None and covered <= answered


def will_boot(trace: Trace) -> Finding:
    """The last will, and a farewell, say of which boot."""
    kept, broken = [], []
    for before, told in pairwise(trace.statuses):
        if not told.status.online and before.status.online:
            if told.status.boot is None:
                broken.append(f"{trace.clock(told.at)}: offline, without `boot`")
            else:
                kept.append(f"{trace.clock(told.at)}: offline, boot {told.status.boot}")
    return Finding(kept, broken)


# Receipts and the store ---------------------------------------------------------------------------


def stops(trace: Trace) -> Finding:
    """What a receipt covers is not published again.

    Receipts are QoS 0, and one or two may be lost: who was told `TOLD` times has heard it.
    """
    held, broken = 0, []
    for identity, publishes in trace.records.items():
        covered = trace.covered_at(identity)
        if covered is None or publishes[0].at > covered:
            continue
        later = [
            p
            for p in publishes
            if p.at > covered + trace.slack and not _uncovered(trace, covered, p.at)
        ]
        if later and _times_told(trace, identity, later[-1].at) >= TOLD:
            broken.append(
                f"seq {identity[1]}: covered at {trace.clock(covered)}, published again"
                f" {len(later)} times, last at {trace.clock(later[-1].at)}"
            )
        elif not later and trace.ended - covered > trace.ms(RESEND_MS[0]) * (1 + SPREAD):
            held += 1
    return Finding([f"{held} records were receipted and not sent again"] if held else [], broken)


def _times_told(trace: Trace, identity: Identity, until: int) -> int:
    """How often a device that was there was told that a record is covered, before `until`."""
    told, last = 0, 0
    for one in trace.receipts:
        heard = last + trace.slack < one.at < until - trace.slack and trace.online_at(one.at)
        if heard and one.covers(identity):
            told, last = told + 1, one.at
    return told


def other_ledger(trace: Trace) -> Finding:
    """A receipt of another ledger covers nothing: what is stored is sent again.

    Who has been told twice has heard it.
    """
    kept, broken = [], []
    for before, after in pairwise(trace.receipts):
        if before.receipt.ledger == after.receipt.ledger:
            continue
        had = [
            identity
            for identity, publishes in trace.records.items()
            if publishes[0].place < after.place
            and identity[0] == after.receipt.epoch
            and not after.covers(identity)
        ]
        again = [i for i in had if trace.records[i][-1].place > after.place]
        if again:
            kept.append(
                f"{trace.clock(after.at)}: another ledger; {len(again)} of {len(had)} seen records"
                " came again"
            )
        elif had and (said_twice := _said_again(trace, after)) and _had_time(trace, said_twice):
            broken.append(
                f"{trace.clock(after.at)}: another ledger; none of {len(had)} records came again"
            )
    return Finding(kept, broken)


def _said_again(trace: Trace, first: Covering) -> int | None:
    """When another receipt of the same ledger came that covers no more."""
    return next(
        (
            one.at
            for one in trace.receipts
            if one.at > first.at + trace.slack
            and one.receipt.ledger == first.receipt.ledger
            and one.receipt.upto <= first.receipt.upto
            and trace.online_at(one.at)
        ),
        None,
    )


def _uncovered(trace: Trace, covered: int, until: int) -> bool:
    """Whether another ledger came after a receipt, by `until`: then it counts for nothing."""
    ledgers = {one.receipt.ledger for one in trace.receipts if covered <= one.at <= until}
    return len(ledgers) > 1


def keeps(trace: Trace) -> Finding:
    """What has no receipt survives a lost connection, and a restart."""
    kept, broken = [], []
    patience = trace.ms(RESEND_MS[0]) * (1 + SPREAD) + trace.slack
    for birth, until in _connections(trace):
        enough = birth.at + patience
        flying = {p.identity for p in trace.publishes if birth.place < p.place and p.at < until}
        open_ = [i for i in trace.records if _was_open(trace, i, birth)]
        came = [i for i in open_ if i in flying]
        lost = [i for i in open_ if i not in flying and not _covered_by(trace, i, enough)]
        if came:
            kept.append(f"{trace.clock(birth.at)}: back, and {len(came)} stored records came again")
        elif lost and until > enough and len(flying) < IN_FLIGHT:
            broken.append(
                f"{trace.clock(birth.at)}: back, and seq {lost[0][1]}, which has no receipt, did"
                " not come again"
            )
    return Finding(kept, broken)


def _was_open(trace: Trace, identity: Identity, birth: Told) -> bool:
    """Whether a record had been seen, and had no receipt, when its device came back."""
    seen = identity[0] == birth.status.epoch and trace.records[identity][0].place < birth.place
    return seen and not _covered_by(trace, identity, birth.at)


def _covered_by(trace: Trace, identity: Identity, at: float) -> bool:
    covered = trace.covered_at(identity)
    return covered is not None and covered <= at


def queue(trace: Trace) -> Finding:
    """`queue` and `oldest` tell what has no receipt, and follow the receipts."""
    kept, broken = [], []
    for told in trace.statuses:
        status = told.status
        if not status.online or (status.queue is None and status.oldest is None):
            continue
        where = f"{trace.clock(told.at)}: queue {status.queue}, oldest {status.oldest}"
        if status.queue is not None and (status.queue > 0) is not (status.oldest is not None):
            broken.append(f"{where}: one says that something is stored, the other not")
        elif status.oldest is not None and _was_covered(trace, told):
            broken.append(f"{where}, which a receipt had covered")
        else:
            kept.append(where)
    return Finding(kept, broken)


def _was_covered(trace: Trace, told: Told) -> bool:
    """Whether a receipt that reached the device covered what it still calls stored."""
    identity = (told.status.epoch, told.status.oldest or 0)
    heard = [
        one.at
        for one in trace.receipts
        if one.at < told.at - trace.slack and one.covers(identity) and trace.online_at(one.at)
    ]
    return bool(heard) and not _uncovered(trace, heard[0], told.at)


def _had_time(trace: Trace, since: int) -> bool:
    patience = trace.ms(RESEND_MS[0]) * (1 + SPREAD) + trace.slack
    left = any(since < told.at <= since + patience for told in trace.offline)
    return trace.ended - since > patience and not left
