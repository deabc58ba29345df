"""Who answers for an obligation, who walked for whom, and what made it ask more than its plan."""

from collections.abc import Iterator
from typing import Any

from desk.times import aware, rfc3339
from store.explanations import Dossier


def as_json(file: Dossier) -> dict[str, Any]:
    """The same as plain values."""
    zone = file.plan.timezone
    return {
        "scored": file.promise.scored,
        "profiles": list(file.promise.profiles),
        "owner": None if file.owner is None else {"id": file.owner[0], "name": file.owner[1]},
        "substitutions": [
            {
                "person": row.person,
                "for": row.instead_of,
                "since_at": rfc3339(row.since_at, zone),
                "until_at": rfc3339(row.until_at, zone),
                "author": row.author,
                "reason": row.reason,
            }
            for row in file.substitutions
        ],
    }


def as_lines(file: Dossier, *, zh: bool) -> Iterator[str]:
    """A line for each thing there is to say; for a plain round of a known day, none."""
    if file.owner is not None:
        slug, name = file.owner
        yield f"负责人：{name}（{slug}）" if zh else f"answers:   {name} ({slug})"
    for row in file.substitutions:
        until = f"{aware(row.until_at, file.plan.timezone):%Y-%m-%d %H:%M}"
        yield (
            f"代班：{row.person} 代 {row.instead_of}，至 {until}，{row.author} 决定：{row.reason}"
            if zh
            else f"walks:     {row.person} for {row.instead_of} until {until}, "
            f"by {row.author}: {row.reason}"
        )
    if file.promise.profiles:
        named = ", ".join(file.promise.profiles)
        yield f"特殊时期：{named}" if zh else f"special:   {named}"
    if not file.promise.scored:
        yield (
            "计分：当日日别无依据，不计分"
            if zh
            else "score:     none, for nobody has told what kind of day it was"
        )
