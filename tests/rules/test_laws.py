"""Laws of judging, by hypothesis: against naive oracles, and broken copies that must be caught.

The oracles are written from contract §6 alone and share nothing with the judges: they walk
through time tick by tick. Instants are small, so that boundaries meet all the time.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import structs

import rules.judges
import rules.obligations
from rules.obligations import (
    JUDGES,
    Gap,
    Known,
    Obligation,
    Quota,
    Read,
    Round,
    Standing,
    Trust,
    Verdict,
    serves,
    settle,
)

Settle = Callable[[Obligation, list[Read], Known, int], Verdict]
CHECKPOINTS = ("a", "b", "c")
END = 60


def made(terms: Round | Gap, opens: int, length: int, grace: int, early: int) -> Obligation:
    closes = opens + length
    return Obligation(
        key=f"s/p/{opens:03}",
        site="s",
        plan="p",
        terms=terms,
        opens=opens,
        closes=closes,
        due=closes + grace,
        early=early,
    )


routes = st.lists(st.sampled_from(CHECKPOINTS), min_size=1, max_size=3).map(tuple)
rounds = st.builds(
    lambda route, opens, length, grace, early: made(
        Round(route=route, ordered=False, min_gap=0), opens, length, grace, early
    ),
    routes,
    st.integers(5, 25),
    st.integers(1, 12),
    st.integers(0, 5),
    st.integers(0, 5),
)
gaps = st.builds(
    lambda every, opens, length, grace: made(
        Gap(checkpoint="a", every=every, grace=grace), opens, length, grace, 0
    ),
    st.integers(1, 9),
    st.integers(5, 15),
    st.integers(1, 25),
    st.integers(0, 4),
)


def reads_at(instants: st.SearchStrategy[int]) -> st.SearchStrategy[Read]:
    return st.builds(
        lambda number, checkpoint, at, lag, trust, cut_off: Read(
            identity=f"hh/0/{number}",
            checkpoint=checkpoint,
            device="hh",
            person=None,
            at=at,
            told_at=at,
            trust=trust,
            after=at + lag,
            received_at=at + lag,
            cut_off=cut_off,
        ),
        st.integers(0, 99),
        st.sampled_from((*CHECKPOINTS, "elsewhere")),
        instants,
        st.sampled_from((0, 0, 3, 40)),
        st.sampled_from((Trust.TRUSTED, *Trust)),
        st.booleans(),
    )


def reads_near(owed: Obligation) -> st.SearchStrategy[Read]:
    """Half of them at a boundary of `owed`, or next to one."""
    edges = {owed.opens - owed.early, owed.opens, owed.closes, owed.due}
    near = sorted({edge + step for edge in edges for step in (-1, 0, 1)})
    return reads_at(st.sampled_from(near) | st.integers(0, END - 10))


def some(owed: Obligation) -> st.SearchStrategy[list[Read]]:
    return st.lists(reads_near(owed), max_size=6)


def when(at: int, found: Obligation) -> str:
    """on time, late, early or out: contract §6, first paragraph."""
    if found.opens <= at < found.closes:
        return "on time"
    if found.closes <= at < found.closes + (found.due - found.closes):
        return "late"
    if found.opens - found.early <= at < found.opens:
        return "early"
    return "out"


def naive_serves(at: int, among: list[Obligation]) -> str | None:
    for wanted in ("on time", "late", "early"):
        fitting = sorted(r.key for r in among if when(at, r) == wanted)
        if fitting:
            return fitting[0]
    return None


def naive_counts(told: Read, due: int) -> bool:
    return told.after < due or (told.trust in ("trusted", "uptime") and told.cut_off)


def naive_round(owed: Obligation, told: list[Read], siblings: list[Obligation], up: bool) -> str:
    """The standing at due."""
    route = set(owed.expected)
    done = set()
    for one in told:
        mine = naive_serves(one.at, [owed, *siblings]) == owed.key
        if mine and one.checkpoint in route and naive_counts(one, owed.due):
            done.add(one.checkpoint)
    if done == route:
        return "completed"
    if done:
        return "incomplete"
    return "missed" if up else "unknown"


def naive_late(owed: Obligation, told: list[Read], siblings: list[Obligation]) -> set[str]:
    """Checkpoints none of whose counting reads came before closes."""
    came: dict[str, set[bool]] = {}
    for one in told:
        mine = naive_serves(one.at, [owed, *siblings]) == owed.key
        if mine and one.checkpoint in owed.expected and naive_counts(one, owed.due):
            came.setdefault(one.checkpoint, set()).add(one.at >= owed.closes)
    return {checkpoint for checkpoint, after in came.items() if after == {True}}


def naive_gap(owed: Obligation, told: list[Read], now: int) -> list[list[int | None]]:
    """Walk through time tick by tick: [start, breached, ended] of each stretch raised by `now`."""
    every, grace = owed.terms.every, owed.terms.grace
    visits = {
        one.at
        for one in told
        if one.checkpoint == "a" and (naive_counts(one, owed.due) or one.at >= owed.due)
    }
    clock, open_, found = owed.opens, False, []
    for tick in range(owed.opens, now + 1):
        if not open_ and tick == clock + every + grace and clock + every < owed.closes:
            found.append([clock, clock + every, None])
            open_ = True
        if tick in visits:
            if open_:
                found[-1][2] = tick
            clock, open_ = tick, False
    return found


def siblings_of(owed: Obligation, others: list[Obligation]) -> tuple[Obligation, ...]:
    """One plan: no two of its rounds open at one instant."""
    return tuple({r.key: r for r in others if r.key != owed.key}.values())


def check_round(judge: Settle, data: Any) -> None:
    owed = data.draw(rounds)
    told = data.draw(some(owed))
    siblings = siblings_of(owed, data.draw(st.lists(rounds, max_size=2)))
    up, now = data.draw(st.booleans()), data.draw(st.just(END) | st.integers(0, END))
    verdict = judge(owed, told, Known(marker=now, reachable=up, siblings=siblings), now)
    expected = "pending" if now < owed.due else naive_round(owed, told, list(siblings), up)
    assert verdict.standing == expected
    assert verdict.wake == (owed.due if now < owed.due else None)
    if now >= owed.due:
        assert set(verdict.late) == naive_late(owed, told, list(siblings))
        in_time = [one for one in told if one.after < owed.due]
        assert verdict.first == naive_round(owed, in_time, list(siblings), up)
    assert set(verdict.visited) | set(verdict.missing) == set(owed.expected)


def check_gap(judge: Settle, data: Any) -> None:
    owed, now = data.draw(gaps), data.draw(st.integers(0, END))
    told = data.draw(some(owed))
    told = [one if now >= owed.due else structs.replace(one, after=one.at) for one in told]
    verdict = judge(owed, told, Known(marker=now), now)
    found = [[s.start, s.breached_at, s.ended_at] for s in verdict.stretches]
    assert found == naive_gap(owed, told, now)
    if now < owed.due:
        assert verdict.standing == "pending"
        return
    came = any(
        one.checkpoint == "a" and owed.opens <= one.at < owed.due and naive_counts(one, owed.due)
        for one in told
    )
    assert verdict.standing == ("completed" if not found else "incomplete" if came else "missed")


def check_set(judge: Settle, data: Any) -> None:
    owed, now = data.draw(rounds | gaps), data.draw(st.integers(0, END))
    told = data.draw(some(owed))
    again = data.draw(st.permutations([*told, *told[: len(told) // 2]]))
    known = Known(marker=now, reachable=data.draw(st.booleans()))
    assert judge(owed, told, known, now) == judge(owed, again, known, now)


def check_wake(judge: Settle, data: Any) -> None:
    owed, now = data.draw(rounds | gaps), data.draw(st.integers(0, END))
    told = data.draw(some(owed))
    told = [structs.replace(one, after=0) for one in told]
    verdict = judge(owed, told, Known(marker=now), now)
    if verdict.wake is None:
        return
    assert verdict.wake > now
    for later in range(now, verdict.wake):
        unchanged = judge(owed, told, Known(marker=later), later)
        assert unchanged.standing == verdict.standing
        assert unchanged.stretches == verdict.stretches


def check_grows(judge: Settle, data: Any) -> None:
    owed = data.draw(rounds)
    told, more = data.draw(some(owed)), data.draw(reads_near(owed))
    rank = {"unknown": 0, "missed": 0, "incomplete": 1, "completed": 2}
    known = Known(marker=END, reachable=data.draw(st.booleans()))
    before, after = (judge(owed, seen, known, END) for seen in (told, [*told, more]))
    assert rank[after.standing] >= rank[before.standing]


LAWS = {
    "round": check_round,
    "gap": check_gap,
    "set": check_set,
    "wake": check_wake,
    "grows": check_grows,
}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_round_is_judged_as_a_naive_reader_of_the_contract_would(data: Any) -> None:
    """Standing, first standing and wake of a round equal those of the naive oracle."""
    check_round(settle, data)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_stretches_are_those_of_a_walk_through_time(data: Any) -> None:
    """At every instant the stretches and the standing of a gap equal the naive simulation's."""
    check_gap(settle, data)


