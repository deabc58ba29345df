"""What a change of verdict tells, and how (contract §4)."""

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from devices.ids import Identity
from devices.messages import EventState, Grade, HazardAction, Severity
from rules import words
from rules.calendar import Base, Calendar, DayClass
from rules.cases import CaseState, Step, fold
from rules.events import (
    SEVERITIES,
    EventKind,
    Notice,
    alarm_over,
    calendar_unknown,
    device_gap,
    device_offline,
    event_id,
    follow,
    hazard_closed,
    hazard_opened,
    identity_conflict,
    service_gap,
    sos_cleared,
    sos_raised,
    unknown_tag,
)
from rules.obligations import (
    Decision,
    Do,
    Known,
    Obligation,
    Read,
    Reason,
    Standing,
    Trust,
    Verdict,
    Wait,
    flip,
    settle,
)
from rules.plans import Plan, PlanCheckpoint, Window, owed

OPENS = 1_788_271_200_000  # 2026-09-01T22:00 in Shanghai
HOUR = 3_600_000
NAMES = {"gate": "东门", "lab": "实验楼", "roof": "楼顶"}
PLAN = Plan(
    site="school-01",
    slug="night",
    name="夜间巡更",
    timezone="Asia/Shanghai",
    route=tuple(PlanCheckpoint(slug=slug, name=name) for slug, name in NAMES.items()),
    windows=(Window.parse("22:00-23:00"),),
    grace=300_000,
)
GAP_PLAN = replace(
    PLAN,
    route=PLAN.route[1:2],
    windows=(Window.parse("22:00-06:00"),),
    every=2 * HOUR,
)


def first_of(plan: Plan) -> Obligation:
    return next(owed(plan, Calendar(base=Base.EVERY_DAY), OPENS - 1, OPENS))


ROUND, GAP = first_of(PLAN), first_of(GAP_PLAN)
TOLD_LATE = {"after": GAP.due + 9, "cut_off": True}


def read(checkpoint: str, at: int, **others: object) -> Read:
    told = {
        "identity": f"hh/0/{checkpoint}-{at}",
        "checkpoint": checkpoint,
        "device": "hh",
        "person": None,
        "at": at,
        "told_at": at,
        "trust": Trust.TRUSTED,
        "after": at,
        "received_at": at,
        "cut_off": False,
    }
    return Read(**{**told, **others})


def judged(owing: Obligation, *reads: Read, now: int | None = None, up: bool = True) -> Verdict:
    now = GAP.due + HOUR if now is None else now
    return settle(owing, reads, Known(marker=now, reachable=up), now)


def told(owing: Obligation, was: Verdict | None, now: Verdict) -> list[Notice]:
    found = flip(owing, was, now)
    return [] if found is None else list(follow(found, PLAN if owing is ROUND else GAP_PLAN))


def brief(notices: Iterable[Notice]) -> list[tuple[str, str]]:
    return [(notice.kind.value, notice.state.value) for notice in notices]


MISSED = judged(ROUND)
SOME = judged(ROUND, read("gate", OPENS))
ALL = judged(ROUND, *(read(name, OPENS) for name in NAMES))
UNKNOWN = judged(ROUND, up=False)
LATE_SOME = judged(ROUND, read("gate", OPENS, **TOLD_LATE))
LATE_ALL = judged(ROUND, *(read(name, OPENS, **TOLD_LATE) for name in NAMES))


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        (None, ALL, [("round.completed", "resolved")]),
        (None, SOME, [("round.incomplete", "open")]),
        (None, MISSED, [("round.missed", "open")]),
        (None, UNKNOWN, [("round.unknown", "open")]),
        (MISSED, MISSED, []),
        (MISSED, LATE_SOME, [("round.missed", "open"), ("round.amended", "resolved")]),
        (MISSED, LATE_ALL, [("round.missed", "resolved"), ("round.amended", "resolved")]),
        (LATE_SOME, LATE_ALL, [("round.missed", "resolved"), ("round.amended", "resolved")]),
    ],
)
def test_what_a_flip_of_a_round_tells(
    was: Verdict | None, now: Verdict, expected: list[tuple[str, str]]
) -> None:
    """The verdict at due has its event, open until the round is kept; a change is `amended`."""
    assert brief(told(ROUND, was, now)) == expected


