"""The set check: what it calls lost, duplicated, unexpected, recovered; and its history."""

from dataclasses import replace

import pytest

from firmware_sim.history import History, Spread
from firmware_sim.setcheck import Element, Finding, Found, Round, check, element_of
from firmware_sim.wire import Kind, Receipt, Record

NOON = 1_756_735_200_000
TAG = "04A2B3C4D5E680"


def receipt(upto: int, *missing: tuple[int, int]) -> Receipt:
    return Receipt(ledger="one", epoch=9, upto=upto, missing=missing)


def a_history(kinds: str = "ccc") -> History:
    """A device that made these records, a second apart: check-ins, hazards, sos by first letter."""
    history = History()
    for seq, letter in enumerate(kinds, start=1):
        kind = {"c": Kind.CHECKIN, "h": Kind.HAZARD, "s": Kind.SOS}[letter]
        at = NOON + seq * 1_000
        members = {"tag": TAG} if kind is Kind.CHECKIN else {}
        record = Record(kind=kind, site="school", seq=seq, epoch=9, at=at, members=members)
        history.make("hh", record, at, float(seq))
    return history


def elements(history: History, *seqs: int) -> tuple[Element, ...]:
    return tuple(element_of(history.made["hh", 9, seq]) for seq in seqs)


def finding(history: History, **found: object) -> Finding:
    return check(history, Found(**found))  # type: ignore[arg-type]


def test_all_kept_is_good() -> None:
    """Everything told is there once: nothing is wrong."""
    history = a_history()
    history.tell("hh", receipt(3), 5.0)
    assert finding(history, entries=elements(history, 1, 2, 3)).good


def test_what_was_receipted_and_is_absent_is_lost() -> None:
    """The device was told and may have forgotten it."""
    history = a_history()
    history.tell("hh", receipt(3), 5.0)
    found = finding(history, entries=elements(history, 1, 3))
    assert found.sets["ledger"].lost == elements(history, 2)
    assert not found.good


def test_what_a_receipt_calls_missing_is_not_told() -> None:
    """A device goes on holding it; at the end of a run that is wrong as well."""
    history = a_history()
    history.tell("hh", receipt(3, (2, 2)), 5.0)
    found = finding(history, entries=elements(history, 1, 3))
    assert found.sets["ledger"].none
    assert found.waiting == ("hh/9/2",)
    assert not found.good


def test_an_entry_twice_is_duplicated() -> None:
    """One identity counts once."""
    history = a_history()
    history.tell("hh", receipt(3), 5.0)
    found = finding(history, entries=elements(history, 1, 2, 2, 3))
    assert found.sets["ledger"].duplicated == elements(history, 2)


def test_other_content_is_lost_and_unexpected() -> None:
    """An entry with another tag is not the one that was made, and one nobody made is invented."""
    history = a_history()
    history.tell("hh", receipt(3), 5.0)
    (first,) = elements(history, 1)
    other = first._replace(tag="04FF")
    found = finding(history, entries=(other, *elements(history, 2, 3)))
    assert found.sets["ledger"].lost == (first,)
    assert found.sets["ledger"].unexpected == (other,)


def test_what_was_never_told_and_is_there_is_recovered() -> None:
    """After Jepsen: whether it is there was not known. A flash that was lost takes the rest."""
    history = a_history()
    history.tell("hh", receipt(1), 5.0)
    history.forget("hh", 9)
    found = finding(history, entries=elements(history, 1, 2))
    assert found.good
    assert (found.told["recovered"], found.told["gone_with_their_flash"]) == (1, 1)


def test_what_a_full_device_gave_up_is_not_lost_by_the_service() -> None:
    """Its next `oldest` closes the gap, and a receipt covers it; nobody was told of the record."""
    history = a_history()
    history.drop("hh", 9, 1)
    history.tell("hh", receipt(3), 5.0)
    assert finding(history, entries=elements(history, 2, 3)).good


def test_a_receipt_for_what_was_never_made_is_ahead() -> None:
    """It would cover the device's next records before they exist."""
    history = a_history()
    history.tell("hh", receipt(4), 5.0)
    found = finding(history, entries=elements(history, 1, 2, 3))
    assert [(a.upto, a.highest) for a in history.ahead] == [(4, 3)]
    assert not found.good


def test_the_series_hold_the_ledgers_checkins_once() -> None:
    """Less what the database was made to refuse; nothing else."""
    history = a_history("ccch")
    history.tell("hh", receipt(4), 5.0)
    told = (("hazard.opened", "hh/9/4", 1),)
    all_ = {"entries": elements(history, 1, 2, 3, 4), "told": told}
    points = ("hh/9/1", "hh/9/2", "hh/9/2", "hh/9/8")
    found = finding(history, **all_, points=points, refused=frozenset({"hh/9/3"})).sets["series"]
    assert (found.lost, found.duplicated) == ((), ("hh/9/2",))
    assert found.unexpected == ("hh/9/8",)
    assert finding(history, **all_, points=points).sets["series"].lost == ("hh/9/3",)


@pytest.mark.parametrize(("letter", "kind"), [("s", "sos.raised"), ("h", "hazard.opened")])
def test_an_alarm_that_is_kept_was_told(letter: str, kind: str) -> None:
    """Every sos and hazard of the ledger was heard on MQTT; one that nobody made is invented."""
    history = a_history(letter)
    history.tell("hh", receipt(1), 5.0)
    entries = elements(history, 1)
    assert finding(history, entries=entries).sets["events"].lost == ((kind, "hh/9/1", 1),)
    told = ((kind, "hh/9/1", 1),)
    assert finding(history, entries=entries, told=told).good
    assert finding(history, entries=entries, told=(*told, (kind, "hh/9/1", 2))).good
    strange = (*told, (kind, "hh/9/7", 1))
    assert finding(history, entries=entries, told=strange).sets["events"].unexpected


ROUND = Round(
    key="school/night/x",
    site="school",
    opens=NOON,
    closes=NOON + 60_000,
    route=("gate",),
    missing=(),
)


def test_a_round_counts_the_reads_it_was_owed() -> None:
    """A kept, honest read in the window counts, unless a person has to decide; no other does."""
    history = a_history("c")
    history.tell("hh", receipt(1), 5.0)
    entries, tags = elements(history, 1), {TAG: "gate"}

    def verdicts(round_: Round) -> tuple[int, int]:
        found = finding(history, entries=entries, tags=tags, rounds=(round_,)).sets["verdicts"]
        return len(found.lost), len(found.unexpected)

    missing = replace(ROUND, missing=("gate",))
    assert verdicts(ROUND) == (0, 0)
    assert verdicts(missing) == (1, 0)
    assert verdicts(replace(missing, waiting=1)) == (0, 0)
    assert verdicts(replace(ROUND, judged=False)) == (1, 0)
    later = replace(ROUND, opens=NOON + 60_000, closes=NOON + 120_000)
    assert verdicts(later) == (0, 1)


def test_a_spread_is_by_nearest_rank() -> None:
    """p50, p95, p99 and the longest of what took so long."""
    spread = Spread.of([float(n) for n in range(1, 101)])
    assert (spread.count, spread.p50, spread.p95, spread.longest) == (100, 51.0, 96.0, 100.0)
    assert Spread.of([]).longest == 0.0
