"""A wand's export taken in: once, told precisely, without alarms (docs/decisions/0018)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from desk.acts import By
from desk.errors import DeskError, UsageError
from desk.sheets import Sheet
from desk.wandfiles import Whose, read_rows
from desk.wandimport import PAGE, Asked, Taken, take
from desk.wandmaps import WandMap, as_yaml, find, read_yaml, remove, save, saved
from store.database import reading, writing
from store.listings import checkins
from store.picture import Picture
from store.walking import Filter
from tests.store.registries import NOW, Ledger, a_ledger, checkpoint, plan, site

HEADINGS = "机号,地点,人员,时间"
BY = By(author="chief", now=NOW + 40 * 86_400_000)
REGISTRY: dict[str, Any] = {
    "calendar": "every-day",
    "grids": [{"id": "bureau", "name": "Bureau", "tree": "sector", "level": 1}],
    "people": [
        {"id": "p-017", "name": "保安甲", "tags": ["04AAAA01"]},
        {"id": "p-018", "name": "保安乙"},
    ],
    "devices": [{"id": "wand-9", "grid": "bureau", "protocol": "wand", "address": "900"}],
    "sites": [
        site(
            "school-01",
            belongs_to=["bureau"],
            checkpoints=[
                checkpoint("gate", "0012886472") | {"name": "东门"},
                checkpoint("lab", "04A2B3C4D5E681") | {"name": "实验楼"},
            ],
            devices=[{"id": "wand-1", "protocol": "wand", "address": "00000123"}],
            plans=[plan("night", "gate", "lab")],
        ),
        site(
            "school-02",
            timezone="Europe/Berlin",
            belongs_to=["bureau"],
            checkpoints=[checkpoint("hall", "04B2B3C4") | {"name": "大厅"}],
            devices=[{"id": "wand-2", "protocol": "wand", "address": "200"}],
        ),
    ],
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with a_ledger(tmp_path) as made:
        made.apply(REGISTRY)
        yield made


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Picture:
    """The registry, without its ledger."""
    with a_ledger(tmp_path_factory.mktemp("picture")) as ledger:
        ledger.apply(REGISTRY)
        return ledger.picture()


def csv(folder: Path, *lines: str, head: str = HEADINGS, codec: str = "gbk") -> Path:
    path = folder / "records.csv"
    path.write_bytes("\r\n".join([head, *lines]).encode(codec))
    return path


def imported(
    ledger: Ledger,
    path: Path,
    told: WandMap | None = None,
    *,
    device: str | None = None,
    at_site: str | None = None,
    **more: Any,
) -> Taken:
    asked = Asked(
        path=path,
        map=told or WandMap(),
        map_name="auto",
        whose=Whose(device=device, site=at_site),
        **more,
    )
    return take(ledger.engine, asked, by=BY)


def listed(ledger: Ledger) -> list[tuple[Any, ...]]:
    rows = checkins(ledger.engine, Filter())
    return [(row.device, row.checkpoint, row.person, row.at, row.via) for row in rows]


def everything(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    with reading(ledger.engine) as connection:
        names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))
        return {
            name: [tuple(row) for row in connection.execute(text(f'SELECT * FROM "{name}"'))]  # noqa: S608
            for name in names.scalars().all()
        }


def ms(local: str, offset: str = "+08:00") -> int:
    from tests.filled import at

    return at(f"{local.replace(' ', 'T')}{offset}")


# What a row says ----------------------------------------------------------------------------------


def test_a_row_is_a_checkin_of_its_wand(ledger: Ledger, tmp_path: Path) -> None:
    """By the machine number, the place's name, the person's name, and the site's own zone."""
    done = imported(ledger, csv(tmp_path, "123,东门,保安甲,2026-09-20 22:15:30"))
    assert (len(done.new), done.known, done.unreadable) == (1, 0, ())
    assert listed(ledger) == [("wand-1", "gate", "p-017", ms("2026-09-20 22:15:30"), "import")]


def test_who_tells_the_time_is_said(ledger: Ledger, tmp_path: Path) -> None:
    """A local time of the site's zone, or the wand's with its offset."""
    rows = ("123,东门,,2026-09-20 22:15:30", "123,东门,,2026-09-20 14:16:30Z")
    imported(ledger, csv(tmp_path, *rows))
    told = [row.time_source for row in checkins(ledger.engine, Filter())]
    assert told == ["device-local", "device"]


