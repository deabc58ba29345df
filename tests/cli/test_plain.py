"""What others wrote is data: it is neither markup nor a command to the terminal."""

import pytest

from cli.failure import tell
from cli.output import Column, say, table
from cli.plain import plain
from cli.watch import line
from desk.errors import DeskError

COLUMNS = [Column(en="text", zh="内容", cell=lambda row: row, fold=True)]


@pytest.mark.parametrize(
    "text", ["[/x]", "[/]", "[lab button]", "[x] 灭火器[已坏]", "[red]第三[/]中学", "停课[/通知]"]
)
def test_brackets_in_a_cell_are_printed_as_they_are(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tag, a name or a reason in brackets neither vanishes nor ends the listing."""
    table(COLUMNS, [text], "en", "")
    assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sign", "shown"),
    [("\x1b", r"\x1b"), ("\x07", r"\x07"), ("\x7f", r"\x7f"), ("\x9b", r"\x9b"), ("\r", r"\x0d")]
    + [(chr(code), f"\\u{code:04x}") for code in (0x202A, 0x202E, 0x2066, 0x2069)],
)
def test_a_control_character_is_shown_and_not_obeyed(
    sign: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a table, a sentence and an error it reads as its escape."""
    table(COLUMNS, [f"a{sign}b"], "en", "")
    say(f"a{sign}b")
    tell(DeskError(f"a{sign}b"))
    told = capsys.readouterr()
    assert told.out.count(f"a{shown}b") == 2
    assert f"a{shown}b" in told.err
    assert sign not in told.out + told.err


def test_a_newline_stays_only_where_a_text_has_lines() -> None:
    """A line of `event watch` cannot be made two."""
    assert plain("a\nb") == "a\nb"
    assert plain("a\nb", lines=False) == r"a\x0ab"


def test_a_told_event_is_one_line_without_controls() -> None:
    """Words of a device in an event neither clear the screen nor forge a second event."""
    event = {"id": "0a", "site": "s1", "message": {"en": "fire\x1b[2J\nnow [/x]"}}
    said = line(event, "en", {}).plain
    assert said.endswith(r"fire\x1b[2J\x0anow [/x]")
