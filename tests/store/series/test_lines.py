"""The line protocol: golden lines pin it, and what is written can be read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.series import lines
from tests.store.series.ledgers import NOON
from tests.store.series.protocol import parse

CHECKIN = lines.CheckinPoint(
    site="school-01",
    device="hh-0101",
    epoch=0,
    seq=17,
    checkpoint="gate-east",
    via="nfc",
    person="p-017",
    at=NOON,
    sent=NOON + 30,
    received_at=NOON + 50,
    battery=81,
    rssi=-61,
    proven=True,
)

GOLDEN = [
    (
        lines.checkin(CHECKIN),
        "checkin,checkpoint=gate-east,device=hh-0101,site=school-01,via=nfc "
        'event_id="hh-0101/0/17",seq=17i,lag_ms=50i,proven=true,person="p-017",skew_ms=-20i,'
        "battery=81i,rssi=-61i 1788235200000840379",
    ),
    (
        lines.checkin(
            lines.CheckinPoint(
                site="school-01",
                device="hh-0101",
                epoch=0,
                seq=17,
                checkpoint=None,
                via=None,
                person=None,
                at=NOON,
                sent=None,
                received_at=NOON + 50,
                battery=None,
                rssi=None,
                proven=False,
            )
        ),
        'checkin,device=hh-0101,site=school-01 event_id="hh-0101/0/17",seq=17i,lag_ms=50i,'
        "proven=false 1788235200000840379",
    ),
    (
        lines.round_(
            lines.RoundPoint(
                site="school-01",
                plan="night",
                key="school-01/night/2026-09-01T04:00:00Z",
                due=NOON,
                verdict="incomplete",
                expected=3,
                visited=1,
                late=1,
                revision=2,
                scored=True,
            )
        ),
        "round,plan=night,site=school-01 "
        'round_id="school-01/night/2026-09-01T04:00:00Z",verdict="incomplete",completed=0i,'
        "incomplete=1i,missed=0i,unknown=0i,excused=0i,expected=3i,visited=1i,"
        "coverage=0.3333333333333333,late=1i,revision=2i,scored=1i 1788235200000706410",
    ),
    (
        lines.event(
            lines.EventPoint(
                site=None,
                kind="service.gap",
                event_id="0f",
                severity="medium",
                subject='a "b" \\c',
                at=NOON,
                revision=1,
                state="open",
            )
        ),
        'event,kind=service.gap,site=all event_id="0f",severity="medium",'
        'subject="a \\"b\\" \\\\c",state="open",revision=1i 1788235200000675465',
    ),
    (
        lines.hazard(
            lines.HazardPoint(
                site="school-01",
                reported_category="fire, smoke=yes\\no",
                category="exit",
                hazard_id="hh-0101/0/8",
                reported_at=NOON,
                state="reported",
                grade="major",
                is_open=True,
                is_overdue=False,
                age_ms=90_500,
            )
        ),
        "hazard,category=fire\\,\\ smoke\\=yes_no,site=school-01 "
        'hazard_id="hh-0101/0/8",state="reported",grade="major",open=1i,overdue=0i,age_s=90.5,'
        'category_now="exit" 1788235200000289578',
    ),
    (
        lines.site_state(
            lines.SiteState(
                site="school-01",
                at=NOON,
                due=1,
                open_rounds=2,
                missed_today=3,
                completed_today=4,
                open_hazards=5,
                sos=6,
                devices_online=7,
                last_seen_s=8,
            )
        ),
        "site_state,site=school-01 due=1i,open_rounds=2i,missed_today=3i,completed_today=4i,"
        "open_hazards=5i,sos=6i,devices_online=7i,last_seen_s=8i 1788235200000808438",
    ),
    (
        lines.device(
            lines.DeviceGauge(
                site=None, device="insp-01", at=NOON, online=False, battery=9, queue=120
            )
        ),
        "device,device=insp-01 online=false,battery=9i,queue=120i 1788235200000973147",
    ),
    (
        lines.service(
            lines.ServiceGauge(
                instance="gridbeat",
                at=NOON,
                received=9,
                accepted=7,
                duplicate=1,
                quarantined=1,
                lag_ms=12,
                outbox=0,
            )
        ),
        "service,instance=gridbeat received=9i,accepted=7i,duplicate=1i,quarantined=1i,"
        "lag_ms=12i,outbox=0i 1788235200000420566",
    ),
]


@pytest.mark.parametrize(("made", "golden"), GOLDEN)
def test_golden_lines(made: str, golden: str) -> None:
    """The wire form of every measurement is what it was when walls were built on it."""
    assert made == golden


text = st.text(max_size=20)
number = st.integers(-(2**53), 2**53)
points = st.builds(
    lines.CheckinPoint,
    site=text.filter(bool),
    device=text.filter(bool),
    epoch=number,
    seq=number,
    checkpoint=st.none() | text,
    via=st.none() | text,
    person=st.none() | text,
    at=st.integers(lines.EARLIEST, lines.LATEST),
    sent=st.none() | number,
    received_at=number,
    battery=st.none() | number,
    rssi=st.none() | number,
    proven=st.booleans(),
)


def tagged(value: str) -> str:
    return "".join("_" if c < " " or c in "\\\x7f" else c for c in value)


def said(value: str) -> str:
    return "".join(" " if c < " " or c == "\x7f" else c for c in value)


@given(points)
def test_what_is_written_can_be_read_back(point: lines.CheckinPoint) -> None:
    """No text a device can send breaks a line or changes a neighbour's value."""
    read = parse(lines.checkin(point))
    tags = {"site": point.site, "device": point.device}
    tags |= {"checkpoint": point.checkpoint or "", "via": point.via or ""}
    assert read.tags == {name: tagged(value) for name, value in tags.items() if value}
    written: dict[str, str | int | None] = {
        "seq": point.seq,
        "battery": point.battery,
        "rssi": point.rssi,
    }
    written |= {"proven": point.proven, "lag_ms": point.received_at - point.at}
    written |= {"person": None if point.person is None else said(point.person)}
    written |= {"event_id": said(f"{point.device}/{point.epoch}/{point.seq}")}
    written |= {"skew_ms": None if point.sent is None else point.sent - point.received_at}
    assert read.fields == {name: value for name, value in written.items() if value is not None}
    assert read.time // 1_000_000 == point.at