def test_the_site_whose_wand_it_is_says_the_zone(ledger: Ledger, tmp_path: Path) -> None:
    """One file may hold wands of several schools."""
    imported(
        ledger,
        csv(tmp_path, "123,东门,,2026-09-20 22:15:30", "200,大厅,,2026-09-20 22:15:30"),
    )
    assert [row[3] for row in listed(ledger)] == [
        ms("2026-09-20 22:15:30"),
        ms("2026-09-20 22:15:30", "+02:00"),
    ]


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("机号,卡号,时间", "00000123,12886472,2026-09-20 22:15:30"),
        ("巡检器号,巡逻点,巡逻员,刷卡时间", "123,东门,保安甲,2026/9/20 22:15:30"),
        ("Date,Time,Checkpoint,Guard,Reader", "2026-09-20,22:15:30,东门,保安甲,123"),
        ("日期,时间,地点,机号", "2026年9月20日,22:15:30,gate,123"),
        ("日期,时间,地点,机号", "2026-09-20,下午 10:15:30.000,gate,123"),
        ("日期,打卡时间,地点,机号", "20/9/26,2026-09-20 22:15:30,gate,123"),
        ("swipeTime,cardNumber,userName,deviceCode", "2026-09-20 22:15:30,0012886472,x,123"),
    ],
)
def test_vendors_headings_are_understood(
    ledger: Ledger, tmp_path: Path, head: str, line: str
) -> None:
    """Date and time in one column or two, the place by tag, name or id: one and the same record."""
    imported(ledger, csv(tmp_path, "123,东门,,2026-09-20 22:15:30"))
    again = imported(ledger, csv(tmp_path, line, head=head, codec="utf-8-sig"))
    assert (len(again.new), again.known, again.unreadable) == (0, 1, ())


def test_a_spreadsheet_and_its_csv_are_one_file(ledger: Ledger, tmp_path: Path) -> None:
    """With a title merged over all of it and headings merged over two rows."""
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (
        ["巡更记录报表", None, None, None, None],
        ["机号", "巡检", None, None, "人员"],
        [None, "日期", "时间", "地点", None],
        [123, "2026-09-20", "22:15:30", "东门", "保安甲"],
        [None, None, None, None, None],
        ["合计", None, None, None, 1],
    ):
        sheet.append(row)
    for area in ("A1:E1", "A2:A3", "B2:D2", "E2:E3"):
        sheet.merge_cells(area)
    path = tmp_path / "records.xlsx"
    book.save(path)
    done = imported(ledger, path)
    assert (len(done.new), done.blank, done.header.row) == (1, 2, 3)
    flat = csv(tmp_path, ",日期,时间,地点,", "123,2026-09-20,22:15:30,东门,保安甲", "合计,,,,1",
               head="机号,巡检,,,人员")  # fmt: skip
    again = imported(ledger, flat)
    assert (again.known, len(again.new), again.blank) == (1, 0, 1)


def test_a_persons_card_says_who_makes_the_rows_after_it(ledger: Ledger, tmp_path: Path) -> None:
    """Where the software has no column of persons, the wand read their cards."""
    path = csv(
        tmp_path,
        "123,04AAAA01,2026-09-20 22:00:00",
        "123,12886472,2026-09-20 22:15:30",
        head="机号,卡号,时间",
    )
    imported(ledger, path)
    assert [row[1:3] for row in listed(ledger)] == [(None, "p-017"), ("gate", "p-017")]


# What cannot be read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "column", "why"),
    [
        ("999,东门,,2026-09-20 22:15:30", "机号", "no wand has the machine number '999'"),
        ("123,岗亭,,2026-09-20 22:15:30", "地点", "no checkpoint of school-01 is called '岗亭'"),
        ("123,,,2026-09-20 22:15:30", "地点", "neither place nor tag"),
        ("123,东门,,", "时间", "no time"),
        ("123,东门,,20/09/2026 22:15", "时间", "told apart"),
        ("123,东门,,2009-09-20 22:15:30", "时间", "clock was not set"),
        ("123,东门,,2027-09-20 22:15:30", "时间", "has not come yet"),
        ("200,大厅,,2025-10-26 02:30:00", "时间", "is twice"),
        ("900,东门,,2026-09-20 22:15:30", "机号", "several sites"),
    ],
)
def test_a_row_that_cannot_be_read_is_told_and_kept(
    ledger: Ledger, tmp_path: Path, line: str, column: str, why: str
) -> None:
    """Row, column and why; its cells are in quarantine, once, and the other rows are taken."""
    path = csv(tmp_path, "123,东门,,2026-09-20 22:10:00", line)
    for new in (1, 0):
        done = imported(ledger, path)
        (bad,) = done.unreadable
        assert (len(done.new), bad.row, bad.column) == (new, 3, column)
        assert why in bad.why
    with reading(ledger.engine) as connection:
        kept = connection.execute(text("SELECT payload, reason, copies, detail FROM quarantine"))
        (row,) = kept.all()
    assert json.loads(row.payload) == line.split(",")
    assert (row.reason, row.copies) == ("unreadable-row", 1)
    assert row.detail.startswith(f"records.csv, row 3, {column}: ")


