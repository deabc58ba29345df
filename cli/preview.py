"""How `plan preview` prints: what each day owes, and why."""

from collections.abc import Iterator
from typing import Any

from cli.output import Column, table
from desk.plans import Previewed
from desk.times import rfc3339
from rules.plans import WindowDay
from rules.words import DAYS


def as_rows(found: Previewed, days: list[WindowDay], lang: str) -> Iterator[dict[str, Any]]:
    """One row a day, for scripts and for the table."""
    zh, zone = lang == "zh", found.plan.timezone
    for day in days:
        classes = sorted(day.day.classes)
        yield {
            "date": day.day.date.isoformat(),
            "classes": classes,
            "why": day.day.why_zh if zh else day.day.why,
            "known": day.day.known,
            "words": ", ".join(DAYS[name].zh if zh else DAYS[name].en for name in classes),
            "profiles": [
                {"id": profile.slug, "name": profile.name} for profile in found.held(day.day.date)
            ],
            "owed": [_owed(found, owed, zone) for owed in day.owed],
        }


def _owed(found: Previewed, owed: Any, zone: str) -> dict[str, Any]:
    excuse = found.excuse(owed)
    return {
        "id": owed.key,
        "opens_at": rfc3339(owed.opens, zone),
        "closes_at": rfc3339(owed.closes, zone),
        "due_at": rfc3339(owed.due, zone),
        "expected": owed.asked,
        "scored": owed.scored,
        "profiles": list(owed.profiles),
        "excused": None if excuse is None else {"by": excuse.author, "reason": excuse.reason},
    }


def show(rows: list[dict[str, Any]], lang: str) -> None:
    """The rows as a table."""
    zh = lang == "zh"

    def windows(row: dict[str, Any]) -> str:
        seen = {_window(one): None for one in row["owed"]}
        return "  ".join(seen) or "—"

    def why(row: dict[str, Any]) -> str:
        named = "、".join(profile["name"] for profile in row["profiles"])
        excused = {one["excused"]["reason"] for one in row["owed"] if one["excused"]}
        told = [row["why"], named and (f"特殊时期：{named}" if zh else f"special: {named}")]
        told += [f"免责：{reason}" if zh else f"excused: {reason}" for reason in sorted(excused)]
        if any(not one["scored"] for one in row["owed"]):
            told.append("不计分" if zh else "not scored")
        return "; ".join(filter(None, told))

    columns = [
        Column(en="day", zh="日期", cell=lambda row: row["date"]),
        Column(en="class", zh="日别", cell=lambda row: row["words"]),
        Column(en="why", zh="依据", cell=why, fold=True),
        Column(en="rounds", zh="巡查", cell=windows, fold=True),
    ]
    table(columns, rows, lang, ("No days.", "没有日期。"))


def _window(one: dict[str, Any]) -> str:
    """The window's wall times; of a period longer than a day, its last date."""
    opens, closes = one["opens_at"], one["closes_at"]
    marks = f"{'*' if one['profiles'] else ''}{'=' if one['excused'] else ''}"
    end = closes[11:16] if _near(opens, closes) else closes[:10]
    return f"{opens[11:16]}–{end}{marks}"


def _near(opens: str, closes: str) -> bool:
    from datetime import datetime

    return (datetime.fromisoformat(closes) - datetime.fromisoformat(opens)).days < 2
