"""Persons' tags: whose the reads after them are, in event time and any order of arrival."""

import copy
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from desk.acts import By
from desk.decisions import decide_read
from devices.ids import Instant
from rules.obligations import Known, settle
from rules.promises import Do, Standing, Verdict
from store import obligations
from store.database import reading, writing
from store.evidence import reads_for
from store.listings import checkins
from store.obligations import OBLIGATION
from store.reviews import reviews
from store.verdicts import flipped
from store.walking import Filter
from tests.ingest.bench import Bench, a_bench, delivery, marker
from tests.ingest.school import BADGE, DOCUMENT, GATE, LAB, checkin, owe, up

OTHER = "04AAAA02"
HOUR = 3_600_000
PEOPLE = {BADGE: "p-017", OTHER: "p-018"}


def document(holds: str | None = None, people: int = 1) -> dict[str, Any]:
    """The school with a second guard; `people` must walk its plan."""
    said = copy.deepcopy(DOCUMENT)
    said["people"].append({"id": "p-018", "name": "Second", "tags": [OTHER]})
    school = said["sites"][0]
    school["plans"][0]["people"] = people
    if holds is not None:
        school["person_tag_holds"] = holds
    said["sites"][1]["belongs_to"] = ["bureau"]
    return said


def who(bench: Bench) -> dict[tuple[str, int], tuple[str | None, bool]]:
    """Who made each check-in, and whether by a tag, as the listing tells it."""
    rows = checkins(bench.ledger.engine, Filter())
    return {(row.device, row.seq): (row.person, row.person_by_tag) for row in rows}


@pytest.fixture
def bench(tmp_path: Path):
    with a_bench(tmp_path, document()) as made:
        yield made


# Whose a read is ----------------------------------------------------------------------------------


def test_a_persons_tag_says_who_makes_the_following_reads(bench: Bench) -> None:
    """From its own instant on, until the next one; what its device says itself goes first."""
    at = bench.at
    said = [
        checkin(1, at - 1),
        checkin(2, at, BADGE),
        checkin(3, at),
        checkin(4, at + 5, LAB, person="p-018"),
        checkin(5, at + 6, LAB, person="p-999"),
        checkin(6, at + 9, OTHER),
        checkin(7, at + 10),
    ]
    bench.take(delivery(up("checkin"), said), delivery(up("checkin", "hh-2"), checkin(1, at + 3)))
    found = who(bench)
    assert {seq: found["hh-1", seq] for seq in range(1, 8)} == {
        1: (None, False),
        2: ("p-017", False),
        3: ("p-017", True),
        4: ("p-018", False),
        5: (None, False),
        6: ("p-018", False),
        7: ("p-018", True),
    }
    assert found["hh-2", 1] == (None, False)


def test_whose_tag_was_read_goes_over_who_holds_the_device(bench: Bench) -> None:
    """A colleague's tag read with my handheld is the colleague's, and so are the reads after it."""
    at = bench.at
    said = [checkin(1, at, OTHER, person="p-017"), checkin(2, at + 1)]
    bench.take(delivery(up("checkin"), said))
    assert [found[0] for found in who(bench).values()] == ["p-018", "p-018"]


def test_a_tag_holds_for_a_shift(bench: Bench) -> None:
    """Twelve hours where the registry says nothing; exactly then it does no more."""
    at = bench.at
    ends = at + 12 * HOUR
    said = [checkin(1, at, BADGE), checkin(2, ends - 1), checkin(3, ends)]
    bench.take(delivery(up("checkin"), said))
    assert [who(bench)["hh-1", seq][0] for seq in (2, 3)] == ["p-017", None]


def test_a_tag_may_hold_for_one_round(tmp_path: Path) -> None:
    """With `round`: to the due of the round it was read in, or of the next where none was open."""
    with a_bench(tmp_path, document(holds="round")) as bench:
        at = bench.at
        owe(bench.ledger.engine, at + 100, at + 200, grace=50)
        owe(bench.ledger.engine, at + 1_000, at + 1_100)
        reads = (50, 120, 249, 250, 300, 1_050, 1_100)
        said = [checkin(1, at + 40, BADGE), checkin(2, at + 260, OTHER)]
        said += [checkin(seq, at + ms, LAB) for seq, ms in enumerate(reads, 10)]
        bench.take(delivery(up("checkin"), said))
        found = [who(bench)["hh-1", seq][0] for seq in range(10, 17)]
        assert found == ["p-017", "p-017", "p-017", None, "p-018", "p-018", None]


def test_an_inspectors_tag_goes_with_the_handheld_from_school_to_school(bench: Bench) -> None:
    """A device of a grid node is one device wherever it reports from."""
    at = bench.at
    bench.take(
        delivery(up("checkin", "insp-01"), checkin(1, at, BADGE)),
        delivery(up("checkin", "insp-01", "school-02"), checkin(2, at + 1, "04B2B3C4")),
    )
    assert who(bench)["insp-01", 2] == ("p-017", True)


