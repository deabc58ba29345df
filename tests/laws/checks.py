"""Laws 2 to 8, each a check of what a system holds against the log of what it took.

A check raises AssertionError with the law's number. Numbers are those of docs/laws.md.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tests.laws import oracle
from tests.laws.oracle import Expected, Tale
from tests.laws.systems import Outcome, System
from tests.laws.world import HEARTBEATS, STRANGE, Tick

ONCE, SET, EVENT_TIME, TOLD = "once", "set", "event time", "told"
NEVER_REWRITTEN, FAIR, BOTH_CLOCKS, RECEIPTS = "never rewritten", "fair", "both clocks", "receipts"
LAWS = (ONCE, SET, EVENT_TIME, TOLD, NEVER_REWRITTEN, FAIR, BOTH_CLOCKS, RECEIPTS)
"""Names of the checks below; never rewritten is asked throughout a run, the others at its end."""

LOOKS = ("withdrawn", "wake")
MARKS = ("checkin.same-tag-two-devices", "checkin.too-fast", "checkin.out-of-order")
OVERDUE = "checkpoint.overdue"


def once(tale: Tale, found: Outcome, system: System) -> None:
    """2. An identity counts once; other content under it is never dropped silently."""
    assert set(found.entries) == set(tale.records), "law 2: entries"
    told = {subject for kind, subject in found.latest if kind == "device.identity-conflict"}
    aside = system.kept_aside()
    if aside is not None:
        assert aside == len(tale.conflicts), "law 2: conflicts in quarantine"
        assert told == {identity for identity, _ in tale.conflicts}, "law 2: conflicts told"
        strange = {k for k, record in tale.records.items() if record.said["tag"] == STRANGE}
        told = {subject for kind, subject in found.latest if kind == "checkin.unknown-tag"}
        assert told == strange, "law 2: unknown tags told"
    used: dict[str, list[str]] = {}
    for one in oracle.owed(tale):
        if one.every is None and one.key in found.verdicts:
            evidence = found.verdicts[one.key][-1][0]["evidence"]
            used.setdefault(one.plan, []).extend(evidence.values())
    for plan, reads in used.items():
        assert len(reads) == len(set(reads)), f"law 2: one read twice evidence for {plan}"


def set_of_messages(found: Outcome, again: Outcome) -> None:
    """3 and 8. The same messages in another order and batching, never restarted: the same."""
    ours, theirs = _verdicts(found), _verdicts(again)
    differ = sorted(ours.keys() ^ theirs.keys())
    assert not differ, f"law 3: judged in one run only: {differ}"
    assert ours == theirs, "law 3: verdicts"
    assert found.third == again.third, "law 3: corrections"
    mine, its = _settled(found), _settled(again)
    differ = {key: (mine.get(key), its.get(key)) for key in mine.keys() | its.keys()}
    differ = {key: pair for key, pair in differ.items() if pair[0] != pair[1]}
    assert not differ, f"law 3: events {differ}"


def _verdicts(found: Outcome) -> dict[str, dict[str, Any]]:
    """The latest ones, but for what a look left for the next, and what was told and taken back."""
    latest = {key: revisions[-1][0] for key, revisions in found.verdicts.items()}
    return {
        key: {name: value for name, value in document.items() if name not in LOOKS}
        for key, document in latest.items()
    }


def _settled(found: Outcome) -> dict[tuple[str, str], Any]:
    """`device.* service.*` may differ (law 3)."""
    but = ("device", "service")
    return {
        key: row
        for key, row in found.latest.items()
        if key[0].split(".")[0] not in but and key[0] not in MARKS
    }


def event_time(tale: Tale, log_ticks: set[int], found: Outcome) -> None:
    """4. `at` is when it became true, `raised_at` a tick of ours, no earlier; all due is judged."""
    due = {one.key: one.due for one in oracle.owed(tale)}
    for kind, subject, _, _, at, raised_at, _ in found.events:
        assert raised_at in log_ticks, "law 4: raised by another clock than ours"
        if kind.startswith("round."):
            assert subject in due, f"law 4: nobody owed {subject}"
            assert at == due[subject], "law 4: dated by its due"
            assert raised_at >= at, "law 4: raised before due"
    for key, revisions in found.verdicts.items():
        assert key in due, f"law 4: nobody owed {key}"
        for document, judged_at in revisions:
            early = document["standing"] != "pending" and judged_at < due[key]
            assert not early, "law 4: judged before due"
    settled = {k for k, v in found.verdicts.items() if v[-1][0]["standing"] != "pending"}
    assert settled == {key for key, at in due.items() if at <= (tale.now or 0)}, "law 4: judged"


def never_rewritten(before: Outcome, after: Outcome) -> None:
    """5. What was written once reads the same for ever; more may follow."""
    for key, revisions in before.verdicts.items():
        assert after.verdicts[key][: len(revisions)] == revisions, "law 5: verdicts"
    assert after.events[: len(before.events)] == before.events, "law 5: events"
    for mine, its in ((before.entries, after.entries), (before.third, after.third)):
        assert all(its.get(name) == row for name, row in mine.items()), "law 5: entries"


def fair(tale: Tale, found: Outcome) -> None:
    """2, 4, 6. Every verdict is that of a naive reader of the contract: unknown is not missed, what
    waited in a queue is not missed, no device's clock clears or blames another."""
    for key, expected in oracle.judged(tale).items():
        assert key in found.verdicts, f"law 6: {key} was never judged"
        document = found.verdicts[key][-1][0]
        assert document["standing"] == expected.standing, f"law 6: {key}: {document}, {expected}"
        assert document["first"] == expected.first, f"law 6: first {key}: {document}, {expected}"
        assert set(document["missing"]) == expected.missing, f"law 6: missing {key}"
        assert set(document["late"]) == expected.late, f"law 6: late {key}"
        assert set(document["waiting"]) == expected.waiting, f"law 6: waiting {key}"
        _evidence(tale, document["evidence"], expected)
        stretches = [tuple(each) for each in document["stretches"]]
        assert stretches == expected.stretches, f"law 6: {key}: {stretches}, {expected}"
        _first_revision(tale, found, key, expected)