@given(st.text(), st.text(), st.integers(1, 9))
def test_all_revisions_of_an_event_are_one_point(subject: str, state: str, revision: int) -> None:
    """Time and tags of an event follow from kind, subject and `at` alone."""
    first, later = (
        parse(
            lines.event(
                lines.EventPoint(
                    site="school-01",
                    kind="sos.raised",
                    event_id=str(number),
                    severity="critical",
                    subject=subject,
                    at=NOON,
                    revision=number,
                    state=state,
                )
            )
        )
        for number in (1, 1 + revision)
    )
    assert (first.tags, first.time) == (later.tags, later.time)
    assert first.fields["revision"] != later.fields["revision"]


@given(st.integers(0, 50), st.integers(0, 50))
def test_coverage_is_a_share(visited: int, expected: int) -> None:
    """Coverage reads back as a float, and is whole where nothing was owed."""
    point = lines.RoundPoint(
        site="s",
        plan="p",
        key="k",
        due=NOON,
        verdict="completed",
        expected=expected,
        visited=min(visited, expected),
        late=0,
        revision=1,
        scored=False,
    )
    coverage = parse(lines.round_(point)).fields["coverage"]
    assert isinstance(coverage, float)
    assert coverage == (min(visited, expected) / expected if expected else 1.0)


@pytest.mark.parametrize("at", [lines.EARLIEST - 1, lines.LATEST + 1, 2**53])
def test_a_time_no_series_can_hold_is_said_so(at: int) -> None:
    """A device's clock may say anything up to 2⁵³ ms; nanoseconds cannot hold all of it."""
    with pytest.raises(lines.Unwritable, match="1677"):
        lines.checkin(CHECKIN._replace(at=at))