TIMES = st.integers(0, 30).map(lambda step: step * HOUR)
READS = st.lists(
    st.tuples(
        st.sampled_from(["hh-1", "hh-2"]),
        TIMES,
        st.sampled_from([GATE, LAB, BADGE, OTHER]),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=25)
@given(reads=READS, cuts=st.lists(st.integers(0, 12), max_size=3), seed=st.randoms())
def test_whose_a_read_is_follows_from_the_set_of_reads(reads, cuts, seed) -> None:
    """Law 3: in any order, any batches, with restarts between, by clocks that are corrected."""
    with tempfile.TemporaryDirectory() as folder, a_bench(Path(folder), document()) as bench:
        start = bench.at
        said = []
        for seq, (device, ms, tag, ahead) in enumerate(reads):
            wrong = 10 * 24 * HOUR if ahead else 0
            at = start - 40 * HOUR + ms + wrong
            sent = start + 500 + wrong  # so that whose clock is ahead is set back by as much
            said.append((device, checkin(seq, at, tag, sent=sent)))
        seed.shuffle(said)
        for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), 12], strict=True):
            bench.take(*(delivery(up("checkin", name), each) for name, each in said[begin:end]))
        bench.take(marker(start + 500))
        assert who(bench) == _expected(bench, reads)


def _expected(bench: Bench, reads: Any) -> dict[tuple[str, int], tuple[str | None, bool]]:
    """The same from the list: the latest tag of the device at or before, within twelve hours.

    Of two at one time the higher seq. What was set back is dated by the correction.
    """
    rows = bench.rows(
        "SELECT d.slug, e.seq, coalesce(c.at, e.at), e.tag FROM entry e"
        " JOIN device d ON d.id = e.device_id LEFT JOIN correction c ON c.entry_id = e.id"
    )
    found: dict[tuple[str, int], tuple[str | None, bool]] = {}
    for device, seq, at, tag in rows:
        if tag in PEOPLE:
            found[device, seq] = PEOPLE[tag], False
            continue
        before = [
            (then, number, PEOPLE[other])
            for name, number, then, other in rows
            if name == device and other in PEOPLE and then <= at
        ]
        last = max(before, default=None)
        held = last is not None and at < last[0] + 12 * HOUR
        found[device, seq] = (last[2], True) if last and held else (None, False)
    return found


# What is judged by it -----------------------------------------------------------------------------


def judged(bench: Bench, key: str, marker_at: Instant) -> Verdict:
    """The verdict that the facts give."""
    plans = obligations.Plans()
    with reading(bench.ledger.engine) as connection:
        row = connection.execute(OBLIGATION.select().where(OBLIGATION.c.key == key)).one()
        promise = plans.promise(connection, row)
        reads = reads_for(connection, row.site_id, promise, promise.due)
        return settle(promise, reads, Known(marker=marker_at), marker_at)


def two_walk(bench: Bench) -> tuple[str, Instant, list[dict[str, Any]]]:
    """A round that two people walk, each with the other's handheld after half of it."""
    opens = bench.at
    key = owe(bench.ledger.engine, opens, opens + 60_000)
    said = [
        checkin(1, opens + 1, BADGE),
        checkin(2, opens + 2, GATE),
        checkin(3, opens + 3, OTHER),
        checkin(4, opens + 4, LAB),
    ]
    return key, opens, [one | {"sent": opens + 10} for one in said]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_two_people_walk_by_their_tags(tmp_path: Path, order: tuple[int, ...]) -> None:
    """Whatever order the reads come in, the round is walked by both."""
    with a_bench(tmp_path, document(people=2)) as bench:
        key, opens, said = two_walk(bench)
        for index in order:
            bench.take(delivery(up("checkin"), said[index]))
        bench.take(marker(opens + 60_001))
        verdict = judged(bench, key, opens + 60_001)
        assert (verdict.standing, verdict.people) == (Standing.COMPLETED, ("p-017", "p-018"))


def test_without_the_second_tag_one_has_walked(tmp_path: Path) -> None:
    """The tag that says who is as much evidence as the reads are."""
    with a_bench(tmp_path, document(people=2)) as bench:
        key, opens, said = two_walk(bench)
        bench.take(*(delivery(up("checkin"), said[index]) for index in (0, 1, 3)))
        verdict = judged(bench, key, opens + 60_001)
        assert (verdict.standing, verdict.people) == (Standing.INCOMPLETE, ("p-017",))


@pytest.mark.parametrize(
    ("heard", "standing"), [(False, Standing.COMPLETED), (True, Standing.INCOMPLETE)]
)
def test_a_tag_that_comes_in_after_due_counts_as_late_evidence_does(
    tmp_path: Path, heard: bool, standing: Standing
) -> None:
    """Of a device that was cut off it does, of one that was heard since it does not; and what was
    judged at due stays what it was."""
    with a_bench(tmp_path, document(people=2)) as bench:
        key, opens, said = two_walk(bench)
        bench.take(*(delivery(up("checkin"), one) for one in said[:2]))
        other = checkin(1, opens + 5, LAB, sent=opens + 10)
        bench.take(delivery(up("checkin", "hh-2"), other))
        if heard:
            bench.at = opens + 50_000
            bench.take(delivery(up("checkin"), checkin(9, opens + 3, "FFFF", sent=opens + 10)))
        bench.take(marker(opens + 60_001))
        bench.at = opens + 60_500
        late = [checkin(10, opens + 30_000, OTHER), checkin(11, opens + 30_001, LAB)]
        late = [one | {"sent": opens + 60_500} for one in late]
        bench.take(*(delivery(up("checkin"), one) for one in late))
        bench.take(marker(opens + 61_001))
        verdict = judged(bench, key, opens + 61_001)
        assert (verdict.standing, verdict.first) == (standing, Standing.INCOMPLETE)