def test_an_event_of_a_round_is_dated_when_it_became_true() -> None:
    """`at` is due, the subject is the round id, whenever it was noticed."""
    [notice] = told(ROUND, None, MISSED)
    assert (notice.at, notice.subject, notice.site) == (ROUND.due, ROUND.key, "school-01")
    assert notice.severity is Severity.HIGH
    assert notice.data["missing"] == ["gate", "lab", "roof"]


def test_messages_name_the_places() -> None:
    """Messages are for people: plan, time on the site's clock, names of checkpoints."""
    [notice] = told(ROUND, None, SOME)
    assert notice.message_zh == "夜间巡更 2026-09-01 22:00–23:00 未完成：未到实验楼、楼顶"
    assert "nobody came to 实验楼, 楼顶" in notice.message_en


def test_an_amendment_says_what_was_what_is_and_why() -> None:
    """`round.amended` holds the verdict at due, the one that holds now, and the reason."""
    amended = told(ROUND, MISSED, LATE_ALL)[-1]
    assert amended.data["was"] == "missed"
    assert amended.data["now"] == "completed"
    assert amended.data["reason"] == "late-evidence"
    assert amended.severity is Severity.INFO


@pytest.mark.parametrize("more", [{"people": ("p-017", "p-018")}, {"visits": {"gate": 2}}])
def test_an_accepted_read_that_is_no_first_one_decides_too(more: dict[str, object]) -> None:
    """A second visit, or a person's tag: who accepted it is told as who changed the verdict."""
    accept = Decision(do=Do.ACCEPT, author="chief", at=GAP.due, reason="camera", read="hh/0/99")
    accepted = structs.replace(LATE_ALL, decisions=(accept,), **more)
    amended = told(ROUND, MISSED, accepted)[-1]
    assert (amended.data["reason"], amended.data["decision"]["author"]) == ("decision", "chief")


def test_an_amendment_that_is_taken_back_is_withdrawn() -> None:
    """A late read accepted and then rejected: the round is missed as at due, and the latest word
    of its amendment says so, and who took it back."""

    def decided(do: Do) -> Verdict:
        decision = Decision(
            do=do, author="chief", at=GAP.due + HOUR, reason="camera", read="hh/0/1"
        )
        late = {"after": GAP.due, "trust": Trust.UNPROVEN, "decision": decision}
        return judged(ROUND, *(read(name, OPENS, **late) for name in NAMES))

    accepted, rejected = decided(Do.ACCEPT), decided(Do.REJECT)
    opened, withdrawn = told(ROUND, accepted, rejected)
    assert brief([opened, withdrawn]) == [("round.missed", "open"), ("round.amended", "resolved")]
    assert withdrawn.subject == told(ROUND, MISSED, accepted)[-1].subject
    assert withdrawn.data["withdrawn"] is True
    assert [withdrawn.data[name] for name in ("was", "now", "reason")] == [
        "missed",
        "missed",
        "decision",
    ]
    assert withdrawn.data["decision"]["do"] == "reject"
    assert "decision of chief withdrew" in withdrawn.message_en
    assert told(ROUND, MISSED, rejected)[-1].kind.value == "round.missed"


def test_an_excuse_resolves_what_was_open() -> None:
    """An excused round is amended by decision and alarms nobody any more."""
    excused = structs.replace(MISSED, standing=Standing.EXCUSED, reason=Reason.EXCUSED)
    resolved, amended = told(ROUND, MISSED, excused)
    assert brief([resolved]) == [("round.missed", "resolved")]
    assert (amended.data["now"], amended.data["reason"]) == ("excused", "decision")


def test_a_verdict_given_without_its_marker_is_withdrawn_when_it_was_wrong() -> None:
    """Called missed after 60 s without a marker, found complete: the first event is withdrawn."""
    missed = structs.replace(MISSED, waited=True)
    withdrawn, right, amended = told(ROUND, missed, ALL)
    assert brief([withdrawn, right]) == [
        ("round.missed", "resolved"),
        ("round.completed", "resolved"),
    ]
    assert (amended.data["was"], amended.data["now"]) == ("missed", "completed")