def test_a_row_is_taken_once_the_map_is_mended(ledger: Ledger, tmp_path: Path) -> None:
    """By importing the file again; quarantine says that it was."""
    path = csv(tmp_path, "123,岗亭,,2026-09-20 22:15:30")
    imported(ledger, path)
    done = imported(ledger, path, WandMap(places={"岗亭": "gate"}))
    assert (len(done.new), done.unreadable) == (1, ())
    with reading(ledger.engine) as connection:
        states = connection.execute(text("SELECT state FROM quarantine")).scalars().all()
    assert states == ["taken"]


def test_a_known_row_with_another_person_is_not_dropped_silently(
    ledger: Ledger, tmp_path: Path
) -> None:
    """The first stands; the other is told, and kept in quarantine."""
    imported(ledger, csv(tmp_path, "123,东门,保安甲,2026-09-20 22:15:30"))
    done = imported(ledger, csv(tmp_path, "123,东门,保安乙,2026-09-20 22:15:30"))
    assert [(bad.column, bad.row) for bad in done.unreadable] == [("人员", 2)]
    assert "another person" in done.unreadable[0].why
    assert [row[2] for row in listed(ledger)] == ["p-017"]


def test_people_nobody_knows_are_counted(ledger: Ledger, tmp_path: Path) -> None:
    """The visit counts, where it is said that it shall without its person."""
    path = csv(tmp_path, "123,东门,王五,2026-09-20 22:15:30")
    done = imported(ledger, path, without_person=True)
    assert done.unknown_people == {"王五": 1}
    assert listed(ledger)[0][1:3] == ("gate", None)


def test_of_two_people_of_one_name_somebody_says_who(ledger: Ledger, tmp_path: Path) -> None:
    """The registry knows both: what is asked is who is meant, and a map that tells it is taken."""
    namesakes = [*REGISTRY["people"], {"id": "p-019", "name": "保安乙"}]
    ledger.apply({**REGISTRY, "people": namesakes})
    path = csv(tmp_path, "123,东门,保安乙,2026-09-20 22:15:30")
    tried = imported(ledger, path, dry_run=True)
    assert (tried.namesakes, tried.unknown_people) == ({"保安乙": 1}, {})
    with pytest.raises(DeskError, match="several people called 保安乙") as refused:
        imported(ledger, path)
    assert "does not know" not in str(refused.value)
    assert "--person NAME=ID" in str(refused.value.remedy)
    assert len(imported(ledger, path, WandMap(people={"保安乙": "p-019"})).new) == 1
    assert listed(ledger)[0][2] == "p-019"


def test_no_record_loses_its_person_unsaid(ledger: Ledger, tmp_path: Path) -> None:
    """A record keeps its person or none for good: a column that looks like persons' is not passed
    over, nor a name nobody knows, until somebody maps it or says that it shall be so."""
    row = "123,东门,保安甲,2026-09-20 22:15:30"
    strange = csv(tmp_path, row, head="机号,地点,带班人姓名,时间")
    before = everything(ledger)
    tried = imported(ledger, strange, dry_run=True)
    assert (tried.header.unused, tried.header.persons) == (("带班人姓名",), ("带班人姓名",))
    with pytest.raises(DeskError, match="带班人姓名 looks like persons'") as refused:
        imported(ledger, strange)
    assert "--column person=带班人姓名" in str(refused.value.remedy)
    unknown = csv(tmp_path, "123,东门,王五,2026-09-20 22:15:30")
    with pytest.raises(DeskError, match="does not know 王五"):
        imported(ledger, unknown)
    assert everything(ledger) == before
    mapped = WandMap(people={"王五": "p-018"})
    assert len(imported(ledger, unknown, mapped).new) == 1
    assert listed(ledger)[0][2] == "p-018"


