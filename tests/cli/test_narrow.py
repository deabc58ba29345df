"""Where a table has no room a row is a block: nothing a person must type is cut."""

from collections.abc import Callable

import pytest
from rich.console import Console

from cli import output
from cli.output import Column, table

IDENTITY, TIME, TEXT = "hh-0101/0/1234", "2026-11-26 02:01:00", "灭火器压力不足，门口被纸箱挡住"
ROUND = "school-01/night/2026-11-25/1"
COLUMNS = [
    Column(en="at", zh="时间", cell=lambda _: TIME),
    Column(en="text", zh="内容", cell=lambda _: TEXT, fold=True),
    Column(en="rounds", zh="轮次", cell=lambda _: ROUND, fold=True),
    Column(en="id", zh="编号", cell=lambda _: IDENTITY),
]


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A terminal of so many columns."""
    return lambda width: monkeypatch.setattr(
        output, "console", lambda: Console(width=width, color_system=None, highlight=False)
    )


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_no_identity_and_no_time_is_cut(
    width: int, lang: str, wide: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """At every width both can be read whole, and few lines are needed for a row."""
    wide(width)
    table(COLUMNS, [None], lang, "")
    out = capsys.readouterr().out
    assert IDENTITY in out
    assert TIME in out
    assert ROUND in out
    assert len(out.splitlines()) < 6


def test_a_file_has_no_width(capsys: pytest.CaptureFixture[str]) -> None:
    """A row piped to a file is one line, however long."""
    long = [Column(en=f"column_{n}", zh=f"列{n}", cell=lambda _: TEXT, fold=True) for n in range(9)]
    table(long, [None], "en", "")
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == [f"column_{n}" for n in range(9)]
    assert row.count(TEXT) == 9
