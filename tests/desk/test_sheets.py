"""Tables as people save them: encodings, separators, spreadsheets with merged cells."""

from datetime import date, datetime, time
from pathlib import Path

import pytest
from openpyxl import Workbook

from desk.sheets import FileRefused, read_sheet

TEXT = "机号,地点,时间\r\n1,东门,2026-11-20 22:15:30\r\n"
CELLS = [("机号", "地点", "时间"), ("1", "东门", "2026-11-20 22:15:30")]


def saved(folder: Path, data: bytes, name: str = "records.csv") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("codec", "called"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8 (BOM)"),
        ("gbk", "GBK"),
        ("gb18030", "GBK"),
        ("utf-16", "UTF-16 (BOM)"),
    ],
)
def test_the_encoding_is_detected_and_said(tmp_path: Path, codec: str, called: str) -> None:
    """What Excel and the vendors' software write on a Chinese Windows, and what others do."""
    found = read_sheet(saved(tmp_path, TEXT.encode(codec)))
    assert [cells for _, cells in found.rows] == CELLS
    assert (found.encoding, found.detected) == (called, True)


def test_an_encoding_may_be_told(tmp_path: Path) -> None:
    """It goes before what would be detected; one that does not fit says at which line."""
    path = saved(tmp_path, "機號,地點,時間\r\n".encode("big5"))
    found = read_sheet(path, "big5")
    assert (found.rows[0][1], found.detected) == (("機號", "地點", "時間"), False)
    with pytest.raises(FileRefused, match="line 1 is not utf-8"):
        read_sheet(path, "utf-8")
    with pytest.raises(FileRefused, match="no encoding is called 'klingon'"):
        read_sheet(path, "klingon")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """With what to do about it."""
    with pytest.raises(FileRefused, match="neither UTF-8 nor GBK"):
        read_sheet(saved(tmp_path, b"\xff\xff\xff\x81"))


@pytest.mark.parametrize("sign", [",", "\t", ";"])
def test_the_separator_is_detected(tmp_path: Path, sign: str) -> None:
    """Quotes keep what they hold together, line breaks too; rows keep the file's line numbers."""
    text = sign.join(["时间", "地点"]) + "\n" + sign.join(["1", f'"东{sign}门"']) + "\n"
    found = read_sheet(saved(tmp_path, text.encode()))
    assert (found.separator, found.rows[1]) == (sign, (2, ("1", f"东{sign}门")))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest", "old Excel file"),
        (b"<html><table><tr><td>1</td></tr></table>", "web page"),
        (b"PK\x03\x04broken", "no spreadsheet that can be read"),
        (b'a,"b\n' + b"x" * 200_000, "field larger"),
    ],
)
def test_what_is_no_table_is_refused_with_the_remedy(tmp_path: Path, data: bytes, why: str) -> None:
    """By what it is, whatever its name says."""
    with pytest.raises(FileRefused, match=why) as refused:
        read_sheet(saved(tmp_path, data, "records.xls"))
    assert refused.value.remedy


def test_a_spreadsheet_is_read_as_it_is_seen(tmp_path: Path) -> None:
    """Merged cells hold what their first one does; dates and numbers are as a person reads them."""
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "记录"
    sheet.append(["巡更记录报表", None, None, None])
    sheet.merge_cells("A1:D1")
    sheet.append(["人员", "机号", "日期", "时间"])
    sheet.append(["保安甲", 123, date(2026, 11, 20), time(22, 15, 30)])
    sheet.append([None, 124.0, datetime(2026, 11, 21), datetime(2026, 11, 21, 0, 0)])  # noqa: DTZ001
    sheet.merge_cells("A3:A4")
    sheet["D4"].number_format = "yyyy-mm-dd h:mm"
    sheet["C4"].number_format = "yyyy/m/d"
    path = tmp_path / "records.xlsx"
    book.save(path)
    found = read_sheet(path)
    assert (found.kind, found.sheet) == ("xlsx", "记录")
    assert [cells for _, cells in found.rows] == [
        ("巡更记录报表",) * 4,
        ("人员", "机号", "日期", "时间"),
        ("保安甲", "123", "2026-11-20", "22:15:30"),
        ("保安甲", "124", "2026-11-21", "2026-11-21 00:00:00"),
    ]
    with pytest.raises(FileRefused, match="no sheet '别的'"):
        read_sheet(path, sheet="别的")