def _evidence(tale: Tale, used: Mapping[str, str], expected: Expected) -> None:
    assert used.keys() == expected.evidence.keys(), "law 6: evidence"
    for place, identity in used.items():
        mine, best = tale.records[identity], tale.records[expected.evidence[place]]
        assert oracle.timed(tale, mine).at == oracle.timed(tale, best).at, "law 6: first read"


def _first_revision(tale: Tale, found: Outcome, key: str, expected: Expected) -> None:
    """Who was judged before anything came late was judged as it stood at due."""
    document, judged_at = next(
        row for row in found.verdicts[key] if row[0]["standing"] != "pending"
    )
    late = [r for r in tale.records.values() if expected.owed.due <= r.after < judged_at]
    if not late and judged_at <= (tale.now or 0):
        possible = {expected.first, expected.standing}
        assert document["standing"] in possible, f"law 5: first verdict of {key}"


def told(tale: Tale, found: Outcome) -> None:
    """4. The events that hold are those of the verdicts (§4; decision 5), and no others."""
    expected: dict[tuple[str, str], Any] = {}
    for key, one in oracle.judged(tale).items():
        if one.owed.every is None or one.first == "unknown":
            state = "resolved" if one.standing == "completed" else "open"
            expected[f"round.{one.first}", key] = (state, one.owed.due)
        if one.first != one.standing:
            expected["round.amended", key] = (one.first, one.standing)
    latest = {key: row for key, row in found.latest.items() if key[0].startswith("round.")}
    assert latest.keys() == expected.keys(), f"law 4: told {latest.keys() ^ expected.keys()}"
    for (kind, key), (state, at, data) in latest.items():
        mine = (data["was"], data["now"]) if kind == "round.amended" else (state, at)
        assert mine == expected[kind, key], f"law 4: {kind} of {key}: {mine}"
    _overdue(tale, found)


def _overdue(tale: Tale, found: Outcome) -> None:
    """`checkpoint.overdue` of windows that are over: one a stretch, resolved by the next visit."""
    expected, over = {}, set()
    for one in oracle.judged(tale).values():
        if one.owed.every is None:
            continue
        over.add((one.owed.plan, one.owed.route[0], one.owed.opens))
        for since, breached, ended in one.stretches:
            expected[since] = ("open" if ended is None else "resolved", breached)
    running = [o for o in oracle.owed(tale) if o.every is not None and o.due > (tale.now or 0)]
    latest = {}
    for (kind, _), (state, at, data) in found.latest.items():
        if kind == OVERDUE and not any(o.opens <= data["since"] < o.due for o in running):
            latest[data["since"]] = (state, at)
    expected = {
        since: row
        for since, row in expected.items()
        if not any(o.opens <= since < o.due for o in running)
    }
    assert latest == expected, f"law 4: overdue {latest}, {expected}"


def both_clocks(tale: Tale, found: Outcome) -> None:
    """7. The device's time and ours are kept as they were; a corrected time is a third value."""
    for name, record in tale.records.items():
        kept = (record.said["at"], record.sent, record.after)
        assert tuple(found.entries[name]) == kept, f"law 7: clocks of {name}"
        at, how = oracle.timed(tale, record)
        third = None if how in ("trusted", "unproven") else (at, how)
        if name in found.third:
            assert tuple(found.third[name]) == third, f"law 7: {name} {found.third[name]}, {third}"
        else:
            assert third is None, f"law 7: no third time of {name}: {third}"


def receipts(tale: Tale, system: System) -> None:
    """8. A receipt claims what is kept, whatever was restarted in between."""
    for device in HEARTBEATS:
        claimed = system.covered(device)
        if claimed is not None:
            assert claimed == oracle.covered(tale, device), f"law 8: receipt to {device}"


Check = Callable[[], None]


def after_the_run(log: list[Any], system: System, found: Outcome) -> dict[str, Check]:
    """Each law by its name, asked of the end of a run."""
    tale = oracle.read(log)
    ticks = {item.at for item in log if isinstance(item, Tick)}
    return {
        ONCE: lambda: once(tale, found, system),
        EVENT_TIME: lambda: event_time(tale, ticks, found),
        FAIR: lambda: fair(tale, found),
        TOLD: lambda: told(tale, found),
        BOTH_CLOCKS: lambda: both_clocks(tale, found),
        RECEIPTS: lambda: receipts(tale, system),
    }