@settings(deadline=None)
@given(st.data())
def test_a_verdict_is_a_function_of_the_set_of_reads(data: Any) -> None:
    """Neither order nor repetition of reads changes anything (law 3)."""
    check_set(settle, data)


@settings(deadline=None)
@given(st.data())
def test_nothing_changes_before_wake(data: Any) -> None:
    """Between now and wake time alone changes neither standing nor stretches."""
    check_wake(settle, data)


@settings(deadline=None)
@given(st.data())
def test_more_evidence_never_makes_a_round_worse(data: Any) -> None:
    """A further read may complete a round and never takes anything from it."""
    check_grows(settle, data)


@given(st.lists(rounds, max_size=4), st.integers(0, END))
def test_a_read_serves_what_the_contract_says(among: list[Obligation], at: int) -> None:
    """Whatever the rounds and the instant, serves() picks as the naive reader does."""
    own = list({r.key: r for r in among}.values())
    served = serves(at, own)
    assert (served and served.key) == naive_serves(at, own)


@given(rounds, st.lists(reads_at(st.integers(0, END - 10)), max_size=8), st.booleans())
def test_each_read_counts_in_one_round_at_most(
    owed: Obligation, told: list[Read], flipped: bool
) -> None:
    """Two overlapping rounds of a plan never have the same read as evidence."""
    twin = made(owed.terms, owed.opens + 3, 6, 4, 2)
    pair = (twin, owed) if flipped else (owed, twin)
    known = Known(marker=END, siblings=pair)
    used = [list(settle(each, told, known, END).evidence.values()) for each in pair]
    distinct = {one.identity for one in told}
    if len(distinct) == len(told):
        assert not set(used[0]) & set(used[1])


