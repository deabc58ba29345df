"""Rounds that ask more than one read of each checkpoint."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from rules.obligations import Known, Obligation, Read, Reason, Round, Standing, Trust, settle
from rules.plans import Plan, PlanCheckpoint, Window

MINUTE = 60_000
OPENS, CLOSES, DUE = 0, 60 * MINUTE, 65 * MINUTE


def walk(**asked: object) -> Obligation:
    terms = Round(route=("gate", "lab", "hall"), ordered=False, min_gap=0, **asked)
    return Obligation(
        key="s/p/1",
        site="s",
        plan="p",
        terms=terms,
        opens=OPENS,
        closes=CLOSES,
        due=DUE,
        early=0,
    )


def read(checkpoint: str, minute: float, person: str | None = "p-1") -> Read:
    at = int(minute * MINUTE)
    return Read(
        identity=f"hh/0/{checkpoint}{at}",
        checkpoint=checkpoint,
        device="hh",
        person=person,
        at=at,
        told_at=at,
        trust=Trust.TRUSTED,
        after=at,
        received_at=at,
        cut_off=False,
    )


WALK = [read("gate", 5), read("lab", 10), read("hall", 15)]


def judged(owed: Obligation, reads: list[Read]) -> tuple[Standing, Reason, tuple[str, ...]]:
    verdict = settle(owed, reads, Known(marker=DUE), DUE)
    return verdict.standing, verdict.reason, verdict.missing


def test_a_checkpoint_may_have_to_be_visited_more_than_once() -> None:
    """Two visits of the lab, a minute apart or more; one alone leaves it missing."""
    owed = walk(visits=(("lab", 2),))
    assert judged(owed, WALK) == (Standing.INCOMPLETE, Reason.TOO_FEW_VISITS, ("lab",))
    assert judged(owed, [*WALK, read("lab", 10.5)])[0] is Standing.INCOMPLETE
    assert judged(owed, [*WALK, read("lab", 30)])[0] is Standing.COMPLETED
    verdict = settle(owed, [*WALK, read("lab", 30), read("lab", 40)], Known(marker=DUE), DUE)
    assert verdict.visits == {"lab": 2}


def test_an_optional_checkpoint_need_not_be_visited() -> None:
    """It is not expected and never missing, but whoever read it alone did come."""
    owed = walk(optional=frozenset({"hall"}))
    assert owed.expected == ("gate", "lab")
    assert judged(owed, WALK[:2])[0] is Standing.COMPLETED
    assert judged(owed, WALK[2:]) == (
        Standing.INCOMPLETE,
        Reason.SOME_NOT_VISITED,
        ("gate", "lab"),
    )
    assert "hall" in settle(owed, WALK, Known(marker=DUE), DUE).evidence


@pytest.mark.parametrize(
    ("people", "standing"),
    [
        (("p-1", "p-1", "p-1"), Standing.INCOMPLETE),
        (("p-1", None, "p-1"), Standing.INCOMPLETE),
        (("p-1", "p-2", "p-1"), Standing.COMPLETED),
    ],
)
def test_two_people_must_have_read(people: tuple[str | None, ...], standing: Standing) -> None:
    """Two different persons; a read of nobody in particular is no second one."""
    reads = [structs.replace(one, person=who) for one, who in zip(WALK, people, strict=True)]
    found = judged(walk(people=2), reads)
    assert found[0] is standing
    if standing is Standing.INCOMPLETE:
        assert found[1:] == (Reason.TOO_FEW_PEOPLE, ())


def test_a_pause_may_be_too_long() -> None:
    """Everything was visited, but not in one walk: incomplete, and it says so."""
    slow = [read("gate", 5), read("lab", 10), read("hall", 40)]
    owed = walk(max_gap=20 * MINUTE)
    assert judged(owed, WALK)[0] is Standing.COMPLETED
    assert judged(owed, slow) == (Standing.INCOMPLETE, Reason.TOO_LONG_BETWEEN, ())
    assert judged(owed, [*slow, read("gate", 41), read("lab", 42)])[0] is Standing.COMPLETED
    exactly = [read("gate", 5), read("lab", 25), read("hall", 45)]
    assert judged(owed, exactly)[0] is Standing.COMPLETED


options = st.fixed_dictionaries(
    {
        "visits": st.sampled_from([(), (("lab", 2),), (("gate", 3), ("lab", 2))]),
        "optional": st.sampled_from([frozenset(), frozenset({"hall"})]),
        "people": st.integers(1, 3),
        "max_gap": st.sampled_from([0, 5 * MINUTE, 20 * MINUTE]),
    }
)
some = st.lists(
    st.builds(
        read,
        st.sampled_from(["gate", "lab", "hall", "elsewhere"]),
        st.integers(0, 64),
        st.sampled_from(["p-1", "p-2", "p-3", None]),
    ),
    max_size=12,
)
RANK = {Standing.MISSED: 0, Standing.INCOMPLETE: 1, Standing.COMPLETED: 2}


@given(asked=options, reads=some, more=some)
def test_a_further_read_never_makes_a_walk_worse(
    asked: dict[str, object], reads: list[Read], more: list[Read]
) -> None:
    """Whatever is asked, evidence only helps, and its order does not matter."""
    owed = walk(**asked)
    before, after = judged(owed, reads), judged(owed, [*more, *reads])
    assert RANK[after[0]] >= RANK[before[0]]
    assert judged(owed, [*reads, *more]) == after


def naive(asked: dict[str, object], reads: list[Read]) -> bool:
    """Whether some stretch of time without too long a pause has all that is asked."""
    here = sorted((r for r in reads if r.checkpoint != "elsewhere"), key=lambda r: r.at)
    times = {"gate": 1, "lab": 1, "hall": 1, **dict(asked["visits"])}
    for name in asked["optional"]:
        del times[name]
    for first in range(len(here)):
        for last in range(first, len(here)):
            piece = here[first : last + 1]
            pauses = (b.at - a.at for a, b in itertools.pairwise(piece))
            if asked["max_gap"] and any(pause > asked["max_gap"] for pause in pauses):
                continue
            enough = all(
                len({r.at // MINUTE for r in piece if r.checkpoint == name}) >= count
                for name, count in times.items()
            )
            people = {r.person for r in piece} - {None}
            if enough and (asked["people"] == 1 or len(people) >= asked["people"]):
                return True
    return False


@given(asked=options, reads=some)
def test_a_walk_is_judged_as_a_naive_reader_would(
    asked: dict[str, object], reads: list[Read]
) -> None:
    """Completed exactly when some piece of the evening has everything, read for read."""
    assert (judged(walk(**asked), reads)[0] is Standing.COMPLETED) == naive(asked, reads)


def plan(**others: object) -> Plan:
    points = (PlanCheckpoint(slug="gate", name="g"), PlanCheckpoint(slug="lab", name="l"))
    return Plan(
        site="s",
        slug="p",
        name="p",
        timezone="UTC",
        route=others.pop("route", points),
        windows=(Window.parse("22:00-23:00"),),
        **others,
    )


def test_a_plan_without_options_has_the_digest_it_always_had() -> None:
    """Options that came later stand in a snapshot only where they say something."""
    later = {"people", "max_gap", "apart", "quota", "visits", "optional"}
    said = plan().to_json()
    assert not later & {*said, *(key for point in said["route"] for key in point)}
    rich = plan(people=2, max_gap=MINUTE, apart=0)
    assert Plan.from_json(rich.to_json()) == rich


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"every": MINUTE, "people": 2}, "knows no `people`"),
        ({"every": MINUTE, "max_gap": MINUTE}, "knows no `max_gap`"),
        ({"people": 0}, "write 1 or more"),
        ({"max_gap": 1, "min_gap": 2}, "shorter than its `min_gap`"),
        ({"route": (PlanCheckpoint(slug="a", name="a", optional=True),)}, "has no route"),
    ],
)
def test_what_does_not_go_together_is_refused(others: dict[str, object], words: str) -> None:
    """A plan that contradicts itself is refused with the remedy."""
    with pytest.raises(ValueError, match=words):
        plan(**others)