def test_unknown_becomes_known() -> None:
    """Late evidence of an unknown round resolves or amends `round.unknown`."""
    late = [read(name, OPENS, **TOLD_LATE) for name in NAMES]
    known = judged(ROUND, *late, up=False)
    assert brief(told(ROUND, UNKNOWN, known)) == [
        ("round.unknown", "resolved"),
        ("round.amended", "resolved"),
    ]


def test_an_overdue_checkpoint_opens_and_is_resolved_by_the_next_visit() -> None:
    """One event a stretch: dated at the breach, named by its start, ended by the visit."""
    raised = judged(GAP, now=OPENS + 2 * HOUR + 300_000)
    over = judged(GAP, read("lab", OPENS + 3 * HOUR), now=OPENS + 3 * HOUR)
    [opened] = told(GAP, None, raised)
    [resolved] = told(GAP, raised, over)
    assert brief([opened, resolved]) == [
        ("checkpoint.overdue", "open"),
        ("checkpoint.overdue", "resolved"),
    ]
    assert opened.subject == resolved.subject == "school-01/night/lab/2026-09-01T14:00:00Z"
    assert opened.at == resolved.at == OPENS + 2 * HOUR
    assert resolved.data["ended_at"] == OPENS + 3 * HOUR
    assert opened.message_zh == "实验楼 自 2026-09-01 22:00 起无人到访"


def test_late_evidence_withdraws_a_stretch() -> None:
    """A stretch that later evidence shows never to have been is resolved as withdrawn."""
    raised = judged(GAP)
    kept = judged(GAP, *(read("lab", OPENS + n * HOUR, **TOLD_LATE) for n in (2, 4, 6)))
    withdrawn, amended = told(GAP, raised, kept)
    assert brief([withdrawn]) == [("checkpoint.overdue", "resolved")]
    assert withdrawn.data["withdrawn"] is True
    assert (amended.data["was"], amended.data["now"]) == ("missed", "completed")


