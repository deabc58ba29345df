"""How `hazard show` and `quarantine show` print."""

import base64
import sys
from typing import TYPE_CHECKING

from cli.output import Marks, emit, mark, say
from desk.cases import HazardFile, hazard, quarantined
from desk.details import said
from desk.ledger import opened
from desk.listing import as_json as row_json
from desk.names import Names, names
from desk.times import rfc3339
from rules.cases import CaseState, Refused, Taken
from rules.words import ACTIONS, CASES

if TYPE_CHECKING:
    from store.settings import Settings

GRADES: Marks = {
    "general": ("!", "yellow", "general", "一般"),
    "major": ("!!", "bold red", "major", "重大"),
}
_SIGNS = {
    CaseState.REPORTED: ("o", "bold"),
    CaseState.ACCEPTED: ("o", "bold"),
    CaseState.IN_PROGRESS: (">", "yellow"),
    CaseState.RESOLVED: ("~", "cyan"),
    CaseState.CLOSED: ("✓", "green"),
    CaseState.REJECTED: ("x", "dim"),
}
HAZARD_STATES: Marks = {
    state.value: (*_SIGNS[state], CASES[state].en, CASES[state].zh) for state in CaseState
}


def show_hazard(settings: "Settings", id_: str, *, as_json: bool, lang: str) -> None:
    """Print a hazard with its steps."""
    with opened(settings) as engine:
        found = hazard(engine, id_)
        called = names(engine)
    if as_json:
        emit(row_json(found.row) | {"steps": _steps(found)})
        return
    zh, row = lang == "zh", found.row
    grade, state = mark(GRADES, row.grade, lang), mark(HAZARD_STATES, row.state, lang)
    say(f"{row.id}  {grade.plain}  {state.plain}")
    place = called.checkpoint(row.site, row.checkpoint)
    say(" · ".join(filter(None, (called.site(row.site), place, row.category, row.text))))
    say("处理经过：" if zh else "what was done:")
    for line in _told(found, called, zh):
        say(f"  {line}")


def _steps(found: HazardFile) -> list[dict[str, object]]:
    return [
        {
            "id": told.step.identity,
            "at": rfc3339(told.step.at, found.row.timezone),
            "action": told.step.action.value,
            "person": told.step.person,
            "text": told.step.text,
            "state": told.state.value,
            "taken": isinstance(told, Taken),
        }
        for told in _all(found)
    ]


def _all(found: HazardFile) -> list[Taken | Refused]:
    report = Taken(step=found.case.report, state=CaseState.REPORTED)
    steps: list[Taken | Refused] = [*found.case.taken, *found.case.refused]
    later = [told for told in steps if told.step.identity != report.step.identity]
    return [report, *sorted(later, key=lambda told: (told.step.at, told.step.identity))]


def _told(found: HazardFile, called: Names, zh: bool) -> list[str]:
    lines = []
    for told in _all(found):
        when = rfc3339(told.step.at, found.row.timezone)
        state, action = (
            words.zh if zh else words.en for words in (CASES[told.state], ACTIONS[told.step.action])
        )
        if isinstance(told, Refused):
            state = "此时不适用，未计" if zh else f"not possible while {state}"
        who = called.person(told.step.person) or told.step.device
        lines.append("  ".join(filter(None, (when, action, state, who, told.step.text))))
    return lines


def show_quarantined(
    settings: "Settings", id_: int, *, as_json: bool, raw: bool, lang: str
) -> None:
    """Print an entry of the quarantine; `raw` is its bytes and nothing else."""
    with opened(settings) as engine:
        found = quarantined(engine, id_)
    if raw:
        sys.stdout.buffer.write(found.payload)
        return
    if as_json:
        emit(row_json(found.row) | {"payload_base64": base64.b64encode(found.payload).decode()})
        return
    for name, value in row_json(found.row).items():
        if value is not None:
            say(f"{name:12} {said(value, lang) if name == 'detail' else value}")
    cut = "只保留了前 256 个字节：" if lang == "zh" else "only the first 256 bytes were kept:"
    say("" if found.row.whole else cut)
    say(found.payload.decode("utf-8", errors="backslashreplace"))
