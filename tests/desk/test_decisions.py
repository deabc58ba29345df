"""What a person decides: late evidence, rounds nobody could judge (docs/decisions/0010)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from desk.acts import By
from desk.decisions import decide_read, decide_round
from desk.errors import DeskError, UsageError
from desk.explain import as_json, as_lines, explain
from desk.paper import COLUMNS, width
from rules.events import follow
from rules.obligations import Known, flip, settle
from rules.promises import Do
from store import obligations
from store.arrivals import ArrivalBook
from store.database import open_engine, reading, writing
from store.entries import ENTRY, EntryKind, EntryRow, append, next_id
from store.events import EVENT, raise_notices
from store.facts import Page
from store.listings import CHECKPOINT, DEVICE
from store.obligations import OBLIGATION
from store.presence import PresenceBook
from store.reviews import reviews
from store.touching import touch
from store.verdicts import VERDICT, flipped, put_off
from store.walking import Filter
from tests.filled import NOW, at, fill

NOON = "school-02/noon/2026-09-01T11:00:00Z"
LATE = "hh-0201/0/1"
CHIEF = By(author="chief", now=NOW + 60_000)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """The filled ledger, and a read of the unknown round that came eight hours late, unproven."""
    engine = open_engine(fill(tmp_path))
    with writing(engine) as connection:
        ids = {row.slug: row.id for row in connection.execute(select(DEVICE.c.slug, DEVICE.c.id))}
        hall = connection.execute(select(CHECKPOINT).where(CHECKPOINT.c.slug == "hall")).one()
        book, entry = ArrivalBook(NOW - 2_000), next_id(connection)
        row = EntryRow(
            kind=EntryKind.CHECKIN,
            device_id=ids["hh-0201"],
            epoch=0,
            seq=1,
            site_id=hall.site_id,
            checkpoint_id=hall.id,
            person_id=None,
            at=at("2026-09-01T12:30:00+01:00"),
            sent=None,
            received_at=NOW - 1_500,
            tag="04B2B3C4D5E680",
            via=1,
            digest=1,
            body=None,
        )
        append(connection, [row], entry, book.span(connection, entry))
        book.close(connection, NOW - 1_000)
        presence = PresenceBook()
        presence.heard(connection, ids["hh-0201"], NOW - 1_500)
        presence.flush(connection)
        touch(connection, hall.site_id, row.at)
    judge(engine)
    yield engine
    engine.dispose()


def judge(engine: Engine) -> None:
    """What the watch does with whatever wants a look."""
    with writing(engine) as connection:
        rows = obligations.awake(connection, NOW, 100)
        page = Page(connection, rows, obligations.Plans(), NOW)
        for row in rows:
            facts = page.of(row)
            promise, last = facts.promise, facts.last
            told = page.reachable(row.site_id, promise.opens, promise.due)
            known = Known(marker=NOW, previous=last, reachable=told, decision=facts.decision)
            verdict = settle(promise, facts.reads, known, NOW)
            changed = flip(promise, last, verdict)
            if changed is None:
                put_off(connection, [(row, None)])
                continue
            flipped(connection, [(row, verdict)], NOW)
            raise_notices(connection, follow(changed, facts.plan), NOW)


def standing(engine: Engine, key: str = NOON) -> str:
    with reading(engine) as connection:
        query = select(OBLIGATION.c.standing).where(OBLIGATION.c.key == key)
        return str(connection.execute(query).scalar_one())


def test_late_evidence_waits_and_is_listed(engine: Engine) -> None:
    """What does not count by itself is shown with why, and with the rounds it would count for."""
    (row,) = reviews(engine, Filter())
    assert (row.id, row.why, row.rounds) == (LATE, "clock-unproven", (NOON,))
    assert standing(engine) == "unknown"


@pytest.mark.parametrize(("do", "after"), [(Do.ACCEPT, "completed"), (Do.REJECT, "unknown")])
def test_a_decision_settles_it_again(engine: Engine, do: Do, after: str) -> None:
    """Accepted it counts, rejected it does not; either way it waits no more, and can be undone."""
    assert decide_read(engine, LATE, do, by=CHIEF, note="camera 3 shows it") == (NOON,)
    judge(engine)
    assert standing(engine) == after
    assert list(reviews(engine, Filter())) == []
    with reading(engine) as connection:
        latest = select(VERDICT.c.document).order_by(VERDICT.c.id.desc()).limit(1)
        (told,) = connection.execute(latest).scalar_one()["decisions"]
    assert (told["author"], told["reason"], told["read"]) == ("chief", "camera 3 shows it", LATE)
    other = Do.REJECT if do is Do.ACCEPT else Do.ACCEPT
    decide_read(engine, LATE, other, by=CHIEF, note="it was another day")
    judge(engine)
    assert standing(engine) == ("unknown" if do is Do.ACCEPT else "completed")


def test_a_decision_is_an_action_in_the_append_only_door(engine: Engine) -> None:
    """Who did what, when and why stands among the entries, which nobody can change."""
    decide_round(engine, NOON, Do.CALL_MISSED, by=CHIEF, reason="nobody came, says the janitor")
    with reading(engine) as connection:
        query = select(ENTRY).where(ENTRY.c.kind == EntryKind.ACTION.value)
        action = connection.execute(query.order_by(ENTRY.c.id.desc())).first()
    assert action is not None
    assert (action.author, action.at) == ("chief", CHIEF.now)
    assert "janitor" in action.body


def test_unknown_called_missed_is_amended_by_decision(engine: Engine) -> None:
    """The first verdict stays readable; the event tells who changed it."""
    decide_round(engine, NOON, Do.CALL_MISSED, by=CHIEF, reason="nobody came")
    judge(engine)
    assert standing(engine) == "missed"
    with reading(engine) as connection:
        query = select(EVENT.c.data).where(EVENT.c.kind == "round.amended")
        (data,) = connection.execute(query.where(EVENT.c.subject == NOON)).scalars()
    assert (data["was"], data["now"], data["reason"]) == ("unknown", "missed", "decision")
    assert data["decision"]["author"] == "chief"


def test_an_excused_round_is_excused_not_gone(engine: Engine) -> None:
    """It keeps its verdicts, and late evidence that is accepted later does not take the excuse."""
    decide_round(engine, NOON, Do.EXCUSE, by=CHIEF, reason="sports day")
    judge(engine)
    decide_read(engine, LATE, Do.ACCEPT, by=CHIEF, note="seen")
    judge(engine)
    assert standing(engine) == "excused"


@pytest.mark.parametrize(
    ("key", "do", "why"),
    [
        ("school-01/night/2026-09-01T14:00:00Z", Do.EXCUSE, "completed"),
        ("school-01/night/2026-09-01T14:00:00Z", Do.CALL_MISSED, "unknown"),
        ("school-01/night/none", Do.EXCUSE, "no round"),
    ],
)
def test_what_cannot_be_decided_is_refused(engine: Engine, key: str, do: Do, why: str) -> None:
    """A completed round needs no excuse; only what stays unknown can be called missed."""
    with pytest.raises(DeskError, match=why):
        decide_round(engine, key, do, by=CHIEF, reason="-")


def test_a_read_that_counts_by_itself_is_nobodys_to_decide(engine: Engine) -> None:
    """Only what waits is reviewed; what is no identity is said to be none."""
    with pytest.raises(DeskError, match="counts by itself"):
        decide_read(engine, "hh-0101/0/1", Do.REJECT, by=CHIEF, note="-")
    with pytest.raises(UsageError):
        decide_read(engine, "gibberish", Do.REJECT, by=CHIEF, note="-")


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_an_explanation_tells_who_decided(engine: Engine, lang: str) -> None:
    """A guard who appeals reads who decided, when and why, on a page of 80 columns."""
    decide_read(engine, LATE, Do.ACCEPT, by=CHIEF, note="camera 3 shows it")
    judge(engine)
    lines = list(as_lines(explain(engine, NOON), lang))
    assert max(map(width, lines)) <= COLUMNS
    told = "\n".join(lines)
    assert "chief" in told
    assert "camera 3 shows it" in " ".join(told.split())
    document = as_json(explain(engine, NOON))
    assert document["reads"][0]["decision"]["author"] == "chief"
    assert document["verdicts"][-1]["decisions"][0]["do"] == "accept"