def test_a_gap_tells_its_stretches_and_unknown_but_no_rounds() -> None:
    """A gap has no `round.completed` or `round.missed`; that nobody could have told, it tells."""
    assert told(GAP, None, judged(GAP, *(read("lab", OPENS + n * HOUR) for n in (2, 4, 6)))) == []
    assert brief(told(GAP, None, judged(GAP))) == [("checkpoint.overdue", "open")]
    assert brief(told(GAP, None, judged(GAP, up=False))) == [("round.unknown", "open")]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*NAMES, "away"]),
            st.sampled_from([-1, 0, 1, 2, 4, 8, 12, 13]),
            st.booleans(),
        ),
        max_size=6,
    ),
    st.sampled_from([ROUND, GAP]),
    st.lists(st.integers(0, 6), min_size=1, max_size=4),
)
def test_events_of_the_last_verdict_do_not_depend_on_the_way_to_it(
    visits: list[tuple[str, int, bool]], owing: Obligation, stops: list[int]
) -> None:
    """Judged in one step or in many, with evidence that comes, and that is taken back, the events
    that hold and their data are the same."""
    reads = [
        read(name, OPENS + n * HOUR // 2, **(TOLD_LATE if late else {"after": OPENS}))
        for name, n, late in visits
    ]
    in_time = [one for one in reads if one.after < owing.due]
    late = [one for one in reads if one.after >= owing.due]

    def latest(cuts: list[int]) -> dict[tuple[str, str], tuple[object, ...]]:
        held: dict[tuple[str, str], tuple[object, ...]] = {}
        was = None
        for cut in cuts:
            now = judged(owing, *in_time, *late[:cut])
            for notice in told(owing, was, now):
                held[notice.kind, notice.subject] = (notice.state, notice.at, dict(notice.data))
            was = now
        gone = [key for key, (_, _, data) in held.items() if data.get("withdrawn")]
        return {key: value for key, value in held.items() if key not in gone}

    steps = [min(stop, len(late)) for stop in stops]
    assert latest([0, *steps]) == latest([0, steps[-1]])


def test_a_fact_told_twice_has_one_id() -> None:
    """The id is the hash of kind, subject and revision, one a line, cut to 32 digits."""
    expected = sha256(b"round.missed\nschool-01/night/x\n2").hexdigest()[:32]
    assert event_id("round.missed", "school-01/night/x", 2) == expected
    assert event_id(EventKind.ROUND_MISSED, "school-01/night/x", 2) == expected


def test_every_kind_has_a_severity() -> None:
    """The table of severities is whole, and only an sos is critical by kind."""
    assert SEVERITIES.keys() == set(EventKind)
    critical = {kind for kind, severity in SEVERITIES.items() if severity is Severity.CRITICAL}
    assert critical == {EventKind.SOS_RAISED, EventKind.SOS_CLEARED}


def case(*actions: HazardAction, grade: Grade | None = None):
    report = Step(
        identity="hh/0/7",
        at=OPENS,
        action=HazardAction.REPORT,
        device="hh",
        grade=grade,
        text="灭火器失压",
    )
    steps = [
        Step(identity=f"hh/0/{n}", at=OPENS + n, action=action, device="hh")
        for n, action in enumerate(actions, 8)
    ]
    return fold(report, steps)


def test_a_hazard_opens_and_closes_by_its_grade() -> None:
    """Severity goes by grade; the end is an event of its own and resolves the opening."""
    opened = hazard_opened("s", case(grade=Grade.MAJOR), place="东门")
    assert (opened.severity, opened.subject) == (Severity.CRITICAL, "hh/0/7")
    assert opened.message_zh == "重大隐患 东门 灭火器失压：上报"
    ended = case(HazardAction.RESOLVED, HazardAction.VERIFIED)
    assert brief(hazard_closed("s", ended)) == [
        ("hazard.opened", "resolved"),
        ("hazard.closed", "resolved"),
    ]
    assert {notice.severity for notice in hazard_closed("s", ended)} == {Severity.MEDIUM}


def test_what_is_over_resolves_what_was_open() -> None:
    """Online resolves the offline of that boot; a cancelled sos resolves the sos."""
    off = device_offline("s", "hh", "b1", 5)
    on = alarm_over(off.kind, "s", off.subject, off.at, off.data)
    assert (off.kind, off.subject, off.at) == (on.kind, on.subject, on.at)
    assert brief([off, on]) == [("device.offline", "open"), ("device.offline", "resolved")]
    raised = sos_raised("s", "hh/0/3", 5, device="hh", data={"person": "p-017", "silent": True})
    over, cleared = sos_cleared("s", "hh/0/3", 5, 9, device="hh")
    assert raised.severity is Severity.CRITICAL
    assert raised.data["silent"] is True
    assert (over.kind, over.subject, over.at, over.state) == (
        raised.kind,
        raised.subject,
        raised.at,
        EventState.RESOLVED,
    )
    assert cleared.kind is EventKind.SOS_CLEARED


@pytest.mark.parametrize(
    ("notice", "subject"),
    [
        (unknown_tag("s", "hh/0/3", 5, device="hh", tag="04AA"), "hh/0/3"),
        (identity_conflict(None, "hh/0/3", 5, device="hh"), "hh/0/3"),
        (device_gap("s", Identity("hh", 0, 4), 9, 5), "hh/0/4"),
        (service_gap(OPENS, OPENS + HOUR, rounds=3), "service/2026-09-01T14:00:00Z"),
        (calendar_unknown(PLAN, 2027, 5), "school-01/night/2027"),
    ],
)
def test_a_subject_names_the_occurrence(notice: Notice, subject: str) -> None:
    """Each kind is named by what happened, so that telling it twice is one event."""
    assert notice.subject == subject
    assert notice.message_zh
    assert notice.message_en


@pytest.mark.parametrize(
    ("table", "states"),
    [
        (words.STANDINGS, Standing),
        (words.REASONS, Reason),
        (words.TRUSTS, Trust),
        (words.WAITS, Wait),
        (words.DAYS, DayClass),
        (words.CASES, CaseState),
    ],
)
def test_every_machine_word_has_words_for_people(table: dict, states: type) -> None:
    """No state can come up for which there is nothing to print, in either language."""
    assert table.keys() == set(states)
    assert all(found.zh and found.en for found in table.values())


def test_long_lists_are_counted() -> None:
    """A message names five places at most and counts the rest."""
    found = words.listed(tuple("abcdefg"))
    assert found == ("a、b、c、d、e等7处", "a, b, c, d, e and 2 more")