def broken(module: ModuleType, right: str, wrong: str) -> ModuleType:
    """A copy of `module` in which one thing is wrong."""
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert right in source, f"{module.__name__} does not read {right!r} any more"
    copy = ModuleType(f"{module.__name__}_broken")
    exec(source.replace(right, wrong, 1), copy.__dict__)  # noqa: S102 - our own source
    return copy


DOOR, BENCH = rules.obligations, rules.judges
BREAKS = [
    ("round", DOOR, "if at < obligation.closes:", "if at <= obligation.closes:"),
    ("round", DOOR, "1 if at < obligation.due", "1 if at <= obligation.due"),
    ("round", DOOR, "obligation.opens - obligation.early <= at", "obligation.opens <= at"),
    (
        "round",
        DOOR,
        "at < obligation.opens:\n        return 2 if",
        "at <= obligation.opens:\n        return None if",
    ),
    ("round", DOOR, "read.after < obligation.due:\n        return", "True:\n        return"),
    (
        "round",
        DOOR,
        "read.trust not in (Trust.TRUSTED, Trust.UPTIME)",
        "read.trust is Trust.UNPROVEN",
    ),
    ("round", DOOR, "None if read.cut_off else Wait.NOT_CUT_OFF", "None"),
    ("round", DOOR, "and not known.reachable", "and False"),
    ("round", DOOR, "if clock < obligation.due:", "if clock <= obligation.due:"),
    ("round", DOOR, "serves(read.at, rounds) is obligation", "True"),
    ("round", DOOR, "key=lambda row: row[:3]", "key=lambda row: row[1:3]"),
    (
        "round",
        DOOR,
        "_as_it_was(read) for read in counted if read.after < obligation.due",
        "*counted",
    ),
    ("round", BENCH, "name not in evidence or", "not evidence or"),
    ("gap", BENCH, "if breached >= obligation.closes:", "if breached > obligation.closes:"),
    ("gap", BENCH, "raised = breached + terms.grace", "raised = breached"),
    ("gap", BENCH, "visit >= raised", "visit > raised"),
    ("gap", BENCH, "            last = visit\n", "            pass\n"),
    ("gap", BENCH, "last = obligation.opens", "last = obligation.opens - 1"),
    ("gap", BENCH, "if raised > clock:", "if raised >= clock:"),
    ("gap", BENCH, "[at for at in visits if at <= clock]", "visits"),
    ("gap", DOOR, "read.at >= obligation.opens", "True"),
    ("set", BENCH, "(read.at, read.identity) < (best.at, best.identity)", "True"),
    ("gap", BENCH, "sorted({read.at for read in reads})", "[read.at for read in reads]"),
    ("wake", BENCH, "min(raised, obligation.due)", "obligation.due"),
    ("wake", BENCH, "*(at for at in visits if at > clock)", ""),
    ("grows", DOOR, "if not rivals:", "if len(here) > 3:\n        return []\n    if not rivals:"),
]


def broken_settle(module: ModuleType, right: str, wrong: str) -> Settle:
    copy = broken(module, right, wrong)
    if module is DOOR:
        return copy.settle
    judges = {Round: copy.judge_round, Gap: copy.judge_gap, Quota: copy.judge_quota}
    door = broken(DOOR, "JUDGES[type(obligation.terms)]", "SWAPPED[type(obligation.terms)]")
    door.SWAPPED = judges
    assert judges.keys() == JUDGES.keys()
    return door.settle


@pytest.mark.slow
@pytest.mark.parametrize(("law", "module", "right", "wrong"), BREAKS)
def test_a_broken_copy_is_caught(law: str, module: ModuleType, right: str, wrong: str) -> None:
    """Each law fails for a copy of the rules in which one thing is wrong."""
    judge = broken_settle(module, right, wrong)

    @settings(
        max_examples=3_000,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        derandomize=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def holds(data: Any) -> None:
        LAWS[law](judge, data)

    with pytest.raises(AssertionError):
        holds()


def test_pending_is_the_only_standing_before_due() -> None:
    """Whatever was read, nothing is judged a millisecond before due."""
    owed = made(Round(route=("a",), ordered=False, min_gap=0), 10, 10, 5, 0)
    assert settle(owed, [], Known(marker=24), 24).standing is Standing.PENDING
    assert settle(owed, [], Known(marker=25), 25).standing is Standing.MISSED