def test_a_known_record_without_its_person_is_told(ledger: Ledger, tmp_path: Path) -> None:
    """What was kept without a person stays so, and a later file that names them says how many."""
    row = "123,东门,保安甲,2026-09-20 22:15:30"
    imported(ledger, csv(tmp_path, row, head="机号,地点,带班人姓名,时间"), without_person=True)
    again = imported(ledger, csv(tmp_path, row, head="机号,地点,巡更人,时间"))
    assert (again.known, again.unnamed, listed(ledger)[0][2]) == (1, 1, None)


def test_a_file_as_a_whole_may_be_refused(ledger: Ledger, tmp_path: Path) -> None:
    """Without its headings, for a wand or site nobody knows, without saying which wand."""
    with pytest.raises(DeskError, match="row 1 holds: a · b"):
        imported(ledger, csv(tmp_path, "1,2", head="a,b"))
    bare = csv(tmp_path, "东门,2026-09-20 22:15:30", head="地点,时间")
    with pytest.raises(UsageError, match="no column that tells which wand"):
        imported(ledger, bare)
    with pytest.raises(UsageError, match="no device has the id 'wand-7'"):
        imported(ledger, bare, device="wand-7")
    with pytest.raises(UsageError, match="no site has the id 'school-7'"):
        imported(ledger, bare, at_site="school-7")
    assert len(imported(ledger, bare, device="wand-1").new) == 1
    inspected = imported(ledger, bare, device="wand-9", at_site="school-01")
    assert inspected.new[0].site.slug == "school-01"


def test_what_a_clock_keeps_may_be_said(ledger: Ledger, tmp_path: Path) -> None:
    """A wand's clock does not follow a change of clocks: with its offset nothing is twice."""
    path = csv(tmp_path, "200,大厅,,2025-10-26 02:30:00")
    imported(ledger, path, WandMap(offset="+01:00"))
    assert [row[3] for row in listed(ledger)] == [ms("2025-10-26 02:30:00", "+01:00")]


def test_a_wand_that_was_moved_read_where_it_was(ledger: Ledger, tmp_path: Path) -> None:
    """Each row by the site, and the zone, that the wand belonged to at the time."""
    moved = json.loads(json.dumps(REGISTRY))
    (wand,) = moved["sites"][0]["devices"]
    moved["sites"][0]["devices"] = []
    moved["sites"][1]["devices"].append(wand)
    ledger.now = NOW + 20 * 86_400_000
    ledger.apply(moved)
    path = csv(tmp_path, "123,东门,,2026-09-10 22:15:30", "123,大厅,,2026-09-25 22:15:30")
    done = imported(ledger, path)
    assert [one.site.slug for one in done.new] == ["school-01", "school-02"]
    assert [one.at for one in done.new] == [
        ms("2026-09-10 22:15:30"),
        ms("2026-09-25 22:15:30", "+02:00"),
    ]


# Laws ---------------------------------------------------------------------------------------------


def test_the_same_file_twice_changes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    """Not one row of any table, whatever in it could not be read."""
    path = csv(
        tmp_path,
        "123,东门,保安甲,2026-09-20 22:15:30",
        "123,岗亭,,2026-09-20 22:16:00",
        "123,东门,保安甲,2026-09-20 22:15:30",
        "999,东门,,2026-09-20 22:17:00",
    )
    first = imported(ledger, path, accept="wands were read out at the desk")
    before = everything(ledger)
    again = imported(ledger, path, accept="wands were read out at the desk")
    assert everything(ledger) == before
    assert (len(first.new), first.known, len(again.new), again.known) == (1, 1, 0, 2)


def test_a_dry_run_changes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    """It tells what would be new, known and unreadable."""
    before = everything(ledger)
    path = csv(tmp_path, "123,东门,,2026-09-20 22:15:30", "123,岗亭,,2026-09-20 22:16:00")
    done = imported(ledger, path, dry_run=True)
    assert (len(done.new), len(done.unreadable)) == (1, 1)
    assert everything(ledger) == before


LINES = [
    f"123,{place},,2026-09-20 22:{minute:02}:00"
    for minute in range(0, 20, 2)
    for place in ("东门", "实验楼")
]