def test_a_late_tag_has_its_reads_looked_at_again(tmp_path: Path) -> None:
    """What was judged, and what was marked, around the reads that are another's now."""
    with a_bench(tmp_path, document(people=2)) as bench:
        key, opens, said = two_walk(bench)
        bench.take(*(delivery(up("checkin"), said[index]) for index in (0, 1, 3)))
        with writing(bench.ledger.engine) as connection:
            asleep = OBLIGATION.update().where(OBLIGATION.c.key == key).values(wake=None)
            connection.execute(asleep)
            connection.execute(text("DELETE FROM doubt"))
        bench.writer.judged.until = dict.fromkeys(range(9), opens + 60_000)
        assert bench.take(delivery(up("checkin"), said[2])).touched
        ((wake,),) = bench.rows("SELECT wake FROM obligation")
        assert wake is not None and wake <= opens + 4
        assert bench.rows("SELECT at FROM doubt") == [(opens + 4,)]


def test_a_tag_that_waits_counts_by_a_persons_word(tmp_path: Path) -> None:
    """Whose device was heard since it could have told: somebody must say that the tag counts."""
    with a_bench(tmp_path, document(people=2)) as bench:
        key, opens, said = two_walk(bench)
        bench.at = opens + 10
        bench.take(*(delivery(up("checkin"), said[index]) for index in (0, 1, 3)))
        bench.take(marker(opens + 60_001))
        bench.at = opens + 60_500
        late = said[2] | {"sent": opens + 60_500}
        bench.take(delivery(up("checkin"), late), marker(opens + 61_001))
        before = judged(bench, key, opens + 61_001)
        assert (before.standing, before.waiting) == (Standing.INCOMPLETE, ("hh-1/0/3",))
        keep(bench, key, before)
        (row,) = reviews(bench.ledger.engine, Filter())
        assert (row.id, row.checkpoint, row.person) == ("hh-1/0/3", None, "p-018")
        assert (row.why, row.rounds) == ("not-cut-off", (key,))
        by = By(author="chief", now=opens + 70_000)
        assert decide_read(bench.ledger.engine, row.id, Do.ACCEPT, by=by, note="seen") == (key,)
        after = judged(bench, key, opens + 61_001)
        assert (after.standing, after.first) == (Standing.COMPLETED, Standing.INCOMPLETE)
        assert after.people == ("p-017", "p-018")


def test_a_tag_read_on_the_way_waits_where_its_round_is(tmp_path: Path) -> None:
    """An inspector's handheld read the tag at another site: it is listed under the site of the
    round it waits for, counts there by a person's word, and can be taken back."""
    with a_bench(tmp_path, document(people=2)) as bench:
        key, opens, said = two_walk(bench)
        bench.at = opens + 10
        bench.take(*(delivery(up("checkin"), one) for one in said[:2]))
        tag, lab = (said[index] | {"seq": index - 1} for index in (2, 3))
        bench.take(delivery(up("checkin", "insp-01"), lab))
        bench.take(marker(opens + 60_001))
        bench.at = opens + 60_500
        late = tag | {"sent": opens + 60_500}
        elsewhere = up("checkin", "insp-01", "school-02")
        bench.take(delivery(elsewhere, late), marker(opens + 61_001))
        keep(bench, key, judged(bench, key, opens + 61_001))
        engine, by = bench.ledger.engine, By(author="chief", now=opens + 70_000)
        for asked in (Filter(), Filter(site="school-01")):
            (row,) = reviews(engine, asked)
            assert (row.id, row.site, row.rounds) == ("insp-01/0/1", "school-01", (key,))
        assert list(reviews(engine, Filter(site="school-02"))) == []
        for do, standing in (
            (Do.ACCEPT, Standing.COMPLETED),
            (Do.REJECT, Standing.INCOMPLETE),
        ):
            assert decide_read(engine, row.id, do, by=by, note="seen") == (key,)
            after = judged(bench, key, opens + 61_001)
            assert (after.standing, [one.do for one in after.decisions]) == (standing, [do])
            keep(bench, key, after)


def keep(bench: Bench, key: str, verdict: Verdict) -> None:
    """Give a verdict, as the watch does."""
    with writing(bench.ledger.engine) as connection:
        row = connection.execute(OBLIGATION.select().where(OBLIGATION.c.key == key)).one()
        assert flipped(connection, [(row, verdict)], verdict.at) == {row.id}
