"""Judging a round from its deciding reads alone gives the verdict that all of them give."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from rules.obligations import settle
from rules.promises import Known, Obligation, Round
from store.database import reading
from store.evidence import DENSE, FEW, Asked, deciding_reads, few_reads, reads_for
from tests.ingest.bench import NOW, Bench, a_bench, delivery, marker
from tests.ingest.school import GATE, LAB, checkin, up

MINUTE = 60_000
OPENS = NOW
ROUND = Obligation(
    key="round",
    site="school-01",
    plan="night",
    terms=Round(route=("gate", "lab"), ordered=False, min_gap=0),
    opens=OPENS,
    closes=OPENS + 10 * MINUTE,
    due=OPENS + 15 * MINUTE,
    early=5 * MINUTE,
)
instants = st.integers(-6, 17).map(lambda minute: OPENS + minute * MINUTE)
reads = st.lists(
    st.tuples(st.sampled_from([GATE, LAB]), instants, st.sampled_from([0, 0, 1, -1, 20, None])),
    min_size=2 * DENSE + 1,
    max_size=40,
)


def beside(by: int) -> Obligation:
    """Another round of the plan, so many minutes later."""
    by *= MINUTE
    moved = {name: getattr(ROUND, name) + by for name in ("opens", "closes", "due")}
    return structs.replace(ROUND, key=f"round {by}", **moved)


@contextmanager
def a_school() -> Iterator[Bench]:
    """A bench shortly before the round opens."""
    with TemporaryDirectory() as folder, a_bench(Path(folder)) as bench:
        bench.at = OPENS - 10 * MINUTE
        bench.restart()
        yield bench


def told(bench: Bench, said: list[tuple[str, int, int | None]], order: Any) -> None:
    """Read at those instants; received that many minutes after, as told by clocks of any kind."""
    coming: list[tuple[int, dict[str, Any]]] = []
    for seq, (tag, at, after) in enumerate(said):
        record = checkin(seq, at, tag)
        if after is not None:
            record |= {"sent": at + max(after, 0) * MINUTE}
        coming.append((at + max(after or 0, 0) * MINUTE, record))
    order.shuffle(coming)
    for received, record in sorted(coming, key=lambda each: each[0]):
        bench.at = max(bench.at, received)
        bench.take(delivery(up("checkin"), record))
        if order.random() < 0.3:
            bench.take(marker(bench.at))
    bench.at += MINUTE
    bench.take(marker(bench.at))


@settings(max_examples=30)
@given(said=reads, shifts=st.lists(st.integers(-14, 14), max_size=2), order=st.randoms())
def test_the_deciding_reads_give_the_verdict_of_all(
    said: list[Any], shifts: list[int], order: Any
) -> None:
    """Whatever was read, by whatever clock, and whichever other rounds a read may serve."""
    rivals = tuple(beside(by) for by in set(shifts) - {0})
    with a_school() as bench:
        told(bench, said, order)
        site = bench.reader.picture.site("school-01")
        assert site is not None
        for until in (bench.at, OPENS + 9 * MINUTE):
            known = Known(marker=until, siblings=(ROUND, *rivals))
            with reading(bench.ledger.engine) as connection:
                every = reads_for(connection, site.id, ROUND, ROUND.due)
                some = deciding_reads(
                    connection, site.id, ROUND, ROUND.due, marker=until, rivals=rivals
                )
            whole, short = (
                settle(ROUND, [read for read in found if read.after < until], known, until)
                for found in (every, some)
            )
            assert short == whole
            later = {read.identity for read in every if read.after >= until}
            assert later <= {read.identity for read in some}


def test_of_a_tag_that_was_read_again_and_again_few_reads_are_taken() -> None:
    """A hundred reads of two checkpoints are two that decide."""
    with a_school() as bench:
        records = [checkin(seq, OPENS + seq, (GATE, LAB)[seq % 2]) for seq in range(100)]
        bench.take(delivery(up("checkin"), records), marker(OPENS + MINUTE))
        site = bench.reader.picture.site("school-01")
        assert site is not None
        with reading(bench.ledger.engine) as connection:
            some = deciding_reads(connection, site.id, ROUND, ROUND.due, marker=OPENS + 2 * MINUTE)
        assert sorted(read.identity for read in some) == ["hh-1/0/0", "hh-1/0/1"]


@settings(max_examples=15)
@given(said=reads, shifts=st.lists(st.integers(-14, 14), max_size=3), order=st.randoms())
def test_asked_together_the_reads_are_those_of_each(
    said: list[Any], shifts: list[int], order: Any
) -> None:
    """A page of rounds is told of the same reads as each of them alone."""
    rounds = (ROUND, *(beside(by) for by in shifts))
    with a_school() as bench:
        told(bench, said, order)
        site = bench.reader.picture.site("school-01")
        assert site is not None
        page = {number: Asked(site.id, owed, owed.due) for number, owed in enumerate(rounds)}
        with reading(bench.ledger.engine) as connection:
            together = few_reads(connection, page)
            for number, owed in enumerate(rounds):
                alone = reads_for(connection, site.id, owed, owed.due)
                assert sorted(together[number], key=lambda read: read.identity) == sorted(
                    alone, key=lambda read: read.identity
                )


def test_a_round_with_many_reads_is_left_to_be_asked_alone() -> None:
    """What would take long is not asked for together with others."""
    with a_school() as bench:
        records = [checkin(seq, OPENS + seq, GATE) for seq in range(FEW + 1)]
        bench.take(delivery(up("checkin"), records), marker(OPENS + MINUTE))
        site = bench.reader.picture.site("school-01")
        assert site is not None
        with reading(bench.ledger.engine) as connection:
            page = {1: Asked(site.id, ROUND, ROUND.due), 2: Asked(site.id, beside(60), OPENS)}
            assert few_reads(connection, page) == {2: []}