@settings(max_examples=15)
@given(
    files=st.lists(
        st.tuples(st.integers(0, len(LINES)), st.integers(0, len(LINES)), st.booleans()),
        min_size=1,
        max_size=4,
    )
)
def test_overlapping_exports_add_only_what_is_new(tmp_path_factory, files) -> None:
    """Whatever spans of time they cover and in whatever order: each record once."""
    folder = tmp_path_factory.mktemp("wand")
    with a_ledger(folder) as ledger:
        ledger.apply(REGISTRY)
        wanted: set[str] = set()
        for first, last, by_utf8 in files:
            lines = LINES[min(first, last) : max(first, last)]
            done = imported(ledger, csv(folder, *lines, codec="utf-8" if by_utf8 else "gbk"))
            assert len(done.new) == len(set(lines) - wanted)
            wanted |= set(lines)
        assert len(listed(ledger)) == len(wanted)


def test_an_import_that_is_cut_short_goes_on_when_it_is_done_again(
    ledger: Ledger, tmp_path: Path
) -> None:
    """What was written before stays, once; the rest follows."""
    times = [f"22:{minute:02}:{second:02}" for minute in range(3) for second in range(40)]
    path = csv(tmp_path, *(f"123,东门,,2026-09-20 {time}" for time in times))
    full = (
        "CREATE TRIGGER full BEFORE INSERT ON entry WHEN NEW.kind = 1"
        f" AND NEW.at >= {ms('2026-09-20 22:02:00')}"
        " BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )
    with writing(ledger.engine) as connection:
        connection.execute(text(full))
    with pytest.raises(IntegrityError, match="the disk is full"):
        imported(ledger, path)
    assert len(listed(ledger)) == PAGE
    with writing(ledger.engine) as connection:
        connection.execute(text("DROP TRIGGER full"))
    done = imported(ledger, path)
    assert (len(done.new), done.known) == (120 - PAGE, PAGE)
    assert len(listed(ledger)) == 120


CELLS = st.sampled_from(["机号", "地点", "时间", "123", "东门", "2026-09-20 22:15:30", "", "'='"])


@settings(max_examples=60)
@given(rows=st.lists(st.lists(CELLS | st.text(max_size=12), max_size=6), max_size=8))
def test_no_table_stops_the_program(picture: Picture, rows: list[list[str]]) -> None:
    """Whatever a file holds: rows that are told, or the reason why it is none."""
    sheet = Sheet(rows=tuple(enumerate(map(tuple, rows), 1)), kind="csv")
    try:
        found = read_rows(sheet, WandMap(), picture, Whose(), BY.now)
    except DeskError as refused:
        assert str(refused)
        return
    below = len(rows) - found.header.row
    assert len(found.records) + len(found.unreadable) + found.blank == below


# Maps ---------------------------------------------------------------------------------------------


def test_a_map_is_saved_by_name_and_read_back(ledger: Ledger, tmp_path: Path) -> None:
    """What is printed is what is read; saving the same again changes nothing."""
    told = read_yaml(
        "columns: {time: 打点, place: [位置, 站点]}\n"
        "places: {岗亭: gate}\npeople: {王五: p-018}\ndevices: {3: wand-1}\n"
    )
    assert save(ledger.engine, "vendor-x", told, by=BY)
    assert not save(ledger.engine, "vendor-x", told, by=BY)
    assert find(ledger.engine, "vendor-x") == told == read_yaml(as_yaml(told.to_document()))
    path = csv(tmp_path, "3,岗亭,王五,2026-09-20 22:15:30", head="机号,站点,人员,打点")
    assert len(imported(ledger, path, told).new) == 1
    assert listed(ledger)[0][:3] == ("wand-1", "gate", "p-018")
    remove(ledger.engine, "vendor-x", by=BY)
    assert saved(ledger.engine) == []
    with pytest.raises(DeskError, match="no map is called 'vendor-x': there are auto"):
        find(ledger.engine, "vendor-x")


def test_a_wrong_map_is_refused_with_all_that_is_wrong() -> None:
    """Each line says what to write."""
    with pytest.raises(UsageError) as refused:
        read_yaml("columns: {zeit: x, time: 3}\nplaces: {a: B B}\nfoo: 1\noffset: 8h\nsheet: ''\n")
    for words in ("zeit is none", "time: write its heading", "'B B' is no id", "foo is no member",
                  "'8h' is no offset", "sheet: write text"):  # fmt: skip
        assert words in str(refused.value)
