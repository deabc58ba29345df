"""Reasons of quarantine and of imports, in Chinese."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from desk.details import said
from devices import topics
from devices.codec import Bad, decode
from devices.topics import BadTopic, UpTopic, parse_up
from tests.devices.golden import payload, vectors

ROOT = Path(__file__).resolve().parents[2]
TELLERS = {"_Bad", "BadTime", "_bad", "bad", "BadTopic", "_otherwise", "Refused"}
"""What takes a reason: its last text is the sentence."""
FILES = (
    "desk/wandfiles.py",
    "desk/wandimport.py",
    "devices/codec.py",
    "devices/topics.py",
    "devices/wands.py",
    "ingest/foreign.py",
    "ingest/reader.py",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "devices/adapters").glob("*.py")),
)
GAPS = {"ROOT": topics.ROOT, "what": "is twice"}
"""What stands in a gap where it is part of the sentence; elsewhere X."""
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def sentences(file: str) -> Iterator[str]:
    """Every sentence with a blank in it that a teller of `file` may say, its gaps filled with X."""
    tree = ast.parse((ROOT / file).read_text())
    told = {
        name.id
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _name(call) in TELLERS
        for name in (*call.args, *(word.value for word in call.keywords))
        if isinstance(name, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node) in TELLERS:
            yield from map(_text, (*node.args, *(word.value for word in node.keywords)))
        if isinstance(node, ast.Assign) and {"detail", "why"} & told & {
            target.id for target in node.targets if isinstance(target, ast.Name)
        }:
            yield _text(node.value)


def _name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _text(node: ast.AST) -> str:
    """The first text in an expression, whatever is done with it."""
    match node:
        case ast.Constant(value=str() as value):
            return value
        case ast.JoinedStr(values=values):
            return "".join(map(_text, values))
        case ast.FormattedValue(value=value):
            return GAPS.get(ast.unparse(value), "X")
        case ast.BinOp(left=left) | ast.Subscript(value=left):
            return _text(left) + ("X" if isinstance(node, ast.BinOp) else "")
    return _text(node.body) if isinstance(node, ast.IfExp) else ""


@pytest.mark.parametrize("file", FILES)
def test_every_reason_that_the_code_gives_is_said_in_chinese(file: str) -> None:
    """A new one without its Chinese is found here, wherever it is written."""
    told = [text for text in sentences(file) if " " in text]
    if file == "desk/wandimport.py":
        told = [f"it is kept already, with {what}: gridbeat checkin list shows it" for what in told]
    assert [text for text in told if not CHINESE.search(said(text, "zh"))] == []
    assert all(said(text, "en") == text for text in told)


def test_the_reasons_are_found_in_the_code() -> None:
    """The search above sees what it is meant to see."""
    found = {text for file in FILES for text in sentences(file)}
    assert "it says no time" in found
    assert "begins neither as JPEG nor as PNG nor as WebP" in found
    assert "the registry has retired it" in found
    assert len([text for text in found if " " in text]) > 35


def test_what_devices_send_wrongly_is_told_in_chinese() -> None:
    """All golden bad messages, what the parsers say of them included."""
    details = [
        read.detail
        for name in ("checkin", "hazard", "sos")
        for vector in vectors(name)
        if isinstance(topic := parse_up(vector["topic"]), UpTopic)
        for read in decode(topic, payload(vector))
        if isinstance(read, Bad)
    ]
    assert len(details) > 20
    assert [detail for detail in details if not CHINESE.search(said(detail, "zh"))] == []


def test_a_topic_keeps_its_grammar() -> None:
    """What is to be written stays as it is to be written."""
    read = parse_up("patrol/v1/a")
    assert isinstance(read, BadTopic)
    assert said(read.detail, "zh") == "应为 patrol/v1/{site}/{device}/up/{kind}"


def test_the_row_of_a_file_is_told_with_its_reason() -> None:
    """A sentence in a sentence; what nobody put over stays as it is."""
    row = "export.csv, row 7, 时间: "
    assert said(row + "it says no time", "zh") == "export.csv，第 7 行，时间：没有写时间"
    assert said(row + "who knows", "zh") == "export.csv，第 7 行，时间：who knows"
    assert said("who knows", "zh") == "who knows"
    gaps = "'X' is twice in that night's change of clocks (Europe/London)"
    assert said(gaps, "zh") == gaps
